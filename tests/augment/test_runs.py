"""Locks and records of run folders."""

import json
import shutil
import subprocess
import sys
import time

import pytest

from augment.pictures import write_bytes
from augment.runs import LOCK, clear_up, explained_errors, finished_result, locked, read_run, write_run
from emoaug import EmoaugError

HOLDER = """
import sys, time
from pathlib import Path
from augment.runs import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_ends_with_its_process_however_it_ends(tmp_path):
    out = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(out)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(EmoaugError, match="another run is writing to"), locked(out):
            pass
        holder.kill()
    assert (out / LOCK).exists()
    with locked(out):
        pass
    assert not (out / LOCK).exists()


def test_a_folder_that_is_removed_and_made_anew_belongs_to_the_other_run(tmp_path):
    out = tmp_path / "run"
    with locked(out) as first:
        first.check()
        shutil.rmtree(out)
        with pytest.raises(EmoaugError, match="was removed"):
            first.check()
        with locked(out) as second:
            with pytest.raises(EmoaugError, match="was removed"):
                first.check()
            second.check()


def test_a_refused_run_leaves_no_folder_that_was_not_there(tmp_path):
    for out in (tmp_path / "new", tmp_path):
        with pytest.raises(EmoaugError, match="no faces"), locked(out):
            raise EmoaugError("no faces")
    with locked(tmp_path / "written") as hold:
        (hold.out / "picture.png").write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == ["written"]


def test_a_run_does_not_remove_the_lock_of_another_that_took_its_place(tmp_path):
    out = tmp_path / "run"
    with locked(out):
        shutil.rmtree(out)
        out.mkdir()
        (out / LOCK).touch()
    assert (out / LOCK).exists()


def test_files_that_were_removed_meanwhile_are_counted(tmp_path):
    with locked(tmp_path) as hold:
        for name in ("happy/a.png", "happy/b.png", "c.png"):
            write_bytes(tmp_path / name, b"x")
        hold.check(["happy/a.png", "happy/b.png", "c.png"])
        (tmp_path / "happy" / "b.png").unlink()
        with pytest.raises(EmoaugError, match=r"1 files were removed.*happy/b\.png"):
            hold.check(["happy/a.png", "happy/b.png", "c.png"])
        with pytest.raises(EmoaugError, match="2 files were removed"):
            hold.check(["sad/a.png", "sad/b.png", "c.png"])


def test_files_are_not_written_into_a_folder_that_is_gone(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "gone" / "happy" / "a.png", b"x", parents=False)
    assert list(tmp_path.iterdir()) == []


def test_errors_name_the_file_that_is_to_blame(tmp_path):
    with pytest.raises(EmoaugError, match="cannot write to"), explained_errors(tmp_path):
        (tmp_path / "gone" / "x").write_bytes(b"")
    with (
        pytest.raises(EmoaugError, match=r"cannot use .*elsewhere/a\.png \(No such file"),
        explained_errors(tmp_path / "out"),
    ):
        (tmp_path / "elsewhere" / "a.png").read_bytes()


def test_what_a_kill_leaves_in_a_finished_folder_is_removed(tmp_path):
    write_run(tmp_path, "kind", {"finished": True})
    (tmp_path / LOCK).touch()
    (tmp_path / ("." + "0" * 32 + ".tmp")).touch()
    write_bytes(tmp_path / ".parts" / "0.npz", b"")
    write_bytes(tmp_path / "keep.txt", b"")
    clear_up(tmp_path, ".parts")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keep.txt", "run.json"]


def test_a_finished_folder_is_not_touched_where_nothing_is_left(tmp_path):
    write_run(tmp_path, "kind", {"finished": True})
    before = tmp_path.stat().st_mtime_ns
    time.sleep(0.01)
    clear_up(tmp_path, ".parts")
    assert tmp_path.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", [{"result": None}, {"result": {"b": 1}}, {"result": [1]}, {}])
def test_a_damaged_run_json_is_a_clear_error(tmp_path, damage):
    def build(result):
        return result["a"]

    identity = {"x": 1}
    assert finished_result(tmp_path, "kind", identity, build) is None
    write_run(tmp_path, "kind", {"finished": True, "identity": identity, "result": {"a": 5}})
    assert finished_result(tmp_path, "kind", identity, build) == 5
    write_run(tmp_path, "kind", {"finished": True, "identity": identity, **damage})
    with pytest.raises(EmoaugError, match="is damaged"):
        finished_result(tmp_path, "kind", identity, build)
    write_run(tmp_path, "kind", {"finished": True, "identity": [3]})
    with pytest.raises(EmoaugError, match="holds another run"):
        finished_result(tmp_path, "kind", identity, build)
    assert json.loads((tmp_path / "run.json").read_text()) == read_run(tmp_path, "kind")
