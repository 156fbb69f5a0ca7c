"""What the tests feed: names, cells and values that have harmed somebody's program."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def cases(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


HOSTILE = (
    *("../secret.png", "/etc/passwd", "happy/../../secret.png", "..\\secret.png", "C:\\secret.png", "~/secret.png"),
    *("happy/link.png", "happy/away", "happy/a.png\0.txt", "con", ".", "..", "", " ", "-", "happy/" + "x" * 300),
    *("happy", "sad", "a,b", 'a"b', "a\nb", "a\r\nb", "a\u202eb", "\u200f", "\ufeff", "\x1b[2J", "nan", "inf", "1e999"),
    *(
        "=cmd|' /C calc'!A0",
        "$(touch owned)",
        "`id`",
        "%s%n",
        "{{7*7}}",
        "__import__('os').system('id')",
        "\ud7ff",
        "🙂",
    ),
    *('{"happy": NaN}', '{"happy": 1e400}', "[" * 5000, "9" * 5000, "True", "false", "test", "train", "PublicTest"),
    *("happy/a.png", "sad/b.png", "happy/a.png ", "HAPPY/A.PNG", "happy//a.png", "./happy/a.png"),
)
CELLS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20))


VALUES = st.one_of(
    st.sampled_from([None, True, -1, 0, 2**31, 2**63, 1e308, float("nan"), float("inf"), "conv", [], {}, [[]]]),
    CELLS,
    st.recursive(st.integers(-5, 5), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
)
