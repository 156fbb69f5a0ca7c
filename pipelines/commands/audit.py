"""`emoaug audit`: what is in a dataset."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from augment.pictures import write_text
from pipelines.audit import audit, format_audit
from pipelines.commands.datasets import DatasetOptions, open_dataset


@dataclass(frozen=True)
class Options:
    """Print what is in a dataset: counts, unreadable files, exact and near duplicates, duplicates across splits."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of faces, or a CSV file."""
    unlabelled: bool = False
    """Also look at pictures without a label: those in no class folder, or in one that is named `unlabelled`."""
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)
    json: Path | None = None
    """Write the findings to this file as well."""


def run(options: Options) -> None:
    """Audit and print."""
    found = audit(open_dataset(options.data, options.reading, options.unlabelled))
    print(format_audit(found))
    if options.json is not None:
        write_text(options.json, json.dumps(found.to_json(), indent=1) + "\n")
