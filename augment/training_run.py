"""Training runs: what is trained on which faces in which folder, begun or gone on with by one call.

A run folder is of one run: what decides its weights is in `settings.json`, and another one is refused there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd
import torch
from tqdm import tqdm

from augment.checkpoints import RUN_FILE, load_translator, read_config
from augment.devices import (
    Machines,
    Precision,
    choose_device,
    choose_precision,
    explained_memory,
    make_fabric,
    seed_from,
)
from augment.folders import FaceTable
from augment.initial import begin_with
from augment.intensities import IntensityScale
from augment.measured_conditions import are_measured, expression_means, fit_scale
from augment.ranks import decided, together
from augment.runs import Hold, check_same_run, clear_up, locked, read_run, remove_temporary_files, write_run
from augment.systems import SYSTEMS, Translator, get_system
from augment.training import Trainer, TrainingSettings
from augment.training_data import (
    TrainingFaces,
    check_apart,
    check_partners,
    data_hash,
    load_training_faces,
    side_by_side,
)
from emoaug import EmoaugError, __version__

if TYPE_CHECKING:
    from lightning_fabric import Fabric

KIND = "emoaug train"
RESTART = (
    "Choose another folder, remove this one, or give emoaug train or refine --restart, to begin anew; to train on from "
    "what this one learnt, give another folder, and this one as --initial"
)

Conditions = Literal["labels", "blendshapes", "action-units"]
"""What a condition asks for: the class that faces are labelled with, or the strength of each movement that was measured
on them, labelled or not."""


def train(
    faces: FaceTable,
    out: Path,
    system: str,
    system_settings: Any,
    settings: TrainingSettings,
    condition_names: tuple[str, ...] | None = None,
    restart: bool = False,
    conditions: Conditions = "labels",
    machines: Machines | None = None,
    compiled: bool = False,
    initial: Path | str | None = None,
    also: FaceTable | None = None,
) -> Path:
    """Train a system on a dataset's training faces, or go on with the run in `out`.

    Args:
        faces: an aligned dataset; `FaceTable.for_training` says which of its faces are used.
        out: run folder; new, empty, or holding the same run.
        system: a name in `augment.systems.SYSTEMS`.
        system_settings: that system's settings.
        settings: how to train.
        condition_names: order of the expressions; the dataset's vocabulary if None. Not for measured conditions, whose
            names are what moves in these faces.
        restart: throw away what `out` holds of an earlier run and begin anew.
        conditions: what the system is conditioned on. Measured ones take every face that has blendshape scores beside
            it, labelled or not; labels only name what the faces of a class showed on average, as
            `Translator.named_conditions`.
        machines: how many devices train together. With more than one the script is started once more for each, and
            those other processes end with this call: what follows it happens once.
        compiled: have `torch.compile` make code for the networks that make faces; the last bits of sums differ.
        initial: checkpoint of the same system to begin with, whatever its expressions; see `begin_with`.
        also: another aligned dataset to learn from beside, such as rendered faces, whose labels are exact and whose
            people all show every expression; of each expression both are drawn from as often. Its own are learnt too;
            faces are asked for what their own dataset shows.

    Returns:
        The checkpoint folder.

    Raises:
        EmoaugError: the data or the initial weights do not fit, the folder holds another run, or training ran away.
    """
    kind = get_system(system)
    lesson = _lesson(faces, kind, condition_names, conditions, also)

    def prepare() -> tuple[Translator, TrainingFaces]:
        data = lesson.load(system_settings.size)
        if lesson.beside is not None:
            data.check_partners(kind.partners)
        translator = kind(lesson.names, system_settings)
        if initial is not None:
            teacher = load_translator(initial)
            teacher.speak(lesson.names)
            begin_with(translator, teacher)
            translator.remember(teacher)
        return translator, data

    identity = {"system": system, "system_settings": asdict(system_settings), **lesson.identity()}
    extra = lesson.facts(faces.vocabulary)
    identity["initial_sha256"] = None
    if initial is not None:
        before = read_config(initial)
        identity["initial_sha256"] = before["weights_sha256"]
        extra["training_data"]["initial"] = before["extra"].get("training_data", {})
    return run_training(out, identity, settings, prepare, extra, restart, machines, compiled)


@dataclass(frozen=True)
class _Lesson:
    """What a run learns from, and what it is asked for."""

    faces: FaceTable
    """The dataset's own."""
    beside: FaceTable | None
    names: tuple[str, ...]
    """Names of the conditions."""
    scale: IntensityScale | None
    """Of measured conditions."""

    @cached_property
    def hashes(self) -> list[str]:
        """Of the faces, and of those beside them."""
        return [data_hash(faces) for faces in (self.faces, self.beside) if faces is not None]

    def load(self, size: int) -> TrainingFaces:
        """All that is learnt from, at a side of so many pixels."""
        own = load_training_faces(self.faces, self.names, size, self.scale, part=self.beside is not None)
        if self.beside is None:
            return own
        return side_by_side(own, load_training_faces(self.beside, self.names, size, part=True))

    def identity(self) -> dict[str, Any]:
        """What makes a run of it this run."""
        return {
            "condition_names": list(self.names),
            "data_sha256": self.hashes[0],
            "also_sha256": None if self.beside is None else self.hashes[1],
            "conditions": None if self.scale is None else self.scale.to_json(),
        }

    def facts(self, vocabulary: tuple[str, ...]) -> dict[str, Any]:
        """What the checkpoint keeps of it; `vocabulary` is the dataset's."""
        tables = [self.faces.table] + ([] if self.beside is None else [self.beside.table])
        labels, subjects = (pd.concat([table[column] for table in tables]) for column in ("label", "subject"))
        seen: dict[str, Any] = {
            "subjects": sorted(set(map(str, subjects.dropna()))),
            "classes": {name: int((labels == name).sum()) for name in (vocabulary if self.scale else self.names)},
            "faces": len(self.faces),
            "sha256": self.hashes[0],
        }
        if self.beside is not None:
            seen["also"] = {"faces": len(self.beside), "sha256": self.hashes[1]}
        if self.scale is None:
            return {"training_data": seen}
        means = expression_means(self.faces, self.scale)
        return {"training_data": seen, "conditions": self.scale.to_json(), "expressions": means}


