"""Work that is done elsewhere gives the same files, and its errors are clear; clusters are in ray_cluster.py."""

import sys

import pytest

from augment import engines
from augment.engines import EngineSettings, open_engine, patiently
from augment.generation import GenerateSettings, generate
from augment.plans import PlanSettings, build_plan
from augment.runs import FolderInUse
from augment.workers import do_all
from emoaug import EmoaugError
from tests.augment.tiny_translator import EXPRESSIONS, contents, draw_dataset, tiny_translator

CPU = GenerateSettings(device="cpu", threads=2, batch_size=32)


@pytest.fixture
def faces(tmp_path):
    return draw_dataset(tmp_path / "faces", {"happy": 9, "neutral": 6, "sad": 4})


def plan_for(faces):
    return build_plan(faces, EXPRESSIONS, PlanSettings(policy="per-class", count=25, strength=(0.5, 1.0)))


def test_faces_that_are_made_elsewhere_are_the_same_files(faces, tmp_path):
    plan, translator = plan_for(faces), tiny_translator(channels=24, mode="fickle")
    (faces.root / plan["file_name"][0]).write_bytes(b"no picture")
    generate(faces, translator, plan, tmp_path / "here", CPU, {})
    sizes = []

    def elsewhere(tasks, _, start, done):
        sizes.extend(len(task) for task in tasks if isinstance(task, list))
        do_all(tasks, 1, start, done)

    generate(faces, translator, plan, tmp_path / "elsewhere", CPU, {}, elsewhere)
    assert sizes == [2, 2, 1]  # chunks of 16 in what was asked for together, of 75 faces
    assert contents(tmp_path / "elsewhere") == contents(tmp_path / "here")


def test_a_run_begun_here_goes_on_elsewhere(faces, tmp_path):
    plan, translator, out = plan_for(faces), tiny_translator(mode="fickle"), tmp_path / "parts"
    generate(faces, translator, plan, tmp_path / "whole", CPU, {})

    def stopped(tasks, _, start, done):
        do_all(tasks[:1], 1, start, done)
        if isinstance(tasks[0], list):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(faces, translator, plan, out, CPU, {}, stopped)
    first = {path: path.stat().st_mtime_ns for path in out.glob("*/*.png")}
    assert len(first) == 32
    generate(faces, translator, plan, out, CPU, {}, lambda tasks, _, start, done: do_all(tasks, 1, start, done))
    assert first.items() <= {path: path.stat().st_mtime_ns for path in out.glob("*/*.png")}.items()
    assert contents(out) == contents(tmp_path / "whole")


def test_data_that_another_machine_does_not_see_is_no_rejected_face(faces, tmp_path):
    hidden = tmp_path / "hidden"

    def elsewhere(tasks, _, start, done):
        faces.root.rename(hidden)
        results = [start()(task) for task in tasks]
        hidden.rename(faces.root)
        for task, result in zip(tasks, results, strict=True):
            done(task, result)

    with pytest.raises(EmoaugError, match="can be read here and not where the faces are made"):
        generate(faces, tiny_translator(), plan_for(faces), tmp_path / "out", CPU, {}, elsewhere)


def test_a_task_waits_for_a_folder_that_a_lost_worker_still_holds(monkeypatch):
    found = [FolderInUse("another run is writing"), FolderInUse("another run is writing"), None]

    def work(task):
        if error := found.pop(0):
            raise error
        return 2 * task

    monkeypatch.setattr(engines.time, "sleep", lambda seconds: None)
    assert patiently(work, 3) == 6
    assert found == []
    monkeypatch.setattr(engines, "PATIENCE", -1)
    found = [FolderInUse("another run is writing")]
    with pytest.raises(FolderInUse):
        patiently(work, 3)


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EmoaugError, match=r'pip install "ray>=2.40"'), open_engine(EngineSettings("ray")):
        pass
    with open_engine(EngineSettings()) as engine:
        assert engine is None
