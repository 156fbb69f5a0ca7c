"""Rules as people write them, and their thresholds."""

import numpy as np
import pandas as pd
import pytest

from augment.scoring.reference import SCORES
from augment.scoring.rules import PRESETS, read_rules
from emoaug import EmoaugError


def real_scores(**columns):
    count = len(next(iter(columns.values())))
    table = pd.DataFrame({name: np.full(count, np.nan) for name in SCORES}).assign(label="happy")
    return table.assign(**columns)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_rules(name):
    rules = read_rules((name,))
    assert [str(rule) for rule in rules] == list(PRESETS[name])


def test_lenient_never_rejects_what_strict_keeps():
    generator = np.random.default_rng(0)
    real = real_scores(**{name: generator.normal(0, 1, 500) for name in SCORES})
    faces = pd.DataFrame({name: generator.normal(0, 1, 300) for name in SCORES}).assign(identity=0.95, face_found=1.0)
    kept = {
        name: np.all([rule.kept(faces, ["happy"] * 300, real) for rule in read_rules(name)], axis=0) for name in PRESETS
    }
    assert not (kept["strict"] & ~kept["lenient"]).any()


def test_rules_are_read_from_a_file_with_remarks(tmp_path):
    (tmp_path / "mine.txt").write_text("# what I want\nidentity >= 0.9\n\nsharpness >= 1% # no blur\n")
    assert [str(rule) for rule in read_rules([str(tmp_path / "mine.txt")])] == ["identity >= 0.9", "sharpness >= 1%"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["stricter"], "lenient, strict"),
        (["beauty >= 1", "identity >= 1"], 'unknown score "beauty"'),
        (["identity > 1", "identity >= 1"], "SCORE >= NUMBER"),
        (["identity >= 101%"], "from 0 to 100"),
    ],
)
def test_mistakes_are_one_clear_line(given, said):
    with pytest.raises(EmoaugError, match=said):
        read_rules(given)


def test_a_percentile_costs_at_most_its_share_of_real_faces():
    values = np.random.default_rng(1).normal(0, 1, 1000)
    real = real_scores(sharpness=values, colour_noise=values)
    low, high = read_rules(["sharpness >= 2%", "colour_noise <= 98%"])
    assert 0.018 <= 1 - low.kept(real, real["label"].tolist(), real).mean() <= 0.02
    assert 0.018 <= 1 - high.kept(real, real["label"].tolist(), real).mean() <= 0.02
    few = real_scores(sharpness=np.array([3.0, 1.0, 2.0]))
    assert low.threshold(few, "happy") == 1.0


def test_the_label_is_compared_with_real_faces_of_the_class():
    real = real_scores(label_probability=np.r_[np.full(50, 0.9), np.full(50, 0.2), np.full(5, 0.6)])
    real["label"] = ["happy"] * 50 + ["disgust"] * 50 + ["sad"] * 5
    (rule,) = read_rules(["label_probability >= 10%"])
    assert rule.threshold(real, "happy") == 0.9
    assert rule.threshold(real, "disgust") == 0.2
    assert rule.threshold(real, "sad") == 0.2  # too few of its own: all faces'


def test_a_missing_score_does_not_count():
    (rule,) = read_rules(["identity >= 0.9"])
    kept = rule.kept(pd.DataFrame({"identity": [np.nan, 0.95, 0.1]}), ["happy"] * 3, real_scores(identity=np.ones(3)))
    assert kept.tolist() == [True, True, False]


def test_a_face_must_be_found_where_real_ones_are_and_need_not_where_many_of_these_are_missed():
    rule = next(rule for rule in read_rules("strict") if rule.score == "face_found")
    scores = pd.DataFrame({"face_found": [1.0, 0.0]})
    for found, kept in (([1.0] * 200, [True, False]), ([1.0] * 180 + [0.0] * 20, [True, True])):
        real = pd.DataFrame({"face_found": found, "label": "happy"})
        assert rule.kept(scores, ["happy", "happy"], real).tolist() == kept
