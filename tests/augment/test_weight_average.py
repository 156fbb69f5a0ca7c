"""The average of the weights, against the sums that it stands for."""

from contextlib import suppress

import pytest
import torch
from torch import nn

from augment.weight_average import WeightAverage


class Followed:
    """As much of a translator as an average looks at."""

    def __init__(self) -> None:
        self.network = nn.BatchNorm1d(2)

    def averaged_modules(self):
        return {"network": self.network}


def set_weights(followed, value, count):
    with torch.no_grad():
        followed.network.weight.fill_(value)
    followed.network.num_batches_tracked.fill_(count)


def test_each_step_counts_by_its_decay_which_starts_low_and_counts_are_taken_as_they_are():
    followed = Followed()
    set_weights(followed, 1.0, 0)
    average = WeightAverage(followed)
    expected = 1.0
    for step, (value, decay) in enumerate([(2.0, 1 / 10), (4.0, 2 / 11), (8.0, 0.2), (16.0, 0.2)]):
        set_weights(followed, value, step + 1)
        average.update(step, 0.2)
        expected = decay * expected + (1 - decay) * value
    assert average.weights["network"]["weight"].tolist() == pytest.approx([expected] * 2)
    assert average.weights["network"]["num_batches_tracked"] == 4


def test_the_average_is_in_the_modules_within_alone_even_after_an_error():
    followed = Followed()
    set_weights(followed, 1.0, 0)
    average = WeightAverage(followed)
    set_weights(followed, 3.0, 1)
    with suppress(KeyboardInterrupt), average.applied():
        assert followed.network.weight.tolist() == [1.0, 1.0]
        raise KeyboardInterrupt
    assert followed.network.weight.tolist() == [3.0, 3.0]
    assert average.weights["network"]["weight"].tolist() == [1.0, 1.0]
    average.begin()
    assert average.weights["network"]["weight"].tolist() == [3.0, 3.0]


def test_one_number_that_ran_away_is_seen():
    followed = Followed()
    average = WeightAverage(followed)
    assert average.is_finite()
    followed.network.running_var[1] = float("inf")
    average.update(0, 0.5)
    assert not average.is_finite()
