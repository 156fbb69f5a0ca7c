"""What the log of a training says of the faces that its system makes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from augment.intensities import are_intensities

FEW_STEPS = 500
"""Steps under which a training is a look at its beginning."""
HARDLY = 0.005
"""Mean change, of a range of 2, under which a face counts as left alone."""
LITTLE = 0.02
"""Mean change under which it is asked whether the expression can be read off the face at all."""
UNREAD = 0.9
"""Share of a guess's cross-entropy from which it cannot: copies of the source give 1 or more."""


def doubt(log: Path, names: Sequence[str]) -> str | None:
    """Find a reason why made faces may not show what is asked of them.

    Args:
        log: `log.jsonl` of a run.
        names: of the conditions.

    Returns:
        The reason in words, from the last fifth of the log; None if it gives none. What a critic, or another part of
        the system, reads off a face is no proof that others see it: no doubt is no promise.
    """
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    last = records[-max(1, len(records) // 5) :]

    def mean(term: str) -> float | None:
        values = [record[term] for record in last if term in record]
        return sum(values) / len(values) if values else None

    change, attribute = mean("change"), mean("attribute")
    if change is not None and change < HARDLY:
        return f"the faces hardly change ({change:.4f} on average, of a range of 2)"
    classes = len(names) > 1 and not are_intensities(names)
    guess = math.log(len(names)) if classes else math.inf
    if change is not None and attribute is not None and change < LITTLE and attribute > UNREAD * guess:
        return (
            f"the faces change little ({change:.3f} on average, of a range of 2) and what was asked for cannot be read "
            f"off them (cross-entropy {attribute:.2f}, a guess has {guess:.2f}), so most may be copies of their sources"
        )
    if last and (steps := last[-1]["step"]) < FEW_STEPS:
        return f"{steps} steps show how a training begins; expressions come late"
    return None
