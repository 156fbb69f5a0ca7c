"""What large plans cost: building one, beginning and resuming its run, writing and checking its tables.

The plan is carried out on paper: its record says that every face is made, and the first pictures are there (all alike);
the rows of the others are marked as not accepted, so that the folder is sound and `verify` must find nothing. Each size
runs in a process of its own, whose peak memory up to the end of every step is given:

    python -m benchmarks.plans --rows 10000 100000 1000000 --out plans.json
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from augment.expressions import SEVEN
from augment.folders import COLUMNS, FaceTable, read_faces, write_metadata
from augment.generation_folder import PIECE, csv_pieces, picture_name, picture_names
from augment.generation_record import RECORD, Made, Outcomes, Record, stamp_of
from augment.pictures import encode_png, write_bytes, write_text
from augment.plans import PlanSettings, build_plan, check_plan, condition_array, plan_summary
from augment.verification import verify
from benchmarks.machine import machine, peak_memory

SOURCES, PEOPLE = 1000, 200
MOST_LINKS = 10_000
"""Names of one file; some disks allow no more than 65,000."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    rows: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Rows of the plans."""
    pictures: int = 10_000
    """Rows whose pictures are there, at most."""


def main(options: Options) -> None:
    """Measure every size, print the table, write the JSON."""
    results = []
    for rows in options.rows:
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, context) as pool:
            results.append(pool.submit(measure, Path(folder), rows, min(options.pictures, rows)).result())
        print(f"{rows:,} rows: " + ", ".join(f"{k} {v:,.1f}" for k, v in results[-1].items()), flush=True)
    print("\n" + table(results))
    result = {"results": results, "pictures": options.pictures, "machine": machine()}
    write_text(options.out, json.dumps(result, indent=2) + "\n")
    print(f"\nnumbers: {options.out}")


def measure(folder: Path, rows: int, pictures: int) -> dict[str, float]:
    """Seconds of every step for a plan of so many rows, and the peak memory in MiB."""
    seconds: dict[str, float] = {}
    peaks: dict[str, float] = {}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[step] = round(time.perf_counter() - began, 3)
        peaks[f"peak after {step}"] = round(peak_memory())

    data = encode_png(np.zeros((16, 16, 3), np.uint8))
    digest = hashlib.sha256(data).hexdigest()
    faces, out = sources(folder / "faces", data), folder / "out"
    with timed("build"):
        settings = PlanSettings("per-class", count=-(-rows // len(SEVEN)), strength=(0.5, 1.0))
        plan = build_plan(faces, SEVEN, settings).iloc[:rows]
    with timed("begin"):
        check_plan(plan, faces, SEVEN)
        condition_array(plan, SEVEN)
        plan_summary(plan)
        for piece in csv_pieces(plan):
            hashlib.sha256(piece)
        write_bytes(out / "plan.csv", csv_pieces(plan))
    record = lay_out(out, list(picture_names(plan.iloc[:pictures])), rows, data, digest)

    texts = plan["file_name"].to_numpy(object), plan["target"].to_numpy(object)

    def path(place: int, texts: tuple[np.ndarray, ...] = texts) -> str:
        return f"{out}/{picture_name(texts[0][place], texts[1][place], place)}"

    with timed("resume"):
        made = record.outcomes(plan["row"].to_numpy(), path)
    assert made.made.sum() == pictures
    with timed("tables"):
        write_metadata(out, described(faces, plan, made))
    write_text(out / "run.json", json.dumps({"vocabulary": SEVEN, "provenance": {"data": "../faces"}}))
    del plan, made, texts, path
    with timed("verify"):
        assert verify(out).problems == ()
    with timed("read"):
        assert len(read_faces(out)) == pictures
    return {"rows": rows, **seconds, **peaks}


def sources(root: Path, data: bytes) -> FaceTable:
    """A dataset of pictures that are all alike."""
    names = [f"{SEVEN[i % len(SEVEN)]}/face{i:04d}.png" for i in range(SOURCES)]
    for name in names:
        write_bytes(root / name, data)
    labels = [name.split("/")[0] for name in names]
    people = [f"person{i % PEOPLE:03d}" for i in range(SOURCES)]
    write_metadata(root, pd.DataFrame({"file_name": names, "label": labels, "subject": people}))
    return read_faces(root)


def lay_out(out: Path, names: list[str], rows: int, data: bytes, digest: str) -> Record:
    """Lay pictures into a folder, and note every row as done."""
    for place, name in enumerate(names):
        first = names[place - place % MOST_LINKS]
        if place % MOST_LINKS == 0:
            write_bytes(out / name, data)
        else:
            (out / name).parent.mkdir(exist_ok=True)
            os.link(out / first, out / name)
    stamp = stamp_of(out / names[0])
    with (out / RECORD).open("w") as file:
        for start in range(0, rows, 16):
            entries = [Made(row, digest, digest, (16, 16), stamp=stamp) for row in range(start, min(start + 16, rows))]
            file.write(json.dumps(entries) + "\n")
    return Record(out / RECORD)


def described(faces: FaceTable, plan: pd.DataFrame, made: Outcomes) -> Iterator[pd.DataFrame]:
    """What metadata.csv says of the rows, piece by piece; those without a picture are not accepted."""
    digest, source = hashlib.sha256(b"weights").hexdigest(), faces.sha256(0)
    for start in range(0, len(plan), PIECE):
        rows = plan.iloc[start : start + PIECE]
        accepted = made.made[start : start + PIECE]
        table = rows[["subject", "source_label", "condition", "seed"]].assign(
            file_name=list(picture_names(rows)),
            label=rows["target"],
            is_synthetic=True,
            source_file=rows["file_name"],
            source_sha256=source,
            system="lssl",
            checkpoint_sha256=digest,
            accepted=accepted,
            reject_reason=np.where(accepted, None, "label not reached"),
            file_sha256=[made.file_sha256(place) for place in range(start, start + len(rows))],
        )
        yield table.reindex(columns=[*COLUMNS, "file_sha256"])


def table(results: list[dict[str, float]]) -> str:
    """The results as Markdown: seconds of every step, and the peak memory up to its end."""
    steps = [name for name in results[0] if name != "rows" and not name.startswith("peak")]
    lines = [f"| rows | {' | '.join(f'{step}, s (MiB)' for step in steps)} |", "|---" * (len(steps) + 1) + "|"]
    for result in results:
        cells = " | ".join(f"{result[step]:.2f} ({result[f'peak after {step}']:,.0f})" for step in steps)
        lines.append(f"| {result['rows']:,} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
