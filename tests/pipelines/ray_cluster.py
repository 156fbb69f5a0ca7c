"""A Ray cluster of two machines (on this one), of which one is lost in the middle; run by test_ray.py."""

import os
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from augment import engines
from augment.checkpoints import checkpoint_sha256
from augment.engines import EngineSettings, open_engine, private_ray
from augment.generation import GenerateSettings, generate
from augment.plans import PlanSettings, build_plan
from augment.training import Trainer
from emoaug import EmoaugError
from pipelines.gain import run_gain
from tests.augment.tiny_translator import EXPRESSIONS, TinySettings, TinyTranslator, contents, draw_dataset
from tests.drawn_dataset import draw_dataset as draw_people
from tests.pipelines.test_gain import SCORES, SETTINGS

with private_ray():
    import ray


@pytest.mark.parametrize(("address", "reason"), [("127.0.0.1:9", "refused"), ("nowhere", "invalid")])
def test_a_cluster_that_is_not_there_is_one_line(address, reason):
    said = pytest.raises(EmoaugError, match=f"no Ray cluster at {address} .*{reason}")
    with said, open_engine(EngineSettings("ray", address)):
        pass


def begun(begin, **arguments):
    """Begin a machine; again where it was given up, because a busy computer took more than Ray allows, 30 s."""
    for _ in range(3):
        with suppress(Exception), private_ray():
            return begin(**arguments)
    with private_ray():
        return begin(**arguments)


@pytest.fixture(scope="module")
def cluster():
    """A cluster with one machine; tests add another."""
    from ray.cluster_utils import Cluster

    cluster = begun(Cluster, initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def engine(cluster):
    with open_engine(EngineSettings("ray", cluster.address), "cpu") as engine:
        yield engine


@pytest.fixture
def second(cluster):
    """The other machine."""
    node = begun(cluster.add_node, num_cpus=1)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


def losing(cluster, node, engine, of):
    """An engine that loses a machine after the first result of so many tasks or more."""

    def do(tasks, workers, start, done):
        def noted(task, result):
            if len(tasks) >= of and node in cluster.worker_nodes:
                cluster.remove_node(node, allow_graceful=False)
            done(task, result)

        engine(tasks, workers, start, noted)

    return do


class Doomed(TinyTranslator):
    """Never finishes on one machine, and begins on others when it has begun there."""

    machine = ""
    log = Path()

    def translate(self, faces, condition):
        if self.machine:
            here, end = ray.get_runtime_context().get_node_id(), time.monotonic() + 300
            with self.log.open("a") as file:
                file.write(here + "\n")
            while here == self.machine or self.machine not in self.log.read_text():
                assert time.monotonic() < end
                time.sleep(0.02)
        return super().translate(faces, condition)


def test_a_generation_that_loses_a_machine_gives_the_same_folder(cluster, second, engine, tmp_path):
    faces = draw_dataset(tmp_path / "faces", {"happy": 9, "neutral": 6, "sad": 4})
    plan = build_plan(faces, EXPRESSIONS, PlanSettings(policy="per-class", count=64, strength=(0.5, 1.0)))
    settings = GenerateSettings(device="cpu", batch_size=16)
    translator = Doomed(EXPRESSIONS, TinySettings(mode="fickle"))
    generate(faces, translator, plan, tmp_path / "here", settings, {})
    translator.machine, translator.log = second.node_id, tmp_path / "log"
    generate(faces, translator, plan, tmp_path / "cluster", settings, {}, losing(cluster, second, engine, 12))
    begun = translator.log.read_text().split()
    # Twelve tasks were finished by the one machine, and one of them had been begun by the other.
    assert (begun.count(second.node_id), len(begun)) == (1, 13)
    assert contents(tmp_path / "cluster") == contents(tmp_path / "here")


def make_doomed(start, machine: str, log: Path):
    """Work that hangs in the middle of a training on one machine, and begins on others when it hangs there."""
    work, here = start(), ray.get_runtime_context().get_node_id()

    def hang(trainer):
        log.touch()
        time.sleep(120)

    if here == machine:
        Trainer._one_step = hang

    def do(task):
        end = time.monotonic() + 300
        while here != machine and not log.exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        return work(task)

    return do


def test_gain_that_loses_a_machine_has_the_same_trials_and_trains_each_system_once(cluster, second, engine, tmp_path):
    faces = draw_people(tmp_path / "drawn", subjects=8)
    settings = replace(SETTINGS, arms=("classical", "lssl", "mixup+lssl"))
    here = run_gain(faces, tmp_path / "here", settings)

    def doomed(tasks, workers, start, done):
        losing(cluster, second, engine, 2)(
            tasks, workers, partial(make_doomed, start, second.node_id, tmp_path / "log"), done
        )

    there = run_gain(faces, tmp_path / "there", replace(settings, workers=0), None, doomed)
    assert second not in cluster.worker_nodes
    assert there[SCORES].equals(here[SCORES])
    names = [sorted(str(p.relative_to(out)) for p in out.rglob("*")) for out in (tmp_path / "here", tmp_path / "there")]
    assert names[0] == names[1]
    for path in (tmp_path / "here" / "trials").glob("*.npz"):
        with np.load(path) as one, np.load(tmp_path / "there" / "trials" / path.name) as other:
            assert all(np.array_equal(one[name], other[name]) for name in one)
    systems = sorted(path.name for path in (tmp_path / "there" / "systems").iterdir())
    assert systems == ["fold0-seed0-all-lssl", "fold1-seed0-all-lssl"]
    for name in systems:
        assert checkpoint_sha256(tmp_path / "here" / "systems" / name) == checkpoint_sha256(
            tmp_path / "there" / "systems" / name
        )


def make_mishap(kind: str, marker: Path):
    def work(number: int) -> tuple[int, str]:
        if number == 2 and kind == "error":
            raise EmoaugError("two is not allowed")
        if number == 2 and kind == "killed" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
        return number * number, str(Path.cwd())

    return work


def make_place():
    return lambda number: ray.get_runtime_context().get_node_id()


def test_tasks_go_where_the_gpus_are(cluster, engine):
    settings, places = EngineSettings("ray", cluster.address), {}
    with pytest.raises(EmoaugError, match="has no GPU"), open_engine(settings, "cuda"):
        pass
    # It says so, and a task that asks for none of its kernels need not know better.
    other = begun(cluster.add_node, num_cpus=1, num_gpus=1)
    with open_engine(settings, "auto") as with_gpus:
        with_gpus(range(3), 0, make_place, places.__setitem__)
    cluster.remove_node(other, allow_graceful=False)
    assert set(places.values()) == {other.node_id}


def test_a_lost_worker_loses_no_task_and_errors_arrive_as_they_are(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = {}
    engine(range(6), 0, partial(make_mishap, "killed", tmp_path / "killed"), results.__setitem__)
    assert (tmp_path / "killed").exists()
    assert results == {i: (i * i, str(tmp_path)) for i in range(6)}
    with pytest.raises(EmoaugError, match=r"^two is not allowed$"):
        engine(range(6), 1, partial(make_mishap, "error", tmp_path), results.__setitem__)
    monkeypatch.setattr(engines, "_versions", lambda: {"emoaug": "0.0.1"})
    with pytest.raises(EmoaugError, match=r"there is emoaug 0\.0\.1; install the same on all machines"):
        engine(range(6), 0, partial(make_mishap, "fine", tmp_path), results.__setitem__)
