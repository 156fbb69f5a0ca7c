"""`emoaug compare`: systems side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from augment.folders import check_outside
from pipelines.commands.datasets import DatasetOptions, open_dataset
from pipelines.compare import CompareSettings, run_comparison
from pipelines.comparison_report import write_comparison


@dataclass(frozen=True)
class Options:
    """Train systems on the same people, have them change faces of people whom none of them saw, and print what a
    classifier, an identity embedding and MediaPipe see in the results; the same command again goes on."""

    data: Path
    """Folder of aligned faces."""
    out: Path
    """Folder for runs, figures and sheets."""
    test: Path | None = None
    """Another folder of aligned faces: all of its faces test, and everybody in --data is trained on."""
    settings: Annotated[CompareSettings, tyro.conf.arg(name="")] = field(default_factory=CompareSettings)
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)


def run(options: Options) -> None:
    """Compare, write, print."""
    data = open_dataset(options.data, options.reading)
    check_outside(options.out, options.data, data)
    other = None if options.test is None else open_dataset(options.test, DatasetOptions())
    found = run_comparison(data, options.out, options.settings, other)
    print(write_comparison(found, options.out, options.settings))
