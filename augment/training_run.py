"""Training runs: what is trained on which faces in which folder, begun or gone on with by one call.

A run folder is of one run: what decides its weights is in `settings.json`, and another one is refused there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch
from tqdm import tqdm

from augment.checkpoints import load_translator, read_config
from augment.devices import Machines, explained_memory, make_fabric, seed_from
from augment.folders import FaceTable
from augment.initial import begin_with
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
RUN_FILE = "settings.json"

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
            people all show every expression; of each expression both are drawn from as often. Its own are learnt too.

    Returns:
        The checkpoint folder.

    Raises:
        EmoaugError: the data or the initial weights do not fit, the folder holds another run, or training ran away.
    """
    chosen = faces.select(faces.for_training())
    names, scale = condition_names or faces.vocabulary, None
    beside = None if also is None else also.select(also.for_training() & also.table.label.notna().to_numpy())
    if beside is not None:
        check_apart(beside, faces)
        if conditions != "labels":
            raise EmoaugError("faces to learn from beside go by their labels; measured conditions are without them")
        shown = set(beside.table.label)
        names = condition_names or (*names, *(name for name in beside.vocabulary if name in shown - set(names)))
    if conditions == "labels":
        if not get_system(system).takes_unlabelled:
            chosen = chosen.select(chosen.table.label.notna().to_numpy())
    else:
        if not get_system(system).learns_intensities:
            able = " and ".join(name for name, kind in SYSTEMS.items() if kind.learns_intensities)
            raise EmoaugError(f"{system} learns from labels only; measured conditions are for {able}")
        chosen = chosen.select(are_measured(chosen))
        scale = fit_scale(chosen, conditions)
        names = scale.names
    if beside is None:
        check_partners(chosen, get_system(system).partners, scale is not None)
    data_sha256 = data_hash(chosen)

    def prepare() -> tuple[Translator, TrainingFaces]:
        data = load_training_faces(chosen, names, system_settings.size, scale, part=beside is not None)
        if beside is not None:
            data = side_by_side(data, load_training_faces(beside, names, system_settings.size, part=True))
            data.check_partners(get_system(system).partners)
        translator = get_system(system)(names, system_settings)
        if initial is not None:
            begin_with(translator, load_translator(initial))
        return translator, data

    identity = {
        "system": system,
        "condition_names": list(names),
        "system_settings": asdict(system_settings),
        "data_sha256": data_sha256,
        "initial_sha256": None,
    }
    subjects = sorted({str(subject) for subject in chosen.table.subject.dropna()})
    shown_labels = chosen.table.label if beside is None else pd.concat([chosen.table.label, beside.table.label])
    classes = {name: int((shown_labels == name).sum()) for name in (names if scale is None else faces.vocabulary)}
    seen = {"subjects": subjects, "classes": classes, "faces": len(chosen), "sha256": data_sha256}
    extra: dict[str, Any] = {"training_data": seen}
    if initial is not None:
        before = read_config(initial)
        identity |= {"initial_sha256": before["weights_sha256"]}
        seen |= {"initial": before["extra"].get("training_data", {})}
    if beside is not None:
        # Not an entry of every run: those from before there was such a thing go on.
        identity |= {"also_sha256": data_hash(beside)}
        seen |= {"also": {"faces": len(beside), "sha256": identity["also_sha256"]}}
        seen["subjects"] = sorted({*subjects, *map(str, beside.table.subject.dropna())})
    if scale is not None:
        identity |= {"conditions": scale.to_json()}
        extra |= {"conditions": scale.to_json(), "expressions": expression_means(chosen, scale)}
    return run_training(out, identity, settings, prepare, extra, restart, machines, compiled)


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
            check_same_run(out, before, identity)
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
