"""Picture augmentation for whole batches of faces: every face has its own draw, all faces are warped at once.

Random draws come from one `torch.Generator`, so a batch looks the same for the same generator state and the global
random state is left alone. torchvision, which takes a second to import, is imported where a recipe needs it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Generator, Tensor
from torch.nn import functional

from emoaug import EmoaugError

RECIPES: Mapping[str, str] = MappingProxyType(
    {
        "none": "the faces as they are",
        "flip": "left-right flip and a shift of up to 1/12 of the picture (flip + crop)",
        "classical": "flip, rotation, scale, shift, shear, brightness, contrast, gamma, saturation, random erasing",
        "classical-wide": "classical for faces that are not aligned: moved four times as far",
        "randaugment": "RandAugment (Cubuk et al., NeurIPS 2020) with two operations of magnitude 9, then flip + crop",
        "trivialaugment": "TrivialAugmentWide (Mueller & Hutter, ICCV 2021), then flip + crop",
    }
)
"""Names of the recipes that `augment_batch` knows, with one line each."""

MIXINGS: Mapping[str, str] = MappingProxyType(
    {
        "none": "every face stays one face",
        "mixup": "weighted means of two faces and of their labels (Zhang et al., ICLR 2018), alpha 0.2",
        "cutmix": "a rectangle of another face, labels by its area (Yun et al., ICCV 2019), alpha 1",
    }
)
"""Names of the ways to mix the faces of a batch that `mix_batch` knows, with one line each."""


@dataclass(frozen=True)
class GeometryRanges:
    """How far faces are moved; every face draws uniformly from each range."""

    flip: float = 0.5
    """Probability of a left-right flip."""
    rotation: float = 0.0
    """Largest turn to either side, degrees."""
    scale: float = 0.0
    """Largest change of size; 0.2 draws factors from 1/1.2 to 1.2, evenly in their logarithm."""
    shift: float = 1 / 12
    """Largest shift along each axis, share of the picture's edge."""
    shear: float = 0.0
    """Largest horizontal shear, and change of the aspect ratio, as a slope."""


@dataclass(frozen=True)
class ColourRanges:
    """How far light and colour change; every face draws uniformly from each range."""

    brightness: float = 0.2
    """Largest shift, in units of the full range from black to white."""
    contrast: float = 0.4
    """Largest change; 0.4 draws factors from 1/1.4 to 1.4, evenly in their logarithm."""
    gamma: float = 0.5
    """Largest change of the exponent; 0.5 draws from 1/1.5 to 1.5, evenly in the logarithm."""
    saturation: float = 0.5
    """Largest change; 0.5 draws factors from 0.5 to 1.5. A grey face stays grey."""


@dataclass(frozen=True)
class ErasingRanges:
    """Rectangles that are painted over (Zhong et al., "Random Erasing Data Augmentation", AAAI 2020)."""

    probability: float = 0.5
    """Probability that a face loses a rectangle."""
    area: tuple[float, float] = (0.02, 0.25)
    """Smallest and largest share of the picture."""
    aspect: float = 2.0
    """Largest ratio of the sides, either way."""


_FLIP = GeometryRanges()
# Faces that were aligned keep their features in place, and the network may know them by their places: on held-out
# training faces of FER2013, aligned, with 25 labels a class, four times these ranges gave 34.7 % accuracy instead of
# 39.9 %, twice these 38.2 %, and half of these 38.1 % (mean of four draws of labels each). Few faces moved far among
# many moved little cost 2 points there. On London's and CMU's held-out people two draws could tell no difference.
_ALIGNED_GEOMETRY = GeometryRanges(rotation=4.0, scale=0.05, shift=0.025, shear=0.025)
# As published, not aligned, four times as much is better.
_WIDE_GEOMETRY = GeometryRanges(rotation=15.0, scale=0.2, shift=0.1, shear=0.1)


