"""What the scores of a folder say, for a person at a terminal, and a sheet of its best, worst and rejected faces."""

from __future__ import annotations

import numpy as np
import pandas as pd

from augment.pictures import contact_sheet, encode_png, fit, read_picture, write_bytes
from augment.quality import FIGURES
from augment.scoring.folder import FolderScores
from augment.scoring.reference import SCORES

SHEET = "contact_sheet_scores.png"
COLUMNS = 10
"""Faces in each row of the sheet."""

FEW = 50
_HIGH_IS_WORSE = ("colour_noise",)
# What a face can be too bad in, or too like another picture; the parts of `movement` are in it.
_JUDGED = tuple(name for name in SCORES if name not in ("movement_upper", "movement_lower"))


def class_table(found: FolderScores) -> pd.DataFrame:
    """Mean scores by class, of made faces and of real ones, with their number first."""
    labels = np.array(found.made.column("label"))
    parts = [(found.scores, labels, "made"), (found.real, found.real["label"].to_numpy(), "real")]
    rows, names = [], []
    for label in dict.fromkeys([*labels, *found.real["label"]]):
        for scores, own, kind in parts:
            chosen = own == label
            if chosen.any():
                rows.append({"faces": int(chosen.sum())} | scores.loc[chosen, list(SCORES)].mean().to_dict())
                names.append(f"{label}, {kind}")
    table = pd.DataFrame(rows, index=names)
    return table.dropna(axis=1, how="all")


def summary(found: FolderScores) -> str:
    """The tables and remarks that `emoaug score` prints."""
    table = class_table(found).round(3)
    # Names one below the other keep the columns narrow.
    table.columns = pd.Index([name.replace("_", " ") for name in table.columns])
    lines = [*table.T.to_string(na_rep="-").splitlines(), ""]
    lines.append(f"the judge is right on {found.judge_accuracy:.1%} of real faces new to it (mean of the classes)")
    lines += _figure_lines(found)
    if len(found.real) < 2 * FEW:
        lines.append(
            f"only {len(found.real)} real faces to compare with, near-duplicates aside: each rule of a filter may cost "
            f"up to 1 in {len(found.real) + 1} good faces"
        )
    if found.scores["identity"].isna().all():
        lines.append("identity and movement were not scored: no made face names a source that is among the real faces")
    where = found.made.folder
    done = " (was done before)" if found.already_done else ""
    lines.append(f"scored {len(found.made):,} faces{done}: {where}/metadata.csv        look: {where}/{SHEET}")
    lines.append("there faces are ordered by the score in which each is weakest beside real faces")
    return "\n".join(lines)


def _figure_lines(found: FolderScores) -> list[str]:
    figures = found.figures
    if figures is None:
        return ["the set as a whole was not compared: 6 made and 6 real faces of each half of the people are needed"]
    lines = [f"{'the set as a whole':<22}{'made':>8} {'(95 %)':<18}{'real halves':>12} {'(95 %)':<18}"]
    for name in FIGURES:
        cells = "".join(
            f"{side.value:>{width}.3f} {f'({side.low:.3f} to {side.high:.3f})':<18}"
            for side, width in ((figures.made[name], 8), (figures.real[name], 12))
        )
        lines.append(f"{name.replace('_', ' '):<22}{cells}".rstrip())
    counts = " and ".join(map(str, figures.faces))
    few = "; so few that these figures are rough" if min(figures.faces) < FEW else ""
    return [*lines, f"({counts} faces of one half of the people, against real faces of the other half{few})"]


def goodness(found: FolderScores) -> np.ndarray:
    """For each made face the share of real faces that are no better where it is weakest, (N,), from 0 to 1."""
    lowest = np.ones(len(found.made))
    for name in _JUDGED:
        sign = -1 if name in _HIGH_IS_WORSE else 1
        real = np.sort(sign * found.real[name].dropna().to_numpy(dtype=float))
        values = sign * found.scores[name].to_numpy(dtype=float)
        if len(real):
            share = np.searchsorted(real, values, side="right") / len(real)
            lowest = np.where(np.isfinite(values), np.minimum(lowest, share), lowest)
    return lowest


def write_sheet(found: FolderScores) -> None:
    """Write the sheet: by class the best and the worst faces, and, where a filter was there, what it rejected."""
    made, good = found.made, goodness(found)
    labels, accepted = np.array(made.column("label")), np.array(made.column("accepted"), dtype=object).astype(str)
    rejected = np.char.lower(accepted.astype(str)) == "false"
    rows, names = [], []
    for label in dict.fromkeys(labels.tolist()):
        kept = np.flatnonzero((labels == label) & ~rejected)
        kept = kept[np.argsort(-good[kept], kind="stable")]
        out = np.flatnonzero((labels == label) & rejected)
        out = out[np.argsort(good[out], kind="stable")]
        for what, faces in (("best", kept), ("worst", kept[COLUMNS:][::-1]), ("rejected", out)):
            chosen = faces[:COLUMNS]
            if len(chosen):
                rows.append(
                    [
                        fit(picture, min(192, *picture.shape[:2]))
                        for picture in map(read_picture, map(made.path, chosen.tolist()))
                    ]
                )
                names.append(f"{label}: {what}")
    write_bytes(made.folder / SHEET, encode_png(contact_sheet(rows, names, [])))
