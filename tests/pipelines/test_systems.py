"""What `emoaug systems` says of the systems."""

import json
import time

import pytest
import torch

from augment.devices import make_fabric
from augment.expressions import SEVEN
from augment.systems import SYSTEMS
from pipelines.cli import main
from pipelines.systems import describe, pictures_per_second


@pytest.fixture(scope="module")
def rows():
    return {row["name"]: row for row in describe(speed=False)}


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_parameters_are_those_of_a_translator_that_is_built(name, rows):
    row = rows[name]
    compact = SYSTEMS[name].configurations["compact"]
    translator = SYSTEMS[name](SEVEN, compact)
    saved = [
        t for m in translator.averaged_modules().values() for t in m.state_dict().values() if t.is_floating_point()
    ]
    counted = row["configurations"]["compact"]
    assert counted["parameters"] == sum(t.numel() for t in saved)
    assert counted["size"] == compact.size
    assert counted["trained"] >= sum(p.numel() for p in translator.parameters()) > 0
    assert row["configurations"]["paper"]["parameters"] > counted["parameters"]


def test_the_command_names_every_system_with_paper_needs_and_abilities(capsys, tmp_path):
    assert main(["systems", "--no-speed", "--json", str(tmp_path / "systems.json")]) == 0
    said, rows = capsys.readouterr().out, json.loads((tmp_path / "systems.json").read_text())
    assert [row["name"] for row in rows] == list(SYSTEMS)
    for row in rows:
        assert row["paper"] in said
        assert row["needs"] in said
        assert ", ".join(row["abilities"]) in said
        assert "pictures_per_second" not in row
    assert {a for row in rows for a in row["abilities"]} == {"translate", "sample", "recombine", "blends"}


def test_pictures_a_second_are_counted_by_the_clock():
    class Slow:
        size, condition_names = 8, ("a", "b")

        def condition(self, names):
            return torch.zeros(len(names), 2)

        def translate(self, faces, condition):
            time.sleep(0.02)

    speed = pictures_per_second(Slow(), make_fabric("cpu", "32-true"), seconds=0.2, batch=4)
    assert speed == pytest.approx(4 / 0.02, rel=0.3)


def test_speed_is_measured_for_every_system_that_is_listed(monkeypatch):
    monkeypatch.setattr("pipelines.systems.SPEED_SIZE", 32)
    assert all(row["pictures_per_second"] > 0 for row in describe(seconds=0.01))
