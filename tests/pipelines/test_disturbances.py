"""What may befall a run: no space, no permission, folders and pictures that vanish, too little memory, a second run.

Every test ends with the run taken up again, and its folder equal to that of a run that nobody disturbed.
"""

import fcntl
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from augment.folders import FaceTable, read_faces
from augment.generation import GenerateSettings, generate
from augment.plans import PlanSettings, build_plan
from augment.verification import verify
from emoaug import EmoaugError
from pipelines.cli import main
from tests.augment.tiny_translator import EXPRESSIONS, contents, tiny_translator
from tests.augment.tiny_translator import draw_dataset as draw_tiny
from tests.drawn_dataset import draw_dataset

SHORT = "--steps 4 --batch-size 2 --save-every 2 --device cpu --precision 32-true"
SMALL = "--set width=8 depth=2 widest=16 residual_blocks=1 critic_width=8"
SIMULATE = "simulate --out out --count 12 --size 16 --expressions happy,neutral --workers 1 --device cpu"
TRAIN = f"train --data faces --out out {SHORT} {SMALL}"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with a drawn dataset."""
    draw_dataset(tmp_path / "faces", subjects=3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mistake(capsys, command: str) -> str:
    """Give a command that must fail on one line."""
    capsys.readouterr()
    assert main(command.split()) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emoaug:")]
    assert len(lines) == 1
    return lines[0]


def undisturbed(here: Path, command: str) -> dict[str, bytes]:
    """The files of a run that nothing happens to."""
    assert main(command.split()) == 0
    shutil.move(here / "out", here / "whole")
    return comparable(here / "whole")


def comparable(folder: Path) -> dict[str, bytes]:
    """The files of a folder, without the one that has the seconds a step took."""
    return {name: data for name, data in contents(folder).items() if name != "checkpoint/config.json"}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Within, the system lets no file of this process grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("command", "size"), [(SIMULATE, 20_000), (TRAIN, 50_000)])
def test_a_file_that_cannot_grow_is_one_line_and_the_run_goes_on_later(here, capsys, command, size):
    whole = undisturbed(here, command)
    with largest_file(size):
        assert "cannot" in mistake(capsys, command)
    assert not any(len(data) > size for data in contents(here / "out").values())
    assert main(command.split()) == 0
    assert comparable(here / "out") == whole


@pytest.fixture
def small_disk(here) -> Iterator[Path]:
    """A disk of its own, of 64 KiB."""
    place = here / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def test_a_full_disk_and_one_that_becomes_read_only_lose_nothing(here, small_disk):
    faces = draw_tiny(here / "tiny", {"happy": 6, "neutral": 5, "sad": 4})
    plan = build_plan(faces, EXPRESSIONS, PlanSettings("per-class", count=20))

    def run(out: Path) -> int:
        return generate(faces, tiny_translator(), plan, out, GenerateSettings(device="cpu", threads=2), {}).made

    run(here / "whole")
    with pytest.raises(EmoaugError, match="No space left on device"):
        run(small_disk / "out")
    assert 0 < len(list(small_disk.glob("out/*/*.png"))) < len(plan)
    remount(small_disk, "ro,size=4m")
    with pytest.raises(EmoaugError, match="Read-only file system"):
        run(small_disk / "out")
    remount(small_disk, "rw")
    assert run(small_disk / "out") == len(plan)
    assert contents(small_disk / "out") == contents(here / "whole")
    # A finished folder on a disk that cannot be written to is still finished.
    remount(small_disk, "ro")
    assert run(small_disk / "out") == len(plan)


class Disturbed(FaceTable):
    """A dataset in which something happens when the picture of one row is read."""

    def read(self, i: int):
        if i == len(self) - 1:
            happen()
        return super().read(i)


def happen() -> None:
    """Replaced by each test."""


@pytest.fixture
def tiny(here, monkeypatch):
    """A small dataset, its plan, and a function that generates while something happens."""
    faces = draw_tiny(here / "tiny", {"happy": 6, "neutral": 5, "sad": 4})
    plan = build_plan(faces, EXPRESSIONS, PlanSettings("per-class", count=30))
    settings = GenerateSettings(device="cpu", threads=1, include_real="copy")

    def run(out: str, event=None) -> None:
        table = (
            faces
            if event is None
            else Disturbed(faces.root, faces.table, faces.vocabulary, faces.rejected, faces.notes)
        )
        monkeypatch.setattr("tests.pipelines.test_disturbances.happen", event)
        generate(table, tiny_translator(), plan, here / out, settings, {"data": str(faces.root)})

    return run


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("the folder", "was removed|No such file"),
        ("a class", "files were removed while this run wrote to it"),
        ("the folder, for another", "was removed, or something in it"),
    ],
)
def test_an_output_folder_that_is_removed_in_the_middle_is_an_error_and_not_half_a_dataset(here, tiny, what, said):
    out = here / "out"

    def remove() -> None:
        if what == "a class":
            shutil.rmtree(out / "happy", ignore_errors=True)
        else:
            shutil.rmtree(out, ignore_errors=True)
        if what.endswith("another"):
            out.mkdir()

    tiny("whole")
    with pytest.raises(EmoaugError, match=said):
        tiny("out", remove)
    assert not (out / "metadata.csv").exists()
    if what == "the folder, for another":
        shutil.rmtree(out)
    tiny("out")
    assert contents(out) == contents(here / "whole")
    assert verify(out).problems == ()


def test_a_picture_that_vanishes_between_plan_and_run_is_rejected_with_its_reason(here, tiny):
    def vanish() -> None:
        for path in sorted((here / "tiny" / "happy").glob("*.png"))[:2]:
            path.unlink(missing_ok=True)

    tiny("out", vanish)
    rejected = (here / "out" / "rejected.csv").read_text()
    assert "happy/face000.png" in rejected
    assert "cannot be read" in rejected
    assert len(read_faces(here / "out").rejected) == 0
    assert verify(here / "out").problems == ()


@pytest.mark.parametrize("command", ["train", "gain"])
def test_a_picture_that_is_missing_is_one_line(here, capsys, command):
    faces = read_faces(here / "faces")
    gone = faces.path(0)

    def vanishing(table: FaceTable, size: int | None):
        gone.unlink(missing_ok=True)
        return load(table, size)

    module = "augment.training_data" if command == "train" else "pipelines.gain_data"
    with pytest.MonkeyPatch.context() as patch:
        from augment.folders import load_faces as load

        patch.setattr(f"{module}.load_faces", vanishing)
        short = TRAIN if command == "train" else "gain --data faces --out out --arms real --folds 2 --seeds 1"
        assert gone.name in mistake(capsys, short)


def test_too_little_memory_names_the_batch_size(here, capsys):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, hard))
    try:
        said = mistake(capsys, TRAIN.replace("--batch-size 2", "--batch-size 60000"))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert "lower --batch-size" in said


@pytest.mark.parametrize(
    "command",
    [
        SIMULATE,
        TRAIN,
        "align faces out --size 32 --crop none --workers 1",
        "gain --data faces --out out --arms real --folds 2 --seeds 1",
        "demo --out out",
    ],
)
def test_a_second_run_in_a_folder_is_refused(here, capsys, command):
    (here / "out").mkdir()
    with (here / "out" / ".lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another run is writing to out" in mistake(capsys, command)
    assert [path.name for path in (here / "out").iterdir()] == [".lock"]
