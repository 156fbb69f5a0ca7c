"""What benchmarks on held-out people share: who is held out, and which system is trained on the others."""

import pytest

from augment.checkpoints import read_config
from benchmarks.held_out import HeldOutOptions, hold_out, trained
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset


def test_a_system_is_trained_on_the_others_with_the_options_that_are_set(tmp_path):
    faces = hold_out(draw_dataset(tmp_path / "faces", subjects=4), 1, 0)
    options = HeldOutOptions(
        faces.root, tmp_path / "out", 1, steps=1, batch_size=2, set=("width=4", "depth=2", "widest=8")
    )
    settings = trained(faces, options).settings
    assert (settings.size, settings.width, settings.depth, settings.widest) == (32, 4, 2, 8)
    seen = read_config(options.out / "run")["extra"]["training_data"]["subjects"]
    assert sorted(seen) == sorted(set(faces.table.subject[faces.table.split == "train"]))
    assert len(seen) == 3


def test_an_option_that_the_system_has_not_is_named(tmp_path):
    faces = draw_dataset(tmp_path / "faces", subjects=2)
    with pytest.raises(EmoaugError, match=r'--set "depht=2": did you mean depth\?'):
        trained(faces, HeldOutOptions(faces.root, tmp_path / "out", set=("depht=2",)))
