"""Plans: as many faces as asked for, from training faces only, sources used evenly, the same for the same seed."""

import hashlib
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.folders import FaceTable
from augment.plans import (
    PLAN_COLUMNS,
    PlanSettings,
    build_plan,
    check_plan,
    condition_array,
    plan_summary,
    row_seeds,
    wanted_counts,
)
from emoaug import EmoaugError

NAMES = ("angry", "happy", "neutral", "sad")


def face_table(rows):
    """Faces from (label, subject, split, is_synthetic)."""
    columns = ["label", "subject", "split", "is_synthetic"]
    table = pd.DataFrame({c: pd.Series([r[i] for r in rows], dtype=object) for i, c in enumerate(columns)})
    table.insert(0, "file_name", [f"{row[0]}/{i}.png" for i, row in enumerate(rows)])
    table["is_synthetic"] = table["is_synthetic"].astype(bool)
    return FaceTable(Path("faces"), table, NAMES, pd.DataFrame(columns=["file_name", "reason"]), ())


def real_faces(**counts):
    return face_table([(label, None, None, False) for label, count in counts.items() for _ in range(count)])


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([None, "a", "b", "c", "d", "e"]),
        st.sampled_from([None, "train", "train", "val", "test"]),
        st.sampled_from([False, False, True]),
    ),
    max_size=40,
)
settings_strategy = st.builds(
    PlanSettings,
    policy=st.sampled_from(["balance", "multiply", "per-class"]),
    factor=st.sampled_from([0.0, 0.5, 1.0, 2.3]),
    count=st.integers(0, 25),
    seed=st.integers(0, 2**63 - 1),
    strength=st.sampled_from([(1.0, 1.0), (0.7, 1.0), (0.001, 0.4)]),
)


def usable(faces):
    """Places of faces that may become sources, by a plain loop."""
    held = {r.subject for r in faces.table.itertuples() if r.split in ("val", "test") and r.subject is not None}
    none_is_real = all(faces.table.is_synthetic)
    return [
        i
        for i, r in enumerate(faces.table.itertuples())
        if (none_is_real or not r.is_synthetic) and r.split not in ("val", "test") and r.subject not in held
    ]


@settings(max_examples=100)
@given(rows_strategy, settings_strategy)
def test_what_every_plan_promises(rows, plan_settings):
    faces = face_table(rows)
    sources = usable(faces)
    none_is_real = all(r[3] for r in rows)
    real = Counter(r[0] for r in rows if (none_is_real or not r[3]) and r[2] not in ("val", "test"))
    wanted = {
        "balance": {n: max(real.values(), default=0) - real[n] for n in NAMES},
        "multiply": {n: int(plan_settings.factor * real[n] + 0.5) for n in NAMES},
        "per-class": {n: plan_settings.count for n in NAMES},
    }[plan_settings.policy]
    possible = {n: [i for i in sources if rows[i][0] != n] for n in NAMES}
    if any(wanted[n] and not possible[n] for n in NAMES):
        with pytest.raises(EmoaugError, match="no face can become"):
            build_plan(faces, NAMES, plan_settings)
        return

    plan = build_plan(faces, NAMES, plan_settings)
    assert tuple(plan.columns) == PLAN_COLUMNS
    assert plan["row"].tolist() == list(range(len(plan)))
    assert Counter(plan["target"]) == Counter({n: c for n, c in wanted.items() if c})
    assert (plan["target"] != plan["source_label"]).all()
    assert set(plan["source_index"]) <= set(sources)
    for row in plan.itertuples():
        face = faces.table.iloc[row.source_index]
        assert (row.file_name, row.source_label) == (face.file_name, face.label)
        assert row.subject == face.subject or (row.subject is None and face.subject is None)
    for target, group in plan.groupby("target"):
        uses = [Counter(group["source_index"])[i] for i in possible[target]]
        assert max(uses) - min(uses) <= 1
    pd.testing.assert_frame_equal(plan, build_plan(faces, NAMES, plan_settings))
    check_plan(plan, faces, NAMES)


def test_faces_without_a_label_are_sources_and_no_class():
    faces = face_table([("happy", "a", None, False), ("sad", "b", None, False)] + [(None, None, None, False)] * 5)
    plan = build_plan(faces, NAMES, PlanSettings("balance"))
    assert Counter(plan["target"]) == {"angry": 1, "neutral": 1}
    plan = build_plan(faces, NAMES, PlanSettings("per-class", count=6))
    assert Counter(plan["target"]) == dict.fromkeys(NAMES, 6)
    assert set(plan["source_index"][plan["target"] == "happy"]) == set(range(1, 7))
    check_plan(plan, faces, NAMES)
    with pytest.raises(EmoaugError, match="faces without a label"):
        build_plan(faces, NAMES, PlanSettings("per-class", count=6, strength=(0.5, 1)))


@settings(max_examples=60)
@given(settings_strategy)
def test_conditions_mix_target_and_source_within_the_strengths(plan_settings):
    plan = build_plan(real_faces(angry=3, happy=5, neutral=2, sad=1), NAMES, plan_settings)
    low, high = plan_settings.strength
    values = condition_array(plan, NAMES)
    assert values.dtype == np.float32
    for row, condition in zip(plan.itertuples(), values, strict=True):
        target, source = condition[NAMES.index(row.target)], condition[NAMES.index(row.source_label)]
        assert low - 1e-6 <= target <= high + 1e-6
        assert target + source == pytest.approx(1)
        assert condition.sum() == pytest.approx(1)
        assert json.loads(row.condition)[row.target] == pytest.approx(target)


