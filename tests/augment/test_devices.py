import pytest
import torch

from augment.devices import choose_device, choose_precision, seed_from
from emoaug import EmoaugError


def test_a_forced_precision_is_kept_and_auto_is_one_of_two():
    assert choose_precision("32-true", "cpu") == "32-true"
    assert choose_precision("auto", "cpu") in ("32-true", "bf16-mixed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_an_error_that_says_what_to_do():
    with pytest.raises(EmoaugError, match="use --device cpu"):
        choose_device("cuda")


def test_seeds_depend_on_every_part_and_on_where_parts_end():
    assert seed_from(1, "a") == seed_from(1, "a")
    assert len({seed_from(1, 23), seed_from(12, 3), seed_from("1", "2", "3"), seed_from(123)}) == 4
    assert 0 <= seed_from("x") < 2**63
