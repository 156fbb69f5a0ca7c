"""How many synthetic faces a gain trial makes."""

import pytest

from pipelines.trials import GainSettings


@pytest.mark.parametrize(
    ("real", "made"), [(7, 168), (175, 4_200), (700, 16_800), (1_400, 16_800), (5_600, 16_800), (28_000, 84_000)]
)
def test_few_faces_are_multiplied_most_and_many_by_three(real, made):
    assert 7 * GainSettings().plan(real, 7, 0).count == pytest.approx(made, abs=7)


def test_a_factor_that_was_asked_for_holds_for_any_number_of_faces():
    assert GainSettings(synthetic_factor=2.0).plan(70_000, 7, 0).count == 20_000
    assert GainSettings(synthetic_factor=0.01).plan(7, 7, 0).count == 1
