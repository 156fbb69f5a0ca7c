"""The made faces of a dataset folder: their rows in metadata.csv, and their pictures, kept or set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.folders import write_metadata
from augment.listings import check_name, find_pictures
from augment.pictures import fit, read_picture
from emoaug import EmoaugError

LARGEST_COMPARED = 256
"""Largest side at which made and real faces are compared, pixels: all real faces must go into memory."""


def rejected_folder(folder: Path) -> Path:
    """Where pictures that a filter rejected lie: beside the folder, so that no reader of it meets them."""
    return folder.with_name(folder.name + "-rejected")


class MadeFaces:
    """The made faces of a dataset folder.

    Args:
        folder: has a metadata.csv with `file_name`, `label` and `is_synthetic`, as emoaug writes it.

    Raises:
        EmoaugError: no such table, no made face in it, or a picture that is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "metadata.csv"
        try:
            self.table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise EmoaugError(f"{path} cannot be read ({reason}); give a folder that emoaug generate wrote") from None
        missing = [name for name in ("file_name", "label", "is_synthetic") if name not in self.table]
        if missing:
            raise EmoaugError(f"{path} has no column {', '.join(missing)}; give a folder that emoaug generate wrote")
        for name in ("scores", "accepted", "reject_reason", "source_file", "condition", "subject"):
            if name not in self.table:
                self.table[name] = ""
        self.rows = np.flatnonzero(self.table["is_synthetic"].str.lower() == "true")
        """Which rows of the table are made faces, (N,) int64."""
        if not len(self.rows):
            raise EmoaugError(f"{path} lists no synthetic face; there is nothing to score")
        self._found = self._find()

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[str]:
        """A column of the made faces, N texts; empty where the table has none."""
        return self.table[name].iloc[self.rows].tolist() if name in self.table else [""] * len(self)

    def asked(self) -> list[str]:
        """What was asked of each source: a condition, and whose expression it is; N texts."""
        return list(map(" ".join, zip(self.column("condition"), self.column("exemplar_file"), strict=True)))

    def path(self, i: int) -> Path:
        """Where the picture of a made face lies now."""
        return self._found[i]

    def kept_path(self, i: int) -> Path:
        """Where it lies when it is kept."""
        return self.folder / self.column("file_name")[i]

    def rejected_path(self, i: int) -> Path:
        """Where it lies when it is rejected."""
        return rejected_folder(self.folder) / self.column("file_name")[i]

    def pixels(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Decode some of the made faces, uint8 RGB, (n, 3, size, size)."""
        return np.stack([fit(read_picture(self.path(i)), size).transpose(2, 0, 1) for i in rows.tolist()])

    def size(self) -> int:
        """Side at which faces are compared, pixels: the first picture's, at most `LARGEST_COMPARED`."""
        return min(LARGEST_COMPARED, *read_picture(self.path(0)).shape[:2])

    def scores(self) -> pd.DataFrame | None:
        """The scores that the table has, N rows; None if a row has none."""
        cells = []
        for text in self.column("scores"):
            try:
                cell = json.loads(text)
            except ValueError:
                return None
            if not isinstance(cell, dict):
                return None
            cells.append(cell)
        return pd.DataFrame(cells)

    def write(self, **columns: list[Any]) -> None:
        """Set columns of the made faces, N values each, and write the table, atomically."""
        for name, values in columns.items():
            cells = self.table[name].astype(object).to_numpy(copy=True)
            for row, value in zip(self.rows, values, strict=True):
                cells[row] = value
            self.table[name] = pd.Series(cells, dtype=object)
        write_metadata(self.folder, self.table)

    def refresh(self) -> None:
        """Look again where the pictures lie, after some were moved."""
        self._found = self._find()

    def _find(self) -> list[Path]:
        """Where each picture lies: in the folder, or among the rejected ones."""
        aside = rejected_folder(self.folder)
        places = [(root, set(find_pictures(root).names)) for root in (self.folder, aside) if root.is_dir()]
        found = []
        for name in self.column("file_name"):
            root = next((root for root, listed in places if not check_name(root, name, listed)[1]), None)
            if root is None:
                raise EmoaugError(f"{self.folder / name}: no such picture, nor among the rejected ones in {aside}")
            found.append(root / name)
        return found
