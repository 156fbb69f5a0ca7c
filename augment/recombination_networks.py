"""Networks that take a face apart: who it is, and everything else; what IP-GAN has besides `augment.code_networks`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.code_networks import FaceEncoder
from augment.devices import one_thread
from augment.mirroring import Channels, mirror, still, twins
from augment.ranks import mean_over_ranks


class Person(NamedTuple):
    """Who faces are."""

    code: Tensor
    """(N, length)."""
    logits: Tensor
    """Of the people of the training data, (N, people)."""
    maps: list[Tensor]
    """What a residual network saw after each halving, finest first."""


class IdentityNetwork(nn.Module):
    """Faces (N, 3, S, S) to who they are.

    Codes that are not the features themselves have the norm that as many draws from the normal distribution have on
    average, so that they stand beside attribute codes on equal terms.

    Args:
        features: faces to (N, length).
        length: of the features.
        code: length of the code; None takes the features themselves for it.
        people: how many it can tell apart.
    """

    def __init__(self, features: nn.Module, length: int, code: int | None, people: int) -> None:
        super().__init__()
        self.features = features
        self.code = None if code is None else nn.Linear(length, code)
        self.people = nn.Linear(code or length, people)

    def mirror(self) -> None:
        """Bring the weights of residual networks to the nearest that answer mirror images alike."""
        assert isinstance(self.features, FaceEncoder)
        assert self.code is not None
        code = twins(self, self.code.out_features)
        mirror(self.code, self.features.mirror(), code)
        mirror(self.people, code, still(self, self.people.out_features))

    def forward(self, faces: Tensor) -> Person:
        """Recognise faces."""
        maps: list[Tensor] = []
        if self.code is not None and isinstance(self.features, FaceEncoder):
            features, maps = self.features.read(faces)
            code = F.normalize(self.code(features).float(), dim=1) * self.people.in_features**0.5
        else:
            code = self.features(faces)
        return Person(code.float(), self.people(code).float(), maps)


class AttributeEncoder(nn.Module):
    """Faces (N, 3, S, S) to mean and log variance of their attribute codes, (N, latent) each.

    `expression` tells expressions (N, classes) by codes, where there are any to tell.

    Args:
        features: faces to (N, length).
        length: of the features.
        latent: length of the code.
        classes: expressions to tell by codes; 0 for none.
    """

    def __init__(self, features: nn.Module, length: int, latent: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.code = nn.Linear(length, 2 * latent)
        self.expression = nn.Linear(latent, classes) if classes else None

    def mirror(self) -> None:
        """Bring the weights of residual networks to the nearest that answer mirror images alike."""
        assert isinstance(self.features, FaceEncoder)
        code = twins(self, self.code.out_features // 2)
        mirror(self.code, self.features.mirror(), code.and_then(code))
        if self.expression is not None:
            mirror(self.expression, code, still(self, self.expression.out_features))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Encode faces."""
        mean, log_variance = self.code(self.features(faces)).float().chunk(2, 1)
        return mean, log_variance.clamp(-10, 10)


class ExpressionCodes(nn.Module):
    """Mean attribute codes of the training faces of each expression, and how to move a code to them.

    Args:
        classes: K.
        latent: L.
        decay: what a mean keeps when a batch has faces of its expression.
    """

    means: Tensor
    known: Tensor
    _along: Tensor | None
    """The projection onto the directions in which means differ, while these are as they are; see `train`."""

    def __init__(self, classes: int, latent: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("means", torch.zeros(classes, latent))
        self.register_buffer("known", torch.zeros(classes, dtype=torch.bool))
        self.register_buffer("_along", None, persistent=False)

    def train(self, mode: bool = True) -> ExpressionCodes:
        """Train, or make faces: then the means stay, and what follows from them is found once and not for every batch.

        A GPU is waited for when it is found.
        """
        self._along = None
        if not mode:
            # As in a worker: how sums are split over threads changes their last bits.
            with one_thread():
                self._along = self._directions()
        return super().train(mode)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.train(self.training)

    @torch.no_grad()
    def learn(self, codes: Tensor, conditions: Tensor) -> None:
        """Take in attribute codes (N, L) of faces that show conditions (N, K)."""
        with torch.autocast(codes.device.type, enabled=False):
            share = mean_over_ranks(conditions.sum(0))
            now = mean_over_ranks(conditions.T @ codes.float()) / share.clamp_min(1e-6)[:, None]
        moved = torch.where(self.known[:, None], torch.lerp(now, self.means, self.decay), now)
        self.means.copy_(torch.where(share[:, None] > 0, moved, self.means))
        self.known |= share > 0
        self._along = None

    @torch.no_grad()
    def mirror(self, code: Channels) -> None:
        """Bring the means to where an expression in the mirror is the same expression, as codes are in the mirror."""
        self.means.lerp_(self.means[:, code.places], 0.5)
        self._along = None

    @torch.no_grad()
    def _directions(self) -> Tensor:
        with torch.inference_mode(False), torch.autocast(self.means.device.type, enabled=False):
            # An expression that nobody showed has no mean, and no direction leads to it.
            known = self.known.float()[:, None]
            spread = known * (self.means - (known * self.means).sum(0) / known.sum().clamp_min(1))
            # What differs by less than rounding is no direction: means less their own mean leave one such.
            return torch.linalg.pinv(spread, rtol=1e-4) @ spread

    def move(self, codes: Tensor, conditions: Tensor) -> Tensor:
        """Move codes (N, L) to the means of conditions (N, K) along the directions in which means differ, no other.

        As far as conditions ask for an expression that nobody showed, codes stay.
        """
        with torch.autocast(codes.device.type, enabled=False):
            codes, conditions = codes.float(), conditions.float()
            along = self._directions() if self._along is None else self._along
            share = conditions / conditions.sum(1, keepdim=True).clamp_min(1e-6) * self.known
            return codes + (share @ self.means - share.sum(1, keepdim=True) * codes) @ along