def test_strengths_fill_their_range():
    plan = build_plan(
        real_faces(angry=50, happy=50), NAMES[:2], PlanSettings("per-class", count=500, strength=(0.5, 1))
    )
    strengths = condition_array(plan, NAMES[:2]).max(axis=1)
    assert strengths.min() < 0.51
    assert strengths.max() > 0.99
    assert np.quantile(strengths, 0.5) == pytest.approx(0.75, abs=0.03)


def test_subjects_take_turns():
    # One person with many pictures, nine with one each: the first ten sources are ten persons.
    faces = face_table([("happy", "many", None, False)] * 30 + [("happy", f"p{i}", None, False) for i in range(9)])
    plan = build_plan(faces, ("happy", "sad"), PlanSettings(policy="per-class", count=0))
    assert plan.empty
    plan = build_plan(
        face_table([*((r.label, r.subject, None, False) for r in faces.table.itertuples()), ("sad", "x", None, False)]),
        ("happy", "sad"),
        PlanSettings(policy="balance"),
    )
    assert plan.query("target == 'sad'")["subject"].head(10).nunique() == 10


def test_people_of_the_test_split_are_no_sources():
    rows = [("happy", "a", "train", False), ("happy", "b", "train", False), ("sad", "b", "test", False)]
    plan = build_plan(face_table(rows), ("happy", "sad"), PlanSettings(policy="balance"))
    assert set(plan["subject"]) == {"a"}


def test_another_seed_gives_another_order():
    faces = real_faces(angry=40, happy=40)
    plans = [build_plan(faces, NAMES[:2], PlanSettings("multiply", seed=seed)) for seed in range(20)]
    orders = {tuple(plan["source_index"]) for plan in plans}
    assert len(orders) == 20
    assert len({s for plan in plans for s in plan["seed"]}) == 20 * 80
    # Each source is first in about one of 40 plans, not always the same one.
    assert len({plan["source_index"][0] for plan in plans}) > 8


def test_seeds_follow_the_published_generator():
    def splitmix(x):  # the reference in whole numbers of any length
        z = (x + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    assert splitmix(0) == 0xE220A8397B1DCDAF  # first number of SplitMix64 from seed 0
    rows = [0, 1, 2, 1_000_000]
    expected = [splitmix((splitmix(7) + row) % 2**64) >> 11 for row in rows]
    assert row_seeds(7, np.array(rows)).tolist() == expected


def test_a_plan_is_the_same_in_every_process_and_version():
    plan = build_plan(
        real_faces(angry=5, happy=9, sad=2), NAMES, PlanSettings("per-class", count=6, seed=1, strength=(1.0, 1.0))
    )
    text = plan.drop(columns="subject").to_csv(index=False, lineterminator="\n")
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "cee82490f360aee3"


def test_a_million_rows_take_seconds():
    labels = np.array(NAMES, dtype=object)[np.arange(100_000) % 4]
    faces = face_table([(label, f"s{i % 500}", "train", False) for i, label in enumerate(labels)])
    began = time.perf_counter()
    plan = build_plan(faces, NAMES, PlanSettings("multiply", factor=10, strength=(0.7, 1.0)))
    assert len(plan) == 1_000_000
    assert time.perf_counter() - began < 20


def test_unknown_labels_are_named():
    with pytest.raises(EmoaugError, match=r"does not know angry; it knows happy, sad"):
        build_plan(real_faces(angry=1, happy=1), ("happy", "sad"), PlanSettings())


def test_repeats_are_counted():
    faces = real_faces(angry=3, happy=3)
    assert (
        plan_summary(build_plan(faces, NAMES[:2], PlanSettings("per-class", count=5, strength=(1.0, 1.0))))["repeats"]
        == 4
    )
    varied = build_plan(faces, NAMES[:2], PlanSettings("per-class", count=5, strength=(0.5, 1.0)))
    assert plan_summary(varied) == {"faces": 10, "classes": {"angry": 5, "happy": 5}, "sources": 6, "repeats": 0}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p.drop(columns="seed"), "no column seed"),
        (lambda p: p.assign(row=0), "different whole numbers"),
        (lambda p: p.assign(target="bored"), "asks for bored"),
        (lambda p: p.assign(source_index=99), "from 0 to 5"),
        (lambda p: p.assign(file_name="x.png"), "made for other faces"),
        (lambda p: p.assign(condition="happy"), "no JSON object"),
        (lambda p: p.assign(condition='{"happy": 2}'), "no JSON object"),
        (lambda p: p.assign(condition='{"bored": 1}'), "names bored"),
        (lambda p: p.assign(source_index=5, file_name="happy/5.png"), "training faces only"),
    ],
)
def test_a_plan_spoiled_by_hand_is_refused(edit, message):
    rows = [("angry", "a", "train", False)] * 2 + [("happy", "b", "train", False)] * 3 + [("happy", "c", "test", False)]
    faces = face_table(rows)
    plan = build_plan(faces, NAMES[:2], PlanSettings("per-class", count=2))
    check_plan(plan, faces, NAMES[:2])
    with pytest.raises(EmoaugError, match=message):
        check_plan(edit(plan), faces, NAMES[:2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "more"},
        {"factor": -1.0},
        {"factor": float("nan")},
        {"count": -1},
        {"seed": -1},
        {"strength": (0.9, 0.5)},
        {"strength": (0.0, 1.0)},
        {"strength": (0.5, 1.2)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(EmoaugError, match=next(iter(wrong))):
        PlanSettings(**wrong)


def test_targets_may_be_synonyms():
    settings = PlanSettings(policy="per-class", count=3, targets=("Sadness", "joy"))
    assert wanted_counts({}, ("happy", "neutral", "sad"), settings) == {"happy": 3, "sad": 3}
