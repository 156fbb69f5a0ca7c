"""`emoaug generate` as its user meets it, with what goes before and after it."""

import re

import numpy as np

from augment.faces import read_measures, write_measures
from augment.folders import read_faces, write_metadata
from tests.drawn_dataset import draw_dataset
from tests.pipelines.command_line import mistake, run


def test_generate_says_beforehand_what_a_plan_is_worth(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    given = ["generate", "--data", tmp_path / "faces", "--weights", "default", "--out", tmp_path / "out"]
    per_class = ["--policy", "per-class", "--count", 5]
    assert "--factor is for --policy multiply" in mistake(capsys, *given, *per_class, "--factor", 3)
    _, said, _ = run(capsys, *given, *per_class)
    few = "6 of 10 faces are made: sources are few, and the others would be copies of these; a range of --strength"
    assert said.index(few) < said.index("translated 6 faces")
    rows = read_faces(tmp_path / "out").table.query("is_synthetic")
    assert not rows.duplicated(["source_file", "label"]).any()
    _, said, _ = run(capsys, *given[:-1], tmp_path / "varied", *per_class, "--strength", 0.6, 1)
    assert "copies of these" not in said
    assert read_faces(tmp_path / "varied").table.is_synthetic.sum() == 10
    _, said, _ = run(capsys, *given[:-1], tmp_path / "weak", *per_class, "--strength", 0.3, 0.8)
    assert "below a strength of 0.5" in said
    _, said, _ = run(capsys, *given[:-1], tmp_path / "none", "--policy", "multiply", "--factor", 0)
    assert "no face was asked for" in said


def test_train_generate_verify_from_end_to_end(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=4)
    tiny = ["--size", 32, "--set", "width=8", "depth=2", "widest=16", "--steps", 2, "--batch-size", 4]
    assert run(capsys, "train", "--data", tmp_path / "faces", "--out", tmp_path / "run", *tiny)[0] == 0
    made = ["--data", tmp_path / "faces", "--weights", tmp_path / "run", "--out", tmp_path / "bigger"]
    code, out, _ = run(capsys, "generate", *made, "--policy", "multiply", "--factor", 1)
    assert code == 0
    assert "translated 8 faces" in out
    bigger = read_faces(tmp_path / "bigger")
    assert bigger.table.is_synthetic.sum() == 8
    assert len(bigger) == 16
    assert run(capsys, "verify", tmp_path / "bigger")[0] == 0
    judged = ["--filter", "evenness >= 0", "identity >= 0", "--scoring.no-landmarks", "--judge.folds", 2]
    quick = ["--judge.classifier.steps", 2, "--judge.classifier.batch-size", 4]
    code, out, _ = run(capsys, "generate", *made, "--policy", "multiply", "--factor", 1, *judged, *quick)
    assert code == 0
    assert "kept 8 of 8 made faces" in out
    assert run(capsys, "verify", tmp_path / "bigger")[0] == 0
    victim = bigger.path(int(np.flatnonzero(bigger.table.is_synthetic)[0]))
    victim.write_bytes(victim.read_bytes()[:-20])
    code, out, _ = run(capsys, "verify", tmp_path / "bigger")
    assert code == 1
    assert victim.name in out


def test_doubtful_faces_and_weights_are_named_before_anything_is_made(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=4)
    tiny = ["--size", 32, "--set", "width=8", "depth=2", "widest=16", "--steps", 2, "--batch-size", 4]
    assert run(capsys, "train", "--data", tmp_path / "faces", "--out", tmp_path / "run", *tiny)[0] == 0
    made = ["--data", tmp_path / "faces", "--weights", tmp_path / "run"]
    out = run(capsys, "generate", *made, "--out", tmp_path / "sound")[1]
    assert "is not finished" not in out
    assert "no landmarks" not in out
    settings = (tmp_path / "run" / "settings.json").read_text()
    (tmp_path / "run" / "settings.json").write_text(settings.replace('"finished": true', '"finished": false'))
    (tmp_path / "faces" / "faces.npz").unlink()
    lines = run(capsys, "generate", *made, "--out", tmp_path / "doubtful")[1].splitlines()
    assert "its training is not finished" in lines[0]
    assert "no landmarks beside the pictures; if these are not aligned, emoaug align" in lines[1]


def test_where_nothing_is_missing_generate_says_so(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=4)
    made = ["--data", tmp_path / "faces", "--weights", "default", "--out", tmp_path / "bigger", "--policy", "balance"]
    code, out, _ = run(capsys, "generate", *made)
    assert code == 0
    assert "translated 0 faces" in out
    assert "--policy multiply" in out


def test_expressions_of_faces_that_were_learnt_from_beside_can_be_made(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=4)
    others = draw_dataset(tmp_path / "others", subjects=3)
    (tmp_path / "others" / "neutral").rename(tmp_path / "others" / "sad")
    names = others.table.file_name.str.replace("neutral/", "sad/")
    table = others.table.assign(label=others.table.label.replace("neutral", "sad"), file_name=names)
    write_metadata(tmp_path / "others", table)
    measures = read_measures(tmp_path / "others", list(others.table.file_name))
    write_measures(tmp_path / "others", list(names), measures)
    tiny = ["--size", 32, "--set", "width=8", "depth=2", "widest=16", "--steps", 2, "--batch-size", 4]
    both = ["--data", tmp_path / "faces", "--also", tmp_path / "others"]
    assert run(capsys, "train", *both, "--out", tmp_path / "run", *tiny)[0] == 0
    made = ["--data", tmp_path / "faces", "--weights", tmp_path / "run", "--out", tmp_path / "bigger"]
    made += ["--policy", "per-class", "--count", 2, "--include-real", "no"]
    made += ["--vocabulary", "neutral,happy,sad", "--targets", "sad"]
    assert run(capsys, "generate", *made)[0] == 0
    assert read_faces(tmp_path / "bigger").table.label.tolist() == ["sad", "sad"]


def test_generate_makes_the_expressions_that_are_asked_for(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=4)
    made = ["--data", tmp_path / "faces", "--weights", "default", "--policy", "per-class", "--count", 3]
    made += ["--vocabulary", "neutral,happy,sad,angry", "--include-real", "no"]
    assert run(capsys, "generate", *made, "--out", tmp_path / "some", "--targets", "sad,happy")[0] == 0
    assert read_faces(tmp_path / "some").table.label.value_counts().to_dict() == {"happy": 3, "sad": 3}
    wrong = mistake(capsys, "generate", *made, "--out", tmp_path / "none", "--targets", "surprise", "sad")
    assert "which the weights know and the dataset does not" in wrong
    assert wrong.endswith("--vocabulary neutral,happy,sad,angry,surprise")
    wrong = mistake(capsys, "generate", *made, "--out", tmp_path / "none", "--targets", "envy")
    assert "targets name envy; what can be made here is neutral, happy, sad, angry" in wrong
    wrong = mistake(capsys, "generate", *made, "--out", tmp_path / "none", "--targets", "happi")
    assert wrong.endswith("did you mean happy?")
    assert not (tmp_path / "none").exists()


def test_of_a_dataset_of_other_expressions_it_is_said_what_the_weights_know(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    made = ["--data", tmp_path / "faces", "--weights", "default", "--policy", "multiply", "--out", tmp_path / "none"]
    wrong = mistake(capsys, "generate", *made, "--labels", "neutral=foo", "happy=bar", "--vocabulary", "foo,bar")
    assert "the system does not know bar, foo; it knows " in wrong
    assert "happy" in wrong


def test_expressions_that_the_package_makes_badly_are_named_where_they_are_asked_for(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=4)
    made = ["--data", tmp_path / "faces", "--weights", "default", "--policy", "per-class", "--count", 2]
    made += ["--vocabulary", "neutral,happy,sad,disgusted"]
    said = run(capsys, "generate", *made, "--out", tmp_path / "disgust", "--targets", "disgusted")[1]
    assert re.search(r"asked to show disgust are seen so in \d\d%", said)
    assert "are seen so" not in run(capsys, "generate", *made, "--out", tmp_path / "happy", "--targets", "happy")[1]


def test_faces_without_labels_can_be_changed_too(capsys, tmp_path):
    faces = draw_dataset(tmp_path / "faces", subjects=4)
    some = faces.table.label.where(faces.table.subject.isin(["person00", "person01"]), None)
    made = ["--data", tmp_path / "faces", "--weights", "default", "--include-real", "no"]
    each = [*made, "--policy", "per-class", "--count", 4]

    def sources(out) -> set[str]:
        table = read_faces(out).table
        return set(table.subject[table.is_synthetic])

    write_metadata(tmp_path / "faces", faces.table.assign(label=some))
    assert run(capsys, "generate", *each, "--out", tmp_path / "labelled")[0] == 0
    assert sources(tmp_path / "labelled") == {"person00", "person01"}
    assert run(capsys, "generate", *each, "--out", tmp_path / "all", "--sources", "all")[0] == 0
    assert sources(tmp_path / "all") == {f"person0{i}" for i in range(4)}
    assert run(capsys, "verify", tmp_path / "all")[0] == 0
    write_metadata(tmp_path / "faces", faces.table.assign(label=None))
    assert run(capsys, "generate", *each, "--out", tmp_path / "none", "--targets", "happy,sad")[0] == 0
    assert read_faces(tmp_path / "none").table.label.value_counts().to_dict() == {"happy": 4, "sad": 4}
    assert run(capsys, "verify", tmp_path / "none")[0] == 0
    out = ["--out", tmp_path / "wrong"]
    assert "no classes to balance" in mistake(capsys, "generate", *made, *out)
    assert "nobody knows" in mistake(capsys, "generate", *each, *out, "--strength", 0.5, 1)
    assert "take all as sources" in mistake(capsys, "generate", *each, *out, "--sources", "labelled")
    assert not (tmp_path / "wrong").exists()


def test_measured_conditions_from_unlabelled_faces_to_a_bigger_labelled_dataset(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=4)
    unlabelled = read_faces(tmp_path / "faces")
    write_metadata(tmp_path / "faces", unlabelled.table.assign(label=None))
    tiny = ["--size", 32, "--set", "width=8", "depth=2", "widest=16", "--steps", 2, "--batch-size", 4]
    train = ["train", "--data", tmp_path / "faces", "--out", tmp_path / "run", *tiny]
    assert "no pictures" in mistake(capsys, *train)
    assert "labels only" in mistake(capsys, *train, "--conditions", "blendshapes", "--system", "cvae-gan")
    assert run(capsys, *train, "--conditions", "blendshapes")[0] == 0
    write_metadata(tmp_path / "faces", unlabelled.table)
    made = ["--data", tmp_path / "faces", "--weights", tmp_path / "run", "--out", tmp_path / "bigger"]
    code, out, _ = run(capsys, "generate", *made, "--policy", "per-class", "--count", 3, "--mixing", 0)
    assert code == 0
    assert "translated 6 faces" in out
    bigger = read_faces(tmp_path / "bigger").table
    assert bigger[bigger.is_synthetic].exemplar_file.notna().all()
    assert run(capsys, "verify", tmp_path / "bigger")[0] == 0


def test_a_system_that_recombines_gives_labelled_looks_to_everybody(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=4)
    table = read_faces(tmp_path / "faces").table
    write_metadata(tmp_path / "faces", table.assign(label=table.label.where(table.subject != "person03", None)))
    tiny = ["--size", 32, "--set", "width=4", "depth=2", "widest=8", "judge_width=4", "--steps", 2, "--batch-size", 4]
    train = ["train", "--system", "ip-gan", "--data", tmp_path / "faces", "--out", tmp_path / "run", *tiny]
    assert run(capsys, *train)[0] == 0
    made = ["--data", tmp_path / "faces", "--weights", tmp_path / "run", "--out", tmp_path / "bigger"]
    assert "as they are" in mistake(capsys, "generate", *made, "--strength", 0.5, 1)
    judged = ["--filter", "evenness >= 0", "--scoring.no-landmarks", "--judge.folds", 2]
    quick = ["--judge.classifier.steps", 2, "--judge.classifier.batch-size", 4]
    code, out, _ = run(capsys, "generate", *made, "--policy", "per-class", "--count", 4, *judged, *quick)
    assert code == 0
    assert "kept 8 of 8 made faces" in out
    bigger = read_faces(tmp_path / "bigger").table
    rows = bigger[bigger.is_synthetic]
    assert (rows.exemplar_file.str.split("/").str[0] == rows.label).all()
    assert "person03" in set(rows.subject)
    assert not rows.exemplar_file.str.contains("person03").any()
    code, out, _ = run(capsys, "verify", tmp_path / "bigger")
    assert (code, "all is well" in out, "was not found" in out) == (0, True, False)
    (tmp_path / "faces" / rows.exemplar_file.iloc[0]).unlink()
    code, out, _ = run(capsys, "verify", tmp_path / "bigger")
    assert (code, "was not found" in out) == (0, True)
