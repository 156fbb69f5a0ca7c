"""Scenes: who stands before the camera, with which expression, in which light; decided by the seed and the row alone.

A subject is one person: a face, a skin, mannerisms, and a few consecutive rows. Half of the people are photographed in
one session, with the same light, background and camera throughout; the others somewhere else each time. If asked to,
people also hold their heads still.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from augment.devices import seed_from
from augment.expressions import SEVEN
from augment.faces import EYES, PHILTRUM
from augment.plans import row_seeds
from augment.simulation.behaviour import INTENSITY, ExpressionSource, Prototypes
from augment.simulation.mannerisms import Draw, draw_mannerisms
from emoaug import EmoaugError, check_seed

if TYPE_CHECKING:
    from augment.simulation.surroundings import Surroundings

IDENTITY_MODES = 100
"""Identity coefficients drawn for a person; a face model takes the first ones, as many as it has."""

# Where people of an expression tend to hold their heads: degrees of pitch, and of roll and yaw to either side.
# EMFACS has the head down (54) with sadness; contempt looks down the nose; the others are mild habits of posing.
_TENDENCY = {
    "sad": (-6.0, 2.0),
    "contempt": (5.0, 4.0),
    "fear": (-2.0, 2.0),
    "disgust": (2.0, 4.0),
    "surprise": (2.0, 0.0),
    "happy": (1.0, 3.0),
    "angry": (-4.0, 0.0),
    "awed": (5.0, 0.0),
}


@dataclass(frozen=True)
class SceneSettings:
    """What the scenes are like."""

    expressions: tuple[str, ...] = SEVEN
    """Expressions to show, in turn: canonical names, basic or compound, or those of a dataset that was measured."""
    intensity: tuple[float, float] = INTENSITY
    """Strength of the faintest and the strongest expressions, 1 for a full one; for more than faces in daily life show,
    such as posed ones, about 0.9 1.3. Expressions that were measured on faces are as strong as those."""
    typical: float = 0.0
    """Share of faces that show a basic expression in the one way that others recognise most surely, instead of in any
    way that is known; 1 for faces that a system is to learn from, which makes one face of a face and a name."""
    per_subject: int = 7
    """Pictures of each person, all with different expressions if there are as many; 1 or more."""
    yaw: float = 45.0
    """Farthest turn of a head to either side, degrees, 0 to 80; half of the heads turn by less than 0.28 of it."""
    pitch: float = 20.0
    """Farthest nod up or down, degrees, 0 to 45."""
    roll: float = 15.0
    """Farthest lean to either side, degrees, 0 to 45; the picture is turned upright again, the light is not."""
    distance: tuple[float, float] = (45.0, 220.0)
    """Nearest and farthest camera, cm: the perspective from a selfie to a telephoto portrait."""
    jitter: float = 1.0
    """How badly faces are framed: 0 as alignment means to, 1 as it does, more for sloppy crops."""
    spread: float = 1.0
    """How much everything varies: 0 average people who pose evenly, 1 natural, more for domain randomisation."""
    session: float = 0.5
    """Share of people who are photographed with the same light, background and camera throughout."""
    still: float = 0.0
    """Share of people who are photographed so and hold their heads still, too: their pictures differ in the expression
    alone, and make pairs for systems that learn from such."""
    grey: float = 0.1
    """Share of grey pictures."""
    seed: int = 0
    """Decides everything that is drawn; 0 or more."""

    def __post_init__(self) -> None:
        if not self.expressions:
            raise EmoaugError("expressions are none; name one or more")
        if self.per_subject < 1:
            raise EmoaugError(f"per_subject is {self.per_subject}; it is 1 picture a person or more")
        ranges = {"yaw": 80, "pitch": 45, "roll": 45, "jitter": 10, "spread": 4}
        ranges |= dict.fromkeys(("typical", "session", "still", "grey"), 1)
        for name, most in ranges.items():
            if not 0 <= getattr(self, name) <= most:
                raise EmoaugError(f"{name} is {getattr(self, name)}; it is a number from 0 to {most}")
        if not 25 <= self.distance[0] <= self.distance[1] <= 10_000:
            raise EmoaugError(
                f"distance is {self.distance[0]} to {self.distance[1]} cm; give two numbers from 25 to 10,000, "
                "the nearer first"
            )
        if not 0 <= self.intensity[0] <= self.intensity[1] <= 2:
            raise EmoaugError(
                f"intensity is {self.intensity[0]} to {self.intensity[1]}; give two numbers from 0 to 2, the fainter "
                "first"
            )
        check_seed(self.seed)


@dataclass(frozen=True)
class Place:
    """Light, background and camera of one session."""

    background_seed: int
    """Seed of the background."""
    lamps: tuple[tuple[float, ...], ...]
    """Key, fill and rim: x, y, z toward the lamp in camera space (a unit vector), then its linear RGB."""
    sources: tuple[tuple[float, ...], ...]
    """Soft light from above and from below, written likewise."""
    even: tuple[float, float, float]
    """Light from everywhere, linear RGB."""
    camera: dict[str, float]
    """Exposure (stops), warmth, blur (shares of the side), noise, vignette, JPEG quality, whether it is grey, and
    contrast (a factor)."""
    backdrop: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Linear RGB of a plain backdrop on the left and on the right; None for a background drawn from its seed."""


