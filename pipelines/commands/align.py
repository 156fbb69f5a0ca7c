"""`emoaug align`: find, turn and crop faces."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from augment.alignment import AlignSettings, align_folder
from augment.folders import check_outside
from emoaug import EmoaugError
from pipelines.commands.datasets import DatasetOptions, open_dataset


@dataclass(frozen=True)
class Options:
    """Write a dataset of aligned faces, with landmarks, blendshape scores and head poses beside the pictures."""

    source: Annotated[Path, tyro.conf.Positional]
    """Folder of pictures, or a CSV file."""
    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write."""
    unlabelled: bool = False
    """Also take pictures without a label: those in no class folder, or in one that is named `unlabelled`."""
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)
    settings: Annotated[AlignSettings, tyro.conf.arg(name="")] = field(default_factory=AlignSettings)


def run(options: Options) -> None:
    """Align and say what came of it."""
    faces = open_dataset(options.source, options.reading, options.unlabelled)
    check_outside(options.out, options.source, faces)
    summary = align_folder(faces, options.out, options.settings)
    print(summary)
    if not summary.aligned:
        raise EmoaugError(
            f"no face was aligned: {options.out}/rejected.csv has the reason for every picture; where the pictures are "
            "faces cropped already, --crop none keeps them"
        )
    print(f"{options.out}/        look: {options.out}/contact_sheet.png")
