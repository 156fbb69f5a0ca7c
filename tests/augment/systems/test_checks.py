import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.systems.checks import check_code_networks, check_halvings
from emoaug import EmoaugError, check_least


@given(size=st.integers(-8, 300), depth=st.integers(-2, 8), other=st.integers(-2, 8))
def test_a_side_is_taken_exactly_where_every_halving_leaves_whole_pixels(size: int, depth: int, other: int) -> None:
    left = math.ldexp(size, -max(depth, other))
    fits = min(depth, other) >= 2 and left.is_integer() and left >= 2
    settings = SimpleNamespace(size=size, depth=depth, critic_depth=other)
    if fits:
        check_halvings(settings, "depth", "critic_depth")
    else:
        with pytest.raises(EmoaugError, match=f"size is {size}, with depth {depth} and critic_depth {other}"):
            check_halvings(settings, "depth", "critic_depth")


def test_a_wrong_side_is_told_which_there_are() -> None:
    with pytest.raises(EmoaugError, match="a multiple of 16, from 32 on"):
        check_halvings(SimpleNamespace(size=60, critic_depth=4), "critic_depth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 40}, "multiple of 16 for these residual networks"),
        ({"size": 96, "networks": "published"}, "multiple of 64 for these published networks"),
        ({"depth": 1}, "depth is 2 or more"),
        ({"matched_levels": 5}, "with depth 4 it is that at most"),
        ({"mean_decay": 1.0}, "0 to below 1"),
    ],
)
def test_networks_of_codes_are_told_what_does_not_fit(change: dict[str, object], message: str) -> None:
    fitting = {"networks": "residual", "depth": 4, "size": 48, "matched_levels": 2, "mean_decay": 0.9}
    check_code_networks(SimpleNamespace(**fitting))
    with pytest.raises(EmoaugError, match=message):
        check_code_networks(SimpleNamespace(**fitting | change))


def test_the_first_setting_below_the_least_is_named() -> None:
    settings = SimpleNamespace(steps=1, faces=0, people=-1)
    check_least(settings, 0, "steps", "faces")
    with pytest.raises(EmoaugError, match=r"^faces is 0; it is 1 or more$"):
        check_least(settings, 1, "steps", "faces", "people")
