"""What a generation writes beside the synthetic pictures: real faces, tables, the contact sheet, the last words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd

from augment.expressions import check_class_name
from augment.folders import COLUMNS, HELD_OUT_SPLITS, FaceTable, check_outside, write_metadata
from augment.generation_record import Outcomes
from augment.pictures import contact_sheet, encode_png, fit, read_picture, write_bytes
from augment.plans import plan_summary
from augment.real_faces import RealFace, safe_stem
from emoaug import EmoaugError

REJECTED = "rejected.csv"
SHEET = "contact_sheet.png"
SHEET_ROWS = 8
"""Sources on the contact sheet."""
_SHEET_TILE = 192
"""Largest side of a face on the contact sheet, pixels."""
_SHEET_COLUMNS = 9
"""Most pictures in a row of a sheet that goes by target."""
PIECE = 10_000
"""Rows of a table that are turned into text at a time: a plan may have a million."""
_EXEMPLAR_COLUMNS = ("second_exemplar_file", "exemplar_sha256", "second_exemplar_sha256")


@dataclass(frozen=True)
class GenerateSummary:
    """What a generation did."""

    out: Path
    """The dataset folder."""
    made: int
    """Synthetic faces in the folder."""
    real: int
    """Real faces in the folder."""
    rejected: dict[str, int]
    """Faces that were asked for and not made, or real faces left out, by reason."""
    per_class: dict[str, int]
    """Faces in the folder, real and synthetic, by class."""
    notes: tuple[str, ...] = ()
    """One-line remarks."""
    already_done: bool = False
    """The folder was finished before; nothing was done."""

    def __str__(self) -> str:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.rejected.items())
        rejected = f" ({sum(self.rejected.values()):,} rejected: {reasons})" if self.rejected else ""
        first = f"translated {self.made:,} face{'s' * (self.made != 1)}{rejected}"
        classes = " · ".join(f"{name} {count:,}" for name, count in self.per_class.items())
        look = f"        look: {self.out}/{SHEET}" if self.made else ""
        return "\n".join(
            [
                f"{self.out}/ was finished before, nothing to do: {first}" if self.already_done else first,
                f"{self.out}/  {classes}{look}   check: emoaug verify {quote(str(self.out) + '/')}",
                *self.notes,
            ]
        )


def check_folder(out: Path, faces: FaceTable, targets: Sequence[str]) -> None:
    """Raise EmoaugError if labels cannot be folder names, or if the result would lie among its own sources."""
    for label in {*faces.table["label"].dropna(), *targets}:
        check_class_name(str(label))
    check_outside(out, faces.root, faces)


def picture_name(file_name: str, target: str, row: int) -> str:
    """File name TARGET/SOURCE__TARGET_ROW.png of a row of a plan."""
    return f"{target}/{safe_stem(file_name)}__{target}_{row:06d}.png"


def picture_names(plan: pd.DataFrame) -> Iterator[str]:
    """File names of a plan's rows; one after another, because there may be a million."""
    return map(picture_name, plan["file_name"], plan["target"], plan["row"])


def csv_pieces(table: pd.DataFrame) -> Iterator[bytes]:
    """A table as CSV, piece by piece."""
    for start in range(0, max(1, len(table)), PIECE):
        piece = table.iloc[start : start + PIECE]
        yield piece.to_csv(index=False, header=start == 0, lineterminator="\n").encode()


