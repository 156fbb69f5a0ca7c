"""Whom the benchmark of recombination holds out, which pairs it asks, and how it counts."""

import json
from pathlib import Path

import pytest
import torch

from augment.folders import read_faces
from augment.identity import IdentityEmbedding, evened
from augment.pictures import encode_png, write_bytes
from benchmarks.recombination import Options, hold_out_of, main, pairs_of, shares
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset


def test_held_out_people_test_and_everybody_else_trains_labelled_or_not(tmp_path):
    drawn = draw_dataset(tmp_path, subjects=6)
    write_bytes(tmp_path / "unlabelled" / "more.png", encode_png(drawn.picture(0)))
    with (tmp_path / "metadata.csv").open("a") as table:
        table.write("unlabelled/more.png,,\n")
    faces = hold_out_of(read_faces(tmp_path, unlabelled=True), 2, 0)
    tested = set(faces.table.subject[faces.table.split == "test"])
    assert len(faces) == 13
    assert len(tested) == 2
    assert set(faces.table.subject.dropna()[faces.table.split == "train"]).isdisjoint(tested)
    assert faces.table.split[faces.table.label.isna()].tolist() == ["train"]


def test_every_two_faces_of_different_people_are_a_pair():
    one, other = pairs_of(torch.tensor([0, 0, 1, 2]))
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == [
        *((0, 2), (0, 3), (1, 2), (1, 3)),
        *((2, 0), (2, 1), (2, 3), (3, 0), (3, 1), (3, 2)),
    ]


def test_shares_count_who_is_nearer_and_what_is_shown():
    torch.manual_seed(0)
    faces = torch.rand(4, 3, 24, 24) * 2 - 1
    pixels = evened(faces)
    who = IdentityEmbedding(torch.eye(pixels.shape[1]), torch.zeros(pixels.shape[1]))
    labels = torch.tensor([0, 1, 0, 1])
    rows = torch.tensor([0, 0, 1, 2]), torch.tensor([2, 3, 3, 1])
    # Kept, taken from the attribute face, kept, kept.
    made = faces[[0, 3, 1, 2]]

    def judge(asked: torch.Tensor) -> torch.Tensor:
        same = (asked[:, None] == faces[None]).all((2, 3, 4)).float().argmax(1)
        return torch.eye(2)[labels[same]]

    found = shares(made, rows, faces, labels, judge, who)
    assert found["nearer_to_identity_face"] == 0.75
    assert found["nearer_where_expressions_differ"] == 0.5
    assert found["takes_expression"] == 0.75
    assert found["takes_expression_where_they_differ"] == 0.5
    assert (found["pairs"], found["pairs_where_expressions_differ"]) == (4, 2)
    changed = (faces[0] - faces[3]).abs().mean().item() / 4
    assert found["mean_change"] == pytest.approx(changed)


def test_figures_and_sheet_are_written_and_a_face_as_it_is_keeps_its_person(tmp_path, capsys):
    draw_dataset(tmp_path / "faces", subjects=8)
    out = tmp_path / "out"
    main(Options(tmp_path / "faces", out, hold_out=3, steps=2, batch_size=4, judge_steps=4))
    facts = json.loads((out / "recombination.json").read_text())
    assert facts["people"] == 3
    assert facts["recombined"]["pairs"] == 24
    assert facts["identity_face_as_it_is"]["nearer_to_identity_face"] == 1
    assert facts["identity_face_as_it_is"]["mean_change"] == 0
    assert facts["recombined"]["mean_change"] > 0
    directions = facts["takes_expression_by_direction"]
    assert set(directions) == {f"{a} > {b}" for a in ("neutral", "happy") for b in ("neutral", "happy")}
    # Each direction has as many pairs.
    assert sum(directions.values()) / 4 == pytest.approx(facts["recombined"]["takes_expression"])
    assert "takes_expression_where_they_differ" in capsys.readouterr().out
    assert Path(out / "recombination.png").stat().st_size > 0


def test_a_system_that_does_not_recombine_is_an_error(tmp_path):
    draw_dataset(tmp_path, subjects=4)
    with pytest.raises(EmoaugError, match="lssl does not recombine"):
        main(Options(tmp_path, tmp_path / "out", hold_out=2, system="lssl"))
