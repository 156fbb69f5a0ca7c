"""Aligning a whole dataset: find, align and crop every face, on all cores, stoppable at any moment."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from augment.alignment_record import PARTS_FOLDER, Part, aligned_names, still_done
from augment.alignment_work import NO_FACE, Task, make_aligner
from augment.faces import FaceMeasures, write_measures
from augment.folders import FaceTable, write_metadata
from augment.listings import UNLABELLED
from augment.models import FACE_LANDMARKER, find_model
from augment.pictures import contact_sheet, encode_png, read_picture, write_bytes, write_text
from augment.runs import Hold, clear_up, finished_result, locked, remove_temporary_files, write_run
from augment.workers import cores, do_all
from emoaug import EmoaugError, __version__

KIND = "emoaug align"

# Large enough that a part costs little more than its pictures, small enough that a stopped run repeats little.
_PART = 32
_SHEET_COLUMNS = 8


@dataclass(frozen=True)
class AlignSettings:
    """How to align a dataset."""

    size: int = 64
    """Side of the square aligned pictures, pixels, 16 to 2048."""
    crop: Literal["face", "none"] = "face"
    """"face" finds, turns and crops the face; "none" keeps pictures that are cropped already, only resized, those that
    are not square padded with their mirror image, and keeps them also where no face is found."""
    workers: int = 0
    """Processes; 0 for one a core. The result does not depend on it."""
    model: Path | None = None
    """Path of `face_landmarker.task`; by default it is looked for, and downloaded if need be."""


@dataclass(frozen=True)
class AlignSummary:
    """What became of a dataset's pictures."""

    aligned: int
    """Pictures written."""
    no_face: int
    """Pictures rejected because no face was found."""
    unusable: int
    """Files and rows rejected for another reason: unreadable, unlabelled, listed twice."""
    several_faces: int
    """Aligned pictures with more than one face; the largest was taken."""
    unmeasured: int
    """Pictures kept, uncropped, though no face was found; they have no landmarks."""
    padded: int
    """Pictures that were not square and were padded."""
    already_done: bool = False
    """Whether the run was finished before, so that nothing was done now."""

    @property
    def rejected(self) -> int:
        """Pictures, files and rows that were not aligned; `rejected.csv` has each with its reason."""
        return self.no_face + self.unusable

    def __str__(self) -> str:
        reasons = [(self.no_face, NO_FACE), (self.unusable, "unusable")]
        remarks = [
            (self.several_faces, "with several faces, the largest taken"),
            (self.unmeasured, "kept without landmarks"),
            (self.padded, "padded to a square"),
        ]
        text = f"aligned {self.aligned:,} faces"
        if self.rejected:
            named = ", ".join(f"{count:,} {reason}" for count, reason in reasons if count)
            text += f" ({self.rejected:,} rejected: {named})"
        text += "".join(f"; {count:,} {remark}" for count, remark in remarks if count)
        return text + (" (finished before; nothing to do)" if self.already_done else "")


def align_folder(source: FaceTable, out: Path, settings: AlignSettings | None = None) -> AlignSummary:
    """Align every face of a dataset into a new dataset folder.

    Writes `CLASS/NAME.png`, `metadata.csv`, `faces.npz` (see `augment.faces.FaceMeasures`), `rejected.csv`,
    `contact_sheet.png` and `run.json`. The same call again resumes a run that was stopped, and does nothing when
    it is finished. With more than one worker, a script must call this under `if __name__ == "__main__":`, as always
    with Python's processes.

    Args:
        source: the pictures and what is known of them.
        out: folder to write; new, empty, or with the same run in it.
        settings: defaults to `AlignSettings()`.

    Returns:
        What became of the pictures.

    Raises:
        EmoaugError: there are no pictures, a setting is out of range, the model cannot be had, or `out` has something
            else in it or cannot be written.
    """
    settings = settings or AlignSettings()
    if not 16 <= settings.size <= 2048:
        raise EmoaugError(f"size {settings.size}: aligned pictures have a side of 16 to 2048 pixels")
    if settings.crop not in ("face", "none"):
        raise EmoaugError(f'crop "{settings.crop}": allowed are face and none')
    if settings.workers < 0:
        raise EmoaugError(f"workers {settings.workers}: give 1 or more, or 0 for one a core")
    if not len(source):
        raise EmoaugError(f"{source.root}: no pictures to align")
    out = Path(out)
    hashes = _hashes(source)
    identity = _identity(source, hashes, settings)
    finished = _finished(out, identity)
    if finished is not None:
        clear_up(out, PARTS_FOLDER)
        return finished
    folders = [UNLABELLED if label is None else label for label in source.table["label"]]
    names = aligned_names(source.table["file_name"].tolist(), folders)
    model = find_model(FACE_LANDMARKER, settings.model)
    with locked(out) as hold:
        # Asked again, because another process may have begun or finished between the first look and the lock.
        finished = _finished(out, identity)
        if finished is not None:
            return finished
        run = {
            "finished": False,
            "identity": identity,
            # Not the number of workers and not the model's place: the result does not depend on them.
            "settings": {"size": settings.size, "crop": settings.crop, "model_sha256": FACE_LANDMARKER.sha256},
            "versions": {"emoaug": __version__}
            | {name: version(name) for name in ("mediapipe", "opencv-contrib-python")},
            # As seen from the folder: aligned faces are given away, and need not tell whose disk they were made on.
            "provenance": {"data": os.path.relpath(source.root.resolve(), out.resolve())},
            "vocabulary": list(source.vocabulary),
            "notes": list(source.notes),
        }
        write_run(out, KIND, run)
        remove_temporary_files(out)
        parts = _align_parts(source, out, names, settings, model, hold)
        summary = _write_tables(out, source, names, hashes, parts, hold)
        result = {name: count for name, count in asdict(summary).items() if name != "already_done"}
        write_run(out, KIND, run | {"finished": True, "result": result})
    clear_up(out, PARTS_FOLDER)
    return summary


