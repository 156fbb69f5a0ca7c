"""Damages planted into a folder that `generate` really wrote; `verify` names each, and only what is damaged."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from augment.folders import read_faces, write_metadata
from augment.generation import GenerateSettings, generate
from augment.pictures import encode_png, read_picture
from augment.plans import PlanSettings, build_plan
from augment.verification import verify
from tests.augment.tiny_translator import EXPRESSIONS, draw_dataset, tiny_translator


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A dataset whose person4 is in the test split, and a generated folder beside it."""
    root = tmp_path_factory.mktemp("verify")
    draw_dataset(root / "faces", {"happy": 6, "neutral": 5, "sad": 4})
    table = pd.read_csv(root / "faces" / "metadata.csv", dtype=object)
    write_metadata(root / "faces", table.assign(split=["test" if s == "person4" else "train" for s in table.subject]))
    faces = read_faces(root / "faces")
    plan = build_plan(faces, EXPRESSIONS, PlanSettings("per-class", count=4))
    settings = GenerateSettings(device="cpu", threads=1, include_real="copy")
    generate(faces, tiny_translator(), plan, root / "bigger", settings, {"data": str(root / "faces")})
    return root


@pytest.fixture
def folder(written, tmp_path) -> Path:
    """A copy of the generated folder, to be damaged."""
    shutil.copytree(written / "bigger", tmp_path / "bigger")
    return tmp_path / "bigger"


def synthetic(folder: Path, number: int = 0) -> str:
    table = pd.read_csv(folder / "metadata.csv", dtype=object)
    return table.file_name[table.is_synthetic == "True"].iloc[number]


def change(folder: Path, column: str, value: object) -> None:
    """Change the row of the first synthetic face."""
    table = pd.read_csv(folder / "metadata.csv", dtype=object)
    table.loc[table.file_name == synthetic(folder), column] = value
    write_metadata(folder, table)


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / synthetic(folder)).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / synthetic(folder)).write_bytes(data)


def cut_short(folder: Path) -> None:
    data = (folder / synthetic(folder)).read_bytes()
    (folder / synthetic(folder)).write_bytes(data[: len(data) // 2])


def encode_again(folder: Path) -> None:
    """The picture of another face: it decodes, and is not what was written."""
    (folder / synthetic(folder)).write_bytes(encode_png(read_picture(folder / synthetic(folder, 1))))


def repeat_a_row(folder: Path) -> None:
    lines = (folder / "metadata.csv").read_text().splitlines(keepends=True)
    (folder / "metadata.csv").write_text("".join([*lines, lines[-1]]))


def cut_a_row_short(folder: Path) -> None:
    text = (folder / "metadata.csv").read_text()
    (folder / "metadata.csv").write_text(text[: text.rstrip().rfind(",")])


def exchange_labels(folder: Path) -> None:
    change(folder, "label", "sad" if synthetic(folder).startswith("happy") else "happy")


def replace_by_a_link(folder: Path) -> None:
    (folder / synthetic(folder)).unlink()
    (folder / synthetic(folder)).symlink_to(folder.parent / "elsewhere.png")


def unfinish(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"finished": False}))


def face_for_test(folder: Path) -> str:
    """A source that is in the test split of the dataset."""
    return next(iter(pd.read_csv(dataset(folder) / "metadata.csv").query("split == 'test'").file_name))


def dataset(folder: Path) -> Path:
    return Path(json.loads((folder / "run.json").read_text())["provenance"]["data"])


DAMAGES = {
    "a flipped byte": (flip_a_byte, ["damaged", "file_sha256"]),
    "a file cut short": (cut_short, ["damaged"]),
    "another picture": (encode_again, ["file_sha256"]),
    "a missing file": (lambda f: (f / synthetic(f)).unlink(), ["no such file"]),
    "an extra file": (lambda f: shutil.copy(f / synthetic(f), f / "happy" / "extra.png"), ["not listed"]),
    "a wrong hash": (lambda f: change(f, "file_sha256", "0" * 64), ["file_sha256"]),
    "a wrong hash of the source": (lambda f: change(f, "source_sha256", "0" * 64), ["source_sha256"]),
    "a label outside the vocabulary": (lambda f: change(f, "label", "angry"), ["vocabulary"]),
    "another label than the folder": (exchange_labels, ["is not the class folder"]),
    "a row twice": (repeat_a_row, ["listed already"]),
    "a row cut short": (cut_a_row_short, ["cells where the header has"]),
    "a lost row": (
        lambda f: write_metadata(f, pd.read_csv(f / "metadata.csv", dtype=object).iloc[1:]),
        ["not listed"],
    ),
    "a test face as source": (lambda f: change(f, "source_file", face_for_test(f)), ["test split"]),
    "a test face as exemplar": (lambda f: change(f, "exemplar_file", face_for_test(f)), ["test split"]),
    "a test person": (lambda f: change(f, "subject", "person4"), ["test split"]),
    "a name that leaves the folder": (lambda f: change(f, "file_name", "../faces/happy/face000.png"), ["leaves"]),
    "a link out of the folder": (replace_by_a_link, ["link"]),
    "a condition that is not a number": (lambda f: change(f, "condition", '{"happy": NaN}'), ["condition"]),
    "a rejected face with its file": (lambda f: change(f, "accepted", "False"), ["not accepted"]),
    "a run that is not finished": (unfinish, ["not finished"]),
    "no table": (lambda f: (f / "metadata.csv").unlink(), ["metadata.csv"]),
}


def test_a_sound_folder_has_no_problems(folder):
    assert verify(folder).problems == ()


@pytest.mark.parametrize("name", DAMAGES)
def test_every_planted_damage_is_found(folder, name):
    plant, words = DAMAGES[name]
    plant(folder)
    problems = verify(folder).problems
    assert any(word in problem for problem in problems for word in words), problems
    assert len(problems) <= 3, problems
