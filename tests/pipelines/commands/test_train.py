"""`emoaug train` as its user meets it."""

import numpy as np

from augment.checkpoints import load_translator, read_config
from augment.folders import read_faces, write_metadata
from tests.drawn_dataset import draw_dataset
from tests.pipelines.command_line import mistake, run


def test_one_class_only_is_one_line(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    for path in (tmp_path / "faces" / "neutral").iterdir():
        path.unlink()
    (tmp_path / "faces" / "metadata.csv").unlink()
    assert "two" in mistake(capsys, "train", "--data", tmp_path / "faces", "--out", tmp_path / "run")
    assert "two" in mistake(capsys, "gain", "--data", tmp_path / "faces", "--out", tmp_path / "gain")


def test_system_options_are_checked(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    base = ["train", "--data", tmp_path / "faces", "--out", tmp_path / "run"]
    assert "NAME=VALUE" in mistake(capsys, *base, "--set", "identity_weight")
    assert "did you mean identity_weight?" in mistake(capsys, *base, "--set", "identiy_weight=3")
    assert "depth" in mistake(capsys, *base, "--set", "depth=many")
    assert "unknown system" in mistake(capsys, *base, "--system", "stargan")
    assert not (tmp_path / "run").exists()


def test_a_size_that_networks_cannot_have_is_one_line(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    base = ["train", "--data", tmp_path / "faces", "--out", tmp_path / "run"]
    assert "multiple of 16" in mistake(capsys, *base, "--size", 60)
    assert not (tmp_path / "run").exists()


def test_train_says_what_large_faces_cost(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3, size=96)
    tiny = ["--set", "width=8", "depth=2", "widest=16", "--steps", 1, "--batch-size", 2]
    given = ["train", "--data", tmp_path / "faces"]
    _, _, said = run(capsys, *given, "--out", tmp_path / "large", *tiny)
    assert "training at 96 pixels, as the faces are; --size 64 is some 2 times as quick" in said
    _, _, said = run(capsys, *given, "--out", tmp_path / "small", "--size", 32, *tiny)
    assert "times as quick" not in said
    # Nothing is said of faces that cannot be trained on but that.
    (tmp_path / "faces" / "faces.npz").unlink()
    code, _, said = run(capsys, *given, "--out", tmp_path / "none", *tiny)
    assert code == 2
    assert "no landmarks" in said
    assert "times as quick" not in said


def train(capsys, tmp_path, *given, out=None):
    """Train for a step; gives what was said, and whether it began with other weights."""
    out = out or tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    command = ["train", "--data", tmp_path / "faces", "--out", out, "--size", 32, "--steps", 1, "--batch-size", 2]
    code, _, said = run(capsys, *command, *given)
    assert code == 0, said
    return said, "initial" in read_config(out)["extra"]["training_data"]


BEGUN = "begins with the package's weights, which know neutral, happy; --initial none begins from nothing"


def test_train_begins_with_the_package_s_weights_where_they_suit(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    said, began = train(capsys, tmp_path)
    assert began
    assert BEGUN in said
    own = ["--labels", "happy=wry", "--vocabulary", "neutral,wry"]
    networks = [["width=8", "widest=16"], ["residual_blocks=1"], ["output=direct"]]
    for given in (["--initial", "none"], own, *(["--set", *n] for n in networks), ["--system", "reggan"]):
        said, began = train(capsys, tmp_path, *given)
        assert not began, given
        assert "begins with" not in said
    draw_dataset(tmp_path / "more", subjects=2)
    assert train(capsys, tmp_path, *own, "--initial", "default")[1]


def test_the_package_s_weights_are_asked_in_the_words_of_the_dataset(capsys, tmp_path):
    faces = draw_dataset(tmp_path / "faces", subjects=3)
    words = ["--labels", "happy=joy", "neutral=neutrality"]
    said, began = train(capsys, tmp_path, *words)
    assert began
    assert BEGUN.replace("neutral, happy", "neutrality, joy") in said
    own = load_translator("default")
    own.speak(("neutrality", "joy"))
    assert own.condition(["joy"]).argmax() == load_translator("default").condition(["happy"]).argmax()
    made = ["--data", tmp_path / "faces", "--weights", "default", "--out", tmp_path / "made", "--size", 64]
    assert run(capsys, "generate", *made, *words, "--policy", "multiply", "--factor", 1)[0] == 0
    rows = read_faces(tmp_path / "made").table.query("is_synthetic")
    assert rows.label.value_counts().to_dict() == {"neutrality": len(faces) // 2, "joy": len(faces) // 2}


def test_train_does_not_begin_with_weights_that_saw_who_tests(capsys, tmp_path):
    faces = draw_dataset(tmp_path / "faces", subjects=3)
    seen = read_config("default")["extra"]["training_data"]["subjects"][0]
    table = faces.table.replace({"subject": {"person00": seen}})
    for split, expected in (("test", False), ("train", True)):
        written = table.assign(split=np.where(table.subject == seen, split, "train"))
        write_metadata(tmp_path / "faces", written[["file_name", "label", "subject", "split"]])
        said, began = train(capsys, tmp_path)
        assert began == expected
        assert (f"the package's weights saw {seen}, by their names, who test" in said) != expected


def test_a_run_goes_on_as_it_began(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    for given, name in ((["--initial", "none"], "none"), ([], "auto")):
        out = tmp_path / name
        train(capsys, tmp_path, *given, out=out)
        said, _ = train(capsys, tmp_path, out=out)
        assert "nothing to do" in said
        assert "begins with" not in said
    # Begun anew it is another run.
    assert BEGUN in train(capsys, tmp_path, "--restart", out=tmp_path / "none")[0]


def test_train_leaves_out_what_it_cannot_read(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    (tmp_path / "faces" / "happy" / "person00.png").write_bytes(b"no picture")
    tiny = ["--set", "width=8", "depth=2", "widest=16", "--steps", 1, "--batch-size", 2]
    given = ["train", "--data", tmp_path / "faces"]
    _, said, _ = run(capsys, *given, "--out", tmp_path / "run", *tiny)
    assert "1 files or rows cannot be used, the first: happy/person00.png" in said
    # A table names its pictures, and what lies beside them is none.
    given = ["train", "--data", tmp_path / "faces" / "metadata.csv"]
    assert run(capsys, *given, "--out", tmp_path / "faces" / "run", *tiny)[0] == 0
    assert "seed is -1" in mistake(capsys, *given, "--out", tmp_path / "other", "--seed", -1)
