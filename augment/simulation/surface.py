"""What people look like, as tensors that the renderer reads: one batch of skins, hair, eyes and glasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

WRINKLES: dict[str, tuple[str, ...]] = {
    "forehead": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "frown": ("browDownLeft", "browDownRight"),
    "crows_feet": ("cheekSquintLeft", "cheekSquintRight", "mouthSmileLeft", "mouthSmileRight"),
    "under_eye": ("eyeSquintLeft", "eyeSquintRight", "cheekSquintLeft", "cheekSquintRight"),
    "nose": ("noseSneerLeft", "noseSneerRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    "mouth_corner": ("mouthFrownLeft", "mouthFrownRight", "mouthStretchLeft", "mouthStretchRight"),
    "chin": ("mouthShrugLower", "mouthPressLeft", "mouthPressRight"),
}
"""Groups of wrinkles in the order of `Surface.wrinkles`, each with the blendshapes that deepen it.

Source: the folds that FACS names as signs of each unit (Ekman, Friesen and Hager, Facial Action Coding System, 2002):
AU 1 and 2 forehead, 4 frown, 6 crow's feet and under-eye, 9 nose, 10 and 12 smile (nasolabial) fold, 15 and 20
corners of the mouth, 17 chin.
"""

_DRIVEN = 0.8
"""Most that an expression adds to a fold's strength; the rest is left to age."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A batch of N people as the renderer needs them; colours are linear RGB in [0, 1].

    The textures lie in the texture coordinates of the model that `dress` returns: render with that one. Left in a
    texture is the viewer's left, top is the top of the head.
    """

    texture: Tensor
    """Albedo of the part "skin", painted hair included, (N, 3, R, R)."""
    shine: Tensor
    """How strongly the part "skin" mirrors light, (N, 1, R, R) in [0, 1]; 0.5 is an ordinary cheek."""
    wrinkles: Tensor
    """Darkening maps of the folds that `WRINKLES` names, (N, len(WRINKLES), R, R) in [0, 1]."""
    age_lines: Tensor
    """Strength of each fold in a face at rest, (N, len(WRINKLES)) in [0, 1]."""
    part_colours: Tensor
    """Albedo of every part, (N, P, 3) for the P parts of the dressed model; of "skin" its mean colour."""
    iris: Tensor
    """Albedo of the iris, (N, 3)."""
    pupil: Tensor
    """Radius of the pupil as a share of the iris's, (N,) in [0.2, 0.6]."""
    roughness: Tensor
    """Roughness of the skin, (N,) in [0.2, 0.8]; small is oily."""
    specular: Tensor
    """Weight of the skin's mirrored light, (N,) in [0, 1]."""
    hair: Tensor
    """Where hair lifts the surface, cm in model space, (N, V, 3); zero off the hair."""
    hanging: Tensor
    """Size and place of hair that hangs over the ears, (N, H), read by `hanging_hair`; its first value is 1 or 0."""
    lashes: Tensor
    """Relative length of the lashes, (N,); 1 is average."""
    glasses: Tensor
    """Size and place of the glasses, (N, G), read by `augment.simulation.accessories`; its first value is 1 or 0."""
    people: tuple[dict[str, Any], ...]
    """One description a person, plain values only: see `describe`."""

    def __len__(self) -> int:
        """Count the people."""
        return len(self.people)

    def describe(self) -> list[dict[str, Any]]:
        """Describe the people for the metadata.

        Returns:
            A dictionary a person: monk_tone (1 to 10), glasses, beard, hair (names), hair_colour, eye_colour, makeup,
            age_lines (mean strength of wrinkles at rest in [0, 1]).
        """
        return [dict(person) for person in self.people]

    def select(self, rows: Sequence[int]) -> Surface:
        """Take people by number, as often as they are named: K expressions of one person share their textures.

        Args:
            rows: numbers in [0, N).

        Returns:
            The surface of these people, in this order.
        """
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.texture.device)
        tensors = {name: value[index] for name, value in self._tensors().items()}
        return Surface(**tensors, people=tuple(self.people[row] for row in rows))

    def to(self, device: torch.device | str) -> Surface:
        """Move every tensor to a device."""
        return Surface(**{name: value.to(device) for name, value in self._tensors().items()}, people=self.people)

    def _tensors(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "people"}

    def wrinkle_strength(self, expression: Tensor, names: Sequence[str]) -> Tensor:
        """Say how deep each fold is while a face does an expression.

        Args:
            expression: blendshapes, (N, E) in [0, 1].
            names: the E blendshapes' names; what `WRINKLES` names and is missing here counts as zero.

        Returns:
            Strengths, (N, len(WRINKLES)) in [0, 1]: the age lines, deepened by the mean of the blendshapes that drive
            the fold.
        """
        drive = torch.zeros(len(names), len(WRINKLES))
        for column, drivers in enumerate(WRINKLES.values()):
            known = [names.index(name) for name in drivers if name in names]
            # A mean over both sides; what is driven by two units is full when one is at its most.
            for row in known:
                drive[row, column] = 1 / 2
        driven = (expression @ drive.to(expression)).clamp(0, 1)
        return self.age_lines + (1 - self.age_lines) * _DRIVEN * driven

    def albedo(self, strength: Tensor) -> Tensor:
        """Fold the skin.

        Args:
            strength: of each fold, (N, len(WRINKLES)) in [0, 1], from `wrinkle_strength`.

        Returns:
            Albedo with wrinkles, (N, 3, R, R) in [0, 1]: darker in the folds, and redder, as light there passed skin.
        """
        depth = torch.einsum("nw,nwyx->nyx", strength, self.wrinkles).clamp(0, 1)
        darkening = depth.new_tensor([0.38, 0.52, 0.58])
        return self.texture * (1 - darkening[None, :, None, None] * depth[:, None])
