"""Differences over paired trials, their intervals, and the probability that chance alone brings them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from classifiers import comparison
from classifiers.comparison import Tally, compare, corrected, estimate, score_names, scores
from emoaug import EmoaugError

CLASSES = 4
FACES = 6


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(comparison, "REPEATS", 500)


def world(generator, arms, people=24, folds=3, seeds=3, luck=0.25, taste=0.5, gain=0.0):
    """Predictions of several arms for the same people, who are easy or hard, and easier for one arm than for another.

    Every training has luck of its own. With one fold all seeds test everybody. The arms after the first are better by
    `gain` (in logits).
    """
    labels = np.arange(people * FACES).reshape(people, FACES) % CLASSES
    ease = generator.normal(0, 0.8, (people, 1))
    tastes = [generator.normal(0, taste, (people, 1)) for _ in range(arms)]
    tallies = [[] for _ in range(arms)]
    for _ in range(seeds):
        for part in np.array_split(generator.permutation(people), folds):
            shared = generator.normal(0, luck)
            for arm in range(arms):
                skill = 0.3 + ease[part] + tastes[arm][part] + shared + generator.normal(0, luck) + gain * (arm > 0)
                right = generator.random((len(part), FACES)) < 1 / (1 + np.exp(-skill))
                truth = labels[part]
                said = np.where(right, truth, (truth + generator.integers(1, CLASSES, truth.shape)) % CLASSES)
                tallies[arm].append(Tally.of(said.ravel(), truth.ravel(), np.repeat(part, FACES), CLASSES))
    return tallies


def outcomes(repeats, arms, **options):
    """In what share of worlds some arm is said to be better than the first, and worse."""
    generator, better, worse = np.random.default_rng(1), 0, 0
    for _ in range(repeats):
        first, *others = world(generator, arms, **options)
        intervals, _ = corrected([compare(other, first) for other in others])
        better += any(interval.low > 0 for interval in intervals)
        worse += any(interval.high < 0 for interval in intervals)
    return better / repeats, worse / repeats


@given(seed=st.integers(0, 10_000), count=st.integers(1, 60), classes=st.integers(2, 6))
def test_scores_agree_with_scikit_learn(seed, count, classes):
    generator = np.random.default_rng(seed)
    labels, said = generator.integers(classes, size=(2, count))
    tally = Tally.of(said, labels, generator.integers(5, size=count), classes)
    found = dict(zip(score_names([str(c) for c in range(classes)]), scores(tally.counts.sum(0)) / 100, strict=True))
    present = np.unique(labels)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, said))
    assert found["macro_f1"] == pytest.approx(
        metrics.f1_score(labels, said, labels=present, average="macro", zero_division=0)
    )
    recall = metrics.recall_score(labels, said, labels=range(classes), average=None, zero_division=np.nan)
    np.testing.assert_allclose([found[f"recall_{c}"] for c in range(classes)], recall)
    f1 = metrics.f1_score(labels, said, labels=range(classes), average=None, zero_division=0)
    f1[~np.isin(range(classes), present)] = np.nan
    np.testing.assert_allclose([found[f"f1_{c}"] for c in range(classes)], f1)
    # Cohen's kappa is the share of what is left after chance.
    if found["chance"] < 1:
        kappa = (found["accuracy"] - found["chance"]) / (1 - found["chance"])
        assert kappa == pytest.approx(metrics.cohen_kappa_score(labels, said, labels=range(classes)))


def test_two_arms_that_are_alike_are_seldom_told_apart():
    # At most 2.5 % on either side if the interval is right; 5 of 60 would happen to such a one in 1.5 % of all cases.
    better, worse = outcomes(60, 2)
    assert better <= 4 / 60
    assert worse <= 4 / 60


@pytest.mark.parametrize(("luck", "taste"), [(0.8, 0.3), (0.02, 0.9)])
def test_with_one_test_set_few_claims_are_made_wherever_the_chance_lies(luck, taste):
    """Where training decides, exchanging people alone would find differences in most worlds; or the other way round."""
    better, worse = outcomes(50, 2, folds=1, seeds=4, luck=luck, taste=taste)
    assert better + worse <= 7 / 50


def test_the_best_of_many_arms_that_are_alike_seldom_helps():
    better, _ = outcomes(25, 5)
    assert better <= 3 / 25


def test_a_clear_gain_is_found():
    better, worse = outcomes(10, 2, gain=1.0)
    assert better >= 0.8
    assert worse == 0


def test_people_and_not_their_pictures_are_the_evidence():
    generator = np.random.default_rng(0)
    labels = np.arange(400) % CLASSES
    lists = [np.where(generator.random(20).repeat(20) < share, labels, (labels + 1) % CLASSES) for share in (0.5, 0.7)]
    errors = []
    for who in (np.arange(400) // 20, np.arange(400)):
        ours, theirs = ([Tally.of(said, labels, who, CLASSES)] * 2 for said in lists)
        errors.append(compare(ours, theirs).error[1])
    # Twenty pictures of a person that all agree are worth one.
    assert errors[0] == pytest.approx(math.sqrt(20) * errors[1], rel=0.15)


def test_the_chance_in_training_is_students_t_where_people_do_not_matter(monkeypatch):
    monkeypatch.setattr(comparison, "REPEATS", 4000)
    trials = []
    for right in (50, 62, 55, 71):
        # Every person has the same: all of the chance is in training.
        one = np.r_[np.zeros(right), np.ones(100 - right)].astype(int)
        trials.append(Tally.of(np.tile(one, 30), np.zeros(3000, int), np.repeat(np.arange(30), 100), 2))
    found = estimate(trials)
    interval = found.interval(1)
    values = np.array([50, 62, 55, 71])
    # By hand: mean 59.5, standard error 4.55, t with 3 degrees of freedom 3.182.
    assert found.error[1] == pytest.approx(values.std(ddof=1) / 2)
    assert interval.estimate == pytest.approx(59.5)
    assert interval.high - interval.estimate == pytest.approx(3.182 * values.std(ddof=1) / 2, rel=0.1)


def test_a_correction_for_more_arms_widens_every_interval_and_no_arm_loses_its_place():
    first, *others = world(np.random.default_rng(3), 5)
    found = [compare(other, first) for other in others]
    together, probabilities = corrected(found)
    for one, interval, p in zip(found, together, probabilities, strict=True):
        (alone,), (own,) = corrected([one])
        assert interval.low <= alone.low <= alone.estimate <= alone.high <= interval.high
        assert p >= own
    order = np.argsort([-abs(one.value[0] / one.error[0]) for one in found])
    assert np.array(probabilities)[order].tolist() == sorted(probabilities)


def test_probability_and_interval_say_the_same_of_clear_cases():
    generator = np.random.default_rng(4)
    for gain, clear in ((0.0, False), (1.2, True)):
        first, second = world(generator, 2, gain=gain)
        (interval,), (p,) = corrected([compare(second, first)])
        assert (p < 0.05) == clear
        assert (interval.low > 0) == clear


@pytest.mark.parametrize(
    "options", [{"people": 200, "folds": 1, "seeds": 5, "luck": 0.02}, {"people": 24, "folds": 3, "luck": 0.02}]
)
def test_intervals_are_hardly_wider_than_the_estimates_vary(options):
    """Where training hardly matters the trials still differ, by their people, and these must not count twice."""
    generator, values, reaches = np.random.default_rng(2), [], []
    for number in range(150):
        first, second = world(generator, 2, taste=0.1, **options)
        values.append(
            np.mean([scores(a.counts.sum(0)) - scores(b.counts.sum(0)) for a, b in zip(second, first, strict=True)], 0)[
                0
            ]
        )
        if number < 20:
            interval = compare(second, first).interval(0)
            reaches.append(interval.high - interval.estimate)
    assert 1 < np.mean(reaches) / (1.96 * np.std(values)) < 1.45


def test_an_interval_does_not_grow_with_the_difference():
    """Everybody gains about as much: exchanging people would make the more of it the more that is."""
    generator, reaches = np.random.default_rng(0), []
    labels, who = np.arange(320) % CLASSES, np.arange(320) // 20
    for share in (0.55, 0.95):
        tallies = [[], []]
        for _ in range(6):
            for tally, right in zip(tallies, (0.5, share), strict=True):
                said = np.where(generator.random(320) < right, labels, (labels + 1) % CLASSES)
                tally.append(Tally.of(said, labels, who, CLASSES))
        interval = compare(tallies[1], tallies[0]).interval(1)
        reaches.append(interval.high - interval.estimate)
    assert reaches[1] < 1.5 * reaches[0]


def test_scores_of_few_people_have_the_intervals_that_they_need():
    """Five people, whose own share of right answers is spread evenly: the truth is one half."""
    generator, inside = np.random.default_rng(0), 0
    for _ in range(100):
        labels, who = np.zeros(200, int), np.repeat(np.arange(5), 40)
        right = generator.random(200) < generator.random(5).repeat(40)
        tally = Tally.of(np.where(right, 0, 1), labels, who, 2)
        interval = estimate([tally] * 2).interval(1)
        inside += interval.low <= 50 <= interval.high
    assert inside >= 90


def test_arms_that_are_equal_to_the_last_face_differ_by_nothing():
    first, _ = world(np.random.default_rng(0), 2)
    (interval,), (p,) = corrected([compare(first, first)])
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)
    assert p == 1


def test_one_trial_or_one_person_gives_no_ends():
    first, second = world(np.random.default_rng(0), 2, folds=1, seeds=1)
    person = [[Tally.of(np.arange(6) % k, np.arange(6) % CLASSES, np.zeros(6, int), CLASSES)] * 3 for k in (CLASSES, 2)]
    for pair in ((second, first), person):
        (interval,), (p,) = corrected([compare(*pair)])
        assert (interval.low, interval.high) == (-math.inf, math.inf)
        assert p == 1


def test_a_class_that_some_folds_do_not_test_is_compared_over_the_others():
    generator = np.random.default_rng(0)
    first, second = world(generator, 2, people=12, folds=2, seeds=2)
    lacking = [Tally(t.people, t.counts * [[[1, 1, 1, 0]]]) for t in (first[0], second[0])]
    found = compare([lacking[1], *second[1:]], [lacking[0], *first[1:]])
    assert np.isfinite(found.value).all()
    recall = [100 * (t.counts.sum(0)[0, 3] / t.counts.sum(0)[2, 3]) for t in (*second[1:], *first[1:])]
    place = score_names(range(CLASSES)).index("recall_3")
    assert found.value[place] == pytest.approx(np.mean(recall[:3]) - np.mean(recall[3:]))


def test_the_same_seed_draws_the_same():
    first, second = world(np.random.default_rng(0), 2)
    found = [compare(second, first, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0].draws, found[1].draws)
    assert not np.array_equal(found[0].draws, found[2].draws)


def test_predictions_that_do_not_fit_are_an_error():
    with pytest.raises(EmoaugError, match="N > 0"):
        Tally.of([0, 1], [0], [0], 2)
    with pytest.raises(EmoaugError, match="N > 0"):
        Tally.of([], [], [], 2)
