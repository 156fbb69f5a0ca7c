"""Names of arms and what they stand for."""

import pytest

from emoaug import EmoaugError
from pipelines.arms import Arm, get_arm


def test_arms_are_what_they_say():
    assert get_arm("real") == Arm("real", "none")
    assert get_arm("classical") == Arm("classical", "classical")
    assert get_arm("randaugment").recipe == "randaugment"
    assert get_arm("cutmix") == Arm("cutmix", "classical", "cutmix")
    assert get_arm("oversample") == Arm("oversample", "classical", oversample=True)
    assert get_arm("lssl") == Arm("lssl", "classical", sources=("lssl",), kind="synthetic")
    assert get_arm("geometry").kind == "reference"
    assert get_arm("shuffled").kind == "sanity"


def test_parts_work_together_in_any_order():
    arm = get_arm("mixup+lssl")
    assert (arm.recipe, arm.mixing, arm.sources, arm.kind) == ("classical", "mixup", ("lssl",), "synthetic")
    assert get_arm("refined+trivialaugment").recipe == "trivialaugment"
    assert get_arm("simulated+lssl").sources == ("simulated", "lssl")
    assert get_arm("real+refined").recipe == "none"
    assert get_arm("randaugment+mixup").kind == "plain"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stargan", 'unknown arm "stargan"; there are real'),
        ("lssl+", 'unknown arm ""'),
        ("lssl+lssl", "each part once"),
        ("mixup+cutmix", "one of mixup, cutmix"),
        ("real+classical", "at most one of real"),
        ("geometry+lssl", "stands alone"),
        ("lssl+shuffled", "stands alone"),
    ],
)
def test_names_that_make_no_sense_say_what_is_allowed(name, message):
    with pytest.raises(EmoaugError, match=message.replace("+", r"\+")):
        get_arm(name)
