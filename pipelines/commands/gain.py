"""`emoaug gain`: measure whether synthetic faces help."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from augment.devices import choose_device, slow_precision
from augment.engines import EngineSettings, open_engine
from augment.folders import check_outside
from augment.runs import read_run
from pipelines.commands.datasets import DatasetOptions, open_dataset, open_test
from pipelines.gain import KIND, run_gain
from pipelines.report import write_report
from pipelines.trials import GainSettings


@dataclass(frozen=True)
class Options:
    """Train the same classifier with and without synthetic faces, in equal steps, and say whether it got better."""

    data: Path
    """Folder of aligned faces."""
    out: Path = Path("runs/gain")
    """Folder for trials, systems, synthetic faces and the report; the same command again goes on."""
    test: Path | None = None
    """Another folder of aligned faces to test on, in the place of folds; expressions that the first does not show, and
    training faces that are like a picture of it, are left out."""
    test_labels: tuple[str, ...] = ()
    """Renames expressions of that folder, OLD=NEW each: --test-labels afraid=fear."""
    settings: Annotated[GainSettings, tyro.conf.arg(name="")] = field(default_factory=GainSettings)
    engine: Annotated[EngineSettings, tyro.conf.arg(name="")] = field(default_factory=EngineSettings)
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)


def run(options: Options) -> None:
    """Run the trials and write the report."""
    faces = open_dataset(options.data, options.reading)
    check_outside(options.out, options.data, faces)
    test = open_test(options.test, options.test_labels, options.reading.subject_pattern, faces)
    slow = slow_precision(options.settings.classifier.precision, choose_device(options.settings.training.device))
    if slow and options.engine.engine == "local":
        print(f"{slow} (--classifier.precision)", file=sys.stderr)
    with open_engine(options.engine, options.settings.training.device) as engine:
        trials = run_gain(faces, options.out, options.settings, test, engine)
    print(write_report(faces, trials, options.out, options.settings))
    found = read_run(options.out, KIND) or {}
    for note in [*found.get("notes", []), *found.get("caveats", [])]:
        print(note)