def augment_batch(faces: Tensor, recipe: str, generator: Generator) -> Tensor:
    """Augment a batch, every face with its own draw.

    Args:
        faces: (N, 3, H, W), RGB in [-1, 1].
        recipe: a name in `RECIPES`.
        generator: source of all draws, on the device of the faces.

    Returns:
        (N, 3, H, W) in [-1, 1], a new tensor (for "none" the one that came in).

    Raises:
        EmoaugError: for an unknown recipe.
    """
    check_recipe(recipe)
    return _FUNCTIONS[recipe](faces, generator)


def mix_batch(faces: Tensor, labels: Tensor, classes: int, mixing: str, generator: Generator) -> tuple[Tensor, Tensor]:
    """Mix the faces of a batch with one another, and their labels with them.

    Args:
        faces: (N, 3, H, W), RGB in [-1, 1].
        labels: (N,) integers in [0, classes).
        classes: number of expressions.
        mixing: a name in `MIXINGS`.
        generator: source of all draws, on the device of the faces.

    Returns:
        Faces (N, 3, H, W) in [-1, 1], and the share of each class in each face, (N, classes), whose rows sum to 1. For
        "none" the faces and the labels, (N,), that came in.

    Raises:
        EmoaugError: for an unknown way of mixing.
    """
    check_recipe("none", mixing)
    if mixing == "none":
        return faces, labels
    from torchvision.transforms import v2

    transform = v2.MixUp(alpha=0.2, num_classes=classes) if mixing == "mixup" else v2.CutMix(num_classes=classes)
    # torchvision mixes neighbours, and a balanced batch deals the classes in turn: neighbours never share one.
    order = torch.randperm(len(faces), generator=generator, device=generator.device)
    with _global_draws(generator):
        mixed, shares = transform(faces[order], labels[order])
    return mixed, shares


def check_recipe(recipe: str, mixing: str = "none") -> None:
    """Raise `EmoaugError` unless the recipe and the way of mixing exist."""
    for what, name, known in (("recipe", recipe, RECIPES), ("mixing", mixing, MIXINGS)):
        if name not in known:
            raise EmoaugError(f"unknown {what} '{name}'. Known: {', '.join(known)}")


