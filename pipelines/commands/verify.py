"""`emoaug verify`: re-check a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from augment.verification import verify_folder


@dataclass(frozen=True)
class Options:
    """Check that every file decodes and has its row, that hashes match, labels are known, and no test face was used."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Dataset folder."""


def run(options: Options) -> int:
    """Print each problem; 1 if there is any."""
    problems = verify_folder(options.folder)
    for problem in problems:
        print(problem)
    print(f"{options.folder}: {len(problems)} problems" if problems else f"{options.folder}: all is well")
    return int(bool(problems))
