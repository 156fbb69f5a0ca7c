"""Expressions as real people showed them: blendshapes that MediaPipe measured on labelled faces."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

import numpy as np
import torch

from augment.action_units import BLENDSHAPE_NAMES, feasible
from augment.faces import read_measures
from augment.folders import FaceTable, read_faces
from augment.simulation.mannerisms import Draw, Mannerisms, lean
from emoaug import EmoaugError


class MeasuredExpressions:
    """Expressions drawn from what MediaPipe measured on real labelled faces.

    A face takes a mixture of two measured faces of its class (mostly the first), some noise, and its own person's
    asymmetry. MediaPipe scores faces at rest above 0 (eyeSquint 0.27, mouthPucker 0.22, browInnerUp 0.20 on average on
    neutral faces of FER2013), which rendered would be a movement: what faces at rest have is taken away first. And it
    always scores cheekSquint and noseSneer near 0 though people do raise cheeks and wrinkle noses; both are set from
    the movements that they come with.
    """

    def __init__(self, vectors: Mapping[str, np.ndarray], resting: np.ndarray | None = None) -> None:
        """Take measured blendshapes.

        Args:
            vectors: for each label one row a face, (n, 52), in the order of `BLENDSHAPE_NAMES`, in [0, 1].
            resting: scores of a face at rest, (52,) in [0, 1]; by default 0.
        """
        rest = np.zeros(len(BLENDSHAPE_NAMES), np.float32) if resting is None else np.minimum(resting, 0.9)
        self.vectors = {
            label: ((np.asarray(rows) - rest) / (1 - rest)).clip(0, 1).astype(np.float32)
            for label, rows in vectors.items()
        }

    @classmethod
    def from_folder(cls, folder: Path, faces: FaceTable | None = None) -> MeasuredExpressions:
        """Read them from a folder that `emoaug align` wrote.

        Only faces that a system may learn from are taken: real, outside the splits val and test.

        Args:
            folder: the aligned dataset.
            faces: its table, if it has been read, perhaps with renamed labels.

        Raises:
            EmoaugError: no measures in the folder, or none of a face that may be used.
        """
        faces = faces or read_faces(folder)
        faces = faces.select(faces.for_training())
        measures = read_measures(faces.root, list(faces.table.file_name))
        known = np.isfinite(measures.blendshapes).all(1) if measures is not None else np.zeros(0, bool)
        if measures is None or not known.any():
            raise EmoaugError(
                f"{folder}: no measured faces (faces.npz) that may be learnt from; "
                f"run: emoaug align {quote(str(folder))} OUT"
            )
        names = measures.blendshape_names.tolist()
        rows = np.zeros((len(names), len(BLENDSHAPE_NAMES)), np.float32)
        for column, name in enumerate(names):
            if name in BLENDSHAPE_NAMES:
                rows[column, BLENDSHAPE_NAMES.index(name)] = 1
        ordered = measures.blendshapes @ rows
        labels = faces.table.label.to_numpy()
        found = set(labels[known])
        vectors = {label: ordered[known & (labels == label)] for label in faces.vocabulary if label in found}
        return cls(vectors, _at_rest(vectors))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that have a measured face."""
        return tuple(label for label, rows in self.vectors.items() if len(rows))

    def fingerprint(self) -> str:
        """Hash of the measured vectors."""
        digest = hashlib.sha256()
        for label, rows in self.vectors.items():
            digest.update(label.encode() + b"\0" + rows.tobytes())
        return digest.hexdigest()

    def draw(self, label: str, generator: torch.Generator, spread: float, mannerisms: Mannerisms) -> dict[str, float]:
        """Draw the blendshapes of one face of a class; see `draw_expression`."""
        rows = self.vectors.get(label)
        if rows is None or not len(rows):
            raise EmoaugError(f'no face that was measured is labelled "{label}"; there are {", ".join(self.labels)}')
        draw = Draw(generator)
        first, second = rows[draw.pick(len(rows))], rows[draw.pick(len(rows))]
        share = draw.uniform(0.0, 0.35) * min(spread, 1.0)
        noise = torch.randn(len(BLENDSHAPE_NAMES), generator=generator).numpy()
        mixed = ((1 - share) * first + share * second) * np.exp(0.15 * spread * noise)
        shapes = {name: float(value) for name, value in zip(BLENDSHAPE_NAMES[1:], mixed[1:], strict=True)}
        return _lean_only(complete(shapes), draw, spread, mannerisms)


def _at_rest(vectors: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Scores of a face at rest, (52,): the median neutral face, or what the medians of all classes have in common."""
    if "neutral" in vectors:
        return np.median(vectors["neutral"], axis=0)
    if len(vectors) < 2:
        return None
    return np.min([np.median(rows, axis=0) for rows in vectors.values()], axis=0)


def _lean_only(shapes: Mapping[str, float], draw: Draw, spread: float, mannerisms: Mannerisms) -> dict[str, float]:
    """Add a person's asymmetry; resting face, gaze and blinks are in measured blendshapes already."""
    upper = 0.5 * mannerisms.lean_upper + draw.normal(0.03 * spread)
    lower = 0.5 * mannerisms.lean_lower + draw.normal(0.03 * spread)
    return feasible({name: value * lean(name, upper, lower) for name, value in shapes.items()})


def complete(shapes: Mapping[str, float]) -> dict[str, float]:
    """Set cheekSquint and noseSneer, which MediaPipe does not measure, from the movements that they come with.

    Args:
        shapes: measured blendshapes, with sides.

    Returns:
        The same with cheeks raised by half the smile (its 6 comes with 12) and the nose wrinkled where the upper lip
        rises under lowered brows, each at least as measured.
    """
    values = dict(shapes)
    for side in ("Left", "Right"):
        cheek, nose = f"cheekSquint{side}", f"noseSneer{side}"
        smile, lip, brow = (values.get(f"{name}{side}", 0.0) for name in ("mouthSmile", "mouthUpperUp", "browDown"))
        values[cheek] = max(values.get(cheek, 0.0), 0.5 * smile)
        values[nose] = max(values.get(nose, 0.0), min(1.0, 1.5 * lip * brow))
    return values