def warp(faces: Tensor, ranges: GeometryRanges, generator: Generator) -> Tensor:
    """Flip, turn, scale, shear and shift (N, C, H, W) in one bilinear resampling with a mirrored border."""
    count = len(faces)
    angle = _symmetric(count, math.radians(ranges.rotation), generator, faces.device)
    size = torch.exp(_symmetric(count, math.log1p(ranges.scale), generator, faces.device))
    stretch = torch.exp(_symmetric(count, ranges.shear / 2, generator, faces.device))
    shear = _symmetric(count, ranges.shear, generator, faces.device)
    # In grid coordinates the edge is 2 long.
    shift_x = _symmetric(count, 2 * ranges.shift, generator, faces.device)
    shift_y = _symmetric(count, 2 * ranges.shift, generator, faces.device)
    mirror = 1.0 - 2.0 * (_uniform(count, generator, faces.device) < ranges.flip).float()
    # Output to input: rotation @ shear @ scales, the flip last, so that the ranges are symmetric with or without it.
    cosine, sine = torch.cos(angle), torch.sin(angle)
    wide, high = stretch / size, 1 / (stretch * size)
    theta = torch.stack(
        [
            torch.stack([mirror * cosine * wide, mirror * (cosine * shear - sine) * high, shift_x], dim=1),
            torch.stack([sine * wide, (sine * shear + cosine) * high, shift_y], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(theta.to(faces.dtype), list(faces.shape), align_corners=False)
    return functional.grid_sample(faces, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def recolour(faces: Tensor, ranges: ColourRanges, generator: Generator) -> Tensor:
    """Change gamma, contrast, saturation and brightness, then clamp. (N, 3, H, W) in [-1, 1] to the same."""
    count = len(faces)

    def column(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1, 1).to(faces.dtype)

    gamma = column(torch.exp(_symmetric(count, math.log1p(ranges.gamma), generator, faces.device)))
    contrast = column(torch.exp(_symmetric(count, math.log1p(ranges.contrast), generator, faces.device)))
    saturation = column(1 + _symmetric(count, ranges.saturation, generator, faces.device))
    brightness = column(_symmetric(count, ranges.brightness, generator, faces.device))
    light = ((faces + 1) / 2).clamp(1e-4, 1).pow(gamma)
    grey = light.mean(dim=1, keepdim=True)
    light = grey + (light - grey) * saturation
    mean = grey.mean(dim=(2, 3), keepdim=True)
    light = mean + (light - mean) * contrast + brightness
    return light.clamp_(0, 1) * 2 - 1


def erase(faces: Tensor, ranges: ErasingRanges, generator: Generator) -> Tensor:
    """Paint one rectangle mid-grey in some of the faces. (N, C, H, W) in [-1, 1] to the same.

    Mid-grey, because noise did worse on held-out FER2013 faces with 25 labels a class, and alike with 100 (one run
    each).
    """
    count, _, height, width = faces.shape
    low, high = ranges.area
    area = low + (high - low) * _uniform(count, generator, faces.device)
    ratio = torch.exp(_symmetric(count, math.log(ranges.aspect) / 2, generator, faces.device))
    half_width, half_height = (area.sqrt() * ratio / 2), (area.sqrt() / ratio / 2)
    # Centres anywhere: a rectangle may run over the border, so that corners are hidden about as often as the rest.
    centre_x, centre_y = _uniform(count, generator, faces.device), _uniform(count, generator, faces.device)
    chosen = _uniform(count, generator, faces.device) < ranges.probability
    x = (torch.arange(width, device=faces.device) + 0.5) / width
    y = (torch.arange(height, device=faces.device) + 0.5) / height
    inside_x = (x - centre_x[:, None]).abs() < half_width[:, None]
    inside_y = (y - centre_y[:, None]).abs() < half_height[:, None]
    hole = (inside_y[:, :, None] & inside_x[:, None, :] & chosen[:, None, None])[:, None]
    return faces.masked_fill(hole, 0.0)


def _none(faces: Tensor, generator: Generator) -> Tensor:
    return faces


def _flip(faces: Tensor, generator: Generator) -> Tensor:
    return warp(faces, _FLIP, generator)


def _classical(faces: Tensor, generator: Generator, ranges: GeometryRanges = _ALIGNED_GEOMETRY) -> Tensor:
    faces = warp(faces, ranges, generator)
    faces = recolour(faces, ColourRanges(), generator)
    return erase(faces, ErasingRanges(), generator)


def _randaugment(faces: Tensor, generator: Generator) -> Tensor:
    from torchvision.transforms import v2

    return _by_torchvision(faces, v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR), generator)


def _trivialaugment(faces: Tensor, generator: Generator) -> Tensor:
    from torchvision.transforms import v2

    return _by_torchvision(faces, v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR), generator)


def _by_torchvision(faces: Tensor, transform: Callable[[Tensor], Tensor], generator: Generator) -> Tensor:
    """Change each face by a transform of its own draw, then flip and shift."""
    pixels = ((faces + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    with _global_draws(generator):
        changed = torch.stack([transform(face) for face in pixels])
    return warp(changed.to(faces.dtype) / 127.5 - 1, _FLIP, generator)


@contextmanager
def _global_draws(generator: Generator) -> Iterator[None]:
    """Within, the global generator, all that torchvision draws from, follows from ours; afterwards it is as before."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


_FUNCTIONS: Mapping[str, Callable[[Tensor, Generator], Tensor]] = {
    "none": _none,
    "flip": _flip,
    "classical": _classical,
    "classical-wide": partial(_classical, ranges=_WIDE_GEOMETRY),
    "randaugment": _randaugment,
    "trivialaugment": _trivialaugment,
}


def _uniform(count: int, generator: Generator, device: torch.device) -> Tensor:
    return torch.rand(count, generator=generator, device=device)


def _symmetric(count: int, largest: float, generator: Generator, device: torch.device) -> Tensor:
    """(count,) draws, even in [-largest, largest]."""
    return (2 * _uniform(count, generator, device) - 1) * largest
