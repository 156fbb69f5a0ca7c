"""The faces of a gain run: those trained on and those tested on, in memory, with who must stay together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from augment.duplicates import duplicate_groups, fingerprints
from augment.faces import FaceMeasures, read_measures
from augment.folders import FaceTable, drop_unreadable, load_faces
from emoaug import EmoaugError
from pipelines.recipes import are_aligned
from pipelines.splits import (
    Fold,
    groups_of,
    limit_labels,
    make_folds,
    other_dataset,
    published_split,
    real_rows,
    same_expressions,
)
from pipelines.trials import GainSettings, Labels


@dataclass(frozen=True, eq=False)
class GainData:
    """Faces to train on, and faces to test on, which may be the same dataset."""

    faces: FaceTable
    """The dataset, N faces."""
    pixels: np.ndarray
    """uint8 RGB, (N, 3, S, S)."""
    groups: np.ndarray
    """(N,) int64: faces of one number show one person or are near-duplicates, and so on from face to face."""
    tested: FaceTable
    """The dataset that tests, M faces with the same vocabulary; `faces` itself unless another one was given."""
    tested_pixels: np.ndarray
    """uint8 RGB, (M, 3, S, S)."""
    tested_groups: np.ndarray
    """(M,) int64, in the same numbers as `groups`."""
    digests: np.ndarray
    """SHA-256 of each picture's pixels, (N,) bytes of length 32 as void."""
    tested_digests: np.ndarray
    """The same of the faces that test, (M,)."""
    blendshapes: np.ndarray | None
    """What MediaPipe measured on the faces that train, (N, 52), NaN where no face was found; None if nothing is."""
    tested_blendshapes: np.ndarray | None
    """The same of the faces that test, (M, 52)."""
    aligned: bool
    """Whether the faces that train lie where `emoaug align` puts them."""
    notes: tuple[str, ...]
    """What was left out of the other dataset, one sentence each."""

    @classmethod
    def load(cls, faces: FaceTable, test: FaceTable | None, size: int | None) -> GainData:
        """Decode and compare all pictures.

        Args:
            faces: an aligned dataset.
            test: another one to test on; its faces of expressions that `faces` does not show are left out.
            size: side of the faces, pixels; None takes the dataset's own.

        Raises:
            EmoaugError: fewer than two expressions, or nothing to test on.
        """
        faces = drop_unreadable(faces)
        present = sorted(set(faces.table.label))
        if len(present) < 2:
            shown = f"only the expression {present[0]}" if present else "no face that can be read"
            raise EmoaugError(f"{faces.root}: {shown}; a classifier needs two expressions or more")
        pixels = load_faces(faces, size)
        tested = faces
        notes: tuple[str, ...] = ()
        if test is not None:
            tested, notes = same_expressions(drop_unreadable(test), faces)
        tested_pixels = pixels if tested is faces else load_faces(tested, pixels.shape[-1])
        tables, arrays = ([faces], [pixels]) if tested is faces else ([faces, tested], [pixels, tested_pixels])
        pictures = (np.ascontiguousarray(p.transpose(1, 2, 0)) for array in arrays for p in array)
        # A person of the same name in both is taken for one person: better a few faces fewer than a leak.
        everybody = replace(faces, table=pd.concat([table.table for table in tables], ignore_index=True))
        prints = fingerprints(pictures)
        groups = groups_of(everybody, duplicate_groups(prints))
        both = [(values[: len(faces)], values[-len(tested) :]) for values in (groups, prints.digests)]
        measures = [read_measures(table.root, list(table.table.file_name)) for table in tables]
        measured = [_blendshapes(table) for table in measures]
        aligned = are_aligned(measures[0])
        (ours, theirs), digests = both
        return cls(
            faces, pixels, ours, tested, tested_pixels, theirs, *digests, measured[0], measured[-1], aligned, notes
        )

    def folds(self, settings: GainSettings) -> list[tuple[int, Fold]]:
        """The folds of every seed: a seed and a fold each."""
        if self.tested is not self.faces:
            fold = other_dataset(self.faces, self.groups, self.tested, self.tested_groups, settings.test_split)
        elif settings.test_split is not None:
            fold = published_split(self.faces, self.groups, settings.test_split)
        else:
            # Each seed draws folds of its own: trials on the same folds again would be no new evidence.
            seeds = range(settings.seeds)
            return [(s, fold) for s in seeds for fold in make_folds(self.faces, self.groups, settings.folds, s)]
        return [(seed, fold) for seed in range(settings.seeds)]

    def labelled(self, fold: Fold, labels: Labels, seed: int) -> np.ndarray:
        """Rows of the training faces whose labels a trial may use."""
        return limit_labels(self.faces, fold.train, None if labels == "all" else labels, seed)

    def left_out(self, fold: Fold, settings: GainSettings) -> str:
        """What a published split or another dataset lost because it stood on both sides; empty if nothing."""
        if self.tested is not self.faces:
            lost, of = len(real_rows(self.faces)) - len(fold.train), "training"
        elif settings.test_split is not None:
            lost, of = len(real_rows(self.faces, settings.test_split)) - len(fold.test), "test"
        else:
            return ""
        return f"{lost:,} {of} faces are left out: they show a person, or are like a picture, of the other side." * (
            lost > 0
        )

    def fold_sha256(self, fold: Fold) -> str:
        """A hash of which pictures, with which labels, are trained on and which are tested on, by content alone."""
        digest = hashlib.sha256()
        sides = (self.faces, self.digests, fold.train), (self.tested, self.tested_digests, fold.test)
        for faces, pictures, rows in sides:
            labels = faces.table.label.to_numpy()[rows]
            pairs = sorted((picture.tobytes(), label) for picture, label in zip(pictures[rows], labels, strict=True))
            digest.update(b"".join(picture + label.encode() + b"\n" for picture, label in pairs) + b"\n")
        return digest.hexdigest()

    def sha256(self) -> str:
        """A hash of everything that decides a trial: pictures, labels, people, splits, measures, what is one group."""
        digest = hashlib.sha256(b"" if self.aligned else b"not aligned")
        trains = self.faces, self.pixels, self.blendshapes
        tests = self.tested, self.tested_pixels, self.tested_blendshapes
        for faces, pixels, blendshapes in (trains, tests):
            digest.update(pixels.tobytes())
            digest.update(faces.table[["file_name", "label", "subject", "split", "is_synthetic"]].to_json().encode())
            digest.update(b"" if blendshapes is None else blendshapes.tobytes())
        for groups in (self.groups, self.tested_groups):
            digest.update(groups.tobytes())
        return digest.hexdigest()


def _blendshapes(measures: FaceMeasures | None) -> np.ndarray | None:
    return None if measures is None or not np.isfinite(measures.blendshapes).any() else measures.blendshapes
