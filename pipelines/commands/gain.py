"""`emoaug gain`: measure whether synthetic faces help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pipelines.commands.datasets import DatasetOptions, open_dataset
from pipelines.gain import run_gain
from pipelines.report import write_report
from pipelines.trials import GainSettings


@dataclass(frozen=True)
class Options:
    """Train the same classifier with and without synthetic faces, in equal steps, and say whether it got better."""

    data: Path
    """Folder of aligned faces."""
    out: Path = Path("runs/gain")
    """Folder for trials, systems, synthetic faces and the report; the same command again goes on."""
    settings: Annotated[GainSettings, tyro.conf.arg(name="")] = field(default_factory=GainSettings)
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)


def run(options: Options) -> None:
    """Run the trials and write the report."""
    faces = open_dataset(options.data, options.reading)
    trials = run_gain(faces, options.out, options.settings)
    print(write_report(faces, trials, options.out, options.settings))
    unknown = int(faces.table.subject.isna().sum())
    if unknown:
        print(
            f"who is shown is unknown for {unknown:,} of {len(faces):,} faces: one person may be trained on and tested "
            "on; --subject-pattern or a column `subject` would prevent it"
        )
