"""Fixtures of the tests of the expression transforms."""

import pytest

from augment.checkpoints import save_checkpoint
from tests.augment.expression_transforms import small_lssl
from tests.augment.tiny_translator import tiny_translator


@pytest.fixture
def lssl_folder(tmp_path):
    save_checkpoint(tmp_path / "lssl" / "checkpoint", small_lssl(), {})
    return tmp_path / "lssl"


@pytest.fixture
def tiny():
    return tiny_translator().eval().requires_grad_(False)
