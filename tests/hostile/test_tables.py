"""Tables, labels, and the run.json beside them."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.expressions import check_class_name, resolve_labels
from augment.folders import read_faces
from augment.pictures import encode_png, write_bytes
from augment.runs import read_run
from augment.verification import verify
from emoaug import EmoaugError
from tests.augment.tiny_translator import draw_face
from tests.hostile.inputs import CELLS, VALUES, cases

NAMES = (
    *("file_name", "path", "label", "subject", "split", "is_synthetic", "accepted", "seed", "condition", "pixels"),
    *("source_file", "source_sha256", "file_sha256", "exemplar_file", "emotion", "Usage", "", "file_name ", "\u202ex"),
)


def two_pictures(root: Path) -> None:
    """Two pictures, a link to a third outside, and a link to the folder above."""
    for name, label in (("happy/a.png", "happy"), ("sad/b.png", "sad")):
        write_bytes(root / name, encode_png(draw_face(label, 1)))
    (root / "happy" / "link.png").symlink_to(root.parent / "secret.png")
    (root / "happy" / "away").symlink_to(root.parent)


def check_table(root: Path) -> None:
    """A folder reads as faces that all lie in it, or not at all; verify names problems, or cannot begin."""
    try:
        faces = read_faces(root)
    except EmoaugError:
        faces = None
    if faces is not None and "pixels" not in faces.table:
        for i in range(len(faces)):
            assert faces.path(i).resolve().is_relative_to(root.resolve())
        for name in faces.vocabulary:
            check_class_name(name)
        assert set(faces.table.label) <= set(faces.vocabulary)
    with suppress(EmoaugError):
        assert all(isinstance(problem, str) for problem in verify(root).problems)


@cases(350)
@given(
    header=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6),
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=6), max_size=5),
    delimiter=st.sampled_from(",;\t"),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    quoted=st.booleans(),
)
def test_tables(folder, header, rows, delimiter, newline, encoding, quoted):
    if not (folder / "happy").exists():
        two_pictures(folder)

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted else text

    text = newline.join(delimiter.join(map(cell, row)) for row in [header, *rows])
    write_bytes(folder / "metadata.csv", text.encode(encoding, errors="replace"))
    check_table(folder)


@cases(150)
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"file_name,label\n", b"\xef\xbb\xbfpath;label\r\n"]))
def test_tables_of_any_bytes(folder, data, start):
    if not (folder / "happy").exists():
        two_pictures(folder)
    write_bytes(folder / "metadata.csv", start + data)
    check_table(folder)


def test_a_million_columns_are_refused_at_once(folder):
    two_pictures(folder)
    (folder / "metadata.csv").write_text(",".join(f"c{i}" for i in range(10**6)) + "\n")
    with pytest.raises(EmoaugError, match="1,000,000 columns"):
        read_faces(folder)


@cases(300)
@given(
    labels=st.lists(CELLS, min_size=1, max_size=6),
    mapping=st.dictionaries(CELLS, CELLS, max_size=3),
    vocabulary=st.one_of(st.none(), st.lists(CELLS, max_size=4)),
)
def test_labels_become_classes_that_can_be_folders_or_an_error(labels, mapping, vocabulary):
    try:
        resolved, classes, _ = resolve_labels(labels, mapping, vocabulary)
    except EmoaugError:
        return
    assert set(resolved) <= set(classes)
    for name in classes:
        check_class_name(name)


@cases(150)
@given(run=st.dictionaries(st.sampled_from(["kind", "data", "vocabulary", "provenance", "settings"]), VALUES))
def test_any_run_json_is_taken_or_refused(folder, run):
    if not (folder / "happy").exists():
        two_pictures(folder)
        table = "file_name,label,source_file,is_synthetic\nhappy/a.png,happy,../../secret.png,True\nsad/b.png,sad,,\n"
        (folder / "metadata.csv").write_text(table)
    (folder / "run.json").write_text(json.dumps(run))
    check_table(folder)
    with suppress(EmoaugError):
        assert isinstance(read_run(folder, "emoaug generate"), dict)
