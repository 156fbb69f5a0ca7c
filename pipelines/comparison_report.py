"""What a comparison of systems shows: tables, a plot, and sheets of faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from augment.checkpoints import load_translator
from augment.devices import make_fabric
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.samples import to_pictures
from augment.scoring.summary import FEW
from pipelines.compare import UNCHANGED, CompareSettings, Comparison
from pipelines.measures import changed_by
from pipelines.plots import figures_plot
from pipelines.tables import text_table

PEOPLE = 12
"""Most rows of a sheet."""
COLUMNS = {
    "hit_rate": ("hit rate", "{:.2f}"),
    "identity": ("identity", "{:.2f}"),
    "movement": ("movement", "{:.2f}"),
    "correlation": ("correlation", "{:.2f}"),
    "found": ("found", "{:.2f}"),
    "kernel_distance": ("kernel distance", "{:.3f}"),
    "pictures_per_second": ("pictures/s", "{:.0f}"),
    "training_minutes": ("minutes", "{:.1f}"),
}
"""Figures of a system: title and format."""
REAL = "real faces"


def write_comparison(found: Comparison, out: Path, settings: CompareSettings) -> str:
    """Write `compare.json`, `compare.csv`, `compare.svg` and `sheets/TARGET.png`.

    Returns:
        What to print.
    """
    rows = {REAL: found.real, UNCHANGED: found.unchanged, **found.figures}
    targets = list(found.held.witnesses.targets)
    facts = {
        "systems": found.figures,
        "real": found.real,
        UNCHANGED: found.unchanged,
        "left_out": found.left_out,
        "identity_measured_by": found.identity_note,
        "training_faces": len(found.sides.train),
        "test_faces": len(found.sides.test),
        "test_people": sorted(set(found.sides.test.table.subject.dropna())),
    }
    write_text(out / "compare.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    table = pd.DataFrame(
        [
            {"system": name}
            | {key: row.get(key) for key in COLUMNS}
            | {f"hit_rate_{t}": row["targets"].get(t, {}).get("hit_rate") for t in targets}
            for name, row in rows.items()
        ]
    )
    write_text(out / "compare.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(out / "compare.svg", figures_plot(rows, {key: COLUMNS[key][0] for key in list(COLUMNS)[:6]}))
    write_sheets(found, out, settings)
    by_target = {name: row["targets"] for name, row in rows.items()}
    overall = [{"": n, **{title: _cell(row, key) for key, (title, _) in COLUMNS.items()}} for n, row in rows.items()]
    hits = [{"": n, **{t: _cell(row.get(t, {}), "hit_rate") for t in targets}} for n, row in by_target.items()]
    look = f"look: {out / 'sheets'} and {out / 'compare.svg'}"
    return "\n".join(
        [text_table(overall), "", "hit rate by target", text_table(hits), "", *_notes(found, settings), look]
    )


def _cell(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else COLUMNS[key][1].format(value)


def _notes(found: Comparison, settings: CompareSettings) -> list[str]:
    """How the figures came about, for people."""
    real, sides = found.real, found.sides
    rough = ", which are rough: the faces are few" * (len(sides.test) < FEW)
    lines = [
        f"{len(sides.train):,} faces trained on, {len(sides.test):,} held out and asked for every other expression; "
        f"figures are means over the expressions asked for{rough}",
        "hit rate: share that a classifier of the training people's real faces sees as asked; for real faces its recall"
        + ("" if real["accuracy"] is None else f", and its accuracy is {real['accuracy']:.2f}"),
        f"identity: cosine of source and result, {found.identity_note}",
    ]
    if real["identity"] is not None:
        lines.append(
            f"    of a held-out person's pictures with two expressions: {real['identity']:.2f}, of two people's: "
            f"{real['identity_of_others']:.2f}; area under the ROC curve {real['identity_area']:.2f}"
        )
    lines += [
        "movement: change of MediaPipe's scores along the difference between real faces of the two expressions, 1 is "
        "as far; correlation: of the change with that difference",
        "found: share in which MediaPipe finds a face",
        "kernel distance: to real faces of the other half of the people, in the judge's features",
        f"{REAL}: what is reachable; {UNCHANGED}: faces that nothing is done to",
    ]
    if settings.rendered_beside:
        lines.append(f"learnt from beside: {settings.rendered_beside:,} rendered faces of each expression")
    if settings.initial is not None:
        lines.append(f"the system of its kind begins with weights that were trained elsewhere: {settings.initial}")
    lines += sides.unknown()
    return lines + [f"{name} is left out: {why}" for name, why in found.left_out.items()]


def write_sheets(found: Comparison, out: Path, settings: CompareSettings) -> None:
    """Write one sheet for each target: a row a person, drawn by the seed; source, systems, and, where there is one, a
    real picture of the person with the target."""
    held, fabric = found.held, make_fabric(settings.training.device, settings.training.precision)
    changes = {
        name: changed_by(load_translator(out / "systems" / name, fabric.device.type), fabric) for name in found.figures
    }
    generator = np.random.default_rng(settings.seed)
    for target in held.witnesses.targets:
        drawn = _one_a_person(generator.permutation(np.flatnonzero(held.labels != target)), held.groups)
        if not len(drawn):
            continue
        sources = held.faces[torch.from_numpy(drawn)]
        columns = [to_pictures(sources), *(to_pictures(change(sources, target)) for change in changes.values())]
        rows = [list(row) for row in zip(*columns, strict=True)]
        for row, source in zip(rows, drawn, strict=True):
            own = np.flatnonzero((held.labels == target) & (held.groups == held.groups[source]))
            row += to_pictures(held.faces[torch.from_numpy(own[:1])])
        sheet = contact_sheet(rows, [str(held.labels[i]) for i in drawn], ["source", *changes, f"real {target}"])
        write_bytes(out / "sheets" / f"{target}.png", encode_png(sheet))


def _one_a_person(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The first face of each person, of at most `PEOPLE`."""
    first = np.sort(np.unique(groups[rows], return_index=True)[1])
    return rows[first[:PEOPLE]]
