"""Measured expressions are those of the labelled faces that may be learnt from, without what faces at rest score."""

import numpy as np
import pandas as pd
import pytest
import torch

from augment.action_units import BLENDSHAPE_NAMES
from augment.faces import FaceMeasures, read_measures, write_measures
from augment.folders import write_metadata
from augment.pictures import encode_png, write_bytes
from augment.simulation.mannerisms import Mannerisms
from augment.simulation.measured import MeasuredExpressions, complete
from emoaug import EmoaugError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def measured_folder(folder, split=None) -> None:
    """Ten happy and ten sad faces, of which one sad one was not found."""
    rows, vectors = [], np.zeros((20, 52), np.float32)
    for i in range(20):
        label = "happy" if i < 10 else "sad"
        name = f"{label}/{i}.png"
        write_bytes(folder / name, encode_png(np.full((8, 8, 3), i, np.uint8)))
        rows.append({"file_name": name, "label": label, "split": split[i] if split else None})
        shape = "mouthSmileLeft" if i < 10 else "mouthFrownLeft"
        vectors[i, BLENDSHAPE_NAMES.index(shape)] = 0.5 + 0.01 * i
        vectors[i, 0] = 0.9  # _neutral, which is no movement
    vectors[19] = np.nan
    write_metadata(folder, pd.DataFrame(rows))
    points = np.zeros((20, 478, 3), np.float32)
    measures = FaceMeasures(points, vectors, np.array(BLENDSHAPE_NAMES), np.zeros((20, 3), np.float32))
    write_measures(folder, [row["file_name"] for row in rows], measures)


def test_measured_faces_give_their_class_its_movements_and_no_others(tmp_path):
    measured_folder(tmp_path)
    source = MeasuredExpressions.from_folder(tmp_path)
    assert source.labels == ("happy", "sad")
    assert len(source.vectors["sad"]) == 9
    for i in range(40):
        face = source.draw("happy", seeded(i), 1.0, Mannerisms())
        assert set(face) == {"mouthSmileLeft", "cheekSquintLeft"}
        assert 0.25 < face["mouthSmileLeft"] < 1
    without_spread = source.draw("sad", seeded(3), 0.0, Mannerisms())
    assert any(
        np.isclose(without_spread["mouthFrownLeft"], row.max(), atol=1e-4) for row in source.vectors["sad"][:, 1:]
    )


def test_what_neutral_faces_score_is_no_movement(tmp_path):
    measured_folder(tmp_path)
    (tmp_path / "happy").rename(tmp_path / "neutral")
    table = (tmp_path / "metadata.csv").read_text().replace("happy", "neutral")
    (tmp_path / "metadata.csv").write_text(table)
    measures = read_measures(tmp_path, [f"happy/{i}.png" for i in range(10)] + [f"sad/{i}.png" for i in range(10, 20)])
    measures.blendshapes[:, BLENDSHAPE_NAMES.index("mouthPucker")] = 0.2
    names = [f"neutral/{i}.png" for i in range(10)] + [f"sad/{i}.png" for i in range(10, 20)]
    write_measures(tmp_path, names, measures)
    source = MeasuredExpressions.from_folder(tmp_path)
    # Neutral faces score 0.5 to 0.59 for a smile and all score 0.2 for a pucker: neither is a movement.
    for i in range(20):
        assert max(source.draw("neutral", seeded(i), 1.0, Mannerisms()).values(), default=0) < 0.15
        assert set(source.draw("sad", seeded(i), 1.0, Mannerisms())) == {"mouthFrownLeft"}


def test_faces_of_the_test_split_are_not_drawn_from(tmp_path):
    measured_folder(tmp_path, ["train"] * 9 + ["test"] + ["train"] * 10)
    rows = MeasuredExpressions.from_folder(tmp_path).vectors["happy"]
    assert len(rows) == 9
    assert not np.isclose(rows.max(1), 0.59).any()


def test_a_label_that_was_not_measured_and_a_folder_without_measures_are_named(tmp_path):
    measured_folder(tmp_path)
    with pytest.raises(EmoaugError, match="happy, sad"):
        MeasuredExpressions.from_folder(tmp_path).draw("angry", seeded(0), 1.0, Mannerisms())
    (tmp_path / "faces.npz").unlink()
    with pytest.raises(EmoaugError, match="emoaug align"):
        MeasuredExpressions.from_folder(tmp_path)


def test_what_mediapipe_does_not_measure_comes_with_what_it_does():
    assert complete({"mouthSmileLeft": 0.8})["cheekSquintLeft"] == pytest.approx(0.4)
    assert complete({"cheekSquintLeft": 0.9, "mouthSmileLeft": 0.8})["cheekSquintLeft"] == 0.9
    assert complete({"mouthUpperUpRight": 0.8, "browDownRight": 0.5})["noseSneerRight"] == pytest.approx(0.6)
    assert complete({"mouthUpperUpRight": 0.8})["noseSneerRight"] == 0
