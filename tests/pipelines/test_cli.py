"""The command as a new user meets it: help, wrong words, and every kind of bad input."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from augment.checkpoints import read_config
from augment.faces import read_measures, write_measures
from augment.folders import read_faces, write_metadata
from emoaug import __version__
from pipelines.cli import COMMANDS, main
from tests.augment.drawn_face import draw_face, model_path
from tests.drawn_dataset import draw_dataset


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def mistake(capsys, *arguments) -> str:
    """Run a command that must fail with one line and 2."""
    code, _, err = run(capsys, *arguments)
    lines = [line for line in err.strip().splitlines() if line.startswith("emoaug:")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


HEAVY = ("torch", "torchvision", "mediapipe", "cv2", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "tyro")


@pytest.mark.parametrize("given", ["--help", "--version", "augment"])
def test_help_version_and_mistakes_import_nothing_heavy(given):
    script = f"import sys; from pipelines.cli import main; main(['{given}']); print(set({HEAVY}) & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.endswith("set()\n")
    if given == "--help":
        assert all(f"emoaug {name}" in said for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"emoaug {name}" in capsys.readouterr().out


def test_version_and_unknown_commands(capsys):
    assert run(capsys, "--version")[1].strip() == __version__
    assert "there are preview, audit" in mistake(capsys, "augment")
    assert "did you mean align? there are" in mistake(capsys, "aling")


def test_options_are_read_before_anything_heavy_but_torch_is_imported():
    heavy = (*(name for name in HEAVY if name not in ("torch", "cv2", "numpy", "pandas", "tyro")), "lightning_fabric")
    modules = [f"pipelines.commands.{name}" for name in COMMANDS]
    script = f"import importlib, sys; [importlib.import_module(name) for name in {modules}]; "
    script += f"print(set({heavy}) & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"


def test_what_looks_at_files_alone_does_without_torch():
    script = "import sys; from pipelines.commands import audit, align, verify; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"


def test_the_module_is_the_command(tmp_path):
    said = subprocess.run([sys.executable, "-m", "emoaug", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (said.returncode, said.stdout) == (0, f"{__version__}\n")
    wrong = subprocess.run([sys.executable, "-m", "emoaug", "verify", "nowhere"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("emoaug: ")


def test_an_empty_folder_is_one_line(capsys, tmp_path):
    assert "no pictures" in mistake(capsys, "audit", tmp_path)
    assert "no pictures" in mistake(capsys, "align", tmp_path, tmp_path / "out")
    assert "no pictures" in mistake(capsys, "train", "--data", tmp_path, "--out", tmp_path / "run")


def test_a_folder_that_is_not_there_is_one_line(capsys, tmp_path):
    assert "nowhere" in mistake(capsys, "audit", tmp_path / "nowhere")
    assert "nowhere" in mistake(capsys, "verify", tmp_path / "nowhere")


def test_an_unknown_expression_lists_what_is_known(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    (tmp_path / "faces" / "happy").rename(tmp_path / "faces" / "irritated")
    (tmp_path / "faces" / "metadata.csv").unlink()
    said = mistake(capsys, "audit", tmp_path / "faces")
    assert '"irritated"' in said
    assert "--labels" in said
    assert run(capsys, "audit", tmp_path / "faces", "--labels", "irritated=angry")[0] == 0
    assert "OLD=NEW" in mistake(capsys, "audit", tmp_path / "faces", "--labels", "irritated")


def test_one_class_only_is_one_line(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    for path in (tmp_path / "faces" / "neutral").iterdir():
        path.unlink()
    (tmp_path / "faces" / "metadata.csv").unlink()
    assert "two" in mistake(capsys, "train", "--data", tmp_path / "faces", "--out", tmp_path / "run")
    assert "two" in mistake(capsys, "gain", "--data", tmp_path / "faces", "--out", tmp_path / "gain")


def strange_pictures(folder: Path) -> None:
    """One good picture of each kind that decoders stumble over, and some that are no pictures."""
    folder.mkdir(parents=True)
    face = draw_face(256)
    good = cv2.imencode(".jpg", face[..., ::-1])[1].tobytes()
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "truncated.jpg").write_bytes(good[: len(good) // 2])
    cv2.imwrite(str(folder / "deep.png"), face[..., ::-1].astype(np.uint16) * 257)
    Image.fromarray(face).convert("CMYK").save(folder / "cmyk.jpg")
    frames = [Image.fromarray(draw_face(256, smile=s)) for s in (0.0, 1.0)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.dstack([face, np.full(face.shape[:2], 255, np.uint8)])).save(folder / "alpha.png")
    cv2.imwrite(str(folder / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    (folder / "Jörg Müller äöü 1.jpg").write_bytes(good)


def test_an_alignment_without_any_face_is_an_error_that_says_where_the_reasons_are(capsys, tmp_path):
    for name in ("happy", "sad"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "faces" / name / "wall.png"), np.full((32, 32, 3), 99, np.uint8))
    said = mistake(capsys, "align", tmp_path / "faces", tmp_path / "out", "--model", model_path(), "--workers", 1)
    assert "no face was aligned" in said
    assert "rejected.csv" in said
    assert (tmp_path / "out" / "rejected.csv").read_text().count("no face found") == 2


def test_a_result_is_not_aligned_into_the_folder_of_its_own_pictures(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    for out in (tmp_path / "faces" / "aligned", tmp_path / "faces"):
        assert "choose a folder outside it" in mistake(capsys, "align", tmp_path / "faces", out)
    assert not (tmp_path / "faces" / "aligned").exists()


def test_strange_pictures_are_aligned_or_rejected_with_a_reason_and_none_is_lost(capsys, tmp_path):
    os.environ.setdefault("EMOAUG_MODELS", str(model_path().parent))
    strange_pictures(tmp_path / "faces" / "happy")
    (tmp_path / "faces" / "neutral").mkdir()
    cv2.imwrite(str(tmp_path / "faces" / "neutral" / "plain.png"), draw_face(256, skin=200)[..., ::-1])
    code, out, _ = run(capsys, "align", tmp_path / "faces", tmp_path / "out", "--workers", 1)
    assert code == 0
    aligned = read_faces(tmp_path / "out").table.file_name.tolist()
    rejected = (tmp_path / "out" / "rejected.csv").read_text(encoding="utf-8")
    assert len(aligned) == 6
    assert any("Jörg Müller" in name for name in aligned)
    for name in ("text.jpg", "truncated.jpg", "dot.png"):
        assert name in rejected
    assert "3 rejected" in out
    assert sorted(p.name for p in (tmp_path / "faces" / "happy").iterdir()) == sorted(
        [
            "text.jpg",
            "truncated.jpg",
            "deep.png",
            "cmyk.jpg",
            "moving.gif",
            "alpha.png",
            "dot.png",
            "Jörg Müller äöü 1.jpg",
        ]
    )


def test_rows_without_files_and_files_without_rows_are_said(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    (tmp_path / "faces" / "happy" / "person01.png").rename(tmp_path / "faces" / "happy" / "stranger.png")
    code, out, _ = run(capsys, "audit", tmp_path / "faces")
    assert code == 0
    assert "2 files or rows cannot be used" in out
    assert "person01.png" in out
    assert "stranger.png" in out


def test_an_output_folder_with_another_run_or_other_files_is_left_alone(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    for command in (
        ["align", tmp_path / "faces", other],
        ["train", "--data", tmp_path / "faces", "--out", other],
        ["gain", "--data", tmp_path / "faces", "--out", other],
    ):
        mistake(capsys, *command)
    assert [p.name for p in other.iterdir()] == ["thesis.txt"]
    assert (other / "thesis.txt").read_text() == "years of work"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_folder_is_one_line(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    assert "cannot write" in mistake(capsys, "train", "--data", tmp_path / "faces", "--out", locked / "run")


def test_the_output_of_a_file_as_folder_is_one_line(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in mistake(
        capsys, "train", "--data", tmp_path / "faces", "--out", tmp_path / "file" / "run"
    )


def test_system_options_are_checked(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    base = ["train", "--data", tmp_path / "faces", "--out", tmp_path / "run"]
    assert "NAME=VALUE" in mistake(capsys, *base, "--set", "identity=3")
    assert "depth" in mistake(capsys, *base, "--set", "depth=many")
    assert "unknown system" in mistake(capsys, *base, "--system", "stargan")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--folds", "0"], "folds"),
        (["--arms", "stargan"], "unknown arm"),
        (["--synthetic-factor", "0"], "synthetic_factor"),
        (["--training.steps", "0"], "steps"),
    ],
)
def test_settings_out_of_range_are_one_line(wrong, says, capsys, tmp_path):
    assert says in mistake(capsys, "gain", "--data", tmp_path, "--out", tmp_path / "out", *wrong)


@pytest.mark.parametrize("command", [["generate", "--weights", "default"], ["gain"]])
def test_an_address_without_its_engine_and_an_engine_that_is_not_installed_are_one_line(
    command, capsys, tmp_path, monkeypatch
):
    draw_dataset(tmp_path / "faces", subjects=2, size=64)
    base = [*command, "--data", tmp_path / "faces", "--out", tmp_path / "out"]
    assert "--address head:6379 is for --engine ray" in mistake(capsys, *base, "--address", "head:6379")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert 'pip install "ray>=2.40"' in mistake(capsys, *base, "--engine", "ray")
    assert not (tmp_path / "out").exists()


def test_a_mended_mistake_can_use_the_same_folder(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    base = ["gain", "--data", tmp_path / "faces", "--out", tmp_path / "out", "--arms", "real", "--seeds", 1]
    assert "use fewer folds" in mistake(capsys, *base)
    assert run(capsys, *base, "--folds", 2, "--workers", 1, "--classifier.steps", 2)[0] == 0


def test_gain_on_another_folder_says_what_the_labels_must_be(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    generator = np.random.default_rng(0)
    for name in ("joyful", "calm"):
        for i in range(2):
            path = tmp_path / "other" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), generator.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    base = ["gain", "--data", tmp_path / "faces", "--out", tmp_path / "out", "--arms", "real,geometry"]
    base += ["--seeds", 2, "--workers", 1, "--classifier.steps", 2]
    assert '"calm"' in mistake(capsys, *base, "--test", tmp_path / "other")
    assert "there is none" in mistake(capsys, *base, "--test-labels", "calm=neutral")
    code, out, _ = run(capsys, *base, "--test", tmp_path / "other", "--test-labels", "calm=neutral")
    assert code == 0
    assert "unknown for 4 of 4 faces" in out
    assert "the arm geometry is left out" in out
    assert "geometry" not in out.partition("The faces have no blendshapes")[0]


def test_what_gain_cannot_do_is_said_before_anything_is_read(capsys, tmp_path):
    base = ["gain", "--data", tmp_path / "nowhere", "--out", tmp_path / "out"]
    assert "steps is -5" in mistake(capsys, *base, "--classifier.steps", -5)
    assert "intensity is 2.0 to 1.0" in mistake(capsys, *base, "--simulated-intensity", 2, 1)


def test_a_gain_that_failed_before_it_made_anything_leaves_its_folder_to_others(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3, landmarks=False)
    base = ["gain", "--data", tmp_path / "faces", "--out", tmp_path / "out", "--folds", 2, "--seeds", 1]
    base += ["--workers", 1, "--classifier.steps", 2]
    assert "landmarks" in mistake(capsys, *base, "--arms", "real,lssl")
    assert run(capsys, *base, "--arms", "real,oversample", "--classifier.no-class-balanced")[0] == 0
    assert "another run, which differs in settings: arms" in mistake(capsys, *base, "--arms", "real")


def test_simulate_refuses_settings_that_the_faces_decide(capsys, tmp_path):
    base = ["simulate", "--out", tmp_path / "out", "--expressions", "happy"]
    assert "--grey has no effect with --like" in mistake(capsys, *base, "--like", tmp_path, "--grey", 0)
    assert "--intensity has no effect" in mistake(capsys, *base, "--measured", tmp_path, "--intensity", 1, 1.4)


def test_a_dataset_of_unreadable_pictures_is_one_line(capsys, tmp_path):
    for name in ("happy", "sad"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        (tmp_path / "faces" / name / "a.jpg").write_text("no picture")
    assert "no face that can be read" in mistake(
        capsys, "gain", "--data", tmp_path / "faces", "--out", tmp_path / "out"
    )


def test_a_size_that_networks_cannot_have_is_one_line(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    base = ["train", "--data", tmp_path / "faces", "--out", tmp_path / "run"]
    assert "multiple of 16" in mistake(capsys, *base, "--size", 60)
    assert not (tmp_path / "run").exists()


def test_a_report_that_cannot_be_written_is_one_line(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    (tmp_path / "file").write_text("")
    wrong = mistake(capsys, "audit", tmp_path / "faces", "--json", tmp_path / "file" / "x.json")
    assert str(tmp_path / "file") in wrong


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


@pytest.mark.parametrize("command", ["train", "gain", "compare", "refine"])
def test_no_command_writes_among_its_own_sources(capsys, tmp_path, command):
    draw_dataset(tmp_path / "faces", subjects=3)
    draw_dataset(tmp_path / "simulated", subjects=3)
    sources = ["--data", tmp_path / "faces"]
    if command == "refine":
        sources = ["--real", tmp_path / "faces", "--simulated", tmp_path / "simulated"]
    for inside in [path for path in sources if isinstance(path, Path)]:
        said = mistake(capsys, command, *sources, "--out", inside / "run")
        assert "lies in the folder of the sources" in said
        assert not (inside / "run").exists()


def test_generate_says_beforehand_what_a_plan_is_worth(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    given = ["generate", "--data", tmp_path / "faces", "--weights", "default", "--out", tmp_path / "out"]
    per_class = ["--policy", "per-class", "--count", 5]
    assert "--factor is for --policy multiply" in mistake(capsys, *given, *per_class, "--factor", 3)
    _, said, _ = run(capsys, *given, *per_class)
    assert said.index("4 of 10 faces will be copies of others") < said.index("translated")
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


@pytest.mark.parametrize(
    "arguments",
    [["audit", ""], ["audit", "--json=", "x"], ["generate", "--data", "", "--weights", "default", "--out", "x"]],
)
def test_an_empty_path_is_not_the_folder_one_stands_in(capsys, arguments):
    assert "an argument is empty" in mistake(capsys, *arguments)


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


def test_a_folder_that_somebody_else_wrote_cannot_be_verified(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    (tmp_path / "faces" / "metadata.csv").unlink()
    assert "it is no dataset folder that emoaug wrote" in mistake(capsys, "verify", tmp_path / "faces")


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
    assert not (tmp_path / "none").exists()


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


def test_progress_in_a_file_is_a_line_now_and_then_without_moves_of_the_cursor():
    # Two seconds of progress, after any command: tqdm's own interval would give some twenty lines.
    script = """
import time
from pipelines.cli import main
main(["verify", "nowhere"])
from tqdm import tqdm
for _ in tqdm(range(100)):
    for _ in tqdm(range(1), leave=False):
        time.sleep(0.02)
"""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("TQDM_")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=unset)
    assert 1 <= done.stderr.count("/100") <= 3, done.stderr
    assert "\x1b" not in done.stderr
