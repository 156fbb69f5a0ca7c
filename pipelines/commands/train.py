"""`emoaug train`: train a system."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

import tyro

from augment.checkpoints import settings_from
from augment.devices import Machines
from augment.folders import HELD_OUT_SPLITS, FaceTable, check_outside, load_faces
from augment.systems import get_system
from augment.systems.base import retouches
from augment.training import TrainingSettings
from augment.training_data import measured_landmarks
from augment.training_run import Conditions, began_with, train
from emoaug import EmoaugError
from pipelines.beginning import AUTO, NOTHING, package_weights, tell_size
from pipelines.commands.datasets import DatasetOptions, open_dataset, readable


@dataclass(frozen=True)
class Options:
    """Train a system that changes expressions; the same command again goes on where it stopped."""

    data: Path
    """Folder of aligned faces; its `val` and `test` splits are left out."""
    out: Path
    """Run folder: settings, log, sample sheets, checkpoint."""
    also: Path | None = None
    """Another folder of aligned faces to learn from beside, such as rendered ones (emoaug simulate --like DATA), whose
    labels are exact and whose people show every expression. Of each expression both are drawn from as often; what only
    this folder shows is learnt too. Its people are those of its column `subject`."""
    system: str = "lssl"
    """Which published system."""
    configuration: Literal["compact", "paper"] = "compact"
    """`compact` for small data and CPUs, `paper` for the published networks."""
    size: int | None = None
    """Side of the faces that the networks see, pixels; by default the dataset's for `compact`, the published one for
    `paper`. By default systems retouch faces, and larger ones stay as sharp as they are."""
    conditions: Conditions = "labels"
    """What the system is told to show: an expression by its label, or the strength of every movement, as blendshapes or
    action units, that `emoaug align` measured; then every face is an example, labelled or not."""
    initial: Path = Path(AUTO)
    """Checkpoint of the same system to begin with, whatever its expressions; `default` for the weights that come with
    the package (lssl), `none` for nothing learnt. `auto` takes the package's where they know two of the expressions,
    their networks are those to be trained, and they saw none of the people in the splits that are left out."""
    set: tuple[str, ...] = ()
    """Options of the system, NAME=VALUE each: --set identity_weight=1 output=direct."""
    training: Annotated[TrainingSettings, tyro.conf.arg(name="")] = field(default_factory=TrainingSettings)
    machines: Annotated[Machines, tyro.conf.arg(name="")] = field(default_factory=Machines)
    compile: bool = False
    """Have torch.compile make code for the networks that make faces, which takes some minutes before the first step and
    needs a C++ compiler on a CPU; on CUDA it makes graphs."""
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)
    restart: bool = False
    """Throw away what the run folder holds, and begin anew."""


def run(options: Options) -> None:
    """Train and say where the result is."""
    system = get_system(options.system)
    unlabelled = options.conditions != "labels" or system.takes_unlabelled
    faces = readable(open_dataset(options.data, options.reading, unlabelled))
    check_outside(options.out, options.data, faces)
    # Its faces have names of their own.
    reading = replace(options.reading, subject_pattern=None, label_pattern=None)
    also = None if options.also is None else open_dataset(options.also, reading)
    size = options.size
    if size is None and options.configuration == "compact":
        size = load_faces(faces.select([0]), None).shape[-1]
    chosen = () if size is None else (f"size={size}",)
    settings = with_options(system.configurations[options.configuration], chosen + options.set)
    size = settings.size
    measured_landmarks(faces)
    if options.configuration == "compact" and retouches(settings):
        tell_size(size, options.size, f", and makes faces of {size} pixels too")
    initial = _initial(options, settings, faces, also)
    checkpoint = train(
        *(faces, options.out, options.system, settings, options.training),
        restart=options.restart,
        conditions=options.conditions,
        machines=options.machines,
        compiled=options.compile,
        initial=initial,
        also=also,
    )
    samples = sorted((options.out / "samples").glob("*.png"))
    data = options.data if faces.table["label"].notna().any() else "LABELLED"
    print(
        f"{checkpoint}        look: {samples[-1]}   "
        f"use: emoaug generate --data {quote(str(data))} --weights {quote(str(options.out))} "
        "--policy multiply --out BIGGER"
    )


def _initial(options: Options, settings: Any, faces: FaceTable, also: FaceTable | None) -> Path | None:
    """The weights to begin with: those that are asked for, or the package's where these suit."""
    begun = None if options.restart else began_with(options.out)
    if str(options.initial) == NOTHING or (str(options.initial) == AUTO and begun == ""):
        return None
    if str(options.initial) != AUTO:
        return options.initial
    if options.conditions != "labels":
        return None
    names = tuple(dict.fromkeys(faces.vocabulary + (() if also is None else also.vocabulary)))
    held_out = faces.table.subject[faces.table.split.isin(HELD_OUT_SPLITS)].dropna()
    initial, said = package_weights(options.system, settings, names, held_out)
    if said and begun is None and os.environ.get("LOCAL_RANK", "0") == "0":  # once, of processes that train together
        print(said, file=sys.stderr)
    return initial


def with_options(settings: Any, texts: tuple[str, ...]) -> Any:
    """A system's settings with some replaced, each given as NAME=VALUE and checked like a checkpoint's."""
    values = asdict(settings)
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in values:
            near = get_close_matches(name, values, 1)
            hint = f"did you mean {near[0]}? There are" if equals and near else "write NAME=VALUE, with one of"
            raise EmoaugError(f'--set "{text}": {hint} {", ".join(values)}')
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return settings_from(type(settings), values, "--set")
