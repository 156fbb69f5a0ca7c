"""The demo, on a world of eight people."""

from dataclasses import replace

import pandas as pd

from pipelines.demo import DemoSettings, run_demo

SMALL = DemoSettings(
    people=8, size=32, steps=2, trial_steps=2, classifier_steps=3, simulated_per_class=2, workers=1,
    arms=("classical", "simulated", "lssl"),
)  # fmt: skip


def test_the_demo_goes_from_nothing_to_a_report(tmp_path, capsys):
    report = run_demo(tmp_path, SMALL)
    said = capsys.readouterr().out
    assert "Every face in this demo is rendered" in said
    assert "checked: all is well" in said
    assert report.stat().st_size > 10_000
    bigger = pd.read_csv(tmp_path / "bigger" / "metadata.csv")
    assert bigger.is_synthetic.sum() == 32 == (~bigger.is_synthetic).sum()


def test_a_demo_that_was_stopped_goes_on(tmp_path, capsys):
    small = replace(SMALL, arms=("classical", "simulated"))
    run_demo(tmp_path, small)
    picture = next((tmp_path / "bigger").glob("*/*.png"))
    before = picture.stat().st_mtime_ns
    (tmp_path / "gain" / "trials" / "fold0-seed0-all-classical.json").unlink()
    run_demo(tmp_path, replace(small, workers=2))
    assert picture.stat().st_mtime_ns == before
    assert (tmp_path / "gain" / "trials" / "fold0-seed0-all-classical.json").exists()
