"""A real dataset and a folder of faces made from it, by hand, and judges that say what they are told to."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from augment.folders import FaceTable, write_metadata
from augment.pictures import encode_png, write_bytes
from augment.scoring.reference import Jury
from tests.drawn_dataset import draw_dataset


def two_judges(real: FaceTable) -> Jury:
    """People in turns in two folds; the judges' probabilities of the first class are 0.25 and 0.75."""
    folds = np.array([int(subject.removeprefix("person")) % 2 for subject in real.table["subject"]])

    def judge(first: float):
        return lambda faces: torch.tensor([[first, 1 - first]]).repeat(len(faces), 1)

    return Jury((judge(0.25), judge(0.75)), folds, 0.5, "two")


def make_folder(tmp_path: Path, subjects: int = 12) -> tuple[Path, FaceTable]:
    """For every person a happy face from the neutral one; the last three: blurred, again the same, half a face."""
    real = draw_dataset(tmp_path / "real", subjects, size=64, landmarks=False)
    names, rows = real.table["file_name"].tolist(), []
    for number, source in enumerate(i for i, label in enumerate(real.table["label"]) if label == "neutral"):
        picture = cv2.convertScaleAbs(real.picture(source), alpha=0.9, beta=10)
        cv2.ellipse(picture, (32, 46), (10, 5), 0, 0, 180, (150, 40, 40), 2)
        rows.append((picture, source, '{"happy": 1.0}', number))
    again = rows[2]
    rows[-3:] = [
        (cv2.GaussianBlur(rows[-3][0], (0, 0), 3), *rows[-3][1:]),
        again,
        (np.hstack([rows[-1][0][:, :32], np.zeros((64, 32, 3), np.uint8)]), *rows[-1][1:]),
    ]
    table = []
    for number, (picture, source, condition, _) in enumerate(rows):
        name = f"happy/made{number:02d}.png"
        write_bytes(tmp_path / "made" / name, encode_png(picture))
        subject = real.table["subject"].iat[source]
        table.append(
            {"file_name": name, "label": "happy", "subject": subject, "is_synthetic": True}
            | {"source_file": names[source], "condition": condition, "seed": 2**53 - 1 - number, "remark": "a, b"}
        )
    write_bytes(tmp_path / "made" / "happy" / "real.png", encode_png(real.picture(1)))
    table.append({"file_name": "happy/real.png", "label": "happy", "is_synthetic": False})
    write_metadata(tmp_path / "made", pd.DataFrame(table).astype({"seed": "Int64"}))
    return tmp_path / "made", real
