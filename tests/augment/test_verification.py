import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from augment.folders import read_faces, write_metadata
from augment.pictures import encode_png, write_bytes
from augment.verification import verify
from emoaug import EmoaugError


def png(value: int) -> bytes:
    return encode_png(np.full((8, 8, 3), value, np.uint8))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A real dataset: p1 in train, p2 in test."""
    root = tmp_path / "sources"
    for i, name in enumerate(["happy/p1.png", "sad/p2.png"]):
        write_bytes(root / name, png(i))
    table = pd.DataFrame({"file_name": ["happy/p1.png", "sad/p2.png"], "label": ["happy", "sad"]})
    write_metadata(root, table.assign(subject=["p1", "p2"], split=["train", "test"]))
    return root


@pytest.fixture
def folder(tmp_path: Path, sources: Path) -> Path:
    """A sound generated folder: one real face, two synthetic ones, one that was not accepted."""
    out = tmp_path / "bigger"
    names = ["happy/p1.png", "sad/p1_0.png", "sad/p1_1.png"]
    for i, name in enumerate(names):
        write_bytes(out / name, png(10 + i))
    source_hash = hashlib.sha256((sources / "happy/p1.png").read_bytes()).hexdigest()
    hashes = [hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names]
    table = pd.DataFrame({"file_name": [*names, "sad/p1_2.png"], "label": ["happy", "sad", "sad", "sad"]}).assign(
        subject="p1",
        split="train",
        is_synthetic=[False, True, True, True],
        source_file="happy/p1.png",
        source_sha256=source_hash,
        accepted=[True, True, True, False],
        reject_reason=[None, None, None, "label not reached"],
        file_sha256=[*hashes, None],
    )
    write_metadata(out, table)
    (out / "run.json").write_text(json.dumps({"vocabulary": ["happy", "sad"], "data": str(sources)}))
    return out


def change(folder: Path, **columns: object) -> None:
    """Rewrite metadata.csv with columns changed; a mapping changes single rows."""
    table = pd.read_csv(folder / "metadata.csv", dtype=object)
    for name, values in columns.items():
        for row, value in values.items() if isinstance(values, dict) else enumerate([values] * len(table)):
            table.loc[row, name] = value
    write_metadata(folder, table)


def test_a_sound_folder_has_no_problems_and_its_sources_are_counted(folder):
    found = verify(folder)
    assert found.problems == ()
    assert (found.rows, found.pictures, found.sources_checked, found.sources_missing) == (4, 3, 3, 0)
    assert len(read_faces(folder)) == 3


def test_sources_that_are_gone_are_counted_and_no_problem(folder, sources):
    sources.rename(sources.parent / "moved")
    found = verify(folder)
    assert found.problems == ()
    assert (found.sources_checked, found.sources_missing) == (0, 3)


def only(problems: list[str], *words: str) -> bool:
    return len(problems) == 1 and all(word in problems[0] for word in words)


def test_missing_file(folder):
    (folder / "sad/p1_0.png").unlink()
    assert only(verify(folder).problems, "sad/p1_0.png", "line 3", "no such file")


def test_file_without_a_row(folder):
    write_bytes(folder / "sad/extra.png", png(1))
    assert only(verify(folder).problems, "sad/extra.png", "not listed")


def test_file_that_does_not_decode(folder):
    (folder / "sad/p1_0.png").write_bytes(png(11)[:45])
    assert only(verify(folder).problems, "sad/p1_0.png", "truncated or damaged")


def test_file_that_changed_after_writing(folder):
    write_bytes(folder / "sad/p1_0.png", png(200))
    assert only(verify(folder).problems, "sad/p1_0.png", "file_sha256")


@pytest.mark.parametrize("written", ["relative", "climbing", "absolute"])
def test_source_that_changed(folder, sources, written):
    place = {"relative": "happy/p1.png", "climbing": "../sources/happy/p1.png", "absolute": sources / "happy/p1.png"}
    change(folder, source_file={1: str(place[written])})
    assert verify(folder).problems == ()
    write_bytes(sources / "happy/p1.png", png(99))
    problems = verify(folder).problems
    assert len(problems) == 3
    assert all("source_sha256" in problem for problem in problems)


def test_row_twice(folder):
    table = pd.read_csv(folder / "metadata.csv", dtype=object)
    write_metadata(folder, pd.concat([table, table.iloc[[1]]]))
    assert only(verify(folder).problems, "line 6", "listed already in line 3")


def test_label_that_is_not_its_folder_and_label_outside_the_vocabulary(folder):
    change(folder, label={1: "happy"})
    assert only(verify(folder).problems, "sad/p1_0.png", '"happy"', '"sad"')
    change(folder, label={1: "angry"})
    assert any("vocabulary" in problem for problem in verify(folder).problems)


def test_synthetic_face_of_a_test_subject_by_its_source(folder):
    change(folder, source_file={1: "sad/p2.png"}, source_sha256={1: None})
    assert only(verify(folder).problems, "sad/p1_0.png", "p2", "test split")


def test_synthetic_face_of_a_test_subject_by_name(folder):
    change(folder, subject={2: "p2"})
    assert only(verify(folder).problems, "sad/p1_1.png", "p2", "test split")


def test_synthetic_face_of_a_person_whose_real_row_here_is_in_test(folder):
    (folder / "run.json").unlink()
    change(folder, split={0: "test"})
    assert len(verify(folder).problems) == 2


def test_expression_of_a_test_subject_counts_too(folder):
    change(folder, exemplar_file={1: "sad/p2.png"})
    assert only(verify(folder).problems, "exemplar", "p2")


def test_face_not_accepted_has_no_file_and_a_reason(folder):
    write_bytes(folder / "sad/p1_2.png", png(1))
    assert only(verify(folder).problems, "sad/p1_2.png", "its file is there")
    (folder / "sad/p1_2.png").unlink()
    change(folder, reject_reason={3: None})
    assert only(verify(folder).problems, "without reject_reason")


def test_names_that_leave_the_folder(folder):
    change(folder, file_name={1: "../sources/happy/p1.png"})
    assert any("leaves" in problem for problem in verify(folder).problems)


def test_folder_without_a_table_and_no_folder_at_all(tmp_path, folder):
    (folder / "metadata.csv").unlink()
    assert only(verify(folder).problems, "metadata.csv")
    with pytest.raises(EmoaugError, match="no folder"):
        verify(tmp_path / "gone")


def test_broken_run_json_is_an_error_that_says_what_to_do(folder):
    (folder / "run.json").write_text("{")
    with pytest.raises(EmoaugError, match=r"run\.json is not JSON"):
        verify(folder)


@pytest.mark.parametrize("column", ["exemplar_file", "second_exemplar_file"])
def test_neither_exemplar_may_be_of_a_test_subject(folder, column):
    change(folder, **{column: {1: "happy/p1.png"}})
    assert verify(folder).problems == ()
    change(folder, **{column: {1: "sad/p2.png"}})
    assert only(verify(folder).problems, "exemplar", "p2", "test split")


def test_an_exemplar_that_changed_or_is_gone_is_found(folder, sources):
    for column, number in (("exemplar", 1), ("second_exemplar", 2)):
        write_bytes(sources / f"happy/p{column}.png", png(50 + number))
        written = hashlib.sha256((sources / f"happy/p{column}.png").read_bytes()).hexdigest()
        change(folder, **{f"{column}_file": {number: f"happy/p{column}.png"}, f"{column}_sha256": {number: written}})
    found = verify(folder)
    assert (found.problems, found.sources_checked, found.sources_missing) == ((), 3, 0)
    (sources / "happy/psecond_exemplar.png").unlink()
    assert (verify(folder).problems, verify(folder).sources_missing) == ((), 1)
    write_bytes(sources / "happy/pexemplar.png", png(60))
    assert only(verify(folder).problems, "sad/p1_0.png", "exemplar happy/pexemplar.png has changed", "exemplar_sha256")


def test_unlabelled_pictures_have_a_folder_of_their_own(folder):
    write_bytes(folder / "unlabelled/x.png", png(77))
    table = pd.read_csv(folder / "metadata.csv", dtype=object)
    row = {"file_name": "unlabelled/x.png", "subject": "p1", "is_synthetic": False, "accepted": True}
    write_metadata(folder, pd.concat([table, pd.DataFrame([row])]))
    assert verify(folder).problems == ()
    change(folder, label={1: None})
    assert "is not the class folder" in verify(folder).problems[0]
