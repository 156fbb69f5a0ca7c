"""What is behind a face: paper, light, rooms and out-of-focus things, drawn from one generator a picture."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from augment.simulation.canvas import blur

_WORK = 96
"""Side that backgrounds are drawn at, pixels; they are out of focus, so this is enough for every size."""

Backdrop = tuple[tuple[float, ...], tuple[float, ...]]
"""Linear RGB on the left and on the right."""

_Painter = Callable[[np.random.Generator], np.ndarray]


def background(
    generators: Sequence[torch.Generator], size: int, backdrops: Sequence[Backdrop | None] | None = None
) -> Tensor:
    """Draw backgrounds.

    Args:
        generators: one a picture, on the CPU.
        size: side, pixels.
        backdrops: plain ones where a picture has one; None draws anything.

    Returns:
        Linear RGB in [0, 1], (N, 3, size, size). The same generator gives the same scene at every size.
    """
    wanted = backdrops or [None] * len(generators)
    pictures = np.stack([_draw(generator, size, plain) for generator, plain in zip(generators, wanted, strict=True)])
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))


def _draw(generator: torch.Generator, size: int, plain: Backdrop | None) -> np.ndarray:
    """Draw one background, (size, size, 3) float32."""
    rng = np.random.default_rng(int(torch.randint(2**31 - 1, (), generator=generator)))
    if plain is not None:
        return np.clip(cv2.resize(_ramp(rng, plain), (size, size), interpolation=cv2.INTER_LINEAR), 0, 1)
    painters: tuple[_Painter, ...] = (_paper, _spotlight, _bokeh, _room, _shelves, _outdoors, _plaster)
    weights = np.array([0.14, 0.2, 0.13, 0.17, 0.1, 0.14, 0.12])
    picture = painters[rng.choice(len(painters), p=weights)](rng)
    # Rooms are lit from somewhere, too.
    y, x = _grid()
    fall = rng.normal(0, 0.25, 2)
    picture = picture * np.exp(fall[0] * x + fall[1] * y)[..., None]
    resized = cv2.resize(picture.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.clip(resized, 0, 1)


def _ramp(rng: np.random.Generator, colours: Backdrop) -> np.ndarray:
    """From one colour on the left to another on the right, a little uneven and a little darker below."""
    y, x = _grid()
    share = ((x + 1) / 2)[..., None]
    left, right = (np.asarray(colour, np.float32) for colour in colours)
    uneven = np.exp(0.04 * _clouds(rng, 5) - rng.uniform(0, 0.1) * y)[..., None]
    return ((left * (1 - share) + right * share) * uneven).astype(np.float32)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Give each pixel's y and x in [-1, 1], (`_WORK`, `_WORK`) each."""
    line = np.linspace(-1, 1, _WORK, dtype=np.float32)
    return np.meshgrid(line, line, indexing="ij")


def _colour(rng: np.random.Generator, saturation: float = 0.35, darkest: float = 0.02) -> np.ndarray:
    """Draw a colour, linear RGB (3,): any lightness, mostly muted."""
    light = np.exp(rng.uniform(np.log(darkest), np.log(0.9)))
    hue = rng.uniform(0, 2 * np.pi) + np.array([0, 2, 4]) * np.pi / 3
    return np.clip(light * (1 + saturation * rng.beta(1, 2) * 2 * np.cos(hue)), 0, 1)


def _full(colour: np.ndarray) -> np.ndarray:
    return np.broadcast_to(colour, (_WORK, _WORK, 3)).astype(np.float32)


def _paper(rng: np.random.Generator) -> np.ndarray:
    """Plain paper or a wall, often grey or white."""
    return _full(_colour(rng, rng.choice([0.0, 0.1, 0.5])))


def _spotlight(rng: np.random.Generator) -> np.ndarray:
    """A studio's backdrop: a pool of light, or a ramp from one colour to another."""
    y, x = _grid()
    a, b = _colour(rng), _colour(rng)
    if rng.random() < 0.6:
        b = a * rng.uniform(0.1, 0.7)
        away = np.hypot(x - rng.normal(0, 0.4), y - rng.normal(-0.1, 0.4)) / rng.uniform(0.8, 2.0)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        away = (x * np.cos(angle) + y * np.sin(angle) + 1.2) / 2.4
    share = np.clip(away, 0, 1)[..., None]
    mottled = 1 + rng.uniform(0, 0.25) * _clouds(rng, 6)[..., None]
    return (a * (1 - share) + b * share) * mottled


def _clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (_WORK, _WORK), interpolation=cv2.INTER_CUBIC)


