"""The verdict of a gain trial."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emoaug import EmoaugError
from pipelines.verdict import arm_table, points, verdict

FOLDS, SEEDS = 4, 3


def make_trials(scores, folds=FOLDS, seeds=SEEDS, **columns):
    """A table of trials; `scores` gives each arm's macro F1 by fold and seed, (folds, seeds), in [0, 1]."""
    rows = [
        {"arm": arm, "fold": fold, "seed": seed, "macro_f1": f1[fold][seed], "accuracy": f1[fold][seed] / 2}
        | {"recall_happy": f1[fold][seed], "recall_sad": 0.5, "train_faces": 1200, "synthetic_faces": 0}
        | {"test_faces": 400, "seconds": 30.0, "system_seconds": 0.0}
        | columns
        for seed in range(seeds)
        for fold in range(folds)
        for arm, f1 in scores.items()
    ]
    return pd.DataFrame(rows)


def hard_and_easy_folds(seed=0):
    """Macro F1 that differs much more between folds than between arms."""
    return np.random.default_rng(seed).uniform(0.3, 0.8, (FOLDS, SEEDS))


def test_a_gain_in_every_trial_helps_however_much_the_folds_differ():
    base = hard_and_easy_folds()
    found = verdict(make_trials({"classical": base, "lssl": base + 0.05}))
    assert found.comparisons[0].outcome == "helps"
    assert found.comparisons[0].macro_f1.estimate == pytest.approx(5)
    assert found.comparisons[0].accuracy.estimate == pytest.approx(2.5)
    assert found.comparisons[0].recall["happy"].estimate == pytest.approx(5)
    assert found.comparisons[0].recall["sad"].estimate == 0


def test_a_loss_in_every_trial_hurts():
    base = hard_and_easy_folds()
    noise = np.random.default_rng(1).normal(0, 0.002, base.shape)
    assert verdict(make_trials({"classical": base, "lssl": base - 0.03 + noise})).comparisons[0].outcome == "hurts"


def test_noise_around_zero_cannot_be_told():
    base = hard_and_easy_folds()
    noise = np.random.default_rng(1).normal(0, 0.02, base.shape)
    found = verdict(make_trials({"classical": base, "lssl": base + noise - noise.mean() + 0.001}))
    assert found.comparisons[0].outcome == "cannot tell"
    assert found.comparisons[0].macro_f1.low < 0 < found.comparisons[0].macro_f1.high


def test_arms_without_any_difference_cannot_be_told():
    base = hard_and_easy_folds()
    assert verdict(make_trials({"classical": base, "lssl": base})).comparisons[0].outcome == "cannot tell"


def test_the_sentence_says_how_often_how_much_how_sure_and_against_what():
    base = np.full((FOLDS, SEEDS), 0.5)
    gains = np.resize([0.002, 0.022], base.shape)
    # By hand: mean 1.2 and standard deviation 1.0445 points; t with 11 degrees of freedom 2.2010;
    # 2.2010 * 1.0445 * sqrt(1 / 12 + 1 / 3) = 1.484.
    assert verdict(make_trials({"classical": base, "lssl": base + gains})).sentences == (
        "With 12 paired trials lssl changes macro F1 by +1.2 points (95 % interval -0.3 to +2.7) against classical: "
        "cannot tell.",
    )


