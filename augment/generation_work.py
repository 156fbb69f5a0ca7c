"""What is done with every chunk of a plan, wherever it is done: read its sources, translate them, write the results."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from augment.folders import FaceTable
from augment.generation_folder import picture_name
from augment.generation_network import CHUNK, ChunkTranslator
from augment.generation_record import Made, stamp_of
from augment.pictures import encode_png, fit, is_grey, write_bytes
from augment.plans import condition_array
from augment.systems.base import Translator
from emoaug import EmoaugError

KEPT = 32 * 2**20
"""Bytes of sources that are kept decoded: in a plan for a small dataset each is used many times."""

_UNREADABLE = ("source could not be read", "exemplar could not be read")


class Face(NamedTuple):
    """A source or an exemplar as the network sees it."""

    picture: np.ndarray
    """uint8 RGB, (size, size, 3)."""
    grey: bool
    sha256: str
    size: tuple[int, int]
    """Height and width of the file's picture, pixels."""


class Job:
    """One plan with all that is needed to make any of its rows, in any order, from several threads."""

    def __init__(
        self,
        faces: FaceTable,
        translator: Translator,
        plan: pd.DataFrame,
        out: Path,
        device: str,
        precision: str,
        size: int,
    ) -> None:
        self.faces, self.translator, self.out, self.size = faces, translator, out, size
        self.device, self.precision = device, precision
        # Of large faces fewer, so that a chunk takes no more memory than one of 128 pixels.
        self.chunk = max(1, CHUNK[device] * 128**2 // max(128, size) ** 2)
        self.rows = plan["row"].to_numpy()
        self.shows_exemplars = translator.takes_exemplars and "exemplar_index" in plan
        # The faces that go into each row, (1 or 2, N): its source, and the exemplar that is shown.
        columns = ["source_index", "exemplar_index"] if self.shows_exemplars else ["source_index"]
        self.faces_of_rows = plan[columns].to_numpy().T
        self.file_names, self.targets = plan["file_name"].to_numpy(object), plan["target"].to_numpy(object)
        self.conditions = condition_array(plan, translator.condition_names)
        # The first that come, not the latest: a plan goes through its sources in turns, class after class.
        self._kept: dict[int, Face] = {}
        self._most_kept = KEPT // (3 * size**2)

    def name(self, place: int) -> str:
        """Name of a row's picture, relative to the folder."""
        return picture_name(self.file_names[place], self.targets[place], int(self.rows[place]))

    def chunks(self, done: np.ndarray) -> list[np.ndarray]:
        """Places in the plan that go through the network together, of every chunk in which a row is not done.

        A chunk of which anything is missing is made again as a whole, so that the network sees what it saw before.
        """
        if not len(self.rows):
            return []
        number = self.rows // self.chunk
        order = np.argsort(number, kind="stable")
        starts = np.flatnonzero(np.diff(number[order], prepend=-1))
        missing = np.add.reduceat(~done[order], starts, dtype=np.int64) > 0
        return [places for places, wanted in zip(np.split(order, starts[1:]), missing, strict=True) if wanted]

    def read(self, index: int) -> Face:
        """A source or an exemplar; EmoaugError if it cannot be read."""
        face = self._kept.get(index)
        if face is None:
            picture, sha256 = self.faces.read(index)
            height, width = picture.shape[:2]
            face = Face(fit(picture, self.size), is_grey(picture), sha256, (height, width))
            if len(self._kept) < self._most_kept:
                self._kept[index] = face
        return face

    def make(self, places: np.ndarray, translate: ChunkTranslator) -> list[tuple[Made, bytes]]:
        """Read and translate one chunk; gives each row with its picture's file, empty if there is none."""
        batch = np.zeros((self.chunk, self.size, self.size, 3), dtype=np.uint8)
        asked = np.zeros_like(batch)
        if not self.shows_exemplars:
            asked = np.zeros((self.chunk, self.conditions.shape[1]), dtype=np.float32)
        results: list[Made] = []
        slots: list[int] = []
        grey: list[bool] = []
        for place in places.tolist():
            row, read = int(self.rows[place]), []
            try:
                for index in self.faces_of_rows[:, place].tolist():
                    read.append(self.read(index))
            except EmoaugError as error:
                results.append(Made(row, rejected=_UNREADABLE[len(read)], detail=str(error)))
                continue
            source, exemplar = read[0], read[1] if self.shows_exemplars else None
            slots.append(row % self.chunk)
            grey.append(source.grey)
            batch[slots[-1]] = source.picture
            asked[slots[-1]] = exemplar.picture if exemplar else self.conditions[place]
            shown = exemplar.sha256 if exemplar else ""
            results.append(Made(row, "", source.sha256, source.size, exemplar_sha256=shown))
        if not slots:
            return [(entry, b"") for entry in results]
        if len(slots) < self.chunk:
            empty = np.setdiff1d(np.arange(self.chunk), slots)
            batch[empty], asked[empty] = batch[slots[0]], asked[slots[0]]
        pictures, usable = translate(batch, asked)
        colourless = dict(zip(slots, grey, strict=True))
        return [
            (entry, b"") if entry.rejected else _encoded(entry, pictures[slot], bool(usable[slot]), colourless[slot])
            for entry, slot in ((entry, entry.row % self.chunk) for entry in results)
        ]

    def for_others(self) -> Job:
        """The job without what only this process needs."""
        job = copy.copy(self)
        job.faces = replace(self.faces, rejected=self.faces.rejected.iloc[:0], notes=())
        job.file_names = job.targets = np.zeros(0, object)
        job._kept = {}
        self.translator.cpu()
        return job

    def write(self, place: int, entry: Made, data: bytes) -> Made:
        """Write a row's picture, if it has one."""
        if not data:
            return entry
        path = f"{self.out}/{self.name(place)}"
        write_bytes(path, data, parents=False)
        return entry._replace(stamp=stamp_of(path))

    def write_from_elsewhere(self, place: int, entry: Made, data: bytes) -> Made:
        """Write a row's picture that another process made; EmoaugError if it did not see a file that is here."""
        if entry.rejected in _UNREADABLE:
            index = int(self.faces_of_rows[_UNREADABLE.index(entry.rejected), place])
            try:
                self.read(index)
            except EmoaugError as error:
                return entry._replace(detail=str(error))
            raise EmoaugError(
                f"{self.faces.path(index)} can be read here and not where the faces are made "
                f"({entry.detail}); put the data where every machine sees it under the same path"
            )
        return self.write(place, entry, data)


def _encoded(entry: Made, picture: np.ndarray, usable: bool, grey: bool) -> tuple[Made, bytes]:
    if not usable:
        detail = f"row {entry.row}: the network's picture has infinite or undefined values"
        return entry._replace(rejected="network gave no picture", detail=detail), b""
    data = encode_png(picture, grey=grey)
    return entry._replace(file_sha256=hashlib.sha256(data).hexdigest()), data
