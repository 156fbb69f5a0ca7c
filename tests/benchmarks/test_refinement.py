"""Figures of refined faces, where what refining did is known: it took away a tint that gave the raw ones away."""

from pathlib import Path

import numpy as np
import pytest

from augment.folders import FaceTable, load_faces, read_faces, write_metadata
from augment.models import MODELS_VARIABLE
from augment.pictures import encode_png, write_bytes
from benchmarks.refinement import Options, halves, measure
from tests.augment.drawn_face import model_path
from tests.drawn_dataset import draw_dataset


def write_people(faces: FaceTable, folder: Path, remainder: int, tint: int = 0) -> Path:
    """Every second person of a dataset as a dataset of its own, with more blue and less red."""
    number = faces.table.subject.str.removeprefix("person").astype(int)
    chosen = faces.select((number % 2 == remainder).to_numpy())
    shift = np.array([-tint, 0, tint])[:, None, None]
    pixels = np.clip(load_faces(chosen, None).astype(int) + shift, 0, 255).astype(np.uint8)
    for name, picture in zip(chosen.table.file_name, pixels, strict=True):
        write_bytes(folder / name, encode_png(np.ascontiguousarray(picture.transpose(1, 2, 0))))
    table = chosen.table[["file_name", "label", "subject"]]
    write_metadata(folder, table.assign(source_file=table.file_name))
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn"), subjects=11, size=32)


def test_refining_that_takes_the_tint_away_is_seen_in_every_figure(faces, tmp_path, monkeypatch):
    monkeypatch.setenv(MODELS_VARIABLE, str(model_path().parent))
    folders = [
        write_people(faces, tmp_path / "raw", 0, tint=60),
        write_people(faces, tmp_path / "refined", 0),
        write_people(faces, tmp_path / "real", 1),
    ]
    found = measure(Options(*folders, tmp_path / "out", steps=30))
    assert (found["faces"], found["real_faces"]) == (12, 10)
    assert found["auc_raw"] > 0.95
    assert found["auc_refined"] < found["auc_raw"]
    assert found["kernel_distance_refined"] < found["kernel_distance_raw"] / 2
    assert (tmp_path / "out" / "sheet.png").exists()


def test_no_person_is_in_both_halves_and_unknown_people_are_their_own(faces):
    one, other = halves(faces, 3)
    assert (one ^ other).all()
    assert not set(faces.table.subject[one]) & set(faces.table.subject[other])
    unnamed = faces.select(np.arange(len(faces)))
    unnamed.table["subject"] = None
    assert abs(int(halves(unnamed, 3)[0].sum()) - len(faces) / 2) <= 1
    assert len(read_faces(faces.root)) == 22
