"""Score the made faces of a dataset folder, and write the scores into its metadata.csv."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from augment.folders import FaceTable, load_faces
from augment.landmarker import FaceLandmarker
from augment.pictures import write_text
from augment.runs import append_line, explained_errors, locked, read_lines
from augment.scoring.figures import MOST_COMPARED, Figure, SetFigures, set_figures
from augment.scoring.likeness import details
from augment.scoring.picture import describe
from augment.scoring.reference import SCORES, Asked, Jury, Reference, pictures_of
from augment.scoring.rows import MadeFaces
from emoaug import EmoaugError

RESULT = "scores.json"
"""What was found of the folder as a whole."""
REAL_SCORES = "real_scores.csv"
"""The same scores of real faces, which filters compare with."""
_RECORD = ".scores.jsonl"
_CHUNK = 64


@dataclass(frozen=True)
class ScoreSettings:
    """What to measure."""

    landmarks: bool = True
    """Look for every face with MediaPipe: was it found, and did it move as asked? Takes longer than all the rest."""
    real_faces: int = 1000
    """Real faces that are scored for comparison, at most."""

    def __post_init__(self) -> None:
        if self.real_faces < 20:
            raise EmoaugError(f"real_faces is {self.real_faces}; at least 20 are needed to compare with")


@dataclass(frozen=True, eq=False)
class FolderScores:
    """What is known of a folder's made faces."""

    made: MadeFaces
    scores: pd.DataFrame
    """One row a made face, with the columns of `SCORES` and, where there are any, names of the nearest pictures."""
    real: pd.DataFrame
    """Scores of real faces, as from `Reference.real_scores`."""
    judge_accuracy: float
    """Mean over the classes of the share of real faces that a judge who has not seen them gets right."""
    figures: SetFigures | None
    """Figures of the whole set; None where there are too few faces."""
    already_done: bool
    """Nothing had to be done."""


def score_folder(folder: Path, real: FaceTable, jury: Jury, settings: ScoreSettings | None = None) -> FolderScores:
    """Score every made face of a folder. A stopped call goes on; one that is done does nothing.

    The column `scores` of metadata.csv gets a JSON object of every made face, null where there is nothing to compare
    with; `scores.json` has the figures of the set, and `real_scores.csv` the scores of real faces.

    Args:
        folder: from `generate`; pictures that a filter set aside are scored too.
        real: the real faces that it was made from, those for training only.
        jury: judges of the labels, in the order of the real faces' vocabulary.
        settings: what to measure.

    Raises:
        EmoaugError: the folder has no made faces, or is in use, or a picture cannot be read.
    """
    settings = settings or ScoreSettings()
    made = MadeFaces(folder)
    size = made.size()
    pixels = load_faces(real, size)
    identity = _identity(made, real, pixels, jury, settings)
    before = _finished(made, identity)
    if before is not None:
        return before
    with locked(made.folder), explained_errors(made.folder):
        reference = Reference(real, pixels, jury, FaceLandmarker() if settings.landmarks else None, settings.real_faces)
        asked = _asked(made, real, jury)
        record = made.folder / _RECORD
        rows = _score_rows(made, reference, asked, record, identity)
        scores = pd.DataFrame([rows[i] for i in range(len(made))])
        fine, descriptions, described = _all_pictures(made, size)
        distance, place = reference.nearest_siblings(fine, made.column("source_file"), made.asked())
        names = made.column("file_name")
        scores["nearest_sibling"] = [_rounded(value) for value in distance]
        scores["nearest_sibling_file"] = [names[p] if p >= 0 else None for p in place]
        of_real = reference.real_scores()
        figures = set_figures(reference, descriptions, asked.source[described])
        result = {
            "identity": identity,
            "made_faces": len(made),
            "real_faces": len(real),
            "judge_accuracy": jury.accuracy,
            "figures": None if figures is None else asdict(figures),
        }
        write_text(made.folder / REAL_SCORES, of_real.to_csv(index=False, lineterminator="\n"))
        made.write(scores=[_cell(row) for row in scores.to_dict("records")])
        write_text(made.folder / RESULT, json.dumps(result, indent=1) + "\n")
        record.unlink(missing_ok=True)
    return FolderScores(made, _typed(scores), of_real, jury.accuracy, figures, already_done=False)


def _score_rows(
    made: MadeFaces, reference: Reference, asked: Asked, record: Path, identity: str
) -> dict[int, dict[str, Any]]:
    """Score what has not been scored yet; what each row got."""
    done: dict[int, dict[str, Any]] = {}
    for line in read_lines(record):
        if isinstance(line, dict) and line.get("identity") == identity:
            done.update({int(row): scores for row, scores in line["rows"].items()})
    waiting = np.array([i for i in range(len(made)) if i not in done], dtype=np.int64)
    with tqdm(total=len(made), initial=len(done), desc="scored", unit="face") as bar:
        for start in range(0, len(waiting), _CHUNK):
            part = waiting[start : start + _CHUNK]
            scores = reference.score(made.pixels(part, reference.size), asked.select(part)).to_dict("records")
            chunk = {int(i): _cell(row) for i, row in zip(part, scores, strict=True)}
            append_line(record, {"identity": identity, "rows": chunk})
            done.update(chunk)
            bar.update(len(part))
    return done


