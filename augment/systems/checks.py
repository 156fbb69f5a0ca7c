"""What settings of several systems must be."""

from typing import Any

from emoaug import EmoaugError


def check_halvings(settings: Any, *depths: str) -> None:
    """EmoaugError unless every depth is 2 or more, and the size can be halved so often and leaves 2 pixels.

    Args:
        settings: those of a system, with a `size`.
        depths: names of those that count halvings of the side.
    """
    numbers = [getattr(settings, name) for name in depths]
    unit = 2 ** max(2, *numbers)
    if min(numbers) < 2 or settings.size % unit or settings.size < 2 * unit:
        given = " and ".join(f"{name} {number}" for name, number in zip(depths, numbers, strict=True))
        raise EmoaugError(
            f"size is {settings.size}, with {given}; depths are 2 or more, and the size is then a multiple of {unit}, "
            f"from {2 * unit} on"
        )


def check_code_networks(settings: Any) -> None:
    """EmoaugError unless networks between a face and its code fit its size, and one another.

    Args:
        settings: those of a system that encodes faces: `networks`, `mirrored`, `depth`, `size`, `matched_levels`,
            `mean_decay`.
    """
    unit = 64 if settings.networks == "published" else 2**settings.depth
    if settings.depth < 2 or settings.size < unit or settings.size % unit:
        raise EmoaugError(
            f"size is {settings.size} and depth {settings.depth}; depth is 2 or more, and the size is a multiple of "
            f"{unit} for these {settings.networks} networks"
        )
    if settings.networks == "published" and settings.mirrored:
        raise EmoaugError("mirrored is for residual networks; with published, set mirrored=false")
    if settings.matched_levels > settings.depth:
        raise EmoaugError(
            f"matched_levels is {settings.matched_levels}; with depth {settings.depth} it is that at most"
        )
    if not 0 <= settings.mean_decay < 1:
        raise EmoaugError(f"mean_decay is {settings.mean_decay}; it is 0 to below 1")