def write_tables(
    faces: FaceTable,
    plan: pd.DataFrame,
    made: Outcomes,
    real: list[RealFace],
    out: Path,
    size: int,
    origin: dict[str, Any],
) -> GenerateSummary:
    """Write the contact sheet, `rejected.csv` and `metadata.csv`.

    Args:
        faces: the source.
        plan: the plan, N rows.
        made: what became of each row of the plan.
        real: what became of the real faces.
        out: the folder.
        size: side of the synthetic faces, pixels.
        origin: `system` and `checkpoint_sha256` of the synthetic faces.
    """
    sheet = _contact_sheet(faces, plan, made, out, min(size, _SHEET_TILE))
    if sheet is not None:
        write_bytes(out / SHEET, sheet)
    rejected = _rejected(faces, plan, made, real)
    if len(rejected):
        write_bytes(out / REJECTED, csv_pieces(rejected))
    kept = _real_rows(faces, real)
    # Every column of a generated folder is there, also those that a judge fills in later.
    columns = [*COLUMNS, "file_sha256", *(_EXEMPLAR_COLUMNS if "exemplar_file" in plan else ())]
    rows = chain([kept], _synthetic_rows(faces, plan, made, origin))
    write_metadata(out, (piece.assign(accepted=True).reindex(columns=columns) for piece in rows))
    labels = Counter(map(str, chain(kept["label"], plan["target"][made.made])))
    return GenerateSummary(
        out=out,
        made=int(made.made.sum()),
        real=len(kept),
        rejected=dict(Counter(str(reason) for reason in rejected["rejected"])),
        per_class={name: labels[name] for name in dict.fromkeys([*faces.vocabulary, *labels]) if labels[name]},
        notes=_notes(faces, plan, made, real, size),
    )


def _real_rows(faces: FaceTable, real: list[RealFace]) -> pd.DataFrame:
    kept = [face for face in real if not face.rejected]
    source = faces.table.iloc[[face.index for face in kept]].reset_index(drop=True)
    rows = source[["label", "subject", "split"]].assign(source_file=source["file_name"], is_synthetic=False)
    return rows.assign(
        file_name=[face.name for face in kept],
        source_sha256=[face.source_sha256 for face in kept],
        file_sha256=[face.file_sha256 for face in kept],
    )


def _synthetic_rows(
    faces: FaceTable, plan: pd.DataFrame, made: Outcomes, origin: dict[str, Any]
) -> Iterator[pd.DataFrame]:
    """The rows of the synthetic faces, piece by piece."""
    # What was shown has the hash that it had then; what was measured, the hash of its picture now.
    hash_of = cache(lambda index: faces.sha256(index) if index >= 0 else "")
    kept = np.flatnonzero(made.made)
    for start in range(0, len(kept), PIECE):
        places = kept[start : start + PIECE]
        rows = plan.iloc[places].reset_index(drop=True)
        source = faces.table.iloc[rows["source_index"].to_numpy()].reset_index(drop=True)
        asked = rows[["source_label", "condition", "seed"]]
        if "exemplar_file" in rows:
            asked = rows[[*asked, "exemplar_file", "second_exemplar_file"]].assign(
                exemplar_sha256=[
                    made.exemplar_sha256(place) or hash_of(index)
                    for place, index in zip(places, rows["exemplar_index"], strict=True)
                ],
                second_exemplar_sha256=[hash_of(index) for index in rows["second_exemplar_index"]],
            )
        yield asked.assign(
            label=rows["target"],
            file_name=list(picture_names(rows)),
            is_synthetic=True,
            subject=source["subject"],
            split=source["split"],
            source_file=source["file_name"],
            source_sha256=[made.source_sha256(place) for place in places],
            file_sha256=[made.file_sha256(place) for place in places],
            system=origin["system"],
            checkpoint_sha256=origin["checkpoint_sha256"],
        )


def _rejected(faces: FaceTable, plan: pd.DataFrame, made: Outcomes, real: list[RealFace]) -> pd.DataFrame:
    """What was asked for and not made, and what was left out, with the reasons."""
    old = faces.table[["file_name", "label"]]
    asked = [
        (plan["file_name"].iat[place], plan["target"].iat[place], plan["row"].iat[place], *made.rejected[place])
        for place in sorted(made.rejected)
    ]
    left_out = [
        (*old.iloc[face.index], None, "real face could not be read", face.rejected) for face in real if face.rejected
    ]
    frame = pd.DataFrame([*asked, *left_out], columns=["file_name", "label", "row", "rejected", "reason"])
    return frame.astype({"row": "Int64"})


