"""Carry out a plan: make its faces, write them with their provenance, and survive being stopped at any moment."""

from __future__ import annotations

import copy
import hashlib
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, get_args

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from augment.checkpoints import weights_sha256
from augment.devices import Device, Precision, choose_device, choose_precision, explained_memory
from augment.folders import FaceTable
from augment.generation_folder import (
    GenerateSummary,
    check_folder,
    csv_pieces,
    picture_name,
    picture_names,
    write_tables,
)
from augment.generation_network import CHUNK, reproducible, translate_chunk
from augment.generation_record import KIND, PLAN, RECORD, Made, Outcomes, Record, stamp_of
from augment.pictures import encode_png, fit, is_grey, write_bytes
from augment.plans import check_plan, condition_array, plan_summary
from augment.real_faces import IncludeReal, add_real_faces, names_of
from augment.runs import Hold, clear_up, finished_result, locked, remove_temporary_files, write_run
from augment.systems.base import Translator
from augment.workers import Engine, as_they_finish, cores, do_all
from emoaug import EmoaugError, __version__

KEPT = 32 * 2**20
"""Bytes of sources that are kept decoded: in a plan for a small dataset each is used many times."""

SHARD = 4
"""Chunks of a task on another machine, unless `batch_size` says how many faces are in work at one time."""

_UNREADABLE = ("source could not be read", "exemplar could not be read")


