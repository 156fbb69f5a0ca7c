"""Carry out a plan: make its faces, write them with their provenance, and survive being stopped at any moment."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from augment.checkpoints import weights_sha256
from augment.devices import Device, Precision, choose_device, choose_precision, explained_memory
from augment.folders import FaceTable
from augment.generation_folder import GenerateSummary, check_folder, picture_names, write_tables
from augment.generation_record import KIND, PLAN, RECORD, Made, Record, stamp_of, still_there
from augment.pictures import encode_png, fit, is_grey, write_bytes, write_text
from augment.plans import check_plan, condition_array, plan_summary
from augment.real_faces import IncludeReal, add_real_faces
from augment.runs import Hold, clear_up, finished_result, locked, remove_temporary_files, write_run
from augment.systems.base import Translator
from augment.workers import in_threads
from emoaug import EmoaugError, __version__

CHUNK = 16
"""Faces that go through the network together.

Always as many, and each at the place that its row number gives it: the kernels that libraries choose, and with them
the last bits of a result, depend on the batch size, and the files must not.
"""


@dataclass(frozen=True)
class GenerateSettings:
    """How a plan is carried out; only `precision`, `device` and `include_real` can be seen in the files."""

    batch_size: int = 64
    """Faces in work at one time, rounded up to chunks of 16; on a CPU each chunk keeps one core busy."""
    include_real: IncludeReal = "link"
    """How real faces come into the folder: as hard links (as copies where the disk cannot), as copies, or not."""
    device: Device = "auto"
    """Where the network runs."""
    precision: Precision = "32-true"
    """Numbers that the network computes with."""
    threads: int = 0
    """Threads that read, translate and write; 0: as many as there are cores."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise EmoaugError(f"batch_size is {self.batch_size}; it is 1 face or more")
        if self.threads < 0:
            raise EmoaugError(f"threads is {self.threads}; it is 1 or more, or 0 for as many as there are cores")
        if self.include_real not in get_args(IncludeReal):
            raise EmoaugError(f'include_real is "{self.include_real}"; it is link, copy or no')


def generate(
    faces: FaceTable,
    translator: Translator,
    plan: pd.DataFrame,
    out: Path,
    settings: GenerateSettings,
    provenance: dict[str, Any],
) -> GenerateSummary:
    """Make the faces of a plan and write them as a dataset folder.

    The folder gets `CLASS/NAME.png`, `metadata.csv`, `plan.csv`, `run.json`, `contact_sheet.png`, and `rejected.csv`
    for what could not be used. The same call again takes up a run that was stopped, and does nothing in a finished
    folder. The bytes of the pictures depend on the sources, the weights, the plan's rows, the precision and the kind
    of device, and not on batch size, threads or restarts.

    Args:
        faces: the dataset that the plan was built for.
        translator: the trained system; `translate` is called from several threads at once.
        plan: see `augment.plans.build_plan`.
        out: the folder to write; absent, empty, or one that this same call began.
        settings: how to carry it out.
        provenance: what `run.json` should say about the origin; `checkpoint_sha256` also goes into the metadata, by
            default the hash that the system's weights would have as a checkpoint.

    Raises:
        EmoaugError: the plan does not fit, the folder holds something else, is in use or cannot be written to.
    """
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    check_plan(plan, faces, translator.condition_names)
    check_folder(out, faces, plan["target"].unique().tolist())
    plan = plan.reset_index(drop=True)
    plan_text = plan.to_csv(index=False, lineterminator="\n")
    identity = {
        "plan": hashlib.sha256(plan_text.encode()).hexdigest(),
        "faces": _table_sha256(faces),
        "system": translator.name,
        "weights": weights_sha256(translator),
        "precision": precision,
        "include_real": settings.include_real,
    }
    finished = _finished(out, identity)
    if finished is not None:
        clear_up(out, RECORD)
        return finished
    with locked(out) as hold:
        # Asked again, because another process may have begun or finished between the first look and the lock.
        finished = _finished(out, identity)
        if finished is not None:
            return finished
        run: dict[str, Any] = {
            "finished": False,
            "identity": identity,
            "settings": asdict(settings) | {"device": device, "precision": precision},
            "provenance": provenance,
            "plan": plan_summary(plan),
            "condition_names": list(translator.condition_names),
            "vocabulary": list(faces.vocabulary),
            "versions": _versions(),
        }
        write_run(out, KIND, run)
        write_text(out / PLAN, plan_text, parents=False)
        remove_temporary_files(out)
        record = Record(out / RECORD)
        job = _Job(faces, translator, plan, out, device, precision)
        made = _make_all(job, record, settings, hold)
        real = add_real_faces(faces, out, settings.include_real, _threads(settings), job.names)
        names = [name for row, name in zip(job.rows, job.names, strict=True) if made[row].file_sha256]
        hold.check([*names, *(face.name for face in real if not face.rejected)])
        origin = {"system": translator.name, "checkpoint_sha256": identity["weights"], **provenance}
        summary = write_tables(faces, plan, [made[row] for row in job.rows], real, out, translator.size, origin)
        result = {k: v for k, v in asdict(summary).items() if k not in ("out", "already_done")}
        write_run(out, KIND, run | {"finished": True, "result": result})
        record.remove()
        return summary


