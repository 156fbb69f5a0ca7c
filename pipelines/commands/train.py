"""`emoaug train`: train a system."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

import tyro

from augment.checkpoints import DEFAULT, read_config, settings_from
from augment.devices import Machines
from augment.folders import HELD_OUT_SPLITS, FaceTable, check_outside, load_faces
from augment.initial import suits
from augment.systems import get_system
from augment.systems.base import retouches
from augment.training import TrainingSettings
from augment.training_run import Conditions, began_with, train
from emoaug import EmoaugError
from pipelines.commands.datasets import DatasetOptions, open_dataset, readable
from pipelines.leaks import few, trained_people


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
    initial: Path = Path("auto")
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
    also = None if options.also is None else open_dataset(options.also, replace(options.reading, subject_pattern=None))
    size = options.size
    if size is None and options.configuration == "compact":
        size = load_faces(faces.select([0]), None).shape[-1]
    chosen = () if size is None else (f"size={size}",)
    settings = with_options(system.configurations[options.configuration], chosen + options.set)
    size = settings.size
    if options.size is None and options.configuration == "compact" and size > 64 and retouches(settings):
        print(
            f"training at {size} pixels, as the faces are; --size 64 is some {round((size / 64) ** 2)} times as quick, "
            f"and makes faces of {size} pixels too",
            file=sys.stderr,
        )
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
        f"use: emoaug generate --data {quote(str(data))} --weights {quote(str(options.out))} --out BIGGER"
    )


def _initial(options: Options, settings: Any, faces: FaceTable, also: FaceTable | None) -> Path | None:
    """The weights to begin with: those that are asked for, or the package's where these suit."""
    if str(options.initial) in ("auto", "none"):
        begun, known = began_with(options.out), read_config(DEFAULT)
        if str(options.initial) == "none" or (begun == "" and not options.restart):
            return None
        names = dict.fromkeys(faces.vocabulary + (() if also is None else also.vocabulary))
        shared = [name for name in known["condition_names"] if name in names]
        if options.conditions != "labels" or options.system != known["system"] or len(shared) < 2:
            return None
        if not suits(Path(DEFAULT), settings, tuple(names)):
            return None
        held_out = faces.table.subject[faces.table.split.isin(HELD_OUT_SPLITS)]
        if seen := trained_people(known) & set(held_out.dropna()):
            _say_once(f"begins from nothing: the package's weights saw people of the names {few(seen)}, who test")
            return None
        if begun is None or options.restart:
            _say_once(
                f"begins with the package's weights, which know {', '.join(shared)}; --initial none begins from nothing"
            )
        return Path(DEFAULT)
    return options.initial


def _say_once(text: str) -> None:
    """Tell the user, in one of the processes that train together."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(text, file=sys.stderr)


def with_options(settings: Any, texts: tuple[str, ...]) -> Any:
    """A system's settings with some replaced, each given as NAME=VALUE and checked like a checkpoint's."""
    values = asdict(settings)
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in values:
            raise EmoaugError(f'--set "{text}": write NAME=VALUE, with one of {", ".join(values)}')
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return settings_from(type(settings), values, "--set")
