"""The benchmarks of generation: the reference network, a small run of each, and the arithmetic of the comparison."""

import json
import resource
import sys
from pathlib import Path

import pytest
import torch

from augment.expressions import SEVEN
from benchmarks import generation, generation_memory, plans
from benchmarks.generation import WORKS, Options, built, compared, table
from benchmarks.machine import peak_memory
from benchmarks.stargan import StarGAN, StarGANSettings


def test_the_reference_has_the_published_layers():
    network = StarGAN(SEVEN[:5], StarGANSettings(128)).generator
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    # Choi et al. 2018, table 4, with five domains: (channels out, kernel, stride).
    expected = [(64, 7, 1), (128, 4, 2), (256, 4, 2), *[(256, 3, 1)] * 12, (128, 4, 2), (64, 4, 2), (3, 7, 1)]
    assert [(m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions] == expected
    assert convolutions[0].in_channels == 3 + 5
    # The weights of these convolutions, and two numbers a channel for every norm.
    weights = 49 * 8 * 64 + 16 * 64 * 128 + 16 * 128 * 256 + 12 * 9 * 256 * 256
    weights += 16 * 256 * 128 + 16 * 128 * 64 + 49 * 64 * 3
    norms = 2 * (64 + 128 + 256 + 12 * 256 + 128 + 64)
    assert sum(p.numel() for p in network.parameters()) == weights + norms == pytest.approx(8.4e6, rel=0.01)


def test_the_reference_changes_faces_of_any_size():
    for size in (32, 48):
        system = built("stargan", SEVEN, size)
        faces = torch.rand(2, 3, size, size) * 2 - 1
        happy, sad = (system.translate(faces, system.condition([name] * 2)) for name in ("happy", "sad"))
        assert happy.shape == faces.shape
        assert happy.abs().max() <= 1
        assert not torch.equal(happy, sad)


def test_systems_are_built_at_sizes_below_their_own():
    assert built("lssl:paper", SEVEN[:2], 64).size == 64
    assert built("cdaae", SEVEN, 32).size == 32


def test_speed_is_measured_and_written(tmp_path, capsys):
    out = tmp_path / "speed.json"
    generation.drawn(tmp_path / "faces", 32, 21)
    options = Options(
        out, ("lssl", "stargan"), (32,), ("32-true",), (0, 16), 1, "cpu", 0.01, 2, data=tmp_path / "faces"
    )
    generation.main(options)
    report = json.loads(out.read_text())
    assert {(r["system"], r["batch_size"]) for r in report["results"]} == {
        (name, batch) for name in ("lssl", "stargan") for batch in (0, 16)
    }
    for result in report["results"]:
        assert result["faces"] >= 32
        assert result["faces"] % 16 == 0
        assert all(len(result["seconds"][work]) == 2 for work in WORKS)
        assert min(result["pictures_a_second"].values()) > 0
        # The whole contains each of its halves.
        assert result["whole_to_slower_half"] > 0.5
    assert report["machine"]["torch"] == torch.__version__
    assert capsys.readouterr().out.count("| stargan | 32 |") == 2


def test_systems_are_set_beside_the_reference_of_the_same_repetition():
    def result(system, faces, network, size=64):
        seconds = {work: [1.0, 1.0, 1.0] for work in WORKS} | {"network": network}
        return {
            "system": system,
            "size": size,
            "precision": "32-true",
            "batch_size": 0,
            "faces": faces,
            "seconds": seconds,
            "pictures_a_second": dict.fromkeys(WORKS, 1.0),
            "whole_to_slower_half": 1.0,
            "whole_to_slower_half_core_seconds": 1.0,
        }

    fast = result("lssl", 200, [1.0, 2.0, 1.0])
    results = compared([fast, result("stargan", 100, [4.0, 8.0, 1.0]), result("lssl", 10, [1.0] * 3, size=128)])
    # In the first two repetitions four times as long for half as many faces, in the last as long.
    assert fast["times_stargan"] == {"network": 8.0, "whole": 2.0}
    assert "times_stargan" not in results[2]
    assert table(results).splitlines()[2].endswith("| 1.00 | 1.00 | 8.0 | 2.0 |")


def test_memory_is_measured_over_a_whole_generation(tmp_path):
    generation.drawn(tmp_path / "faces", generation_memory.TINY.size, 30)
    found = generation_memory.measure(tmp_path, 40, 1)
    assert found["faces"] == 40
    assert 0 < found["before"] <= found["peak"] <= found["verified"] <= peak_memory()
    rows = generation_memory.table([found, found | {"faces": 80, "peak": 2 * found["peak"]}]).splitlines()
    assert rows[3].startswith("| 80 |")
    assert "| 2.000 |" in rows[3]


def test_peak_memory_is_in_mebibytes():
    # The system's own word is the same or, on Linux, that of a parent that had more.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    assert 50 < peak_memory() <= most + 1


def test_large_plans_are_carried_out_on_paper(tmp_path):
    found = plans.measure(Path(tmp_path), 300, 50)
    assert found["rows"] == 300
    assert {"build", "begin", "resume", "tables", "verify", "read"} <= set(found)
    assert plans.table([found]).count("\n") == 2
