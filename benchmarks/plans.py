"""What large plans cost: building one, beginning and resuming its run, writing and checking its tables.

The plan is carried out on paper: its record says that every face is made, and the first pictures are there (all alike);
the rows of the others are marked as not accepted, so that the folder is sound and `verify` must find nothing. Each size
runs in a process of its own, whose peak memory is given:

    python -m benchmarks.plans --rows 10000 100000 1000000 --output plans.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from augment.folders import COLUMNS, FaceTable, read_faces, write_metadata
from augment.generation_folder import csv_pieces, picture_names
from augment.generation_record import RECORD, Made, Outcomes, Record, stamp_of, still_there
from augment.pictures import encode_png, write_bytes, write_text
from augment.plans import PlanSettings, build_plan, check_plan, condition_array, plan_summary
from augment.verification import verify
from benchmarks.machine import machine, peak_memory

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry")
SOURCES, PEOPLE = 1000, 200
MOST_LINKS = 10_000
"""Names of one file; some disks allow no more than 65,000."""


def main() -> None:
    """Measure every size, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--pictures", type=int, default=10_000, help="rows whose pictures are there, at most")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    arguments = parser.parse_args()
    results = []
    for rows in arguments.rows:
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, context) as pool:
            results.append(pool.submit(measure, Path(folder), rows, min(arguments.pictures, rows)).result())
        print(f"{rows:,} rows: " + ", ".join(f"{k} {v:,.1f}" for k, v in results[-1].items()), flush=True)
    print("\n" + table(results))
    if arguments.output:
        result = {"results": results, "pictures": arguments.pictures, "machine": machine()}
        write_text(arguments.output, json.dumps(result, indent=2) + "\n")


def measure(folder: Path, rows: int, pictures: int) -> dict[str, float]:
    """Seconds of every step for a plan of so many rows, and the peak memory in MiB."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[step] = round(time.perf_counter() - began, 3)

    data = encode_png(np.zeros((16, 16, 3), np.uint8))
    digest = hashlib.sha256(data).hexdigest()
    faces, out = sources(folder / "faces", data), folder / "out"
    with timed("build"):
        settings = PlanSettings("per-class", count=-(-rows // len(EXPRESSIONS)), strength=(0.5, 1.0))
        plan = build_plan(faces, EXPRESSIONS, settings).iloc[:rows]
    with timed("begin"):
        check_plan(plan, faces, EXPRESSIONS)
        condition_array(plan, EXPRESSIONS)
        plan_summary(plan)
        names = list(picture_names(plan))
        write_bytes(out / "plan.csv", csv_pieces(plan))
    record = lay_out(out, names[:pictures], rows, data, digest)
    with timed("resume"):
        made = Outcomes(plan["row"].to_numpy())
        for entry in record.read():
            made.add([entry if still_there(entry, out / names[entry.row]) else Made(entry.row)])
    assert made.made.sum() == pictures
    with timed("tables"):
        write_metadata(out, described(faces, plan, names, pictures, digest))
    write_text(out / "run.json", json.dumps({"vocabulary": EXPRESSIONS, "provenance": {"data": str(faces.root)}}))
    with timed("read"):
        assert len(read_faces(out)) == pictures
    with timed("verify"):
        assert verify(out).problems == ()
    return {"rows": rows, **seconds, "peak memory": peak_memory()}


def sources(root: Path, data: bytes) -> FaceTable:
    """A dataset of pictures that are all alike."""
    names = [f"{EXPRESSIONS[i % len(EXPRESSIONS)]}/face{i:04d}.png" for i in range(SOURCES)]
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


def described(faces: FaceTable, plan: pd.DataFrame, names: list[str], pictures: int, digest: str) -> pd.DataFrame:
    """What metadata.csv says of the rows; those without a picture are not accepted."""
    accepted = np.arange(len(plan)) < pictures
    table = pd.DataFrame(
        {
            "file_name": names,
            "label": plan["target"],
            "subject": plan["subject"],
            "is_synthetic": True,
            "source_file": plan["file_name"],
            "source_sha256": [faces.sha256(0)] * len(plan),
            "source_label": plan["source_label"],
            "system": "lssl",
            "checkpoint_sha256": digest,
            "condition": plan["condition"],
            "seed": plan["seed"],
            "accepted": accepted,
            "reject_reason": np.where(accepted, None, "label not reached"),
            "file_sha256": digest,
        }
    )
    return table.reindex(columns=[*COLUMNS, "file_sha256"])


def table(results: list[dict[str, float]]) -> str:
    """The results as Markdown."""
    steps = [name for name in results[0] if name not in ("rows", "peak memory")]
    lines = [
        f"| rows | {' | '.join(f'{step}, s' for step in steps)} | peak memory, MiB |",
        "|---" * (len(steps) + 2) + "|",
    ]
    for result in results:
        cells = " | ".join(f"{result[step]:.2f}" for step in steps)
        lines.append(f"| {result['rows']:,} | {cells} | {result['peak memory']:,.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
