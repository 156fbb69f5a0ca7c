"""`emoaug compare`: systems side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from augment.folders import check_outside
from pipelines.commands.datasets import DatasetOptions, open_dataset, open_test
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
    """Another folder of aligned faces: all of its faces test whose expressions --data shows, and everybody in --data
    is trained on."""
    test_labels: tuple[str, ...] = ()
    """Renames expressions of that folder, OLD=NEW each: --test-labels afraid=fear."""
    settings: Annotated[CompareSettings, tyro.conf.arg(name="")] = field(default_factory=CompareSettings)
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)


def run(options: Options) -> None:
    """Compare, write, print."""
    data = open_dataset(options.data, options.reading)
    check_outside(options.out, options.data, data)
    other = open_test(options.test, options.test_labels, options.reading.subject_pattern, data)
    found = run_comparison(data, options.out, options.settings, other)
    print(write_comparison(found, options.out, options.settings))
