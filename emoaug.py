"""What every part of emoaug shares: version, family of errors, how names are given, when progress bars are silent."""

import os
from collections.abc import Iterable
from typing import Any

__version__ = "0.1.0"


class EmoaugError(Exception):
    """A problem that the user can mend.

    The message has the value, what is allowed, and what to do. The command prints it on one line and exits with 2.
    """


def check_least(settings: Any, least: int, *names: str) -> None:
    """EmoaugError that names the first of these settings that is below the least."""
    for name in names:
        if getattr(settings, name) < least:
            raise EmoaugError(f"{name} is {getattr(settings, name)}; it is {least} or more")


def check_seed(seed: int) -> None:
    """EmoaugError unless a seed is one that every generator of random numbers takes."""
    if not 0 <= seed < 2**63:
        raise EmoaugError(f"seed is {seed}; it is a whole number from 0 to 2**63 - 1")


def words(texts: Iterable[str]) -> list[str]:
    """Names given on a command line as `a b`, as `a,b`, or as both."""
    return [word for text in texts for word in text.split(",") if word]


def few(names: Iterable[str]) -> str:
    """Some of these names, for a message."""
    given = sorted(names)
    return ", ".join(given[:3]) + (f" and {len(given) - 3} more" if len(given) > 3 else "")


def bar_hidden(wanted: bool = True) -> bool:
    """Whether a progress bar stays hidden: because nobody wants it, or TQDM_DISABLE is set.

    tqdm itself looks at the variable only where it is told nothing.
    """
    return not wanted or bool(os.environ.get("TQDM_DISABLE"))


if __name__ == "__main__":
    import sys

    from pipelines.cli import main

    sys.exit(main())
