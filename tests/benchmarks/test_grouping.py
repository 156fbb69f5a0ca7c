"""Groups of people are those that the metadata describe, and differences between groups are weighed against chance."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from augment.folders import FaceTable
from benchmarks.grouping import Attribute, compare_groups, difference, mean, person_means
from emoaug import EmoaugError


@pytest.fixture
def faces(tmp_path):
    """Four faces as `emoaug simulate` describes them; of the last nothing is said."""
    said = [{"monk_tone": tone, "glasses": worn} for tone, worn in ((3, "none"), (4, "round"), (7, "none"))]
    table = pd.DataFrame({"description": [*map(json.dumps, said), None], "gender": ["female", "male", "male", None]})
    return FaceTable(tmp_path, table, (), pd.DataFrame(), ())


def test_a_bound_is_the_first_number_of_the_next_group(faces):
    groups = Attribute.parse("monk_tone:4,7").of(faces)
    assert list(groups.categories) == ["below 4", "4 to below 7", "7 and more"]
    assert groups.codes.tolist() == [0, 1, 2, -1]
    assert Attribute.parse("monk_tone:3.5").of(faces).tolist()[:3] == ["below 3.5", "3.5 and more", "3.5 and more"]


def test_without_bounds_each_value_is_a_group_of_the_description_or_of_a_column(faces):
    assert Attribute.parse("glasses").of(faces).tolist()[:3] == ["none", "round", "none"]
    assert Attribute.parse("gender").of(faces).codes.tolist() == [0, 1, 1, -1]
    assert list(Attribute.parse("monk_tone").of(faces).categories) == ["3", "4", "7"]


@pytest.mark.parametrize("text", ["monk_tone:7,4", "monk_tone:4,4", "monk_tone:light", "glasses:1", "height"])
def test_what_cannot_be_grouped_is_refused_by_name(faces, text):
    with pytest.raises(EmoaugError, match=text.partition(":")[0]):
        Attribute.parse(text).of(faces)


def test_the_names_of_what_is_described_stand_in_the_error(faces):
    with pytest.raises(EmoaugError, match="description, gender, glasses, monk_tone"):
        Attribute.parse("height").of(faces)


def test_numbers_without_bounds_are_not_a_hundred_groups(faces):
    many = replace(faces, table=pd.DataFrame({"age": [str(age) for age in range(20, 50)]}))
    with pytest.raises(EmoaugError, match="30 values"):
        Attribute.parse("age").of(many)


def test_the_mean_has_students_interval():
    found = mean(np.array([0, 1, 2, 3, 4, np.nan]))
    # 2.776 is the 97.5 % quantile of t with four degrees of freedom, 1.5811 the standard deviation.
    assert found.estimate == 2
    assert found.high - 2 == pytest.approx(2.776 * 1.5811 / 5**0.5, abs=1e-3)
    assert found.low + found.high == pytest.approx(4)
    # All alike: how much others would differ is not known.
    assert mean(np.ones(9)).high == np.inf


def test_one_difference_in_twenty_is_beyond_its_interval_by_chance_and_few_are_for_many_together():
    generator = np.random.default_rng(0)
    draws = [(generator.normal(0, 1, 15), generator.normal(0, 3, 40)) for _ in range(300)]
    missed = {n: np.mean([not (d := difference(a, b, n)).low < 0 < d.high for a, b in draws]) for n in (1, 20)}
    assert 0.025 < missed[1] < 0.08
    assert missed[20] < 0.015


def rows(people, target, kind, hits, group):
    columns = {"person": people, "target": target, "kind": kind, "hit_rate": hits}
    return pd.DataFrame(columns | {"tone": pd.Categorical(group, ["light", "dark", "none such"])})


def test_a_person_counts_once_and_so_does_each_expression():
    seen = pd.concat(
        [
            rows(["a", "a", "a"], "happy", "made", [1.0, 1.0, 0.4], ["light"] * 3),
            rows(["a"], "sad", "made", [0.0], ["light"]),
        ]
    )
    assert person_means(seen, ["hit_rate"]).hit_rate.tolist() == pytest.approx([0.4])


def test_a_group_that_fares_worse_is_told_from_all_others_and_from_its_own_pictures():
    people, group = [f"p{i}" for i in range(80)], np.repeat(["light", "dark"], 40)
    generator = np.random.default_rng(0)
    made = (generator.random(80) < np.where(group == "dark", 0.2, 0.8)).astype(float)
    real = (generator.random(80) < 0.9).astype(float)
    seen = pd.concat(
        [rows(people, "happy", "made", made, group), rows(people[:60], "happy", "real", real[:60], group[:60])]
    )
    light, dark = compare_groups(seen, ["tone"], ["hit_rate"])
    assert (light.group, dark.group) == ("light", "dark")
    assert light.people == dark.people == 40
    assert dark.made.estimate == made[40:].mean()
    assert dark.made_apart.estimate == pytest.approx(made[40:].mean() - made[:40].mean())
    assert dark.made_apart.high < 0 < light.made_apart.low
    # Real pictures of 20 of the 40 are there.
    assert dark.real.estimate == real[40:60].mean()
    assert dark.real_apart.low < 0 < dark.real_apart.high
    assert json.loads(json.dumps(dark.to_dict()))["made"]["estimate"] == dark.made.estimate