def _asked(made: MadeFaces, real: FaceTable, jury: Jury) -> Asked:
    """What the rows of metadata.csv say that the faces should be."""
    place = {str(name): i for i, name in enumerate(real.table["file_name"])}
    first_of = {subject: i for i, subject in reversed(list(enumerate(real.table["subject"]))) if subject is not None}
    classes = {name: k for k, name in enumerate(real.vocabulary)}
    source = np.array([place.get(name, -1) for name in made.column("source_file")], np.int64)
    # The label, and the look that goes with it, are the exemplar's where there is one: its judge has not seen these.
    shown = zip(made.column("exemplar_file"), source, strict=True)
    origin = [place.get(exemplar, s) if isinstance(exemplar, str) else s for exemplar, s in shown]
    known = [
        s if s >= 0 else first_of.get(subject, -1) for s, subject in zip(origin, made.column("subject"), strict=True)
    ]
    labels = made.column("label")
    return Asked(
        wanted=np.array([classes.get(label, -1) for label in labels], np.int64),
        source=source,
        fold=np.array([jury.folds[i] if i >= 0 else -1 for i in known], np.int64),
        strength=np.array([_strength(t, label) for t, label in zip(made.column("condition"), labels, strict=True)]),
        same_person=source >= 0,
        itself=np.full(len(made), -1, np.int64),
    )


def _strength(condition: str, label: str) -> float:
    """How strong a condition, as in metadata.csv, asks for its class; 1 where it does not say."""
    try:
        value = json.loads(condition).get(label, 1.0)
    except (ValueError, AttributeError):
        return 1.0
    return float(value) if isinstance(value, int | float) else 1.0


def _all_pictures(made: MadeFaces, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fine details of all made faces, descriptions of a sample of them, and which these are."""
    described = np.sort(np.random.default_rng(0).permutation(len(made))[: 4 * MOST_COMPARED])
    chosen, fine, descriptions = set(described.tolist()), [], []
    for start in range(0, len(made), _CHUNK):
        part = np.arange(start, min(start + _CHUNK, len(made)))
        pictures = pictures_of(made.pixels(part, size))
        fine.append(details(pictures))
        descriptions += [describe(picture) for i, picture in zip(part.tolist(), pictures, strict=True) if i in chosen]
    return np.concatenate(fine), np.stack(descriptions), described


def _finished(made: MadeFaces, identity: str) -> FolderScores | None:
    """What an earlier, same call found; None if there is work to do."""
    try:
        result = json.loads((made.folder / RESULT).read_text(encoding="utf-8"))
        real = pd.read_csv(made.folder / REAL_SCORES, dtype={"file_name": str, "label": str}, keep_default_na=True)
    except (OSError, ValueError):
        return None
    scores = made.scores()
    if not isinstance(result, dict) or result.get("identity") != identity or scores is None:
        return None
    figures = result["figures"]
    if figures is not None:
        sides = {side: {n: Figure(**f) for n, f in figures[side].items()} for side in ("made", "real")}
        figures = SetFigures(sides["made"], sides["real"], tuple(figures["faces"]))
    return FolderScores(made, _typed(scores), real, float(result["judge_accuracy"]), figures, already_done=True)


def _identity(made: MadeFaces, real: FaceTable, pixels: np.ndarray, jury: Jury, settings: ScoreSettings) -> str:
    """A hash of everything that decides the scores."""
    digest = hashlib.sha256(pixels.tobytes())
    digest.update(real.table[["file_name", "label", "subject"]].to_json().encode())
    digest.update(json.dumps([jury.fingerprint, jury.folds.tolist(), list(real.vocabulary), asdict(settings)]).encode())
    for i in range(len(made)):
        digest.update(hashlib.sha256(made.path(i).read_bytes()).digest())
    for name in ("file_name", "label", "source_file", "condition", "exemplar_file", "subject"):
        digest.update("\n".join(made.column(name)).encode() + b"\0")
    return digest.hexdigest()


def _cell(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """Scores as JSON values."""
    return {str(name): _rounded(value) for name, value in row.items()}


def _rounded(value: Any) -> Any:
    """A number of JSON with five digits behind the point, None where there is none; a text as it is."""
    if value is None or isinstance(value, str):
        return value
    return round(float(value), 5) if math.isfinite(value) else None


def _typed(scores: pd.DataFrame) -> pd.DataFrame:
    """Numbers as floats, NaN where missing."""
    scores = scores.reindex(columns=[*SCORES, "nearest_real_file", "nearest_sibling_file"])
    return scores.astype({name: float for name in SCORES})