def _lesson(
    faces: FaceTable,
    kind: type[Translator],
    names: tuple[str, ...] | None,
    conditions: Conditions,
    also: FaceTable | None,
) -> _Lesson:
    """Choose the faces that a system can learn from, or raise EmoaugError; see `train`."""
    chosen = faces.select(faces.for_training())
    asked, beside = names or faces.vocabulary, None
    if also is not None:
        beside = also.select(also.for_training() & also.table.label.notna().to_numpy())
        check_apart(beside, faces)
        if conditions != "labels":
            raise EmoaugError("faces to learn from beside go by their labels; measured conditions are without them")
        new = set(beside.table.label) - set(asked)
        asked = names or (*asked, *(name for name in beside.vocabulary if name in new))
    scale = None
    if conditions == "labels":
        if not kind.takes_unlabelled:
            chosen = chosen.select(chosen.table.label.notna().to_numpy())
    else:
        if not kind.learns_intensities:
            able = " and ".join(name for name, other in SYSTEMS.items() if other.learns_intensities)
            raise EmoaugError(f"{kind.name} learns from labels only; measured conditions are for {able}")
        chosen = chosen.select(are_measured(chosen))
        scale = fit_scale(chosen, conditions)
        asked = scale.names
    if beside is None:
        check_partners(chosen, kind.partners, scale is not None)
    return _Lesson(chosen, beside, asked, scale)


