"""The part of aligning a dataset that worker processes do: read, find, align, write, picture by picture."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from augment.alignment_record import Part
from augment.faces import (
    BLENDSHAPES,
    LANDMARKS,
    FaceMeasures,
    align_matrix,
    align_picture,
    centre_matrix,
    transform_landmarks,
)
from augment.folders import FaceTable
from augment.landmarker import FaceLandmarker
from augment.pictures import encode_png, is_grey, write_bytes
from emoaug import EmoaugError

NO_FACE = "no face found"
"""Reason in `rejected.csv` of a picture that was read but shows no face."""


@dataclass(frozen=True)
class Task:
    """Some pictures to align, and all that a worker needs to know for it."""

    number: int
    """Which part of the source this is, from 0."""
    source: FaceTable
    """The pictures."""
    out: Path
    """Folder to write to."""
    targets: tuple[str, ...]
    """Name of each aligned picture in it."""
    size: int
    """Side of the aligned pictures, pixels."""
    crop: bool
    """Whether to find, turn and crop the face; else the whole picture is resized, padded to a square."""


def make_aligner(model: Path) -> Callable[[Task], Part]:
    """Load the model, once a process, and give what aligns a task's pictures with it."""
    landmarker = FaceLandmarker(model)
    return lambda task: align_part(task, landmarker)


def align_part(task: Task, landmarker: FaceLandmarker) -> Part:
    """Align the pictures of a task and write them.

    Returns:
        What became of them, one row a picture.

    Raises:
        OSError: a picture cannot be written.
    """
    count = len(task.targets)
    measures = FaceMeasures(
        np.full((count, LANDMARKS, 3), np.nan, np.float32),
        np.full((count, BLENDSHAPES), np.nan, np.float32),
        np.array(landmarker.blendshape_names),
        np.full((count, 3), np.nan, np.float32),
    )
    outcomes = tuple(_align_one(task, row, landmarker, measures) for row in range(count))
    return Part(outcomes, measures)


def _align_one(task: Task, row: int, landmarker: FaceLandmarker, measures: FaceMeasures) -> dict[str, Any]:
    """Align one picture, write it, note its measures, and return its outcome (see `Part`).

    Of the outcome, `reason` says why the picture was rejected, `faces` how many were found, and `padded` whether it was
    padded to a square.
    """
    outcome: dict[str, Any] = {"reason": None, "faces": 0, "padded": False, "file_sha256": None}
    try:
        picture = task.source.picture(row)
        found = landmarker.detect(picture)
        outcome["faces"] = found.faces if found else 0
        if found is None and task.crop:
            return outcome | {"reason": NO_FACE}
        height, width = picture.shape[:2]
        if found is not None and task.crop:
            matrix = align_matrix(found.landmarks, task.size)
        else:
            matrix = centre_matrix(height, width, task.size)
            outcome["padded"] = height != width
        aligned = align_picture(picture, matrix, task.size)
    except (EmoaugError, ValueError, cv2.error) as error:
        # The file's name stands in a column of its own.
        reason = str(error).removeprefix(f"{task.source.path(row)}: ")
        return outcome | {"reason": " ".join(reason.split())}
    data = encode_png(aligned, grey=is_grey(picture))
    write_bytes(task.out / task.targets[row], data, parents=False)
    outcome |= {"file_name": task.targets[row], "file_sha256": hashlib.sha256(data).hexdigest()}
    if found is not None:
        measures.landmarks[row] = transform_landmarks(found.landmarks, matrix, task.size)
        measures.blendshapes[row] = found.blendshapes
        measures.pose[row] = found.pose
    return outcome
