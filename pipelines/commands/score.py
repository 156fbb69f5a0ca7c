"""`emoaug score`: judge every made face."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from augment.scoring.folder import ScoreSettings
from augment.scoring.rules import read_rules
from pipelines.commands.datasets import DatasetOptions, open_dataset
from pipelines.judges import JudgeSettings, score_and_filter


@dataclass(frozen=True)
class Options:
    """Score every made face of a folder against the real ones, and write the scores into its metadata.csv; a stopped
    run goes on. With --filter, faces that fail a rule leave their class folders."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder that `emoaug generate` wrote."""
    real: Path
    """Folder of the real faces that they were made from; its `val` and `test` splits are left out."""
    judges: Path | None = None
    """Folder of the judges, which are trained once; FOLDER-judges by default."""
    filter: tuple[str, ...] = ()
    """lenient, strict, a file with one rule a line, or rules: "identity >= 0.9" "sharpness >= 1%"."""
    scoring: Annotated[ScoreSettings, tyro.conf.arg(name="")] = field(default_factory=ScoreSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)


def run(options: Options) -> None:
    """Score, filter if asked, and say what came of it."""
    rules = read_rules(options.filter) if options.filter else ()
    real = open_dataset(options.real, options.reading)
    print(score_and_filter(options.folder, real, options.judges, options.judge, options.scoring, rules))
