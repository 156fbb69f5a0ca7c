import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from augment.folders import read_faces
from augment.pictures import encode_png, write_bytes
from pipelines.audit import audit, format_audit
from pipelines.cli import main


def scene(seed: int, colour: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    layers = sum(cv2.resize(rng.normal(0, 1, (n, n)), (48, 48), interpolation=cv2.INTER_CUBIC) for n in (3, 6, 12, 24))
    grey = np.clip(128 + 32 * layers, 0, 255)[..., None]
    return (grey * ([1.0, 0.8, 0.6] if colour else [1.0, 1.0, 1.0])).astype(np.uint8)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    pictures = {
        "train/happy/a.png": scene(0),
        "train/happy/a_again.png": scene(0),
        "train/sad/a_too.png": scene(0),  # the same picture, another label
        "test/happy/b.png": scene(1),
        "train/happy/b.png": scene(1),  # the same picture in both splits
        "train/sad/c.png": scene(2, colour=True),
        "test/sad/c_brighter.png": np.clip(scene(2, colour=True).astype(int) + 15, 0, 255).astype(np.uint8),
        "train/sad/d.png": np.ascontiguousarray(scene(3)[:40]),
    }
    for name, picture in pictures.items():
        write_bytes(tmp_path / name, encode_png(picture))
    write_bytes(tmp_path / "train/happy/broken.png", encode_png(scene(4))[:-30])
    write_bytes(tmp_path / "stray.png", encode_png(scene(5)))
    return tmp_path


def test_audit_counts_everything_that_was_planted(dataset):
    found = audit(read_faces(dataset), progress=False)
    assert found.pictures == 8
    assert found.by_class == {"happy": 4, "sad": 4}
    assert found.by_split == {"train": {"happy": 3, "sad": 3}, "test": {"happy": 1, "sad": 1}}
    assert found.grey == 6
    assert found.sizes == {"48x48": 7, "48x40": 1}
    assert found.rejected.count == 2
    assert {name for name, _ in found.rejected.examples} == {"stray.png", "train/happy/broken.png"}
    assert found.exact_duplicates.examples == (
        ("test/happy/b.png", "train/happy/b.png"),
        ("train/happy/a.png", "train/happy/a_again.png", "train/sad/a_too.png"),
    )
    assert found.superfluous_copies == 3
    assert found.exact_across_splits.examples == (("test/happy/b.png", "train/happy/b.png"),)
    assert [set(group) for group in found.contradicting_labels.examples] == [
        {"train/happy/a.png", "train/happy/a_again.png", "train/sad/a_too.png"}
    ]
    assert found.near_duplicates.examples == (("test/sad/c_brighter.png", "train/sad/c.png"),)
    assert found.near_across_splits.count == 1
    assert found.near_contradicting_labels.count == 0
    assert found.duplicate_groups == 4
    assert (found.subjects, found.without_subject, found.pictures_per_subject) == (0, 8, None)


def test_pictures_of_one_person_are_counted_apart_and_people_in_two_splits_are_named(dataset):
    found = audit(read_faces(dataset, subject_pattern=r"/([a-d])[^/]*\.png"), progress=False)
    assert found.subjects == 4
    assert found.pictures_per_subject == (1, 2, 3)
    assert found.near_duplicates.count == 0
    assert found.near_duplicates_of_one_subject.count == 1
    assert found.subjects_across_splits.examples == (("b", "test, train"), ("c", "test, train"))


def test_text_names_the_findings_and_json_is_plain(dataset):
    found = audit(read_faces(dataset), progress=False)
    text = format_audit(found)
    for words in ["8 pictures", "happy 4", "broken.png", "same pixels", "different labels", "several splits"]:
        assert words in text
    assert json.loads(json.dumps(found.to_json()))["exact_duplicates"]["count"] == 2


def test_long_lists_are_cut_and_say_so(tmp_path):
    for i in range(30):
        for name in ("a", "b"):
            write_bytes(tmp_path / "happy" / f"{i:02d}{name}.png", encode_png(scene(i)))
    text = format_audit(audit(read_faces(tmp_path), progress=False))
    assert "30 groups" in text
    assert "... and 20 more" in text


def test_clean_dataset_says_so_in_one_line(tmp_path):
    for i in range(3):
        write_bytes(tmp_path / "happy" / f"{i}.png", encode_png(scene(i)))
    found = audit(read_faces(tmp_path), progress=False)
    assert found.duplicate_groups == 3
    assert "no duplicates" in format_audit(found)


def test_dataset_in_which_nothing_can_be_read_is_audited_too(tmp_path):
    write_bytes(tmp_path / "happy" / "x.png", b"no picture")
    found = audit(read_faces(tmp_path), progress=False)
    assert found.pictures == 0
    assert found.rejected.count == 1
    assert "x.png" in format_audit(found)


def test_pictures_without_a_label_are_looked_at_where_asked_and_contradict_nothing(dataset, capsys):
    write_bytes(dataset / "train/unlabelled/b.png", encode_png(scene(1)))
    for arguments, pictures in (([], 8), (["--unlabelled"], 10)):
        assert main(["audit", str(dataset), *arguments]) == 0
        assert f"{pictures} pictures" in capsys.readouterr().out
    found = audit(read_faces(dataset, unlabelled=True), progress=False)
    assert found.by_class == {"happy": 4, "sad": 4, "unlabelled": 2}
    assert found.by_split["train"] == {"happy": 3, "sad": 3, "unlabelled": 1}
    assert {"train/unlabelled/b.png"} < set(found.exact_duplicates.examples[0])
    assert found.contradicting_labels.count == 1


def test_a_folder_of_photographs_alone_is_looked_at(tmp_path, capsys):
    for number in range(3):
        write_bytes(tmp_path / f"{number}.png", encode_png(scene(number)))
    assert main(["audit", str(tmp_path), "--unlabelled"]) == 0
    assert "classes    unlabelled 3" in capsys.readouterr().out
