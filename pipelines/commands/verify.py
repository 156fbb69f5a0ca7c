"""`emoaug verify`: re-check a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from augment.verification import verify


@dataclass(frozen=True)
class Options:
    """Check that every file decodes and has its row, that hashes match, labels are known, and no test face was used."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Dataset folder."""


def run(options: Options) -> int:
    """Print each problem; 1 if there is any."""
    found = verify(options.folder)
    for problem in found.problems:
        print(problem)
    if found.sources_missing:
        print(f"{found.sources_missing:,} faces: what they were made from was not found, and was not compared")
    print(
        f"{options.folder}: {len(found.problems)} problem{'s' * (len(found.problems) > 1)}"
        if found.problems
        else f"{options.folder}: all is well"
    )
    return int(bool(found.problems))
