"""Generation by recombination: the exemplar itself is shown, the same bytes however it is run, and it is said whose."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from augment import generation
from augment.exemplar_plans import suitable_plan
from augment.generation import generate
from augment.pictures import encode_png, read_picture
from augment.plans import PlanSettings, build_plan
from augment.verification import verify
from augment.workers import do_all
from tests.augment.tiny_translator import (
    CPU,
    EXPRESSIONS,
    Recombiner,
    contents,
    draw_dataset,
    draw_face,
    tiny_translator,
)


@pytest.fixture
def faces(tmp_path):
    return draw_dataset(tmp_path / "faces", {"happy": 9, "neutral": 6, "sad": 4})


@pytest.fixture
def recombiner():
    return tiny_translator(kind=Recombiner)


def plan_for(faces, translator, count=9):
    return suitable_plan(faces, translator, EXPRESSIONS, PlanSettings("per-class", count=count))


def made_rows(out):
    return pd.read_csv(out / "metadata.csv").query("is_synthetic").reset_index(drop=True)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def other_picture(faces, name):
    """Another picture in the place of a face."""
    (faces.root / name).write_bytes(encode_png(draw_face("neutral", 77)))


def test_pictures_are_what_the_system_makes_of_source_and_exemplar(faces, recombiner, tmp_path):
    plan, out = plan_for(faces, recombiner), tmp_path / "out"
    generate(faces, recombiner, plan, out, CPU, {"data": str(faces.root)})
    rows = made_rows(out)
    assert rows.exemplar_file.tolist() == plan.exemplar_file.tolist()
    for row in rows.itertuples():
        pictures = [read_picture(faces.root / name) for name in (row.source_file, row.exemplar_file)]
        face, look = (torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in pictures)
        with torch.no_grad():
            expected = recombiner.eval().recombine(face, look)[0].permute(1, 2, 0).numpy() * 127.5 + 127.5
        if (pictures[0] == pictures[0][..., :1]).all():
            expected = np.repeat((expected @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
        assert np.abs(read_picture(out / row.file_name) - expected).max() <= 1.01
        assert sha256(faces.root / row.exemplar_file) == row.exemplar_sha256
        assert sha256(faces.root / row.source_file) == row.source_sha256
        assert row.exemplar_file.startswith(f"{row.label}/")
        assert row.condition == f'{{"{row.label}": 1.0}}'
    assert verify(out).problems == ()
    assert verify(out).sources_checked == len(rows) + len(faces)


def test_a_plan_without_exemplars_is_translated(faces, recombiner, tmp_path):
    plan = build_plan(faces, EXPRESSIONS, PlanSettings("per-class", count=4, strength=(0.5, 1.0)))
    for translator, out in ((recombiner, "one"), (tiny_translator(), "other")):
        generate(faces, translator, plan, tmp_path / out, CPU, {})
    one, other = made_rows(tmp_path / "one"), made_rows(tmp_path / "other")
    assert one.file_sha256.tolist() == other.file_sha256.tolist()
    assert "exemplar_sha256" not in one


def test_bytes_do_not_depend_on_batch_size_threads_place_or_other_rows(faces, tmp_path):
    translator = tiny_translator(kind=Recombiner, channels=24, mode="fickle")
    plan = plan_for(faces, translator, count=21)
    (faces.root / plan["exemplar_file"][0]).write_bytes(b"no picture")
    generate(faces, translator, plan, tmp_path / "reference", CPU, {})
    reference = contents(tmp_path / "reference")
    del reference["run.json"]  # says batch size and threads
    for number, (batch_size, threads, engine) in enumerate([(1, 1, None), (40, 3, None), (32, 2, elsewhere)]):
        out = tmp_path / f"other{number}"
        generate(faces, translator, plan, out, replace(CPU, batch_size=batch_size, threads=threads), {}, engine)
        other = contents(out)
        del other["run.json"]
        assert other == reference
    generate(faces, translator, plan[plan.row % 3 == 1], tmp_path / "part", CPU, {})
    whole, part = made_rows(tmp_path / "reference").set_index("file_name"), made_rows(tmp_path / "part")
    assert part.file_sha256.tolist() == whole.file_sha256[part.file_name].tolist()


def elsewhere(tasks, _, start, done):
    do_all(tasks, 1, start, done)


def test_a_face_whose_exemplar_cannot_be_read_is_rejected(faces, recombiner, tmp_path):
    plan = plan_for(faces, recombiner)
    gone = plan.exemplar_file[0]
    (faces.root / gone).unlink()
    summary = generate(faces, recombiner, plan, tmp_path / "out", replace(CPU, include_real="no"), {})
    lost = plan[(plan.exemplar_file == gone) | (plan.file_name == gone)]
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv")
    assert rejected.row.tolist() == lost.row.tolist()
    assert summary.rejected["exemplar could not be read"] == (lost.file_name != gone).sum() > 0
    assert rejected.reason.str.contains(gone, regex=False).all()
    assert summary.made == len(plan) - len(lost)


def test_the_hash_of_an_exemplar_is_of_what_was_shown_when_the_face_was_made(faces, recombiner, tmp_path, monkeypatch):
    # Of many sources some are looked at when a run goes on; this is about the others.
    monkeypatch.setattr(generation, "SOURCES_CHECKED", 1)
    plan, out = plan_for(faces, recombiner, count=16), tmp_path / "out"
    settings = replace(CPU, batch_size=16, include_real="no")

    def stopped(tasks, _, start, done):
        do_all(tasks[:1], 1, start, done)
        if isinstance(tasks[0], list):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(faces, recombiner, plan, out, settings, {"data": str(faces.root)}, stopped)
    # Sixteen faces are made; one of their exemplars is exchanged, and also a source of some that are not made yet.
    exchanged = plan.exemplar_file[0]
    before = sha256(faces.root / exchanged)
    other_picture(faces, exchanged)
    generate(faces, recombiner, plan, out, settings, {"data": str(faces.root)})
    rows = made_rows(out)
    shown = (rows.exemplar_file == exchanged) & (rows.index < 16)
    assert shown.any()
    assert set(rows.exemplar_sha256[shown]) == {before}
    later = (rows.source_file == exchanged) & (rows.index >= 16)
    assert set(rows.source_sha256[later]) == {sha256(faces.root / exchanged)}
    problems = [text for text in verify(out).problems if f"exemplar {exchanged} has changed" in text]
    assert len(problems) == shown.sum()
    (faces.root / exchanged).unlink()
    assert verify(out).sources_missing == ((rows.exemplar_file == exchanged) | (rows.source_file == exchanged)).sum()
