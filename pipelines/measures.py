"""What others than its maker see in changed faces: a classifier, an identity embedding, and MediaPipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from augment.faces import read_measures
from augment.folders import FaceTable
from augment.identity import IdentityEmbedding, separation
from augment.landmarker import FaceLandmarker
from augment.networks import scaled
from augment.quality import kernel_distance
from augment.samples import to_pictures
from augment.scoring.movement import measure_blendshapes, movements
from augment.systems import Translator
from classifiers.classifier import Classifier
from emoaug import bar_hidden

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Change = Callable[[Tensor, str], Tensor]
"""Faces (N, 3, S, S) in [-1, 1] and the expression asked of them all, to changed faces (N, 3, S, S) in [-1, 1]."""
Directions = dict[tuple[str, str], np.ndarray]
"""Difference of mean blendshape scores, (52,), from the first expression to the second."""


def blendshapes_of(landmarker: FaceLandmarker, faces: Tensor, what: str | None = None) -> np.ndarray:
    """MediaPipe's scores (N, 52) of faces (N, 3, S, S) in [-1, 1], NaN where it finds none; `what` names a bar."""
    hidden = bar_hidden(what is not None)
    return measure_blendshapes(landmarker, tqdm(to_pictures(faces), desc=what, unit="face", disable=hidden))


def directions_of(faces: FaceTable) -> Directions:
    """How the scores of real people differ between expressions, from what `emoaug align` measured on labelled faces."""
    measures = read_measures(faces.root, list(faces.table.file_name))
    if measures is None:
        return {}
    labels = faces.table.label.to_numpy()
    known = np.isfinite(measures.blendshapes).all(1)
    means = {
        name: measures.blendshapes[known & (labels == name)].astype(float).mean(0)
        for name in faces.vocabulary
        if (known & (labels == name)).any()
    }
    return {(one, other): means[other] - means[one] for one in means for other in means if one != other}


@dataclass(frozen=True)
class Witnesses:
    """Who looks at changed faces; none of them had a part in making these."""

    names: tuple[str, ...]
    """The classes of the judge, in order."""
    targets: tuple[str, ...]
    """Expressions that are asked for."""
    judge: Classifier
    """Recognises expressions."""
    embedding: IdentityEmbedding | None
    """Recognises people; None where none are known to learn from."""
    directions: Directions
    landmarker: FaceLandmarker = field(default_factory=FaceLandmarker)