@dataclass(frozen=True)
class GenerateSettings:
    """How a plan is carried out; only `precision`, `device` and `include_real` can be seen in the files."""

    batch_size: int = 0
    """Faces in work at one time, rounded up to whole chunks (16 faces; 128 on CUDA), each of which keeps a thread busy;
    0: one chunk a thread. Fewer need less memory."""
    include_real: IncludeReal = "link"
    """How real faces come into the folder: as hard links (as copies where the disk cannot), as copies, or not."""
    device: Device = "auto"
    """Where the network runs."""
    precision: Precision = "32-true"
    """Numbers that the network computes with."""
    threads: int = 0
    """Threads that read, translate and write; 0: as many as there are cores."""

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise EmoaugError(
                f"batch_size is {self.batch_size}; it is 1 face or more, or 0 for as many as keep the threads busy"
            )
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
    engine: Engine | None = None,
) -> GenerateSummary:
    """Make the faces of a plan and write them as a dataset folder.

    The folder gets `CLASS/NAME.png`, `metadata.csv`, `plan.csv`, `run.json`, `contact_sheet.png`, and `rejected.csv`
    for what could not be used. The same call again takes up a run that was stopped, and does nothing in a finished
    folder. The bytes of the pictures depend on the sources and exemplars, the weights, the plan's rows, the precision
    and the kind of device, and not on batch size, threads, restarts or the engine.

    Where the plan has exemplars and the system recombines faces, each source is given its exemplar's expression by
    `recombine`; otherwise it is translated to its condition.

    Args:
        faces: the dataset that the plan was built for.
        translator: the trained system, which is called from several threads at once.
        plan: see `augment.exemplar_plans.suitable_plan`.
        out: the folder to write; absent, empty, or one that this same call began.
        settings: how to carry it out.
        provenance: what `run.json` should say about the origin; `checkpoint_sha256` also goes into the metadata, by
            default the hash that the system's weights would have as a checkpoint.
        engine: makes the faces in other processes, or on other machines (see `augment.engines.open_engine`), which must
            be able to read the sources; the files are written here. By default faces are made here, in threads.

    Raises:
        EmoaugError: the plan does not fit, the folder holds something else, is in use or cannot be written to.
    """
    device, precision = _chosen(settings, engine)
    check_plan(plan, faces, translator.condition_names)
    check_folder(out, faces, plan["target"].unique().tolist())
    plan = plan.reset_index(drop=True)
    identity = {
        "plan": _sha256(csv_pieces(plan)),
        "faces": _sha256(csv_pieces(faces.table[["file_name", "label", "subject", "split", "is_synthetic"]])),
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
        write_bytes(out / PLAN, csv_pieces(plan), parents=False)
        remove_temporary_files(out)
        record = Record(out / RECORD)
        job = _Job(faces, translator, plan, out, device, precision)
        made = _make_all(job, record, settings, hold, engine)
        real = add_real_faces(faces, out, settings.include_real, settings.threads or cores(), picture_names(plan))
        hold.check(chain(map(job.name, np.flatnonzero(made.made).tolist()), names_of(real)))
        origin = {"system": translator.name, "checkpoint_sha256": identity["weights"], **provenance}
        summary = write_tables(faces, plan, made, real, out, translator.size, origin)
        result = {k: v for k, v in asdict(summary).items() if k not in ("out", "already_done")}
        write_run(out, KIND, run | {"finished": True, "result": result})
        record.remove()
        return summary


class _Face(NamedTuple):
    """A source or an exemplar as the network sees it."""

    picture: np.ndarray
    """uint8 RGB, (size, size, 3)."""
    grey: bool
    sha256: str
    size: tuple[int, int]
    """Height and width of the file's picture, pixels."""


class _Job:
    """One plan with all that is needed to make any of its rows, in any order, from several threads."""

    def __init__(
        self, faces: FaceTable, translator: Translator, plan: pd.DataFrame, out: Path, device: str, precision: str
    ) -> None:
        self.faces, self.translator, self.out = faces, translator, out
        self.device, self.precision, self.chunk = device, precision, CHUNK[device]
        self.rows = plan["row"].to_numpy()
        self.shows_exemplars = translator.takes_exemplars and "exemplar_index" in plan
        # The faces that go into each row, (1 or 2, N): its source, and the exemplar that is shown.
        columns = ["source_index", "exemplar_index"] if self.shows_exemplars else ["source_index"]
        self.faces_of_rows = plan[columns].to_numpy().T
        self.file_names, self.targets = plan["file_name"].to_numpy(object), plan["target"].to_numpy(object)
        self.conditions = condition_array(plan, translator.condition_names)
        # The first that come, not the latest: a plan goes through its sources in turns, class after class.
        self._kept: dict[int, _Face] = {}
        self._most_kept = KEPT // (3 * translator.size**2)

    def name(self, place: int) -> str:
        """Name of a row's picture, relative to the folder."""
        return picture_name(self.file_names[place], self.targets[place], int(self.rows[place]))

    def chunks(self, done: np.ndarray) -> list[np.ndarray]:
        """Places in the plan that go through the network together, of every chunk in which a row is not done.

        A chunk of which anything is missing is made again as a whole, so that the network sees what it saw before.
        """
        if not len(self.rows):
            return []
        number = self.rows // self.chunk
        order = np.argsort(number, kind="stable")
        starts = np.flatnonzero(np.diff(number[order], prepend=-1))
        missing = np.add.reduceat(~done[order], starts, dtype=np.int64) > 0
        return [places for places, wanted in zip(np.split(order, starts[1:]), missing, strict=True) if wanted]

    def read(self, index: int) -> _Face:
        """A source or an exemplar; EmoaugError if it cannot be read."""
        face, size = self._kept.get(index), self.translator.size
        if face is None:
            picture, sha256 = self.faces.read(index)
            height, width = picture.shape[:2]
            face = _Face(fit(picture, size), is_grey(picture), sha256, (height, width))
            if len(self._kept) < self._most_kept:
                self._kept[index] = face
        return face

    def make(self, places: np.ndarray) -> list[tuple[Made, bytes]]:
        """Read and translate one chunk; gives each row with its picture's file, empty if there is none."""
        size = self.translator.size
        batch = np.zeros((self.chunk, size, size, 3), dtype=np.uint8)
        asked = np.zeros_like(batch)
        if not self.shows_exemplars:
            asked = np.zeros((self.chunk, self.conditions.shape[1]), dtype=np.float32)
        results: list[Made] = []
        slots: list[int] = []
        grey: list[bool] = []
        for place in places.tolist():
            row, read = int(self.rows[place]), []
            try:
                for index in self.faces_of_rows[:, place].tolist():
                    read.append(self.read(index))
            except EmoaugError as error:
                results.append(Made(row, rejected=_UNREADABLE[len(read)], detail=str(error)))
                continue
            source, exemplar = read[0], read[1] if self.shows_exemplars else None
            slots.append(row % self.chunk)
            grey.append(source.grey)
            batch[slots[-1]] = source.picture
            asked[slots[-1]] = exemplar.picture if exemplar else self.conditions[place]
            shown = exemplar.sha256 if exemplar else ""
            results.append(Made(row, "", source.sha256, source.size, exemplar_sha256=shown))
        if not slots:
            return [(entry, b"") for entry in results]
        empty = np.setdiff1d(np.arange(self.chunk), slots)
        batch[empty], asked[empty] = batch[slots[0]], asked[slots[0]]
        pictures, usable = translate_chunk(self.translator, batch, asked, self.device, self.precision)
        colourless = dict(zip(slots, grey, strict=True))
        return [
            (entry, b"") if entry.rejected else _encoded(entry, pictures[slot], bool(usable[slot]), colourless[slot])
            for entry, slot in ((entry, entry.row % self.chunk) for entry in results)
        ]

    def for_others(self) -> _Job:
        """The job without what only this process needs."""
        job = copy.copy(self)
        job.faces = replace(self.faces, rejected=self.faces.rejected.iloc[:0], notes=())
        job.file_names = job.targets = np.zeros(0, object)
        job._kept = {}
        self.translator.cpu()
        return job

    def write(self, place: int, entry: Made, data: bytes) -> Made:
        """Write a row's picture, if it has one."""
        if not data:
            return entry
        path = self.out / self.name(place)
        write_bytes(path, data, parents=False)
        return entry._replace(stamp=stamp_of(path))

    def write_from_elsewhere(self, place: int, entry: Made, data: bytes) -> Made:
        """Write a row's picture that another process made; EmoaugError if it did not see a file that is here."""
        if entry.rejected in _UNREADABLE:
            index = int(self.faces_of_rows[_UNREADABLE.index(entry.rejected), place])
            try:
                self.read(index)
            except EmoaugError as error:
                return entry._replace(detail=str(error))
            raise EmoaugError(
                f"{self.faces.path(index)} can be read here and not where the faces are made "
                f"({entry.detail}); put the data where every machine sees it under the same path"
            )
        return self.write(place, entry, data)


def _encoded(entry: Made, picture: np.ndarray, usable: bool, grey: bool) -> tuple[Made, bytes]:
    if not usable:
        detail = f"row {entry.row}: the network's picture has infinite or undefined values"
        return entry._replace(rejected="network gave no picture", detail=detail), b""
    data = encode_png(picture, grey=grey)
    return entry._replace(file_sha256=hashlib.sha256(data).hexdigest()), data


def _make_all(job: _Job, record: Record, settings: GenerateSettings, hold: Hold, engine: Engine | None) -> Outcomes:
    """Make every row that is not done yet; gives what became of each row."""
    made = record.outcomes(job.rows, lambda place: f"{job.out}/{job.name(place)}", settings.threads)
    todo = job.chunks(made.done)
    bar = tqdm(total=len(job.rows), initial=len(job.rows) - sum(map(len, todo)), desc="translated", unit="face")

    def done(entries: list[Made]) -> None:
        hold.check()
        record.append(entries)
        made.add(entries)
        bar.update(len(entries))

    with bar:
        if engine is None:
            _make_here(job, todo, settings, done)
        else:
            _make_elsewhere(job, todo, settings, hold, engine, done)
    return made


def _make_here(
    job: _Job, chunks: Sequence[np.ndarray], settings: GenerateSettings, done: Callable[[list[Made]], None]
) -> None:
    """Make chunks in threads, each of which reads, translates and writes, so that all three overlap."""
    workers = _threads(job, settings)

    def make(places: np.ndarray) -> list[Made]:
        return [job.write(place, *made) for place, made in zip(places.tolist(), job.make(places), strict=True)]

    with (
        explained_memory(f"on {job.device} for {workers * job.chunk} faces at a time; lower --batch-size"),
        reproducible(job.translator, job.device),
        _one_core_each(workers) as pool,
    ):
        try:
            # Some more than are worked on, so that no thread waits for the record.
            for finished in as_they_finish(chunks, lambda chunk: pool.submit(make, chunk), 2 * workers):
                # One line for all of them: a disk may need as long for it as a core for a chunk.
                done([entry for _, entries in finished for entry in entries])
        finally:
            pool.shutdown(cancel_futures=True)


def _make_elsewhere(
    job: _Job,
    chunks: Sequence[np.ndarray],
    settings: GenerateSettings,
    hold: Hold,
    engine: Engine,
    done: Callable[[list[Made]], None],
) -> None:
    """Have other processes make chunks, several a task; write what they give."""
    together = math.ceil(settings.batch_size / job.chunk) or SHARD
    shards = [chunks[start : start + together] for start in range(0, len(chunks), together)]
    with (
        explained_memory(f"on {job.device} for {together * job.chunk} faces a task; lower --batch-size"),
        ThreadPoolExecutor(settings.threads or cores()) as pool,
    ):

        def write(shard: Sequence[np.ndarray], made: list[tuple[Made, bytes]]) -> None:
            hold.check()
            places = np.concatenate(shard).tolist()
            done(list(pool.map(job.write_from_elsewhere, places, *zip(*made, strict=True))))

        engine(shards, 0, partial(_shard_maker, job.for_others(), settings), write)


def _shard_maker(job: _Job, settings: GenerateSettings) -> Callable[[Sequence[np.ndarray]], list[tuple[Made, bytes]]]:
    """Give a worker elsewhere what makes several chunks."""
    # A worker has one core, or a graphics card, which one thread alone cannot keep busy.
    workers = _threads(job, settings) if job.device == "cuda" else 1

    def make(shard: Sequence[np.ndarray]) -> list[tuple[Made, bytes]]:
        with reproducible(job.translator, job.device), _one_core_each(workers) as pool:
            return list(chain.from_iterable(pool.map(job.make, shard)))

    return make


def _one_core_each(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))


def _threads(job: _Job, settings: GenerateSettings) -> int:
    """Chunks in work at one time."""
    threads = settings.threads or cores()
    return min(threads, math.ceil(settings.batch_size / job.chunk)) if settings.batch_size else threads


def _chosen(settings: GenerateSettings, engine: Engine | None) -> tuple[str, str]:
    """Device and precision, chosen where the work is done."""
    chosen: list[tuple[str, str]] = []
    (engine or do_all)([settings], 1, _chooser, lambda _, both: chosen.append(both))
    return chosen[0]


def _chooser() -> Callable[[GenerateSettings], tuple[str, str]]:
    def choose(settings: GenerateSettings) -> tuple[str, str]:
        device = choose_device(settings.device)
        return device, choose_precision(settings.precision, device)

    return choose


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


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
