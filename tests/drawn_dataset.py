"""An aligned dataset of drawn faces: nobody's, and quick to make."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from augment.action_units import BLENDSHAPE_NAMES
from augment.faces import EYES, PHILTRUM, FaceMeasures, read_measures, write_measures
from augment.folders import FaceTable, read_faces, write_metadata
from augment.pictures import encode_png, write_bytes
from tests.augment.drawn_face import draw_face


def draw_dataset(folder: Path, subjects: int = 6, size: int = 32, landmarks: bool = True) -> FaceTable:
    """Each person neutral and happy, with made-up landmarks whose mouth rises with the smile, and made-up scores."""
    generator, rows = np.random.default_rng(0), []
    points = np.zeros((2 * subjects, 478, 3), np.float32)
    template = generator.uniform(-0.6, 0.6, (478, 3))
    for subject in range(subjects):
        # A texture of each person's own: without it all drawings are near-duplicates of one another.
        texture = cv2.resize(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8), (size, size))
        for smile, label in enumerate(("neutral", "happy")):
            name = f"{label}/person{subject:02d}.png"
            picture = draw_face(size, smile=float(smile), skin=120 + 12 * subject)
            write_bytes(folder / name, encode_png(cv2.addWeighted(picture, 0.5, texture, 0.5, 0)))
            points[len(rows)] = template
            points[len(rows), :100, 1] -= 0.1 * smile
            rows.append({"file_name": name, "label": label, "subject": f"person{subject:02d}"})
    write_metadata(folder, pd.DataFrame(rows))
    if landmarks:
        scores = draw_scores([row["label"] for row in rows])
        pose = np.zeros((len(rows), 3), np.float32)
        measures = FaceMeasures(points, scores, np.array(BLENDSHAPE_NAMES), pose)
        write_measures(folder, [row["file_name"] for row in rows], measures)
    return read_faces(folder)


def draw_scores(labels: list[str]) -> np.ndarray:
    """Blendshape scores (N, 52): smiles of happy faces, and jaws and brows of anybody."""
    generator = np.random.default_rng(1)
    scores = np.zeros((len(labels), len(BLENDSHAPE_NAMES)), np.float32)
    for row, label in enumerate(labels):
        shown = {
            "mouthSmileLeft": 0.1 + 0.7 * (label == "happy") + generator.uniform(-0.1, 0.1),
            "jawOpen": generator.uniform(0, 0.5),
            "browInnerUp": generator.uniform(0, 0.5),
        }
        for name, value in shown.items():
            scores[row, BLENDSHAPE_NAMES.index(name)] = value
    smile = BLENDSHAPE_NAMES.index("mouthSmileLeft")
    scores[:, smile + 1] = scores[:, smile]
    return scores


def put_features_in_place(faces: FaceTable) -> None:
    """Move the made-up landmarks of eyes and philtrum to where `emoaug align` would have put them."""
    names = list(faces.table.file_name)
    measures = read_measures(faces.root, names)
    assert measures is not None
    for rows, place in (([33, 133], EYES[0]), ([362, 263], EYES[1]), ([2, 0], PHILTRUM)):
        measures.landmarks[:, rows, :2] = 2 * np.array(place) - 1
    write_measures(faces.root, names, measures)