@dataclass(frozen=True)
class Scene:
    """All that decides one picture."""

    row: int
    """Its number, from 0."""
    seed: int
    """Seed of all that is drawn for this row only, 0 to 2**53 - 1."""
    subject: int
    """Number of the person, from 0."""
    label: str
    """The expression."""
    expression: dict[str, float]
    """Blendshape to value in (0, 1], exactly as rendered."""
    pose: tuple[float, float, float]
    """Yaw, pitch, roll, degrees; signs as in `augment.landmarker.pose_of`."""
    distance: float
    """From the camera to the eyes, cm."""
    targets: tuple[tuple[float, float], ...]
    """Where the left eye, the right eye and the philtrum go, shares of the picture's side."""
    place: Place
    """Light, background and camera."""


def draw_scene(
    settings: SceneSettings,
    row: int,
    source: ExpressionSource | None = None,
    surroundings: Surroundings | None = None,
) -> Scene:
    """Draw the scene of one row; it depends on what is given here only.

    Args:
        settings: what the scenes are like.
        row: number of the picture, from 0.
        source: where expressions come from; by default their action-unit prototypes.
        surroundings: photographs that give poses, backdrops and light; by default the settings' ranges do.
    """
    subject = row // settings.per_subject
    label = label_of(settings, row)
    seed = int(row_seeds(settings.seed, np.array([row]))[0])
    generator = torch.Generator().manual_seed(seed)
    person = Draw(_generator(settings.seed, "person", subject))
    chance = person.uniform()
    holds_still = chance < settings.still
    in_session = holds_still or chance < settings.session
    # The head is held where the person tends to hold it, half of the variance, and somewhere around it.
    usual = [person.normal() for _ in range(3)]
    mannerisms = draw_mannerisms(_generator(settings.seed, "mannerisms", subject), settings.spread)
    source = source or Prototypes(settings.intensity, settings.typical)
    expression = source.draw(label, generator, settings.spread, mannerisms)

    # Someone who holds still does so as for the person's first picture.
    held = _generator(settings.seed, "held", subject) if holds_still else generator
    posed = label_of(settings, subject * settings.per_subject) if holds_still else label
    pose = surroundings.draw_pose(posed, Draw(held)) if surroundings else _pose(settings, posed, usual, Draw(held))
    shot = _generator(settings.seed, "session", subject) if in_session else generator
    near, far = settings.distance
    distance = near * (far / near) ** Draw(shot).uniform()
    place = surroundings.draw_place(shot, settings) if surroundings else draw_place(shot, settings)
    targets = _targets(settings.jitter, Draw(held))
    return Scene(row, seed, subject, label, expression, pose, round(distance, 2), targets, place)


def label_of(settings: SceneSettings, row: int) -> str:
    """The expression of a row.

    Rows go through the expressions in turn, in an order that changes after every so many people as there are
    expressions. So labels are balanced, and nobody shows one twice before having shown all.
    """
    names = settings.expressions
    block, place = divmod(row, len(names) * settings.per_subject)
    order = torch.randperm(len(names), generator=_generator(settings.seed, "order", block)).tolist()
    return names[order[place % len(names)]]


def identity_of(settings: SceneSettings, subject: int) -> Tensor:
    """The shape of a person's face: coefficients of the identity modes in standard deviations, (`IDENTITY_MODES`,)."""
    drawn = torch.randn(IDENTITY_MODES, generator=_generator(settings.seed, "face", subject))
    # Beyond two and a half deviations a mode no longer looks like a face.
    return (0.85 * settings.spread * drawn).clamp(-2.5, 2.5)


def appearance_generator(settings: SceneSettings, subject: int) -> torch.Generator:
    """The generator of a person's skin, hair and eyes."""
    return _generator(settings.seed, "appearance", subject)