def _notes(faces: FaceTable, plan: pd.DataFrame, made: Outcomes, real: list[RealFace], size: int) -> tuple[str, ...]:
    repeats = plan_summary(plan)["repeats"]
    others = "other sources or exemplars" if "exemplar_file" in plan else "fewer, or a wider range of strengths,"
    height, width = made.source_sizes.T
    other = made.made & ((height != size) | (width != size))
    scaled, squeezed = int(other.sum()), int((other & (height != width)).sum())
    other_size = sum(face.size != (size, size) for face in real if not face.rejected)
    unused = np.ones(len(faces), dtype=bool)
    unused[plan["source_index"]] = False
    synthetic = int((unused & ~faces.originals()).sum())
    rendered = len(real) if faces.table["is_synthetic"].all() else 0
    held_out = int(faces.table["split"].isin(HELD_OUT_SPLITS).sum()) if real else 0
    unlabelled = int(faces.table["label"].isna().sum())
    notes = {
        f"{scaled:,} faces were made from sources scaled to {size}x{size} pixels": scaled,
        f"{squeezed:,} of these sources are not square and were squeezed; emoaug align crops faces": squeezed,
        f"{other_size:,} real faces are not {size}x{size} pixels and were taken over as they are": other_size,
        f"{repeats:,} faces repeat another one, because the sources ran out; {others} would make them differ": repeats,
        f"{rendered:,} faces, all rendered or made themselves, were taken over as those that are given": rendered,
        f"{held_out:,} faces of the splits val and test were not taken over, lest they be trained on": held_out,
        f"{synthetic:,} synthetic faces of the source folder were not taken over": synthetic,
        f"{unlabelled:,} unlabelled faces of the source folder were not taken over": unlabelled,
        f"{len(faces.rejected):,} files of the source folder could not be used when it was read": len(faces.rejected),
    }
    return tuple(text for text, count in notes.items() if count)


def _contact_sheet(faces: FaceTable, plan: pd.DataFrame, made: Outcomes, out: Path, size: int) -> bytes | None:
    """A PNG with some sources and what became of them; the same sample for the same plan. None if nothing was made."""
    first = ~plan.loc[made.made, ["source_index", "target"]].duplicated()
    table = plan.loc[first.index[first]]
    if table.empty:
        return None
    # Sources that became most; among equals the plan's order, which is shuffled.
    results = table.groupby("source_index", sort=False).size().sort_values(ascending=False, kind="stable")
    targets = list(dict.fromkeys(plan["target"]))
    if "exemplar_file" in plan:
        return _sheet_by_target(faces, table, targets, out, size, ("source", "exemplar"))
    # A sheet with a row for each source would be half empty.
    if results[:SHEET_ROWS].mean() <= len(targets) / 2:
        return _sheet_by_target(faces, table, targets, out, size, ("source",))
    blank = np.full((size, size, 3), 255, dtype=np.uint8)
    rows, captions = [], []
    for source in results.index[:SHEET_ROWS].tolist():
        own = table[table["source_index"] == source]
        names = dict(zip(own["target"], picture_names(own), strict=True))
        rows.append(
            [
                _source(faces, source, size, blank),
                *(fit(read_picture(out / names[target]), size) if target in names else blank for target in targets),
            ]
        )
        captions.append(safe_stem(str(faces.table["file_name"].iloc[source]), longest=24))
    return encode_png(contact_sheet(rows, captions, ["source", *targets]))


def _sheet_by_target(
    faces: FaceTable, table: pd.DataFrame, targets: list[str], out: Path, size: int, origins: tuple[str, ...]
) -> bytes:
    """Some faces of each class: what each was made of, and beside it the result."""
    rows, blank = [], np.full((size, size, 3), 255, dtype=np.uint8)
    each = _SHEET_COLUMNS // (len(origins) + 1)
    for target in targets:
        row: list[np.ndarray] = []
        own = table[table["target"] == target][:each]
        for made, name in zip(own.to_dict("records"), picture_names(own), strict=True):
            row += [_source(faces, int(made[f"{origin}_index"]), size, blank) for origin in origins]
            row.append(fit(read_picture(out / name), size))
        rows.append(row)
    return encode_png(contact_sheet(rows, targets, [*origins, "result"] * each))


def _source(faces: FaceTable, index: int, size: int, blank: np.ndarray) -> np.ndarray:
    """A source for the contact sheet; blank where the file has vanished since a face was made from it."""
    try:
        return fit(faces.picture(index), size)
    except EmoaugError:
        return blank
