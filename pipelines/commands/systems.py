"""`emoaug systems`: which systems there are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from augment.pictures import write_text
from pipelines.systems import describe, format_systems


@dataclass(frozen=True)
class Options:
    """Print the systems that change expressions: paper, what they can do, what data they need, parameters, speed."""

    speed: bool = True
    """Measure pictures a second here, about a second each."""
    json: Path | None = None
    """Write the facts to this file as well."""


def run(options: Options) -> None:
    """Describe and print."""
    rows = describe(options.speed)
    print(format_systems(rows))
    if options.json is not None:
        write_text(options.json, json.dumps(rows, indent=1) + "\n")
