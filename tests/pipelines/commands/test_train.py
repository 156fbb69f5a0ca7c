"""`emoaug train` as its user meets it."""

from augment.checkpoints import read_config
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
    assert "NAME=VALUE" in mistake(capsys, *base, "--set", "identity=3")
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


def test_train_begins_with_the_package_s_weights_where_they_fit(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)

    def begun(*given):
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        command = ["train", "--data", tmp_path / "faces", "--out", out, "--size", 32, "--steps", 1, "--batch-size", 2]
        code, _, said = run(capsys, *command, *given)
        assert code == 0, said
        told = "begins with the package's weights, which know neutral, happy" in said
        assert told == ("initial" in read_config(out)["extra"]["training_data"])
        return told

    assert begun()
    assert not begun("--initial", "none")
    assert not begun("--labels", "happy=wry", "--vocabulary", "neutral,wry"), "one expression alone is known"
    assert not begun("--set", "width=8", "widest=16"), "other networks"
    assert not begun("--system", "reggan")


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
