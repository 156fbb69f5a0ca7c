"""The verdict of a gain trial."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from classifiers import comparison
from classifiers.comparison import Tally
from emoaug import EmoaugError
from pipelines.arms import get_arm
from pipelines.outcomes import Key
from pipelines.verdict import arm_table, percent, points, verdict

CLASSES = ("happy", "sad")
PEOPLE, FACES = 20, 10
FOLDS, SEEDS = 2, 3


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(comparison, "REPEATS", 500)


def make_trials(arms, labels=("all",), folds=FOLDS, seeds=SEEDS, **columns):
    """A table of trials and what they said; `arms` gives each arm's share of right answers.

    Everybody gets about that share of their faces right, some people more and some less, the same ones in every arm.
    """
    generator = np.random.default_rng(0)
    truth = np.arange(PEOPLE * FACES) % 2
    who = np.repeat(np.arange(PEOPLE), FACES)
    rows, tallies = [], {}
    for count in labels:
        for seed in range(seeds):
            ease = generator.random(PEOPLE * FACES)
            for fold, people in enumerate(np.array_split(np.arange(PEOPLE), folds)):
                tested = np.isin(who, people)
                for arm, share in arms.items():
                    # One draw a face, that all arms share: a better arm is right where a worse one is, and more.
                    said = np.where(ease < share + generator.normal(0, 0.01), truth, 1 - truth)[tested]
                    key = Key(str(count), arm, fold, seed)
                    tallies[key] = Tally.of(said, truth[tested], who[tested], 2)
                    rows.append(
                        {"labels": count, "arm": arm, "fold": fold, "seed": seed, "train_faces": 1200}
                        | {
                            "synthetic_faces": 100 * (get_arm(arm).kind == "synthetic"),
                            "seconds": 30.0,
                            "tuning_seconds": 0.0,
                            "system_seconds": 0.0,
                        }
                        | {"settings": '{"learning_rate": 0.004}'}
                        | columns
                    )
    return pd.DataFrame(rows), tallies, CLASSES


def test_a_gain_in_every_trial_helps():
    found = verdict(*make_trials({"classical": 0.5, "lssl": 0.7}))
    (gain,) = found.synthetic
    assert (gain.arm, gain.against, gain.outcome) == ("lssl", "classical", "helps")
    assert gain.macro_f1.estimate == pytest.approx(20, abs=5)
    assert gain.accuracy.estimate == pytest.approx(20, abs=5)
    assert gain.recall["happy"].estimate == pytest.approx(20, abs=8)
    assert gain.trials == FOLDS * SEEDS
    assert gain.probability < 0.05


def test_an_expression_that_is_named_more_often_rightly_and_wrongly_gains_recall_and_loses_f1():
    rows, tallies, classes = make_trials({"classical": 0.5, "lssl": 0.5})
    generator = np.random.default_rng(0)
    for key in [key for key in tallies if key.arm == "lssl"]:
        people, counts = tallies[key].people, tallies[key].counts
        truth = np.repeat(np.arange(2), counts.sum(0)[2].astype(int))
        who = np.concatenate([np.repeat(people, counts[:, 2, c].astype(int)) for c in range(2)])
        # How often the first class is said, where it is and where it is not.
        for arm, shares in (("classical", (0.6, 0.0)), ("lssl", (0.8, 0.6))):
            said = (generator.random(len(truth)) > np.array(shares)[truth]).astype(int)
            tallies[key._replace(arm=arm)] = Tally.of(said, truth, who, 2)
    (gain,) = verdict(rows, tallies, classes).synthetic
    first = classes[0]
    assert gain.recall[first].estimate == pytest.approx(20, abs=5)
    # F1 is 2 * 0.6 / 1.6 at first, and 2 * 0.8 / 2.4 then.
    assert gain.f1[first].estimate == pytest.approx(100 * (0.8 / 1.2 - 0.6 / 0.8), abs=5)
    assert gain.f1[first].high < 0


def test_a_loss_in_every_trial_hurts():
    assert verdict(*make_trials({"classical": 0.7, "lssl": 0.5})).synthetic[0].outcome == "hurts"


def test_arms_that_are_the_same_training_are_said_to_be():
    table, tallies, classes = make_trials({"classical": 0.6})
    same = {Key(key.labels, "lssl", key.fold, key.seed): tally for key, tally in tallies.items()}
    (comparison,) = verdict(
        pd.concat([table, table.assign(arm="lssl", synthetic_faces=9)]), tallies | same, classes
    ).synthetic
    assert comparison.outcome == "cannot tell"
    assert "lssl scored exactly as classical in all 6 trials: cannot tell" in comparison.sentence


def test_an_arm_that_had_no_synthetic_face_is_not_told_to_help():
    table, tallies, classes = make_trials({"real": 0.5, "lssl": 0.7, "reggan": 0.6})
    none = table.assign(synthetic_faces=table.synthetic_faces.where(table.arm != "lssl", 0))
    found = verdict(none, tallies, classes)
    assert {c.arm: c.outcome for c in found.synthetic} == {"lssl": "cannot tell", "reggan": "helps"}
    # What is told first is of faces that there were, though the other arm scored more.
    assert found.sentences[0].startswith("With all labels reggan changes")
    (alone,) = (c.sentence for c in found.synthetic if c.arm == "lssl")
    assert "none of the synthetic faces of lssl was fit to learn from in any of the 6 trials" in alone
    some = none.assign(synthetic_faces=none.synthetic_faces.where(none.fold + none.seed > 0, 0))
    (part,) = (c for c in verdict(some, tallies, classes).synthetic if c.arm == "reggan")
    assert "In 1 of the trials it had no synthetic faces" in part.sentence
    assert part.outcome == "helps"


def test_arms_that_are_alike_cannot_be_told_apart():
    (gain,) = verdict(*make_trials({"classical": 0.6, "lssl": 0.6})).synthetic
    assert gain.outcome == "cannot tell"
    assert gain.macro_f1.low < 0 < gain.macro_f1.high
    assert gain.probability > 0.05


def test_the_sentence_says_how_much_how_sure_against_what_and_what_could_not_be_seen():
    found = verdict(*make_trials({"classical": 0.5, "lssl": 0.7, "mixup+lssl": 0.55}))
    gain = found.synthetic[0]
    low, high = points(gain.macro_f1.low), points(gain.macro_f1.high)
    (sentence,) = found.sentences
    assert sentence == (
        f"With all labels lssl changes macro F1 by {points(gain.macro_f1.estimate)} points against classical "
        f"(95 % interval {low} to {high}, p = {gain.probability:.2g}, corrected for 2 comparisons; 6 paired trials): "
        f"helps. With these trials a difference under {gain.macro_f1.high - gain.macro_f1.estimate:.1f} points cannot "
        "be seen."
    )


def test_no_difference_of_more_points_than_there_are_is_named():
    (gain,) = verdict(*make_trials({"classical": 0.5, "lssl": 0.4})).synthetic
    wide = replace(gain, macro_f1=replace(gain.macro_f1, estimate=-10.9, low=-100.0, high=100.0), reach=110.9)
    assert wide.sentence.endswith("cannot tell. With these trials no difference can be seen.")
    # The end that was cut off at 100 points does not make the trials any better.
    high = replace(wide, macro_f1=replace(wide.macro_f1, estimate=30.0), reach=130.0)
    assert high.sentence.endswith("cannot tell. With these trials no difference can be seen.")


def test_a_verdict_needs_the_interval_and_the_probability():
    (gain,) = verdict(*make_trials({"classical": 0.5, "lssl": 0.7})).synthetic
    assert gain.outcome == "helps"
    assert replace(gain, probability=0.06).outcome == "cannot tell"
    assert replace(gain, macro_f1=replace(gain.macro_f1, low=-0.1)).outcome == "cannot tell"


def test_the_best_arm_without_synthetic_faces_is_what_the_others_are_held_against():
    arms = {"real": 0.4, "classical": 0.5, "trivialaugment": 0.6, "lssl": 0.8, "reggan": 0.7}
    found = verdict(*make_trials(arms))
    assert [(c.arm, c.against) for c in found.synthetic] == [("lssl", "trivialaugment"), ("reggan", "trivialaugment")]
    assert [(c.arm, c.against) for c in found.plain] == [("classical", "real"), ("trivialaugment", "real")]
    assert all(c.together == 2 for c in found.comparisons)
    assert len(found.sentences) == 1
    assert "lssl" in found.sentences[0]


def test_every_number_of_labels_has_its_sentence_and_all_are_corrected_for():
    found = verdict(*make_trials({"classical": 0.5, "lssl": 0.7}, labels=(5, 25, "all")))
    assert [sentence.split(" lssl")[0] for sentence in found.sentences] == [
        "With 5 labels a class",
        "With 25 labels a class",
        "With all labels",
    ]
    assert all(c.together == 3 for c in found.synthetic)
    assert [(arm.labels, arm.arm) for arm in found.arms][:3] == [("5", "classical"), ("5", "lssl"), ("25", "classical")]


def test_a_gain_that_may_be_the_classical_recipes_own_is_said_to_be_so():
    found = verdict(*make_trials({"real": 0.5, "lssl": 0.6}))
    assert any("classical part" in note for note in found.notes)
    assert not any("classical part" in note for note in verdict(*make_trials({"classical": 0.5, "lssl": 0.6})).notes)


def test_without_a_synthetic_arm_the_others_are_judged():
    (sentence,) = verdict(*make_trials({"real": 0.5, "classical": 0.7})).sentences
    assert "classical changes" in sentence
    assert "against real" in sentence
    assert ": helps." in sentence


def test_shuffled_labels_at_chance_are_a_note_and_better_than_chance_a_warning():
    sound = verdict(*make_trials({"classical": 0.7, "lssl": 0.7, "shuffled": 0.5}))
    assert sound.warnings == ()
    assert any("as it should be" in note for note in sound.notes)
    leaky = verdict(*make_trials({"classical": 0.7, "lssl": 0.7, "shuffled": 0.65}))
    assert "better than chance" in leaky.warnings[0]
    assert leaky.sentences[0] == leaky.warnings[0]
    assert len(leaky.sentences) == 2


def test_a_geometric_reference_that_does_better_is_a_finding_and_no_comparison():
    found = verdict(*make_trials({"classical": 0.5, "lssl": 0.6, "geometry": 0.9}))
    assert [c.arm for c in found.comparisons] == ["lssl"]
    assert any("does not see all that is there" in note for note in found.notes)
    found = verdict(*make_trials({"classical": 0.8, "lssl": 0.9, "geometry": 0.5}))
    assert not any("does not see" in note for note in found.notes)


@pytest.mark.parametrize("arm", ["real", "lssl"])
def test_a_single_arm_cannot_be_judged(arm):
    found = verdict(*make_trials({arm: 0.5}))
    assert found.comparisons == ()
    assert "cannot tell" in found.sentences[0]


def test_one_pair_of_trials_is_never_enough():
    found = verdict(*make_trials({"classical": 0.1, "lssl": 0.9, "shuffled": 0.9}, folds=1, seeds=1))
    assert found.synthetic[0].outcome == "cannot tell"
    assert "inf" not in found.sentences[0]
    assert found.warnings == ()
    saved = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert saved["comparisons"][0]["macro_f1_points"]["low"] is None


def test_what_people_are_is_said():
    arms = {"classical": 0.5, "lssl": 0.7}
    assert "other pictures" in verdict(*make_trials(arms), units="pictures").notes[0]


def test_order_of_the_rows_does_not_matter():
    trials, tallies, names = make_trials({"real": 0.5, "classical": 0.6, "lssl": 0.65})
    order = [trials[trials.arm == arm].sample(frac=1, random_state=1) for arm in ("real", "classical", "lssl")]
    assert verdict(pd.concat(order), tallies, names).to_dict() == verdict(trials, tallies, names).to_dict()


def test_trials_without_a_partner_are_an_error_that_says_what_to_do():
    trials, tallies, names = make_trials({"classical": 0.5, "lssl": 0.6})
    with pytest.raises(EmoaugError, match="give the command again"):
        verdict(trials.drop(index=0), tallies, names)


def test_a_trial_that_is_there_twice_is_an_error():
    trials, tallies, names = make_trials({"real": 0.5})
    with pytest.raises(EmoaugError, match="has two trials"):
        verdict(pd.concat([trials, trials]), tallies, names)


def test_no_trials_are_an_error():
    with pytest.raises(EmoaugError, match="no trials"):
        verdict(pd.DataFrame(), {}, CLASSES)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.23, "+1.2"), (-0.8, "-0.8"), (0, "0.0"), (-0.04, "-0.04"), (1e-12, "0.0"), (-math.inf, "unlimited")],
)
def test_a_difference_shows_its_side_of_zero(value, text):
    assert points(value) == text


def test_the_table_has_means_intervals_and_minutes():
    trials, tallies, names = make_trials({"real": 0.4, "lssl": 0.6}, system_seconds=90.0)
    trials.loc[trials.arm == "lssl", "synthetic_faces"] = 3600
    found = verdict(trials, tallies, names)
    lines = arm_table(found, trials).splitlines()
    assert lines[0].split()[:2] == ["labels", "arm"]
    assert percent(found.arms[0].macro_f1) in lines[1]
    # Six trials of two minutes each.
    assert lines[2].split()[:3] == ["all", "lssl", "6"]
    assert lines[2].split()[-3:] == ["1,200", "3,600", "12.0"]
    assert len({len(line) for line in lines}) == 1
