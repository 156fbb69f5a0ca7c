"""How commands read the labels of a dataset, as their user meets it."""

import numpy as np
import pytest

from augment.pictures import encode_png, write_bytes
from emoaug import EmoaugError
from pipelines.commands.datasets import DatasetOptions, open_dataset, open_test, tell_frames
from tests.drawn_dataset import draw_dataset, put_features_in_place
from tests.pipelines.command_line import mistake, run


@pytest.fixture
def numbered(tmp_path):
    """A folder whose classes are RAF-DB's numbers."""
    generator = np.random.default_rng(0)
    for number in range(1, 8):
        picture = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        write_bytes(tmp_path / "faces" / str(number) / "a.png", encode_png(picture))
    return tmp_path / "faces"


def test_the_numbers_of_a_published_dataset_are_known_by_its_name(capsys, numbered):
    code, said, _ = run(capsys, "audit", numbered, "--labels", "raf-db")
    assert code == 0
    assert "1 '1' read as surprise" in said
    assert "1 '7' read as neutral" in said
    (numbered / "3" / "a.png").unlink()
    _, said, _ = run(capsys, "audit", numbered, "--labels", "RAF-DB", "9=awed")
    assert "renaming 3=" not in said
    assert "the renaming 9=awed did nothing" in said


def test_numbers_alone_could_be_any_datasets(capsys, numbered):
    said = mistake(capsys, "audit", numbered)
    assert 'unknown expression "1"' in said
    assert "name that: --labels FER2013 or AffectNet-8 or RAF-DB or CK+" in said
    assert "RAF-DB" in mistake(capsys, "audit", numbered, "--labels", "rafdb")


def test_a_name_of_ones_own_goes_before_the_datasets(capsys, numbered):
    _, said, _ = run(capsys, "audit", numbered, "--labels", "RAF-DB", "7=calm")
    assert "1 '7' read as calm" in said


def test_a_folder_to_test_on_is_read_in_the_words_of_what_is_trained_on(capsys, tmp_path):
    draw_dataset(tmp_path / "mine", subjects=2)
    draw_dataset(tmp_path / "theirs", subjects=2)
    mine = open_dataset(tmp_path / "mine", DatasetOptions(labels=("happy=joy", "neutral=calm")))
    theirs = open_test(tmp_path / "theirs", ("neutral=calm",), None, mine)
    assert set(theirs.table.label) == {"joy", "calm"}
    (tmp_path / "theirs" / "tense").mkdir()
    (tmp_path / "theirs" / "metadata.csv").unlink()
    for name in ("neutral", "happy"):
        (tmp_path / "theirs" / name).rename(tmp_path / "theirs" / {"neutral": "calm", "happy": "smiling"}[name])
    assert set(open_test(tmp_path / "theirs", (), None, mine).table.label) == {"joy", "calm"}
    (tmp_path / "theirs" / "calm").rename(tmp_path / "theirs" / "calmish")
    with pytest.raises(EmoaugError, match=r'"calmish".* Map it with --test-labels calmish=CLASS\.$'):
        open_test(tmp_path / "theirs", (), None, mine)
    assert open_test(None, (), None, mine) is None
    with pytest.raises(EmoaugError, match="there is none"):
        open_test(None, ("a=b",), None, mine)


def test_faces_that_do_not_lie_where_systems_look_for_them_are_named(capsys, tmp_path):
    faces = draw_dataset(tmp_path / "faces")
    tell_frames(faces)
    assert "most faces do not lie where aligned ones do" in capsys.readouterr().out
    put_features_in_place(faces)
    tell_frames(faces)
    assert capsys.readouterr().out == ""
    (tmp_path / "faces" / "faces.npz").unlink()
    tell_frames(faces)
    assert "no landmarks beside the pictures; if these are not aligned" in capsys.readouterr().out