def _align_parts(
    source: FaceTable, out: Path, names: Sequence[str], settings: AlignSettings, model: Path, hold: Hold
) -> list[Part]:
    """Align what is not aligned yet, and give what became of every part of the source."""
    parts = [range(start, min(start + _PART, len(source))) for start in range(0, len(source), _PART)]
    notes = [out / PARTS_FOLDER / f"{number:06d}.npz" for number in range(len(parts))]
    # Workers need no list of what was rejected earlier, which may be long.
    bare = replace(source, rejected=source.rejected.iloc[:0], notes=())
    tasks = [
        Task(
            number,
            bare.select(rows),
            out,
            tuple(names[row] for row in rows),
            settings.size,
            settings.crop == "face",
        )
        for number, rows in enumerate(parts)
        if not still_done(out, notes[number], len(rows))
    ]
    waiting = sum(len(task.targets) for task in tasks)
    rejected = 0
    with tqdm(total=len(source), initial=len(source) - waiting, desc="aligning", unit="face") as bar:

        def noted(task: Task, part: Part) -> None:
            nonlocal rejected
            hold.check()
            write_bytes(notes[task.number], part.to_bytes(), parents=False)
            rejected += sum(outcome["reason"] is not None for outcome in part.outcomes)
            bar.set_postfix(rejected=rejected, refresh=False)
            bar.update(len(task.targets))

        do_all(tasks, settings.workers or cores(), partial(make_aligner, model), noted)
    return [Part.from_file(note) for note in notes]


def _write_tables(
    out: Path, source: FaceTable, names: Sequence[str], hashes: Sequence[str], parts: Sequence[Part], hold: Hold
) -> AlignSummary:
    """Write what describes the pictures: metadata.csv, rejected.csv, faces.npz, contact_sheet.png."""
    outcomes = pd.DataFrame([outcome for part in parts for outcome in part.outcomes])
    kept = outcomes["reason"].isna().to_numpy()
    table = source.table.drop(columns="pixels", errors="ignore").assign(
        source_file=source.table["file_name"], source_sha256=list(hashes), faces_found=outcomes["faces"]
    )
    table = table.assign(file_sha256=outcomes["file_sha256"])
    table = table.assign(file_name=list(names))[kept].reset_index(drop=True)
    refused = pd.DataFrame({"file_name": source.table["file_name"], "reason": outcomes["reason"]})[~kept]
    rejected = pd.concat([source.rejected[["file_name", "reason"]], refused], ignore_index=True)

    landmarks, blendshapes, pose = (
        np.concatenate([getattr(part.measures, name) for part in parts])[kept]
        for name in ("landmarks", "blendshapes", "pose")
    )
    aligned = table["file_name"].tolist()
    hold.check(aligned)
    write_measures(out, aligned, FaceMeasures(landmarks, blendshapes, parts[0].measures.blendshape_names, pose))
    write_text(out / "rejected.csv", rejected.to_csv(index=False, lineterminator="\n"))
    groups = {label: table["file_name"][table["label"] == label] for label in source.vocabulary}
    if table["label"].isna().any():
        groups[UNLABELLED] = table["file_name"][table["label"].isna()]
    rows = [[read_picture(out / name) for name in group[:_SHEET_COLUMNS]] for group in groups.values()]
    write_bytes(out / "contact_sheet.png", encode_png(contact_sheet(rows, list(groups), [])))
    write_metadata(out, table)
    no_face = int((outcomes["reason"] == NO_FACE).sum())
    return AlignSummary(
        aligned=len(table),
        no_face=no_face,
        unusable=len(rejected) - no_face,
        several_faces=int((table["faces_found"] > 1).sum()),
        unmeasured=int((table["faces_found"] == 0).sum()),
        padded=int(outcomes["padded"][kept].sum()),
    )


def _hashes(source: FaceTable) -> list[str]:
    """Hash every source file; an unreadable one, whose row will be rejected, gets an empty text."""

    def digest(row: int) -> str:
        try:
            return source.sha256(row)
        except OSError:
            return ""

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(digest, range(len(source))))


def _identity(source: FaceTable, hashes: Sequence[str], settings: AlignSettings) -> dict[str, Any]:
    """Everything that decides what the files of a run are, as JSON values."""
    table = source.table.drop(columns="pixels", errors="ignore").assign(source_sha256=list(hashes))
    described = "\0".join([table.to_csv(index=False), source.rejected.to_csv(index=False)])
    return {
        "size": settings.size,
        "crop": settings.crop,
        "model": FACE_LANDMARKER.sha256,
        "vocabulary": list(source.vocabulary),
        "part": _PART,
        "source": hashlib.sha256(described.encode()).hexdigest(),
    }


def _finished(out: Path, identity: dict[str, Any]) -> AlignSummary | None:
    """The summary of a folder in which this very run is finished; None if there is work to do."""
    return finished_result(out, KIND, identity, lambda result: AlignSummary(**result, already_done=True))