def run_training(
    out: Path,
    identity: dict[str, Any],
    settings: TrainingSettings,
    prepare: Callable[[], tuple[Translator, TrainingFaces]],
    extra: dict[str, Any],
    restart: bool = False,
    machines: Machines | None = None,
    compiled: bool = False,
) -> Path:
    """Train what `prepare` gives in the run folder `out`, or go on with the run in it.

    Args:
        out: run folder; new, empty, or holding the same run.
        identity: what makes this run this run, besides `settings`; another identity in `out` is an error.
        settings: how to train.
        prepare: builds the translator and reads the data; not called for a finished run.
        extra: facts to keep in the checkpoint.
        restart: throw away what `out` holds of an earlier run and begin anew.
        machines: how many devices train together; see `train`.
        compiled: see `train`.

    Returns:
        The checkpoint folder.
    """
    ranks = 1 if machines is None else machines.ranks
    if settings.batch_size % ranks:
        raise EmoaugError(
            f"a batch of {settings.batch_size} faces cannot be shared by {ranks} devices; make --batch-size a multiple"
        )
    settings = replace(settings, precision=_precision(out, settings, restart))
    identity = identity | {
        # Where and how often to look and save does not change what is trained.
        "training": {k: v for k, v in asdict(settings).items() if k not in ("sample_every", "save_every", "device")},
    }
    fabric = make_fabric(settings.device, settings.precision, machines)
    holds: list[Hold] = []

    def begin() -> bool:
        """Whether there is something to do; then the folder is held."""
        if restart:
            _discard(out)
        before = read_run(out, KIND, RUN_FILE)
        if before is not None:
            check_same_run(out, before, identity, RESTART)
            if before.get("finished"):
                clear_up(out)
                tqdm.write(f"{out}: this run is finished, nothing to do", file=sys.stderr)
                return False
        holds.append(stack.enter_context(locked(out)))
        remove_temporary_files(out)
        return True

    with together(fabric), ExitStack() as stack:
        if decided(fabric, begin):
            _train(fabric, out, identity, settings, prepare, extra, holds[0] if holds else None, compiled)
    return out / "checkpoint"


def _precision(out: Path, settings: TrainingSettings, restart: bool) -> Precision:
    """What a run computes with: left to us, what it began with, lest it change where a run is taken to another device.

    Else what suits the device.
    """
    run = None if restart else read_run(out, KIND, RUN_FILE)
    if settings.precision == "auto" and run is not None:
        with suppress(KeyError, TypeError):
            before = run["identity"]["training"]["precision"]
            if before in get_args(Precision):
                return before
    return choose_precision(settings.precision, choose_device(settings.device))


def _train(
    fabric: Fabric,
    out: Path,
    identity: dict[str, Any],
    settings: TrainingSettings,
    prepare: Callable[[], tuple[Translator, TrainingFaces]],
    extra: dict[str, Any],
    hold: Hold | None,
    compiled: bool,
) -> None:
    """Train in a folder that one of the processes holds."""
    torch.manual_seed(seed_from(settings.seed, "weights"))
    translator, data = prepare()
    run = {"finished": False, "identity": identity, "versions": {"emoaug": __version__, "torch": torch.__version__}}
    if hold is not None:
        write_run(out, KIND, run, RUN_FILE)
    with explained_memory(f"for a batch of {settings.batch_size} faces; lower --batch-size"):
        Trainer(translator, data, out, settings, extra | {"training": asdict(settings)}, fabric, hold, compiled).run()
    if hold is not None:
        hold.check()
        write_run(out, KIND, run | {"finished": True}, RUN_FILE)


def _discard(out: Path) -> None:
    """Remove an earlier training run, and nothing else."""
    if read_run(out, KIND, RUN_FILE) is None:
        return
    with locked(out):
        for name in ("log.jsonl", "samples", "checkpoint", "state", RUN_FILE):
            part = out / name
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)


def began_with(out: Path) -> str | None:
    """The hash of the weights that the training run in a folder began with; "" for none, None where there is no run."""
    run = read_run(out, KIND, RUN_FILE)
    return None if run is None else run.get("identity", {}).get("initial_sha256") or ""
