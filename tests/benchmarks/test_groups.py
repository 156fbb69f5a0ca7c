"""What witnesses see of the results is counted for the right person, group and expression."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from augment.checkpoints import save_checkpoint
from augment.folders import read_faces, write_metadata
from augment.models import MODELS_VARIABLE
from augment.samples import load_floats
from augment.systems.lssl import LSSL
from benchmarks.grouping import compare_groups
from benchmarks.groups import (
    FIGURES,
    Options,
    learnt_from,
    look,
    measure,
    sentences,
    table,
    targets_table,
    witnesses_of,
)
from classifiers.training import ClassifierSettings
from emoaug import EmoaugError
from pipelines.measures import HeldOutFaces
from tests.augment.drawn_face import model_path
from tests.drawn_dataset import draw_dataset


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Six drawn people with a tone each, the last without a happy picture, and four others."""
    root = tmp_path_factory.mktemp("groups")
    for name, subjects in (("people", 6), ("others", 4)):
        table = draw_dataset(root / name, subjects, size=64).table[["file_name", "label", "subject"]]
        table["subject"] = name + table.subject
        table["description"] = [json.dumps({"monk_tone": 1 + int(who[-2:])}) for who in table.subject]
        if name == "people":
            # Whose picture is whose is said by the names, not by the order.
            happy = table.label == "happy"
            table = pd.concat([table[~happy], table[happy][::-1].iloc[1:]])
        write_metadata(root / name, table)
    # An untrained system leaves faces much as they are: what is found in them does not hang on how drawings fare.
    torch.manual_seed(0)
    save_checkpoint(root / "weights", LSSL(("neutral", "happy")), {})
    (root / "people/happy/person05.png").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MODELS_VARIABLE, str(model_path().parent))
        yield Options(
            *(root / "people", root / "others", root / "out", ("monk_tone:4",)),
            judge=ClassifierSettings(steps=2),
            weights=root / "weights",
        )


@pytest.fixture(scope="module")
def seen(options):
    """Everything that `measure` gives."""
    return measure(options)


def test_everybody_is_asked_and_stands_beside_the_own_picture_where_there_is_one(seen):
    rows, common = seen
    assert set(rows.target) == {"happy"}
    assert rows[rows.kind == "made"].person.tolist() == [f"peopleperson{i:02d}" for i in range(6)]
    assert rows[rows.kind == "real"].person.tolist() == [f"peopleperson{i:02d}" for i in range(5)]
    assert rows[rows.kind == "made"]["monk_tone"].tolist() == ["below 4"] * 3 + ["4 and more"] * 3
    assert (common["people"], common["trained_on"]) == (6, 0)
    assert rows.found.eq(1).all()
    # The drawn people differ by far more than what is made of them, or their own smiles, do from them.
    assert rows.identity.min() > common["identity_of_others"] + 0.2


def test_a_source_is_itself_and_did_not_move_and_no_face_is_not_found(options, seen):
    faces = read_faces(options.people).select([0, 2, 4])
    w = witnesses_of(read_faces(options.others), 64, ("neutral", "happy"), options)
    assert w.targets == ("happy",)
    pixels = load_floats(faces, 64)
    sources = HeldOutFaces(pixels, faces.table.label.to_numpy(), np.arange(3), np.arange(3), w)
    rows = np.array([2, 0])
    same = look(sources, rows, pixels[rows], "happy")
    assert same.identity.tolist() == pytest.approx([1, 1])
    assert same.movement.tolist() == pytest.approx([0, 0], abs=1e-6)
    swapped = look(sources, rows, pixels[rows[::-1].copy()], "happy")
    assert swapped.identity.max() < 0.9
    nothing = look(sources, rows, 0 * pixels[rows], "happy")
    assert nothing.found.tolist() == [0, 0]
    assert nothing.movement.isna().all()


def test_the_tables_have_a_row_for_each_group(seen):
    figures = compare_groups(seen[0], ["monk_tone"], list(FIGURES))
    lines = table(figures).splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| monk_tone below 4", "3"],
        ["| monk_tone 4 and more", "3"],
    ]
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    lines = targets_table(seen[0], ["monk_tone"], "found").splitlines()
    assert lines[2:] == ["| monk_tone below 4 | 100.0 (100.0) |", "| monk_tone 4 and more | 100.0 (100.0) |"]


def test_only_what_is_beyond_chance_is_said():
    people, group = [f"p{i}" for i in range(60)], pd.Categorical(["light", "dark"] * 30, ["light", "dark"])
    rows = pd.DataFrame({"person": people, "target": "happy", "kind": "made", "tone": group})
    alike = np.random.default_rng(0).random(60)
    rows = rows.assign(hit_rate=alike, identity=alike, found=1.0, movement=alike - (group == "dark"))
    said = sentences(compare_groups(rows, ["tone"], list(FIGURES))).splitlines()
    assert len(said) == 1
    assert said[0].startswith("tone dark against all others, movement: -")
    rows["movement"] = alike
    assert sentences(compare_groups(rows, ["tone"], list(FIGURES))).startswith("no group fares worse")


def test_people_who_teach_the_witnesses_are_not_asked(options):
    with pytest.raises(EmoaugError, match="6 people"):
        measure(Options(options.people, options.people, options.out))


def test_who_was_trained_on_is_known_by_the_name_before_datasets_were_joined():
    config = {"extra": {"training_data": {"subjects": ["0-simulated-0-00001", "london001"]}}}
    assert {"simulated-0-00001", "london001"} <= learnt_from(config)
    assert "simulated-0-00002" not in learnt_from(config)