class _Job:
    """One plan with all that is needed to make any of its rows, in any order, from several threads."""

    def __init__(
        self, faces: FaceTable, translator: Translator, plan: pd.DataFrame, out: Path, device: str, precision: str
    ) -> None:
        self.faces, self.translator, self.plan, self.out = faces, translator, plan, out
        self.device, self.precision = device, precision
        self.rows: list[int] = plan["row"].tolist()
        self.sources: list[int] = plan["source_index"].tolist()
        self.conditions = condition_array(plan, translator.condition_names)
        self.names = picture_names(plan)
        self.place = dict(zip(self.rows, range(len(self.rows)), strict=True))

    def path(self, row: int) -> Path:
        """Where the picture of a row lies."""
        return self.out / self.names[self.place[row]]

    def chunks(self) -> list[list[int]]:
        """Places in the plan that go through the network together."""
        groups: dict[int, list[int]] = {}
        for place, row in enumerate(self.rows):
            groups.setdefault(row // CHUNK, []).append(place)
        return list(groups.values())

    def make(self, places: list[int]) -> list[Made]:
        """Read, translate and write one chunk."""
        size = self.translator.size
        batch = np.zeros((CHUNK, 3, size, size), dtype=np.float32)
        conditions = np.zeros((CHUNK, self.conditions.shape[1]), dtype=np.float32)
        grey: dict[int, bool] = {}
        results: dict[int, Made] = {}
        for place in places:
            row, slot = self.rows[place], self.rows[place] % CHUNK
            try:
                source = self.faces.picture(self.sources[place])
                digest = self.faces.sha256(self.sources[place])
            except (EmoaugError, OSError) as error:
                results[place] = Made(row, rejected="source could not be read", detail=str(error))
                continue
            grey[place] = is_grey(source)
            batch[slot] = np.moveaxis(fit(source, size), 2, 0).astype(np.float32) / 127.5 - 1
            conditions[slot] = self.conditions[place]
            results[place] = Made(row, source_sha256=digest, source_size=(source.shape[0], source.shape[1]))
        if grey:
            used = [self.rows[place] % CHUNK for place in grey]
            empty = sorted(set(range(CHUNK)) - set(used))
            batch[empty], conditions[empty] = batch[used[0]], conditions[used[0]]
            pictures, usable = self._translate(batch, conditions)
            for place, is_one_channel in grey.items():
                results[place] = self._write(results[place], pictures, usable, is_one_channel)
        return [results[place] for place in places]

    def _translate(self, batch: np.ndarray, conditions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (CHUNK, size, size, 3) uint8, and which of them are finite, (CHUNK,) bool."""
        with (
            torch.inference_mode(),
            torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16-mixed"),
        ):
            made = self.translator.translate(
                torch.from_numpy(batch).to(self.device), torch.from_numpy(conditions).to(self.device)
            )
            if tuple(made.shape) != batch.shape:
                raise EmoaugError(
                    f"{self.translator.name} gave faces of shape {tuple(made.shape)} for {batch.shape}; "
                    "its translate() must keep the shape"
                )
            made = made.float()
            usable = made.isfinite().flatten(1).all(1)
            pixels = made.nan_to_num(0).mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy(), usable.cpu().numpy()

    def _write(self, entry: Made, pictures: np.ndarray, usable: np.ndarray, grey: bool) -> Made:
        slot = entry.row % CHUNK
        if not usable[slot]:
            detail = f"row {entry.row}: the network's picture has infinite or undefined values"
            return entry._replace(rejected="network gave no picture", detail=detail)
        data = encode_png(pictures[slot], grey=grey)
        path = self.path(entry.row)
        write_bytes(path, data, parents=False)
        return entry._replace(file_sha256=hashlib.sha256(data).hexdigest(), stamp=stamp_of(path))


def _make_all(job: _Job, record: Record, settings: GenerateSettings, hold: Hold) -> dict[int, Made]:
    """Make every row that is not done yet; gives what became of each row."""
    threads = _threads(settings)
    known = [entry for row, entry in record.read().items() if row in job.place]
    kept = in_threads(lambda entry: still_there(entry, job.path(entry.row)), known, threads)
    made = {entry.row: entry for entry, keep in zip(known, kept, strict=True) if keep}
    # A chunk of which anything is missing is made again as a whole, so that the network sees what it saw before.
    todo = [chunk for chunk in job.chunks() if any(job.rows[place] not in made for place in chunk)]
    done_before = len(job.rows) - sum(map(len, todo))
    in_flight = math.ceil(settings.batch_size / CHUNK)
    workers = min(threads, in_flight)
    waiting: deque[Future[list[Made]]] = deque()
    bar = tqdm(total=len(job.rows), initial=done_before, desc="translated", unit="face")

    def take_first() -> None:
        entries = waiting.popleft().result()
        hold.check()
        record.append(entries)
        made.update({entry.row: entry for entry in entries})
        bar.update(len(entries))

    with (
        explained_memory(f"on {job.device} for {settings.batch_size} faces at a time; lower --batch-size"),
        bar,
        _reproducible(job),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        try:
            for chunk in todo:
                # Some more than are worked on, so that no thread waits for the record.
                if len(waiting) >= 2 * workers:
                    take_first()
                waiting.append(pool.submit(job.make, chunk))
            while waiting:
                take_first()
        finally:
            pool.shutdown(cancel_futures=True)
    return made


@contextmanager
def _reproducible(job: _Job) -> Iterator[None]:
    """Let the translator compute the same bits in every run, and leave torch as it was found."""
    threads, training = torch.get_num_threads(), job.translator.training
    job.translator.to(job.device).eval()
    try:
        # Each worker runs the network on one core: how sums are split over cores would change their last bits.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)
        job.translator.train(training)


def _finished(out: Path, identity: dict[str, Any]) -> GenerateSummary | None:
    """The summary of a folder in which this very run is finished; None if there is work to do."""

    def summary(result: dict[str, Any]) -> GenerateSummary:
        return GenerateSummary(**{**result, "out": out, "notes": tuple(result["notes"]), "already_done": True})

    return finished_result(out, KIND, identity, summary)


def _versions() -> dict[str, str]:
    return {
        "emoaug": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }


def _threads(settings: GenerateSettings) -> int:
    if settings.threads:
        return settings.threads
    # A container or a scheduler may give this process fewer cores than the machine has; not every system can tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _table_sha256(faces: FaceTable) -> str:
    """Hash of what the dataset's table says, in order."""
    columns = faces.table[["file_name", "label", "subject", "split", "is_synthetic"]]
    return hashlib.sha256(columns.to_csv(index=False, lineterminator="\n").encode()).hexdigest()
