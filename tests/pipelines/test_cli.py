"""The command as a new user meets it: help, wrong words, and every kind of bad input."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emoaug import __version__
from pipelines.cli import COMMANDS, main
from tests.drawn_dataset import draw_dataset
from tests.pipelines.command_line import mistake, run

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


def test_a_dataset_of_unreadable_pictures_is_one_line(capsys, tmp_path):
    for name in ("happy", "sad"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        (tmp_path / "faces" / name / "a.jpg").write_text("no picture")
    assert "no face that can be read" in mistake(
        capsys, "gain", "--data", tmp_path / "faces", "--out", tmp_path / "out"
    )


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


@pytest.mark.parametrize(
    "arguments",
    [["audit", ""], ["audit", "--json=", "x"], ["generate", "--data", "", "--weights", "default", "--out", "x"]],
)
def test_an_empty_path_is_not_the_folder_one_stands_in(capsys, arguments):
    assert "an argument is empty" in mistake(capsys, *arguments)


def test_a_folder_that_somebody_else_wrote_cannot_be_verified(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    (tmp_path / "faces" / "metadata.csv").unlink()
    assert "it is no dataset folder that emoaug wrote" in mistake(capsys, "verify", tmp_path / "faces")


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
