"""`emoaug refine`: make simulated faces look real."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from augment.folders import check_outside, load_faces
from augment.generation import GenerateSettings
from augment.refinement import RealSide, refine, train_refiner
from augment.refiner import RefinerSettings
from augment.training import TrainingSettings
from pipelines.commands.datasets import DatasetOptions, open_dataset
from pipelines.commands.train import with_options


@dataclass(frozen=True)
class Options:
    """Train a refiner on simulated and real faces, then write the simulated dataset refined: the same labels, the same
    people. A stopped run goes on."""

    simulated: Path
    """Folder that `emoaug simulate` wrote."""
    real: Path
    """Folder of aligned real faces, labelled or not; its `val` and `test` splits are left out."""
    out: Path
    """Folder of the refined dataset; the refiner's run lies beside it, in OUT-refiner, unless --run says where."""
    run: Path | None = None
    """Run folder of the refiner."""
    set: tuple[str, ...] = ()
    """Options of the refiner, NAME=VALUE each: --set self_regularisation_weight=1."""
    side: Annotated[RealSide, tyro.conf.arg(name="")] = field(default_factory=RealSide)
    training: Annotated[TrainingSettings, tyro.conf.arg(name="")] = field(
        default_factory=lambda: TrainingSettings(batch_size=16)
    )
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)
    restart: bool = False
    """Throw away what the refiner's run folder holds, and begin anew."""


def run(options: Options) -> None:
    """Train, refine, and say what came of it."""
    simulated = open_dataset(options.simulated, DatasetOptions())
    real = open_dataset(options.real, options.reading)
    run_folder = options.run or options.out.with_name(options.out.name + "-refiner")
    for folder in (options.out, run_folder):
        check_outside(folder, options.simulated, simulated)
        check_outside(folder, options.real, real)
    size = load_faces(simulated.select([0]), None).shape[-1]
    settings = with_options(RefinerSettings(size=size), options.set)
    train_refiner(simulated, real, run_folder, settings, options.training, options.side, options.restart)
    generating = GenerateSettings(device=options.training.device)
    provenance = {"real": str(real.root), "weights": str(run_folder)}
    print(refine(simulated, run_folder, options.out, generating, provenance))
    samples = sorted((run_folder / "samples").glob("*.png"))
    print(f"refiner: {run_folder}        look: {samples[-1]}")
