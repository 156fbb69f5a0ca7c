"""The part of aligning a dataset that worker processes do: read, find, align, write, picture by picture."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
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
from augment.workers import worker_pool
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
    targets: tuple[Path, ...]
    """File to write for each picture."""
    size: int
    """Side of the aligned pictures, pixels."""
    crop: bool
    """Whether to find, turn and crop the face; else the whole picture is resized, padded to a square."""
    model: Path
    """Checked path of `face_landmarker.task`."""


def run_tasks(tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, Part]]:
    """Do tasks, in any order, in this process (one worker or one task) or in new ones.

    Yields:
        Each task with what became of its pictures, which are on disk by then.

    Raises:
        OSError: a picture cannot be written.
        BrokenProcessPool: a worker was killed.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        landmarker = FaceLandmarker(tasks[0].model) if tasks else None
        for task in tasks:
            yield task, align_part(task, landmarker)
        return
    pool = worker_pool(workers, _start_worker, (tasks[0].model,))
    try:
        ahead = iter(tasks)
        # A few tasks in flight for each worker: all at once would be the whole table in pickled pieces.
        running: dict[Future[Part], Task] = {}
        while True:
            for task in islice(ahead, 3 * workers - len(running)):
                running[pool.submit(_work, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_landmarker: FaceLandmarker | None = None


def _start_worker(model: Path) -> None:
    """Load the model once a process."""
    global _landmarker
    cv2.setNumThreads(1)
    _landmarker = FaceLandmarker(model)


def _work(task: Task) -> Part:
    return align_part(task, _landmarker)


def align_part(task: Task, landmarker: FaceLandmarker | None) -> Part:
    """Align the pictures of a task and write them.

    Returns:
        What became of them, one row a picture.

    Raises:
        OSError: a picture cannot be written.
    """
    assert landmarker is not None
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
    """Align one picture, write it, note its measures, and return its outcome (see `Part`)."""
    outcome: dict[str, Any] = {"reason": None, "faces": 0, "padded": False}
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
    write_bytes(task.targets[row], encode_png(aligned, grey=is_grey(picture)))
    if found is not None:
        measures.landmarks[row] = transform_landmarks(found.landmarks, matrix, task.size)
        measures.blendshapes[row] = found.blendshapes
        measures.pose[row] = found.pose
    return outcome
