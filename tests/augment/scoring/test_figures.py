"""A kernel distance lies inside of its own interval."""

import numpy as np
import pytest

from augment.quality import FIGURES
from augment.scoring.figures import _mean


def test_the_interval_of_a_kernel_distance_is_as_wide_as_its_draws_and_lies_around_the_value():
    generator = np.random.default_rng(0)
    # Draws with people twice over come out too great by far.
    parts = [{name: np.append(0.5, generator.normal(2.0, 0.1, 4000)) for name in FIGURES} for _ in range(2)]
    figures = _mean(parts)
    distance = figures["kernel_distance"]
    assert distance.value == 0.5
    assert distance.low == pytest.approx(0.5 - 1.96 * 0.1 / 2**0.5, abs=0.01)
    assert distance.high == pytest.approx(0.5 + 1.96 * 0.1 / 2**0.5, abs=0.01)
    assert figures["precision"].low == pytest.approx(2.0 - 1.96 * 0.1 / 2**0.5, abs=0.01)
