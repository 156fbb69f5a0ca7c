"""Carry out a plan: make its faces, write them with their provenance, and survive being stopped at any moment."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
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
from augment.generation_folder import (
    GenerateSummary,
    check_folder,
    csv_pieces,
    picture_names,
    write_tables,
)
from augment.generation_network import reproducible
from augment.generation_record import KIND, PLAN, RECORD, Made, Outcomes, Record
from augment.generation_work import Job
from augment.pictures import write_bytes
from augment.plans import check_plan, plan_summary
from augment.real_faces import IncludeReal, add_real_faces, names_of
from augment.runs import (
    BEGIN_ANEW,
    Hold,
    clear_up,
    finished_result,
    locked,
    read_run,
    remove_temporary_files,
    write_run,
)
from augment.scoring.rows import rejected_folder
from augment.systems.base import LARGEST_DETAIL, Translator
from augment.workers import Engine, as_they_finish, cores, do_all
from emoaug import EmoaugError, __version__

SHARD = 4
"""Chunks of a task on another machine, unless `batch_size` says how many faces are in work at one time."""


SOURCES_CHECKED = 64
"""Sources that are compared with what they were when a folder was begun."""


@dataclass(frozen=True)
class GenerateSettings:
    """How a plan is carried out; batch size and threads cannot be seen in the files."""

    batch_size: int = 0
    """Faces in work at one time, rounded up to whole chunks (16 faces; 128 on CUDA; fewer above 128 pixels), each of
    which keeps a thread busy; 0: one chunk a thread. Fewer need less memory."""
    include_real: IncludeReal = "link"
    """How real faces come into the folder: as hard links (as copies where the disk cannot), as copies, or not. Those
    that others would see otherwise (on their side, transparent, GIF) come as PNG."""
    device: Device = "auto"
    """Where the network runs."""
    precision: Precision = "32-true"
    """Numbers that the network computes with."""
    threads: int = 0
    """Threads that read, translate and write; 0: as many as there are cores."""
    size: int = 0
    """Side of the new faces, pixels: the system's, or, of one that retouches faces, a larger one, at which they are as
    sharp as their sources; 0: that of the sources, where these are squares and the system can, else the system's."""
    compile: bool = False
    """Have torch.compile make code for the network, which takes a minute before the first face and needs a C++ compiler
    on a CPU; on CUDA it makes graphs. The last bits of the pictures differ."""

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise EmoaugError(
                f"batch_size is {self.batch_size}; it is 1 face or more, or 0 for as many as keep the threads busy"
            )
        if self.size < 0:
            raise EmoaugError(f"size is {self.size}; it is 1 pixel or more, or 0 for that of the sources")
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
    folder. The bytes of the pictures depend on the sources and exemplars, the weights, the plan's rows, their size, the
    precision, compilation and the kind of device, and not on batch size, threads, restarts or the engine.

    Where the plan has exemplars and the system recombines faces, each source is given its exemplar's expression by
    `recombine`; otherwise it is translated to its condition.

    Args:
        faces: the dataset that the plan was built for.
        translator: the trained system, which is called from several threads at once.
        plan: see `augment.exemplar_plans.suitable_plan`.
        out: the folder to write; absent, empty, or one that this same call began.
        settings: how to carry it out.
        provenance: what `run.json` should say about the origin besides the dataset; `checkpoint_sha256` also goes into
            the metadata, by default the hash that the system's weights would have as a checkpoint.
        engine: makes the faces in other processes, or on other machines (see `augment.engines.open_engine`), which must
            be able to read the sources; the files are written here. By default faces are made here, in threads.

    Raises:
        EmoaugError: the plan does not fit, the folder holds something else, is in use or cannot be written to.
    """
    device, precision = _chosen(settings, engine)
    check_plan(plan, faces, translator.condition_names)
    check_folder(out, faces, plan["target"].unique().tolist())
    plan = plan.reset_index(drop=True)
    size = _size(faces, translator, plan, out, settings.size)
    identity = {
        "plan": _sha256(csv_pieces(plan)),
        "faces": _sha256(csv_pieces(faces.table[["file_name", "label", "subject", "split", "is_synthetic"]])),
        "system": translator.name,
        "weights": weights_sha256(translator),
        "precision": precision,
        "compiled": settings.compile,
        "include_real": settings.include_real,
        "size": size,
    }
    finished = _finished(out, identity, plan, faces)
    if finished is not None:
        clear_up(out, RECORD)
        return finished
    with locked(out) as hold:
        # Asked again, because another process may have begun or finished between the first look and the lock.
        finished = _finished(out, identity, plan, faces)
        if finished is not None:
            return finished
        run: dict[str, Any] = {
            "finished": False,
            "identity": identity,
            "settings": asdict(settings) | {"device": device, "precision": precision, "size": size},
            "provenance": provenance | {"data": str(faces.root.resolve())},
            "plan": plan_summary(plan),
            "sources": _some_hashes(faces, plan),
            "condition_names": list(translator.condition_names),
            "vocabulary": list(faces.vocabulary),
            "versions": _versions(),
        }
        write_run(out, KIND, run)
        write_bytes(out / PLAN, csv_pieces(plan), parents=False)
        remove_temporary_files(out)
        record = Record(out / RECORD)
        job = Job(faces, translator, plan, out, device, precision, size)
        made = _make_all(job, record, settings, hold, engine)
        real = add_real_faces(faces, out, settings.include_real, settings.threads or cores(), picture_names(plan))
        hold.check(chain(map(job.name, np.flatnonzero(made.made).tolist()), names_of(real)))
        origin = {"system": translator.name, "checkpoint_sha256": identity["weights"], **provenance}
        summary = write_tables(faces, plan, made, real, out, size, origin)
        result = {k: v for k, v in asdict(summary).items() if k not in ("out", "already_done")}
        write_run(out, KIND, run | {"finished": True, "result": result})
        record.remove()
        return summary


def _make_all(job: Job, record: Record, settings: GenerateSettings, hold: Hold, engine: Engine | None) -> Outcomes:
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
    job: Job, chunks: Sequence[np.ndarray], settings: GenerateSettings, done: Callable[[list[Made]], None]
) -> None:
    """Make chunks in threads, each of which reads, translates and writes, so that all three overlap."""
    workers = _threads(job, settings)

    def make(places: np.ndarray) -> list[Made]:
        made = job.make(places, translate)
        return [job.write(place, *each) for place, each in zip(places.tolist(), made, strict=True)]

    with (
        explained_memory(f"on {job.device} for {workers * job.chunk} faces at a time; lower --batch-size"),
        reproducible(job.translator, job.device, job.precision, settings.compile) as translate,
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
    job: Job,
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


def _shard_maker(job: Job, settings: GenerateSettings) -> Callable[[Sequence[np.ndarray]], list[tuple[Made, bytes]]]:
    """Give a worker elsewhere what makes several chunks."""
    # A worker has one core, or a graphics card, which one thread alone cannot keep busy.
    workers = _threads(job, settings) if job.device == "cuda" else 1

    def make(shard: Sequence[np.ndarray]) -> list[tuple[Made, bytes]]:
        with (
            reproducible(job.translator, job.device, job.precision, settings.compile) as translate,
            _one_core_each(workers) as pool,
        ):
            return list(chain.from_iterable(pool.map(lambda places: job.make(places, translate), shard)))

    return make


def _one_core_each(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))


def _threads(job: Job, settings: GenerateSettings) -> int:
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


def _size(faces: FaceTable, translator: Translator, plan: pd.DataFrame, out: Path, wanted: int) -> int:
    """Side of the new faces, pixels."""
    own, begun = translator.size, read_run(out, KIND)
    if wanted:
        if wanted != own and not (own < wanted <= LARGEST_DETAIL and translator.keeps_detail):
            allowed = f"{own} to {LARGEST_DETAIL} pixels" if translator.keeps_detail else f"{own} pixels, or 0"
            raise EmoaugError(f"size is {wanted}; faces of this {translator.name} are {allowed}")
        return wanted
    if begun:
        # Sources may be gone since.
        before = begun["identity"].get("size") if isinstance(begun.get("identity"), dict) else None
        return before if type(before) is int and own < before <= LARGEST_DETAIL and translator.keeps_detail else own
    if not translator.keeps_detail:
        return own
    sides: list[int] = []
    sources = plan["source_index"].unique()
    for index in sources[:: math.ceil(len(sources) / 50) or 1].tolist():
        with suppress(EmoaugError):
            height, width = faces.picture(index).shape[:2]
            sides.append(height if height == width else 0)
    return max(own, min([*sides, LARGEST_DETAIL]) if sides else 0)


def _some_hashes(faces: FaceTable, plan: pd.DataFrame) -> dict[str, str]:
    """Hashes of some sources, by their names, evenly spaced; of those that are there."""
    sources, hashes = np.unique(plan["source_index"]), dict[str, str]()
    for index in sources[:: math.ceil(len(sources) / SOURCES_CHECKED) or 1].tolist():
        with suppress(OSError):
            hashes[str(faces.table["file_name"].iat[index])] = faces.sha256(index)
    return hashes


def _finished(out: Path, identity: dict[str, Any], plan: pd.DataFrame, faces: FaceTable) -> GenerateSummary | None:
    """The summary of a folder in which this very run is finished; None if there is work to do."""

    def summary(result: dict[str, Any]) -> GenerateSummary:
        notes, rejected = list(result["notes"]), rejected_folder(out)
        if rejected.is_dir():
            notes.append(f"faces that a filter has rejected since lie in {rejected}/")
        return GenerateSummary(**{**result, "out": out, "notes": tuple(notes), "already_done": True})

    run, told = read_run(out, KIND), ""
    if run is not None and run.get("identity") != identity:
        before, counts = run.get("plan"), plan_summary(plan)["classes"]
        before = before.get("classes") if isinstance(before, dict) else None
        told = "" if before == counts else f"Asked for were {_in_words(before)}, and now {_in_words(counts)}. "
    mend = f"{told}A plan follows from the faces, the targets, how many, how strong, and the seed. {BEGIN_ANEW}"
    found = finished_result(out, KIND, identity, summary, mend)
    before = {} if run is None else run.get("sources", {})
    now = _some_hashes(faces, plan) if before else {}
    changed = [name for name, digest in now.items() if before.get(name, digest) != digest]
    if changed:
        raise EmoaugError(f"{faces.root / changed[0]} has changed since {out} was begun from it. {BEGIN_ANEW}")
    return found


def _in_words(counts: Any) -> str:
    """Faces of each class, from a mapping; of anything else, which a damaged file may hold, that they are unknown."""
    known = isinstance(counts, dict) and counts
    return ", ".join(f"{count} {name}" for name, count in counts.items()) if known else "none or unknown faces"


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
