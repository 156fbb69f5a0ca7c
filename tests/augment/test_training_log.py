import json
import math

import pytest

from augment.training_log import doubt


def logged(path, **terms):
    """Forty records of which the last eight have these terms."""
    lines = [{"step": 50 * i, "change": 0.1, "attribute": 0.0} | (terms if i > 32 else {}) for i in range(1, 41)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("change", [0.0, 0.0049])
def test_faces_that_hardly_change_are_in_doubt_whatever_is_read_off_them(tmp_path, change):
    assert "hardly change" in doubt(logged(tmp_path / "log", change=change, attribute=0.0), ("happy", "sad"))


@pytest.mark.parametrize(
    ("change", "share", "found"),
    [(0.015, 1.0, True), (0.015, 0.95, True), (0.015, 0.8, False), (0.03, 1.2, False)],
)
def test_small_changes_are_in_doubt_where_nothing_is_read_off_them(tmp_path, change, share, found):
    log = logged(tmp_path / "log", change=change, attribute=share * math.log(4))
    said = doubt(log, ("happy", "sad", "angry", "neutral"))
    assert (said is not None) == found
    assert not found or "1.39" in said


def test_only_the_end_of_the_training_counts(tmp_path):
    log = logged(tmp_path / "log", change=0.001)
    first, *others = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*reversed(others), json.dumps(json.loads(first) | {"step": 2050}) + "\n"]))
    assert doubt(log, ("happy", "sad")) is None


def test_measured_strengths_are_no_classes_to_guess(tmp_path):
    log = logged(tmp_path / "log", change=0.015, attribute=5.0)
    assert doubt(log, ("mouthSmile", "jawOpen")) is None
    assert doubt(log, ("happy", "sad")) is not None


def test_a_log_without_these_terms_or_records_gives_no_reason(tmp_path):
    (tmp_path / "log").write_text('{"step": 500, "critic": 1.0}\n')
    assert doubt(tmp_path / "log", ("happy", "sad")) is None
    (tmp_path / "log").write_text("")
    assert doubt(tmp_path / "log", ("happy", "sad")) is None


def test_a_short_training_is_told_of_whatever_it_shows(tmp_path):
    terms = {"change": 0.1, "attribute": 0.0}
    (tmp_path / "log").write_text("".join(json.dumps({"step": step} | terms) + "\n" for step in (50, 100, 120)))
    for names in (("happy", "sad"), ("mouthSmile", "jawOpen")):
        assert doubt(tmp_path / "log", names).startswith("120 steps show how a training begins")