def _bokeh(rng: np.random.Generator) -> np.ndarray:
    """Lights out of focus before a dark place."""
    picture = np.ascontiguousarray(_full(_colour(rng, 0.4, 0.01) * 0.4))
    picture *= np.exp(0.5 * _clouds(rng, 5))[..., None]
    for _ in range(rng.integers(8, 40)):
        centre = (int(rng.integers(_WORK)), int(rng.integers(_WORK)))
        disc = np.zeros_like(picture)
        cv2.circle(disc, centre, int(rng.integers(2, 12)), (_colour(rng, 0.9, 0.15) * rng.uniform(0.3, 1)).tolist(), -1)
        picture += disc
    return blur(picture, rng.uniform(0.8, 4))


def _room(rng: np.random.Generator) -> np.ndarray:
    """Walls, a corner, a door or a window, and furniture, a little out of focus."""
    wall = _colour(rng, 0.25, 0.08)
    picture = np.ascontiguousarray(_full(wall))
    corner = int(rng.integers(-_WORK // 2, _WORK + _WORK // 2))
    if 0 < corner < _WORK:
        picture[:, corner:] *= rng.uniform(0.55, 0.9)
    for _ in range(rng.integers(1, 5)):
        left, top = rng.integers(-20, _WORK - 10, 2)
        width, height = rng.integers(12, 70, 2)
        colour = _colour(rng, 0.4) if rng.random() < 0.8 else np.array([0.9, 0.93, 1.0])
        cv2.rectangle(picture, (int(left), int(top)), (int(left + width), int(top + height)), colour.tolist(), -1)
        if rng.random() < 0.6:
            frame = (colour * rng.uniform(0.2, 1.6)).clip(0, 1).tolist()
            cv2.rectangle(picture, (int(left), int(top)), (int(left + width), int(top + height)), frame, 2)
    return blur(picture, rng.uniform(0.4, 5))


def _shelves(rng: np.random.Generator) -> np.ndarray:
    """Rows of upright things, such as books or a curtain's folds."""
    picture = np.ascontiguousarray(_full(_colour(rng, 0.3, 0.03)))
    rows = int(rng.integers(1, 5))
    curtain = rng.random() < 0.4
    shade = _colour(rng)
    for row in range(rows):
        top, bottom = row * _WORK // rows, (row + 1) * _WORK // rows - 3
        column = 0
        while column < _WORK:
            width = int(rng.integers(2, 12))
            colour = shade * rng.uniform(0.5, 1.1) if curtain else _colour(rng, 0.7)
            head = top if curtain else top + int(rng.integers(0, 6))
            cv2.rectangle(picture, (column, head), (column + width, bottom), colour.tolist(), -1)
            column += width + int(rng.integers(0, 2))
    return blur(picture, rng.uniform(1.2, 5))


def _outdoors(rng: np.random.Generator) -> np.ndarray:
    """Sky, leaves or houses, and ground."""
    y, _ = _grid()
    sky = np.array([0.45, 0.62, 0.9]) * rng.uniform(0.4, 1.1) + rng.uniform(0, 0.3)
    leaves = np.array([0.07, 0.12, 0.03]) if rng.random() < 0.6 else _colour(rng, 0.2, 0.1)
    ground = _colour(rng, 0.25, 0.05)
    horizon, skyline = rng.uniform(0.0, 0.9), rng.uniform(-1.1, 0.2)
    edge = skyline + 0.25 * _clouds(rng, 7)
    picture = np.where((y > edge)[..., None], leaves * np.exp(0.6 * _clouds(rng, 24))[..., None], sky)
    picture = np.where((y > horizon)[..., None], ground * np.exp(0.2 * _clouds(rng, 12))[..., None], picture)
    return blur(picture.astype(np.float32), rng.uniform(0.8, 4.5))


def _plaster(rng: np.random.Generator) -> np.ndarray:
    """A rough surface: noise of several sizes, on stone, brick or cloth."""
    picture = _full(_colour(rng, 0.4, 0.04))
    rough = sum(weight * _clouds(rng, cells) for cells, weight in ((5, 0.3), (14, 0.2), (40, 0.15)))
    grain = rng.standard_normal((_WORK, _WORK)).astype(np.float32) * rng.uniform(0, 0.25)
    shade = rng.uniform(0.3, 1.3) * rough + grain
    if rng.random() < 0.35:
        y, x = _grid()
        high, wide = rng.uniform(4, 10), rng.uniform(2, 6)
        joints = (np.mod(y * high, 1) < 0.12) | (np.mod(x * wide + 0.5 * np.floor(y * high), 1) < 0.06)
        shade = shade + joints * rng.choice([-0.6, 0.4])
    return blur((picture * np.exp(shade)[..., None]).astype(np.float32), rng.uniform(0.3, 2.5))
