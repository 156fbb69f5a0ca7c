"""The benchmark of the local regressions: both sides solve the same."""

import json

import numpy as np

from benchmarks.regression import Options, main, plain_ridge


def test_the_plain_loop_finds_a_linear_change():
    sources = np.random.default_rng(0).random((4000, 3, 3))
    weights = plain_ridge(sources, 0.5 * sources + 0.1, 1)
    np.testing.assert_allclose(weights[0], 0.5, atol=0.01)
    np.testing.assert_allclose(weights[1], 0.1, atol=0.01)


def test_both_sides_agree_and_are_timed(tmp_path, capsys):
    main(Options(tmp_path / "r.json", size=12, pairs=20, sides=(1, 3), repeat=1))
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert [row["side"] for row in rows] == [1, 3]
    assert all(row["largest_difference"] < 1e-9 and row["times_faster"] > 0 for row in rows)
    assert "| 3 |" in capsys.readouterr().out