def draw_place(generator: torch.Generator, settings: SceneSettings, steepness: float | None = None) -> Place:
    """Draw light, background and camera.

    Args:
        generator: source of every draw.
        settings: of which `spread` and `grey` are read.
        steepness: how much lighter the right side of faces is than the left, in [-1, 1] from a bare lamp on the left
            to one on the right; by default any.
    """
    spread, draw = settings.spread, Draw(generator)
    side = 1.0 if draw.uniform() < 0.5 else -1.0
    # A key light from the front half, mostly above the eyes; the contrast goes from an overcast sky to a bare bulb.
    azimuth = side * draw.uniform(10.0, 10.0 + 65.0 * min(spread, 1.2))
    elevation = draw.uniform(-5.0 * spread, 25.0 + 30.0 * min(spread, 1.5))
    contrast = draw.uniform(0.15, 0.15 + 0.55 * min(spread, 1.4))
    if steepness is not None:
        side = math.copysign(1.0, steepness)
        azimuth = 75.0 * steepness + 6.0 * draw.normal()
        contrast = 0.15 + (contrast - 0.15) * (0.3 + 0.7 * abs(steepness))
    warmth = draw.normal() * 0.12 * spread
    key = _tint(contrast * 1.15, warmth)
    fill = _tint((1 - contrast) * draw.uniform(0.05, 0.35), -0.5 * warmth)
    rim = _tint(draw.uniform(0.0, 0.5) if draw.uniform() < 0.3 else 0.0, draw.normal() * 0.1 * spread)
    lamps = (
        (*_direction(azimuth, elevation), *key),
        (*_direction(-azimuth - side * draw.uniform(0, 30), draw.uniform(-10, 30)), *fill),
        (*_direction(side * draw.uniform(110, 160), draw.uniform(0, 40)), *rim),
    )
    room = 1 - contrast
    above = _tint(room * draw.uniform(0.15, 0.45), -0.6 * warmth)
    below = _tint(room * draw.uniform(0.02, 0.2), draw.normal() * 0.1 * spread)
    sources = ((*_direction(draw.normal() * 40, 75.0), *above), (*_direction(0.0, -80.0), *below))
    camera = {
        "exposure": draw.normal() * 0.3 * spread,
        "warmth": draw.normal() * 0.06 * spread,
        "blur": abs(draw.normal()) * 0.004 * spread,
        "noise": abs(draw.normal()) * 0.012 * spread,
        "vignette": draw.uniform(0.0, 0.3) * min(spread, 2.0),
        "jpeg": round(draw.uniform(95.0 - 40.0 * min(spread, 2.0), 98.0)),
        "grey": float(draw.uniform() < settings.grey),
    }
    background = int(torch.randint(2**62, (), generator=generator))
    # Found photographs have harder light and more contrast than a studio's: nine in ten from 0.8 to 2.1 times as much.
    camera["contrast"] = math.exp(0.25 + 0.3 * draw.normal() * min(spread, 2.0))
    return Place(background, lamps, sources, _tint(room * 0.65, 0.3 * warmth), camera)


def describe(scene: Scene) -> dict[str, Any]:
    """What the metadata say of a scene beside its expression and pose; plain values."""
    return {
        "distance_cm": scene.distance,
        "camera": {name: round(value, 4) for name, value in scene.place.camera.items()},
        "key_light": [round(value, 3) for value in scene.place.lamps[0]],
    }


def _pose(settings: SceneSettings, label: str, usual: Sequence[float], draw: Draw) -> tuple[float, float, float]:
    """Yaw, pitch and roll, degrees."""
    down, aside = _TENDENCY.get(label, (0.0, 0.0))
    side = 1.0 if draw.uniform() < 0.5 else -1.0
    drawn = [math.sqrt(0.5) * (mean + draw.normal()) for mean in usual]
    spread = min(settings.spread, 1.0)
    angles = (
        (0.38 * settings.yaw * drawn[0] + spread * side * aside, settings.yaw),
        (0.38 * settings.pitch * drawn[1] + spread * down, settings.pitch),
        (0.38 * settings.roll * drawn[2] + spread * side * aside, settings.roll),
    )
    yaw, pitch, roll = (round(max(-most, min(most, angle)), 2) for angle, most in angles)
    return yaw, pitch, roll


def _targets(jitter: float, draw: Draw) -> tuple[tuple[float, float], ...]:
    """Where alignment puts eyes and philtrum, shares of the side, as exactly as it does on photographs."""
    # On photographs of the same person the anchors of MediaPipe's mesh move by about one hundredth of the side.
    angle, grow = math.radians(1.2 * jitter * draw.normal()), 1 + 0.02 * jitter * draw.normal()
    move = [0.008 * jitter * draw.normal() for _ in range(2)]
    cos, sin = grow * math.cos(angle), grow * math.sin(angle)
    return tuple(
        (
            round(0.5 + cos * (x - 0.5) - sin * (y - 0.5) + move[0], 5),
            round(0.5 + sin * (x - 0.5) + cos * (y - 0.5) + move[1], 5),
        )
        for x, y in (*EYES, PHILTRUM)
    )


def _generator(*parts: int | str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_from("simulation", *parts))


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector toward a lamp, from degrees to the right of the camera and above it."""
    across, up = math.radians(azimuth), math.radians(elevation)
    return math.sin(across) * math.cos(up), math.sin(up), math.cos(across) * math.cos(up)


def _tint(level: float, warmth: float) -> tuple[float, float, float]:
    """A light's linear RGB: positive warmth is reddish, negative bluish, green stays."""
    return level * math.exp(warmth), level, level * math.exp(-warmth)