@given(st.lists(st.floats(-0.2, 0.2, allow_subnormal=False), min_size=6, max_size=6), st.sampled_from([1, 2, 3, 6]))
def test_the_interval_is_the_corrected_t_interval(gains, folds):
    base = np.full((folds, 6 // folds), 0.5)
    changed = base + np.reshape(gains, base.shape)
    interval = verdict(make_trials({"real": base, "lssl": changed}, folds, 6 // folds)).comparisons[0].macro_f1
    correction = 1 / 6 + (1 / (folds - 1) if folds > 1 else 0)
    error = 100 * np.std(gains, ddof=1) * math.sqrt(correction)
    low, high = stats.t.interval(0.95, 5, loc=100 * np.mean(gains), scale=max(error, 1e-300))
    assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_no_interval_claims_more_than_a_hundred_points():
    found = verdict(make_trials({"classical": [[0.0], [1.0]], "lssl": [[0.9], [0.1]]}, 2, 1)).comparisons[0]
    assert (found.macro_f1.low, found.macro_f1.high) == (-100, 100)


def test_rounding_errors_of_equal_scores_are_no_effect():
    base = np.full((FOLDS, SEEDS), 0.1 + 0.2)
    found = verdict(make_trials({"classical": np.full_like(base, 0.3), "lssl": base}))
    assert base[0, 0] != 0.3
    assert found.comparisons[0].outcome == "cannot tell"


def test_order_of_the_rows_does_not_matter():
    base = hard_and_easy_folds()
    noise = np.random.default_rng(3).normal(0.01, 0.02, base.shape)
    trials = make_trials({"real": base, "classical": base + 0.1, "lssl": base + 0.1 + noise})
    shuffled = pd.concat([trials[trials.arm == arm].sample(frac=1, random_state=1) for arm in ("real", "classical")])
    shuffled = pd.concat([shuffled, trials[trials.arm == "lssl"].sample(frac=1, random_state=2)])
    assert verdict(shuffled).to_dict() == verdict(trials).to_dict()


def test_systems_are_compared_with_the_best_arm_without_synthetic_faces():
    base = hard_and_easy_folds()
    arms = {"real": base, "classical": base + 0.1, "lssl": base + 0.12, "reggan": base + 0.02}
    found = verdict(make_trials(arms))
    assert [(c.arm, c.against, c.outcome) for c in found.comparisons] == [
        ("lssl", "classical", "helps"),
        ("reggan", "classical", "hurts"),
        ("classical", "real", "helps"),
    ]
    assert len(found.sentences) == 2
    assert any("2 systems" in note for note in found.notes)


def test_where_classical_augmentation_does_harm_systems_are_compared_with_real():
    base = hard_and_easy_folds()
    found = verdict(make_trials({"real": base, "classical": base - 0.1, "lssl": base - 0.05}))
    assert (found.reference, found.comparisons[0].outcome) == ("real", "hurts")
    assert any("Classical augmentation did worse" in note for note in found.notes)


def test_a_gain_that_may_be_the_classical_recipes_own_is_said_to_be_so():
    base = hard_and_easy_folds()
    found = verdict(make_trials({"real": base, "lssl": base + 0.1}))
    assert any("no classical arm" in note for note in found.notes)


def test_without_a_system_classical_augmentation_is_judged():
    base = hard_and_easy_folds()
    found = verdict(make_trials({"real": base, "classical": base + 0.1}))
    assert found.sentences[0].endswith("against real: helps.")


@pytest.mark.parametrize("arm", ["real", "lssl"])
def test_a_single_arm_cannot_be_judged(arm):
    found = verdict(make_trials({arm: hard_and_easy_folds()}))
    assert found.comparisons == ()
    assert "cannot tell" in found.sentences[0]


def test_one_pair_of_trials_is_never_enough():
    found = verdict(make_trials({"classical": [[0.1]], "lssl": [[0.9]]}, folds=1, seeds=1))
    assert found.comparisons[0].outcome == "cannot tell"
    assert "1 paired trial " in found.sentences[0]
    assert "inf" not in found.sentences[0]


def test_folds_widen_the_interval_and_the_verdict_says_so():
    base = np.full((FOLDS, SEEDS), 0.5)
    gains = np.resize([0.01, 0.02], base.shape)
    folds = verdict(make_trials({"classical": base, "lssl": base + gains}))
    one = make_trials({"classical": base.reshape(1, -1), "lssl": (base + gains).reshape(1, -1)}, 1, FOLDS * SEEDS)
    reach = [v.comparisons[0].macro_f1.high - v.comparisons[0].macro_f1.estimate for v in (folds, verdict(one))]
    assert reach[0] / reach[1] == pytest.approx(math.sqrt(1 + FOLDS * SEEDS / (FOLDS - 1)))
    assert any("Nadeau" in note for note in folds.notes)
    assert any("same faces" in note for note in verdict(one).notes)


def test_trials_without_a_partner_are_left_out_and_counted():
    base = hard_and_easy_folds()
    trials = make_trials({"classical": base, "lssl": base + 0.05}).drop(index=0)
    found = verdict(trials)
    assert found.comparisons[0].trials == FOLDS * SEEDS - 1
    assert any("1 trials of lssl have no partner" in note for note in found.notes)


def test_a_class_that_is_missing_from_a_fold_is_compared_over_the_others():
    base = hard_and_easy_folds()
    trials = make_trials({"classical": base, "lssl": base + 0.05})
    trials["recall_happy"] = trials["recall_happy"].astype(object).where(trials.fold != 2, None)
    trials["recall_sad"] = None
    recall = verdict(trials).comparisons[0].recall
    assert recall["happy"].estimate == pytest.approx(5)
    assert recall["sad"] is None


def test_two_systems_without_common_folds_are_an_error_that_says_what_to_do():
    base = hard_and_easy_folds()
    trials = make_trials({"classical": base, "lssl": base})
    with pytest.raises(EmoaugError, match="lssl and classical have no trial of the same fold"):
        verdict(trials[(trials.arm == "lssl") == (trials.fold > 1)])


def test_a_trial_that_is_there_twice_is_an_error():
    trials = make_trials({"real": hard_and_easy_folds()})
    with pytest.raises(EmoaugError, match="real, fold 0, seed 0 has two trials"):
        verdict(pd.concat([trials, trials]))


def test_no_trials_are_an_error():
    with pytest.raises(EmoaugError, match="no trials"):
        verdict(pd.DataFrame())


def test_the_verdict_is_valid_json_also_without_an_interval():
    found = verdict(make_trials({"classical": [[0.1]], "lssl": [[0.9]]}, folds=1, seeds=1))
    saved = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert saved["comparisons"][0]["macro_f1_points"] == {"estimate": 80.0, "low": None, "high": None, "level": 0.95}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.23, "+1.2"), (-0.8, "-0.8"), (0, "0.0"), (-0.04, "-0.04"), (1e-12, "0.0"), (-math.inf, "unlimited")],
)
def test_a_difference_shows_its_side_of_zero(value, text):
    assert points(value) == text


def test_the_table_has_means_and_deviations_in_per_cent():
    trials = make_trials({"real": [[0.4, 0.6]], "lssl": [[0.6, 0.6]]}, folds=1, seeds=2, system_seconds=90.0)
    trials.loc[trials.arm == "lssl", "synthetic_faces"] = 3600
    lines = arm_table(trials).splitlines()
    assert lines[0].split("  ")[0] == "arm"
    assert lines[1].split() == ["real", "2", "25.0", "±", "7.1", "50.0", "±", "14.1", "1,200", "0", "120"]
    assert lines[2].split() == ["lssl", "2", "30.0", "±", "0.0", "60.0", "±", "0.0", "1,200", "3,600", "120"]
    assert len({len(line) for line in lines}) == 1


def test_without_an_effect_few_verdicts_claim_one():
    """Folds of hard and easy people, on which every system does as well as classical augmentation."""
    generator, claims = np.random.default_rng(0), 0
    for _ in range(100):
        base = generator.uniform(0.3, 0.8, (FOLDS, SEEDS))
        # A fold has its own share of luck, which all its seeds have in common.
        luck = generator.normal(0, 0.01, (FOLDS, 1)) + generator.normal(0, 0.01, base.shape)
        claims += verdict(make_trials({"classical": base, "lssl": base + luck})).comparisons[0].outcome != "cannot tell"
    assert claims <= 10
