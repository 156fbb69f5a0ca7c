"""A comparison from end to end on drawn faces."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from augment.checkpoints import read_config
from augment.pictures import read_picture
from augment.training import TrainingSettings
from classifiers.training import ClassifierSettings
from emoaug import EmoaugError
from pipelines.compare import CompareSettings, run_comparison, split_sides
from pipelines.comparison_report import _notes, write_comparison
from tests.augment.drawn_face import model_path
from tests.drawn_dataset import draw_dataset, put_features_in_place

SETTINGS = CompareSettings(
    systems=("reggan",),
    hold_out=3,
    training=TrainingSettings(steps=2, batch_size=4, sample_every=2, precision="32-true", device="cpu"),
    judge=ClassifierSettings(steps=4, batch_size=8),
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn"), subjects=8)


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOAUG_MODELS", str(model_path().parent))
        out = tmp_path_factory.mktemp("comparison") / "out"
        found = run_comparison(faces, out, SETTINGS)
        yield found, out, write_comparison(found, out, SETTINGS)


def test_held_out_people_have_no_part_in_any_training(run):
    found, out, _ = run
    tested = set(found.sides.test.table.subject)
    assert len(tested) == 3
    seen = read_config(out / "systems" / "reggan")["extra"]["training_data"]
    assert len(seen["subjects"]) == 5
    assert not tested & set(seen["subjects"])
    assert seen["faces"] == len(found.sides.train) == 10


def test_the_judge_moves_faces_that_are_not_aligned_further_and_aligned_ones_as_asked(run, tmp_path, monkeypatch):
    found, out, _ = run
    assert found.held.witnesses.judge.training["recipe"] == "classical-wide"
    assert json.loads((out / "run.json").read_text())["identity"]["settings"]["judge"]["recipe"] == "classical-wide"
    monkeypatch.setenv("EMOAUG_MODELS", str(model_path().parent))
    aligned = draw_dataset(tmp_path / "aligned", subjects=8)
    put_features_in_place(aligned)
    found = run_comparison(aligned, tmp_path / "out", SETTINGS)
    assert found.held.witnesses.judge.training["recipe"] == "classical"


def test_figures_are_printed_and_written_and_each_target_has_a_sheet(run):
    found, out, said = run
    facts = json.loads((out / "compare.json").read_text())
    assert facts["systems"]["reggan"]["targets"].keys() == {"neutral", "happy"}
    assert facts["systems"]["reggan"]["training_minutes"] > 0
    assert facts["unchanged"]["identity"] == pytest.approx(1, abs=1e-4)
    assert facts["test_people"] == sorted(set(found.sides.test.table.subject))
    table = pd.read_csv(out / "compare.csv")
    assert table.system.tolist() == ["real faces", "unchanged", "reggan"]
    assert table.hit_rate.between(0, 1).all()
    for word in ("reggan", "hit rate", "Fisherfaces of 5 training people", "the faces are few", "look:"):
        assert word in said
    # A row a person; columns source, system, real, each at least 96 px wide.
    for target in ("neutral", "happy"):
        height, width, _ = read_picture(out / "sheets" / f"{target}.png").shape
        assert height > 3 * 96
        assert width > 3 * 96
    assert "<svg" in (out / "compare.svg").read_text()


def test_a_second_call_goes_on_with_what_is_not_done(run, faces):
    found, out, _ = run
    kept = [p for p in out.rglob("*") if p.is_file() and p.name != "run.json"]
    before = {p: p.stat().st_mtime_ns for p in kept}
    # A system without its figures is measured again, and not trained again.
    (out / "figures" / "reggan.json").unlink()
    again = run_comparison(faces, out, replace(SETTINGS, systems=("reggan", "lssl")))
    changed = {p.name for p in kept if p.stat().st_mtime_ns != before[p]}
    assert changed == {"reggan.json"}
    assert list(again.figures) == ["reggan", "lssl"]
    varying = ("pictures_per_second",)
    for name, value in found.figures["reggan"].items():
        assert name in varying or again.figures["reggan"][name] == value
    # Nor is one forgotten that is not asked for again.
    assert list(run_comparison(faces, out, replace(SETTINGS, systems=("lssl",))).figures) == ["lssl", "reggan"]


def test_figures_of_other_weights_are_measured_again(run, faces):
    found, out, _ = run
    path = out / "figures" / "reggan.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({"weights_sha256": "0" * 64, "figures": {"hit_rate": -1.0}}))
    again = run_comparison(faces, out, SETTINGS)
    assert again.figures["reggan"]["hit_rate"] == found.figures["reggan"]["hit_rate"]
    assert json.loads(path.read_text())["weights_sha256"] == kept["weights_sha256"]


def test_of_held_out_faces_of_unknown_people_it_is_said_that_they_may_be_on_both_sides(run):
    found, *_ = run
    assert not any("is unknown" in line for line in _notes(found, SETTINGS))
    table = found.sides.test.table.assign(subject=None)
    nobody = replace(found, sides=replace(found.sides, test=replace(found.sides.test, table=table)))
    assert any(f"unknown for {len(table)} of {len(table)} faces" in line for line in _notes(nobody, SETTINGS))


@pytest.mark.parametrize("change", [{"hold_out": 2}, {"seed": 1}, {"rendered_beside": 2}])
def test_another_comparison_in_the_same_folder_is_refused(run, faces, change):
    _, out, _ = run
    with pytest.raises(EmoaugError, match=r"differs in .*settings"):
        run_comparison(faces, out, replace(SETTINGS, **change))


def test_systems_without_the_people_that_they_need_are_left_out_and_another_dataset_can_test(faces, tmp_path, capsys):
    nobody = replace(faces, table=faces.table.assign(subject=None))
    other = draw_dataset(tmp_path / "other", subjects=10)
    # The drawing of each person is the same: only the last two are new, and one shows what nobody is trained on.
    label = other.table.label.where(other.table.subject != "person09", "fear")
    other = replace(other, table=other.table.assign(label=label), vocabulary=(*other.vocabulary, "fear"))
    settings = replace(SETTINGS, systems=("cdaae", "ip-gan", "lssl"))
    found = run_comparison(nobody, tmp_path / "out", settings, other)
    assert list(found.figures) == ["lssl"]
    assert "cdaae is left out: " in capsys.readouterr().err
    assert "one person" in found.left_out["cdaae"]
    assert "2 named people" in found.left_out["ip-gan"]
    assert len(found.sides.train) == 16
    assert set(found.sides.test.table.subject) == {"person08"}
    assert found.figures["lssl"]["identity"] is None
    said = write_comparison(found, tmp_path / "out", settings)
    assert "cdaae is left out: " in said
    assert "not measured" in said
    with pytest.raises(EmoaugError, match="no system can be trained here"):
        run_comparison(nobody, tmp_path / "none", replace(settings, systems=("cdaae",)))
    # Before any training, that people are unknown on both sides.
    assert f"faces in {nobody.root}: one person may be trained on" in capsys.readouterr().err


def test_systems_begin_with_weights_and_have_rendered_faces_beside_but_nobody_who_tests(run, tmp_path, monkeypatch):
    found, out, _ = run
    monkeypatch.setenv("EMOAUG_MODELS", str(model_path().parent))
    known = draw_dataset(tmp_path / "drawn", subjects=8)
    settings = replace(SETTINGS, initial=out / "systems" / "reggan" / "checkpoint", rendered_beside=2)
    strangers = replace(known, table=known.table.assign(subject="other " + known.table.subject))
    run_comparison(strangers, tmp_path / "out", settings)
    seen = read_config(tmp_path / "out" / "systems" / "reggan")["extra"]["training_data"]
    assert seen["also"]["faces"] == 4
    assert seen["initial"]["subjects"] == sorted(set(found.sides.train.table.subject))
    again = run_comparison(strangers, tmp_path / "out", replace(settings, systems=("cdaae",)))
    assert list(again.figures) == ["cdaae", "reggan"]
    with pytest.raises(EmoaugError, match="who test"):
        run_comparison(known, tmp_path / "known", replace(settings, seed=1))
    with pytest.raises(EmoaugError, match="weights of reggan, not of lssl"):
        run_comparison(strangers, tmp_path / "lssl", replace(settings, systems=("lssl",)))
    with pytest.raises(EmoaugError, match="--initial has other networks"):
        run_comparison(strangers, tmp_path / "paper", replace(settings, configuration="paper"))
    assert not (tmp_path / "paper").exists()


def test_a_dataset_that_is_all_known_cannot_test(faces):
    with pytest.raises(EmoaugError, match="every face of it is like one of"):
        split_sides(faces, SETTINGS, faces)


def test_the_datasets_own_split_can_be_taken(faces):
    split = np.where(faces.table.subject.isin(["person00", "person01"]), "test", "train")
    own = replace(faces, table=faces.table.assign(split=split))
    sides = split_sides(own, replace(SETTINGS, hold_out="split"), None)
    assert set(sides.test.table.subject) == {"person00", "person01"}
    assert len(sides.train) == 12
    few = split_sides(own, replace(SETTINGS, hold_out="split", faces=3), None)
    assert len(few.test) == 3


def test_one_expression_on_the_training_side_is_an_error(faces, tmp_path):
    happy = faces.select((faces.table.label == "happy").to_numpy())
    with pytest.raises(EmoaugError, match="happy alone"):
        run_comparison(happy, tmp_path / "out", SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"systems": ("stargan",)}, "unknown system"),
        ({"systems": ("lssl", "lssl")}, "name each once"),
        ({"hold_out": 0}, "hold_out is 0"),
        ({"faces": 0}, "faces is 0"),
        ({"rendered_beside": -1}, "rendered_beside is -1"),
    ],
)
def test_settings_out_of_range_say_what_is_allowed(change, message):
    with pytest.raises(EmoaugError, match=message):
        replace(SETTINGS, **change)