@dataclass(frozen=True)
class HeldOutFaces:
    """Real faces of people whom no system has seen.

    Shapes: faces (N, 3, S, S) float32 in [-1, 1]; subjects (N,) int64, negative where unknown; groups (N,) int64, faces
    of one person, or alike, have one number.
    """

    faces: Tensor
    labels: np.ndarray
    """Names, (N,)."""
    subjects: np.ndarray
    groups: np.ndarray
    witnesses: Witnesses
    seed: int = 0
    """Of the halves."""

    @cached_property
    def blendshapes(self) -> np.ndarray:
        """MediaPipe's scores of the faces as they are, (N, 52)."""
        return blendshapes_of(self.witnesses.landmarker, self.faces, "measuring real faces")

    @cached_property
    def features(self) -> Tensor:
        """The judge's features, (N, F)."""
        return self.witnesses.judge.features(self.faces)

    @cached_property
    def embedded(self) -> Tensor | None:
        """Who each face is, (N, D)."""
        return None if self.witnesses.embedding is None else self.witnesses.embedding(self.faces)

    @cached_property
    def first_half(self) -> np.ndarray:
        """Half of the people, (N,) bool."""
        people = np.unique(self.groups)
        return np.isin(self.groups, np.random.default_rng(self.seed).permutation(people)[: len(people) // 2])

    def halves_distance(self, features: Tensor, rows: np.ndarray) -> float | None:
        """Kernel distance of faces, made from these rows, to the real faces of the other half of the people.

        Compared with the very faces that they were made from, faces that are hardly changed would look too good.
        """
        distances = []
        for half in (self.first_half, ~self.first_half):
            made, real = features[torch.from_numpy(half[rows])], self.features[torch.from_numpy(~half)]
            if min(len(made), len(real)) < 2:
                return None
            distances.append(kernel_distance(made, real))
        return float(np.mean(distances))


def measure_change(change: Change, held: HeldOutFaces, what: str) -> dict[str, Any]:
    """Ask every held-out face for every other expression, and let the witnesses look.

    Args:
        change: changes faces.
        held: whose faces.
        what: names the progress bars.

    Returns:
        targets, by name: faces; hit_rate, share that the judge sees as asked; identity, mean cosine of source and
        result; movement, how far the blendshape scores moved along the difference between real faces of the two
        expressions, 1 being as far; correlation of the mean movement with that difference; found, share in which
        MediaPipe finds a face. Each of them again on top, as the mean over the targets; kernel_distance to real faces
        of the other half of the people. None where nothing can be said.
    """
    w = held.witnesses
    targets, features, all_rows = {}, [], []
    for target in w.targets:
        rows = np.flatnonzero(held.labels != target)
        if not len(rows):
            continue
        result = change(held.faces[torch.from_numpy(rows)], target)
        seen = w.judge(result).argmax(1).numpy() == w.names.index(target)
        after = blendshapes_of(w.landmarker, result, f"measuring {what}, {target}")
        identity = None
        if w.embedding is not None and held.embedded is not None:
            identity = float((w.embedding(result) * held.embedded[torch.from_numpy(rows)]).sum(1).mean())
        targets[target] = {
            "faces": len(rows),
            "hit_rate": float(seen.mean()),
            "identity": identity,
            **movement(after - held.blendshapes[rows], held.labels[rows], target, w.directions),
            "found": float(np.isfinite(after).all(1).mean()),
        }
        features.append(w.judge.features(result))
        all_rows.append(rows)
    distance = held.halves_distance(torch.cat(features), np.concatenate(all_rows)) if targets else None
    return {**means_over(targets), "kernel_distance": distance, "targets": targets}


def movement(deltas: np.ndarray, sources: np.ndarray, target: str, directions: Directions) -> dict[str, float | None]:
    """Compare changes of blendshape scores with the difference between real faces of two expressions.

    Args:
        deltas: changes of the scores, (N, 52); rows of NaN do not count.
        sources: what each face showed, names, (N,).
        target: what was asked.
        directions: the differences between real faces.

    Returns:
        movement: mean of (delta · d) / (d · d), 0 for no change and 1 for the real one; correlation: Pearson's, of mean
        delta and d, averaged over the source expressions by their faces. None where no face or difference is known.
    """
    shares, correlations = [], []
    for source in np.unique(sources):
        d = directions.get((source, target))
        rows = deltas[(sources == source) & np.isfinite(deltas).all(1)]
        if d is None or not len(rows) or not d @ d > 0:
            continue
        shares += movements(np.zeros_like(rows), rows, np.broadcast_to(d, rows.shape))[:, 0].tolist()
        mean = rows.mean(0)
        correlations += [float(np.corrcoef(mean, d)[0, 1]) if mean.std() > 0 else 0.0] * len(rows)
    if not shares:
        return {"movement": None, "correlation": None}
    return {"movement": float(np.mean(shares)), "correlation": float(np.mean(correlations))}


def measure_real(held: HeldOutFaces) -> dict[str, Any]:
    """The same figures of the real faces themselves: what is reachable, and what the witnesses are worth.

    Returns:
        As `measure_change`, with what real faces of each expression get: hit_rate is the judge's recall, identity the
        mean cosine of two pictures of one person with different expressions; movement and correlation are of the
        difference between these people's mean scores; kernel_distance is between the two halves of the people. Besides
        accuracy of the judge, identity_of_others (mean cosine of pictures of two people) and identity_area (area under
        the ROC curve of telling the two kinds of pairs apart).
    """
    w = held.witnesses
    inside = np.isin(held.labels, w.names)
    right = np.zeros(len(inside), bool)
    if inside.any():
        said = w.judge(held.faces[torch.from_numpy(inside)]).argmax(1).numpy()
        right[inside] = np.array(w.names)[said] == held.labels[inside]
    found = np.isfinite(held.blendshapes).all(1)
    people = None
    if held.embedded is not None:
        numbers = np.unique(held.labels, return_inverse=True)[1]
        people = separation(held.embedded, held.subjects, numbers)
    means = {name: held.blendshapes[found & (held.labels == name)].mean(0) for name in np.unique(held.labels[found])}
    targets: dict[str, dict[str, Any]] = {}
    for target in w.targets:
        own = held.labels == target
        if not own.any():
            continue
        sources = [s for s in means if s != target] if target in means else []
        deltas = np.array([means[target] - means[s] for s in sources])
        targets[target] = {
            "faces": int(own.sum()),
            "hit_rate": float(right[own].mean()),
            "identity": None if people is None else people.same,
            **movement(deltas, np.array(sources), target, w.directions),
            "found": float(found[own].mean()),
        }
    return {
        **means_over(targets),
        "kernel_distance": held.halves_distance(held.features, np.arange(len(held.labels))),
        "targets": targets,
        "accuracy": float(right[inside].mean()) if inside.any() else None,
        "identity_of_others": None if people is None else people.different,
        "identity_area": None if people is None else people.area,
    }


def means_over(targets: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Mean of each figure over the targets, so that one easy expression does not hide the rest."""
    names: Sequence[str] = ("hit_rate", "identity", "movement", "correlation", "found")
    known = {name: [t[name] for t in targets.values() if t[name] is not None] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def changed_by(translator: Translator, fabric: Fabric, batch: int = 32) -> Change:
    """What a translator makes of faces of any size, given back at the size in which they came."""

    def change(faces: Tensor, target: str) -> Tensor:
        made = []
        with torch.inference_mode(), fabric.autocast():
            for part in faces.split(batch):
                sources = scaled(part, translator.size).to(fabric.device)
                condition = translator.condition([target] * len(part)).to(fabric.device)
                made.append(scaled(translator.translate(sources, condition).float(), faces.shape[-1]).to(faces.device))
        return torch.cat(made)

    return change
