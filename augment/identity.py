"""Who a face is: an embedding that a few dozen known people teach in seconds, and how well it tells people apart.

Source: Belhumeur, Hespanha, Kriegman, "Eigenfaces vs. Fisherfaces: Recognition Using Class Specific Linear Projection",
PAMI 1997: principal components, then the linear discriminants of the people. Two pictures of a person with different
expressions teach it that an expression is not a person. What is ours: pictures enter with their local contrast evened
out, within an ellipse that leaves out background and hair, and several times, flipped, moved and lit as training faces
are. A network needs more people than small datasets have.

`augment.scoring.identity` has another embedding, for a rank among strangers. Cosines of this one are read as they are,
so it gives little for what is not the face: of London's held-out people, a picture and the same one blurred by a pixel
have a cosine of 0.98 here and of 0.88 there, and a network's pictures are soft; relit 1.00 and 0.94; with another
person's surroundings 0.88 and 0.73. Both tell the pairs apart, with an area under the ROC curve of 0.999. On faces that
turn, CMU's, that one is better, with 0.69 for 0.62, most of it by what surrounds the face: with the ellipse alone it is
0.66 for 0.65 (a throwaway script, six draws each, at 64 px).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from augment.pictures import write_bytes
from augment.variation import Variation, vary
from emoaug import EmoaugError

SIDE = 24
"""Side at which faces are compared, pixels."""
COMPONENTS = 100
"""Most principal components that the discriminants are made of."""
SHRINKAGE = 0.1
"""Share of the covariance within people that is replaced by an even one."""
COPIES = 4
"""Times that each picture enters, each time varied anew."""
MOST_PICTURES = 8000
"""Most pictures that are learnt from."""


class IdentityEmbedding:
    """Aligned faces to unit vectors that point the same way for pictures of one person.

    Args:
        weights: of the evened-out pixels, (pixels, D).
        offset: what a mean face gives, (D,).
    """

    def __init__(self, weights: Tensor, offset: Tensor) -> None:
        self.weights, self.offset = weights.float(), offset.float()

    def __call__(self, faces: Tensor) -> Tensor:
        """Embed faces (N, 3, H, W) in [-1, 1]: unit vectors (N, D) float32, so that a product of two is their cosine.

        A face and its mirror image give the same.
        """
        weights, offset = self.weights.to(faces.device), self.offset.to(faces.device)
        both = evened(faces) + evened(faces.flip(-1))
        return F.normalize(both @ weights - 2 * offset, dim=1)

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        write_bytes(path, safetensors.torch.save({"weights": self.weights, "offset": self.offset}))

    @classmethod
    def load(cls, path: Path) -> IdentityEmbedding:
        """Read what `save` wrote; EmoaugError where that is not."""
        try:
            tensors = safetensors.torch.load(path.read_bytes())
            return cls(tensors["weights"], tensors["offset"])
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise EmoaugError(
                f"{path} holds no identity embedding ({error}); remove it, it will be made anew"
            ) from error


def evened(faces: Tensor) -> Tensor:
    """Grey values of faces (N, 3, H, W) in [-1, 1] within the ellipse of the face, local contrast 1: (N, pixels)."""
    grey = F.interpolate(faces.float(), size=(SIDE, SIDE), mode="area").mean(1, keepdim=True)
    around = SIDE // 4 + 1

    def local(pixels: Tensor) -> Tensor:
        return F.avg_pool2d(pixels, around, 1, around // 2, count_include_pad=False)

    apart = grey - local(grey)
    # The least keeps the noise of even skin from being blown up.
    return (apart / (local(apart.square()) + 1e-3).sqrt()).flatten(1)[:, _ellipse()]


def _ellipse() -> Tensor:
    """Which pixels an aligned face fills, (SIDE * SIDE,) bool."""
    axis = (torch.arange(SIDE) + 0.5) * (2 / SIDE) - 1
    return ((axis[None] / 0.85) ** 2 + (axis[:, None] / 1.0) ** 2 <= 1).flatten()


def train_embedding(faces: Tensor | np.ndarray, subjects: Tensor | np.ndarray, seed: int = 0) -> IdentityEmbedding:
    """Learn to tell people apart, whatever their expression.

    Args:
        faces: aligned faces, uint8 RGB, (N, 3, S, S).
        subjects: who each face is, integers, (N,), negative where unknown; those faces are left out.
        seed: of the variation of the faces.

    Raises:
        EmoaugError: fewer than three people with two pictures each.
    """
    pictures, people = torch.as_tensor(faces), torch.as_tensor(subjects)
    rows = (people >= 0).nonzero().flatten()
    known, counts = people[rows].unique(return_counts=True)
    if (several := int((counts > 1).sum())) < 3:
        raise EmoaugError(
            f"{several} people with two pictures or more; telling people apart is learnt from 3 or more of them. "
            "Name the people in a subject column of metadata.csv or with --subject-pattern"
        )
    generator = torch.Generator().manual_seed(seed)
    rows = rows[torch.randperm(len(rows), generator=generator)[:MOST_PICTURES]]
    floats = F.interpolate(pictures[rows].float() / 127.5 - 1, size=(2 * SIDE, 2 * SIDE), mode="area")
    given = floats, torch.zeros(len(rows), 1, 2), Variation(framing=0.0), generator
    seen = torch.cat([evened(vary(*given)[0]) for _ in range(COPIES)]).double().numpy()
    who = people[rows].repeat(COPIES).numpy()
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    components = PCA(min(COMPONENTS, len(seen) - 1, seen.shape[1]), svd_solver="covariance_eigh").fit(seen)
    discriminants = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE)
    discriminants.fit(components.transform(seen), who)
    directions = discriminants.scalings_[:, : min(len(known) - 1, components.n_components_)]
    weights = torch.from_numpy(components.components_.T @ directions)
    return IdentityEmbedding(weights, torch.from_numpy(components.mean_) @ weights)


@dataclass(frozen=True)
class Separation:
    """How well an embedding tells people apart that it did not learn from."""

    same: float
    """Mean cosine of two pictures of one person."""
    different: float
    """Mean cosine of pictures of two people."""
    area: float
    """Area under the ROC curve of telling the two kinds of pairs apart: 0.5 by chance, 1 without a mistake."""
    pairs: int
    """Pairs of pictures of one person."""


def separation(embedded: Tensor, subjects: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> Separation | None:
    """Compare every two pictures with different labels, so that a changed expression is part of the task.

    Args:
        embedded: unit vectors, (N, D).
        subjects: who each is, integers, (N,), negative where unknown.
        labels: what each shows, integers, (N,).

    Returns:
        The comparison; None where no person, or only one, has two pictures with different labels.
    """
    people, shown = np.asarray(subjects), np.asarray(labels)
    one, other = np.triu_indices(len(people), 1)
    asked = (shown[one] != shown[other]) & (people[one] >= 0) & (people[other] >= 0)
    one, other = one[asked], other[asked]
    same = people[one] == people[other]
    if not same.any() or same.all():
        return None
    cosines = (embedded[one] * embedded[other]).sum(1).double().cpu().numpy()
    from sklearn.metrics import roc_auc_score

    area = float(roc_auc_score(same, cosines))
    return Separation(float(cosines[same].mean()), float(cosines[~same].mean()), area, int(same.sum()))
