"""What became of a plan's rows: the latest word counts, and what is not there any more is as if never done."""

import hashlib
import json

import numpy as np
import pytest

from augment.generation_record import Made, Outcomes, Record, stamp_of


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_outcomes_are_found_by_row_whatever_the_order_of_the_plan():
    found = Outcomes(np.array([40, 7, 23]))
    assert found.places([7, 40, 8, 23, 99]).tolist() == [1, 0, -1, 2, -1]
    found.add([Made(23, digest("c"), digest("source"), (30, 20)), Made(40, rejected="no", detail="because")])
    assert found.made.tolist() == [False, False, True]
    assert found.done.tolist() == [True, False, True]
    assert (found.file_sha256(2), found.source_sha256(2)) == (digest("c"), digest("source"))
    assert found.source_sizes.tolist() == [[0, 0], [0, 0], [30, 20]]
    assert found.rejected == {0: ("no", "because")}


def test_the_latest_word_on_a_row_counts():
    found = Outcomes(np.arange(2))
    found.add([Made(0, rejected="no", detail="because"), Made(1, digest("a"), digest("s"))])
    found.add([Made(0, digest("b"), digest("t")), Made(1)])
    assert (found.made.tolist(), found.rejected) == ([True, False], {})
    assert found.file_sha256(0) == digest("b")


@pytest.mark.parametrize("text", ["", "xyz", "ab", digest("a")[:-2], digest("a") + "00"])
def test_a_row_whose_hash_is_none_is_not_done(text):
    found = Outcomes(np.arange(1))
    found.add([Made(0, text, digest("s"))])
    assert not found.done.any()


def test_a_plan_without_rows_has_no_places():
    assert Outcomes(np.arange(0)).places([3]).tolist() == [-1]


def test_what_a_record_says_is_believed_as_far_as_the_pictures_are_there(tmp_path):
    for name in ("same", "changed"):
        (tmp_path / name).write_text(name)
    names = ["same", "changed", "gone", "rejected", "mended", "lost"]
    record = Record(tmp_path / "done.jsonl")
    stamp = stamp_of(tmp_path / "same")
    record.append([Made(10, digest("same"), digest("s"), stamp=stamp), Made(11, digest("before"), digest("s"))])
    record.append([Made(12, digest("gone"), digest("s")), Made(13, rejected="no", detail="why")])
    # Once it could not be read, then it was made; the other was made after it had been rejected, and is gone.
    record.append([Made(14, rejected="no"), Made(15, rejected="no"), Made(99, digest("x"), digest("s"))])
    (tmp_path / "mended").write_text("mended")
    record.append([Made(14, digest("mended"), digest("s")), Made(15, digest("lost"), digest("s"))])
    found = record.outcomes(np.arange(10, 16), lambda place: f"{tmp_path}/{names[place]}", threads=1)
    assert [names[place] for place in np.flatnonzero(found.done)] == ["same", "rejected", "mended"]
    assert found.rejected == {3: ("no", "why")}


@pytest.mark.parametrize("line", [[1], [[1, 2]], {"row": 1}, [["x", "", "", [0, 0], "", "", [0, 0]]], "text", 3])
def test_a_line_that_is_no_record_is_passed_over(tmp_path, line):
    record = Record(tmp_path / "done.jsonl")
    (tmp_path / "done.jsonl").write_text(json.dumps(line) + "\n")
    record.append([Made(0, rejected="no")])
    assert list(record.read()) == [Made(0, rejected="no")]
