"""Generation: the same bytes however it is run, nothing lost, nothing overwritten, everything accounted for."""

import fcntl
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from augment.checkpoints import weights_sha256
from augment.exemplar_plans import ExemplarSettings, build_exemplar_plan
from augment.folders import read_faces
from augment.generation import GenerateSettings, generate
from augment.generation_folder import csv_pieces, picture_names
from augment.generation_record import Made, Record
from augment.generation_work import Job
from augment.measured_conditions import fit_scale
from augment.pictures import contact_sheet, encode_png, fit, read_picture
from augment.plans import PlanSettings, build_plan
from augment.verification import verify_folder
from emoaug import EmoaugError
from tests.augment.expression_transforms import small_lssl
from tests.augment.tiny_translator import (
    EXPRESSIONS,
    Mover,
    TinySettings,
    contents,
    draw_dataset,
    draw_face,
    run_generation,
    tiny_translator,
)
from tests.drawn_dataset import draw_dataset as draw_measured

CPU = GenerateSettings(device="cpu", threads=2)


@pytest.fixture
def faces(tmp_path):
    return draw_dataset(tmp_path / "faces", {"happy": 9, "neutral": 6, "sad": 4})


def plan_for(faces, count=9, **more):
    return build_plan(faces, EXPRESSIONS, PlanSettings(policy="per-class", count=count, strength=(0.5, 1.0), **more))


def table(out):
    return pd.read_csv(out / "metadata.csv")


def test_every_row_of_the_plan_has_its_picture_and_its_provenance(faces, tmp_path):
    translator, plan, out = tiny_translator(), plan_for(faces), tmp_path / "out"
    summary = generate(faces, translator, plan, out, CPU, {"command": "test"})
    rows = table(out)
    made = rows[rows["is_synthetic"]].reset_index(drop=True)
    assert summary.made == len(made) == len(plan) == 27
    assert made["label"].tolist() == plan["target"].tolist()
    assert made["source_file"].tolist() == plan["file_name"].tolist()
    assert made["source_label"].tolist() == plan["source_label"].tolist()
    assert made["seed"].astype("int64").tolist() == plan["seed"].tolist()
    assert made["condition"].tolist() == plan["condition"].tolist()
    assert made["subject"].tolist() == plan["subject"].tolist()
    assert set(made["split"]) == {"train"}
    assert set(made["system"]) == {"tiny"}
    assert set(made["checkpoint_sha256"]) == {weights_sha256(translator)}
    for row in rows.itertuples():
        assert hashlib.sha256((out / row.file_name).read_bytes()).hexdigest() == row.file_sha256
        assert hashlib.sha256((faces.root / row.source_file).read_bytes()).hexdigest() == row.source_sha256
        assert row.file_name.split("/")[0] == row.label
    on_disk = {str(p.relative_to(out)) for p in out.glob("*/*")}
    assert on_disk == set(rows["file_name"])
    assert {p.name for p in out.iterdir() if p.is_file()} == {
        "metadata.csv",
        "plan.csv",
        "run.json",
        "contact_sheet.png",
    }


def test_the_pictures_are_what_the_network_gives(faces, tmp_path):
    translator, plan, out = tiny_translator(), plan_for(faces), tmp_path / "out"
    generate(faces, translator, plan, out, CPU, {})
    made = table(out).query("is_synthetic")
    for row, name in zip(plan.itertuples(), made["file_name"], strict=True):
        source = faces.picture(row.source_index)
        face = torch.from_numpy(source.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        wanted = torch.tensor([[json.loads(row.condition).get(n, 0.0) for n in EXPRESSIONS]])
        with torch.no_grad():
            expected = translator.eval().translate(face, wanted)[0].permute(1, 2, 0).numpy() * 127.5 + 127.5
        if (source == source[..., :1]).all():
            expected = np.repeat((expected @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
        got = read_picture(out / name)
        assert np.abs(got - expected).max() <= 1.01  # rounding of the pixel, and of the grey value


def test_grey_sources_give_grey_files(faces, tmp_path):
    out = tmp_path / "out"
    generate(faces, tiny_translator(), plan_for(faces), out, CPU, {})
    channels = {True: set(), False: set()}
    for row in table(out).query("is_synthetic").itertuples():
        source = faces.root / row.source_file
        number = int(source.stem.removeprefix("face"))
        channels[number % 3 == 0].add((out / row.file_name).read_bytes()[25])  # PNG's colour type
    assert channels == {True: {0}, False: {2}}


@pytest.mark.parametrize("mode", ["conv", "fickle"])
@pytest.mark.parametrize(("batch_size", "threads", "torch_threads"), [(1, 1, 1), (5, 3, 2), (64, 8, 2)])
def test_bytes_do_not_depend_on_batch_size_or_threads(faces, tmp_path, batch_size, threads, torch_threads, mode):
    plan, before = plan_for(faces, count=21), torch.get_num_threads()
    translator = tiny_translator(channels=24, mode=mode)
    generate(faces, translator, plan, tmp_path / "reference", CPU, {})
    try:
        torch.set_num_threads(torch_threads)
        settings = replace(CPU, batch_size=batch_size, threads=threads)
        generate(faces, translator, plan, tmp_path / "other", settings, {})
        assert torch.get_num_threads() == torch_threads
    finally:
        torch.set_num_threads(before)
    reference, other = contents(tmp_path / "reference"), contents(tmp_path / "other")
    for files in (reference, other):
        del files["run.json"]  # says batch size and threads
    assert reference == other


def test_bytes_do_not_depend_on_which_other_rows_are_made(faces, tmp_path):
    plan, translator = plan_for(faces, count=21), tiny_translator(channels=24, mode="fickle")
    generate(faces, translator, plan, tmp_path / "whole", CPU, {})
    generate(faces, translator, plan[plan["row"] % 3 == 1], tmp_path / "part", CPU, {})
    whole, part = table(tmp_path / "whole"), table(tmp_path / "part").query("is_synthetic")
    assert len(part) == 21
    expected = whole.set_index("file_name")["file_sha256"]
    assert part["file_sha256"].tolist() == expected[part["file_name"]].tolist()


def test_killed_at_any_moment_and_taken_up_again_gives_the_same_folder(tmp_path):
    draw_dataset(tmp_path / "faces", {"happy": 9, "neutral": 6, "sad": 4})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.augment.tiny_translator"])

    def start(out):
        process = context.Process(target=run_generation, args=(tmp_path / "faces", tmp_path / out, 160, "fickle"))
        process.start()
        return process

    def pictures():
        return len(list((tmp_path / "parts").glob("*/*.png")))

    whole = start("whole")
    whole.join()
    assert whole.exitcode == 0

    # How long a run takes depends on what else the machine does; how far it is does not.
    moments, stopped_midway = random.Random(5), 0
    for share in sorted(moments.uniform(-0.2, 0.9) for _ in range(8)):
        process = start("parts")
        while process.is_alive() and pictures() < share * 480:
            time.sleep(0.001)
        process.join(moments.uniform(0.0, 0.03))
        process.kill()
        process.join()
        stopped_midway += process.exitcode == -9 and 0 < pictures() < 480
    last = start("parts")
    last.join()
    assert last.exitcode == 0
    assert stopped_midway > 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_torn_record_and_lost_or_damaged_pictures_are_made_again(faces, tmp_path):
    plan, translator = plan_for(faces, count=21), tiny_translator(mode="fickle")
    generate(faces, translator, plan, tmp_path / "whole", CPU, {})
    out = tmp_path / "torn"
    generate(faces, translator, plan, out, CPU, {})
    rows = table(out).query("is_synthetic").reset_index(drop=True)
    record = Record(out / "done.jsonl")
    record.append([Made(r, rows["file_sha256"][r], rows["source_sha256"][r], (24, 24)) for r in range(32)])
    with record.path.open("ab") as file:
        file.write(b'[{"row": 32, "file_sha2')
    (out / rows["file_name"][3]).unlink()
    (out / rows["file_name"][20]).write_bytes(b"not what was written")
    (out / rows["file_name"][40]).unlink()
    (out / "happy" / f".{'a' * 32}.tmp").write_bytes(b"half a pict")
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**run, "finished": False}))
    generate(faces, translator, plan, out, CPU, {})
    assert contents(out) == contents(tmp_path / "whole")


def test_the_record_goes_on_after_a_torn_line(tmp_path):
    record = Record(tmp_path / "done.jsonl")
    record.append([Made(0, "a", "b", (4, 5))])
    with record.path.open("ab") as file:
        file.write(b'[{"row": 1')
    record.append([Made(2, "c", "d", (4, 5))])
    assert list(record.read()) == [Made(0, "a", "b", (4, 5)), Made(2, "c", "d", (4, 5))]


def test_a_finished_folder_is_left_as_it_is(faces, tmp_path):
    out, plan = tmp_path / "out", plan_for(faces)
    first = generate(faces, tiny_translator(), plan, out, CPU, {})
    before = {p: p.stat().st_mtime_ns for p in [out, *out.rglob("*")]}
    again = generate(faces, tiny_translator(), plan, out, CPU, {})
    assert again == replace(first, already_done=True)
    assert "finished before" in str(again)
    assert {p: p.stat().st_mtime_ns for p in [out, *out.rglob("*")]} == before


def test_a_run_killed_in_its_last_moment_leaves_nothing_behind(faces, tmp_path):
    out, plan = tmp_path / "out", plan_for(faces)
    generate(faces, tiny_translator(), plan, out, CPU, {})
    before = contents(out)
    (out / ".lock").touch()
    (out / "done.jsonl").write_text("[]\n")
    assert generate(faces, tiny_translator(), plan, out, CPU, {}).already_done
    assert contents(out) == before


@pytest.mark.parametrize("change", ["seed", "weights", "faces", "include_real"])
def test_another_run_does_not_touch_the_folder(faces, tmp_path, change):
    out = tmp_path / "out"
    generate(faces, tiny_translator(), plan_for(faces), out, CPU, {})
    before = contents(out)
    translator = tiny_translator(seed=1 if change == "weights" else 0)
    plan = plan_for(faces, seed=1 if change == "seed" else 0)
    settings = replace(CPU, include_real="copy") if change == "include_real" else CPU
    if change == "faces":
        faces.table.loc[0, "subject"] = "somebody else"
    with pytest.raises(EmoaugError, match="holds another run"):
        generate(faces, translator, plan, out, settings, {})
    assert contents(out) == before


def test_a_folder_with_something_else_is_not_touched(faces, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(EmoaugError, match="not empty"):
        generate(faces, tiny_translator(), plan_for(faces), out, CPU, {})
    assert contents(out) == {"thesis.txt": b"years of work"}
    with pytest.raises(EmoaugError, match="as a folder"):
        generate(faces, tiny_translator(), plan_for(faces), out / "thesis.txt", CPU, {})


def test_a_folder_among_the_sources_is_refused(faces):
    with pytest.raises(EmoaugError, match="outside"):
        generate(faces, tiny_translator(), plan_for(faces), faces.root / "bigger", CPU, {})


def test_a_folder_that_cannot_be_written_to_is_a_clear_error(faces, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o555)
    # A superuser may write anywhere but where the system itself forbids it.
    if os.access(out, os.W_OK):
        out = Path("/proc/emoaug-out")
    with pytest.raises(EmoaugError, match="cannot write to"):
        generate(faces, tiny_translator(), plan_for(faces), out, CPU, {})


def test_a_disk_that_fails_midway_is_a_clear_error_and_the_run_goes_on_later(faces, tmp_path):
    plan, out = plan_for(faces), tmp_path / "out"
    generate(faces, tiny_translator(), plan, tmp_path / "whole", CPU, {})
    generate(faces, tiny_translator(), plan, out, CPU, {})
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**run, "finished": False}))
    shutil.rmtree(out / "sad")
    (out / "sad").write_text("in the way")
    with pytest.raises(EmoaugError, match="cannot write to"):
        generate(faces, tiny_translator(), plan, out, CPU, {})
    (out / "sad").unlink()
    assert generate(faces, tiny_translator(), plan, out, CPU, {}).made == len(plan)
    assert contents(out) == contents(tmp_path / "whole")


def test_two_runs_on_one_folder_are_refused(faces, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EmoaugError, match="another run is writing"):
            generate(faces, tiny_translator(), plan_for(faces), out, CPU, {})
    assert generate(faces, tiny_translator(), plan_for(faces), out, CPU, {}).made == 27


def test_unreadable_sources_are_rows_with_a_reason(faces, tmp_path):
    plan, out = plan_for(faces), tmp_path / "out"
    bad = plan["file_name"][0]
    data = (faces.root / bad).read_bytes()
    (faces.root / bad).write_bytes(data[: len(data) // 2])
    summary = generate(faces, tiny_translator(), plan, out, CPU, {})
    lost = (plan["file_name"] == bad).sum()
    rejected = pd.read_csv(out / "rejected.csv")
    assert summary.made == len(plan) - lost
    assert summary.rejected == {"source could not be read": lost, "real face could not be read": 1}
    assert rejected["row"].dropna().astype(int).tolist() == plan["row"][plan["file_name"] == bad].tolist()
    assert rejected["reason"].str.contains("truncated").all()
    assert bad not in set(table(out)["source_file"])
    assert f"({lost + 1} rejected: {lost} source could not be read, 1 real face" in str(summary)


def test_a_picture_that_is_not_finite_is_rejected(faces, tmp_path):
    plan, out = plan_for(faces), tmp_path / "out"
    marked = faces.picture(plan["source_index"][0]).copy()
    marked[0, 0] = 255
    (faces.root / plan["file_name"][0]).write_bytes(encode_png(marked))
    summary = generate(faces, tiny_translator(mode="broken"), plan, out, CPU, {})
    lost = (plan["file_name"] == plan["file_name"][0]).sum()
    assert summary.rejected == {"network gave no picture": lost}
    assert summary.made == len(plan) - lost


def test_sources_of_another_size_are_scaled_and_counted(tmp_path):
    faces = draw_dataset(tmp_path / "faces", {"happy": 3, "sad": 3}, size=40)
    (faces.root / "happy/face000.png").write_bytes(encode_png(draw_face("happy", 0, 40)[:30]))
    plan, out = plan_for(faces, count=3), tmp_path / "out"
    summary = generate(faces, tiny_translator(), plan, out, CPU, {})
    assert all(read_picture(out / n).shape == (24, 24, 3) for n in table(out).query("is_synthetic")["file_name"])
    assert f"{len(plan)} faces were made from sources scaled to 24x24 pixels" in summary.notes
    squeezed = (plan["file_name"] == "happy/face000.png").sum()
    assert any(note.startswith(f"{squeezed} of these sources are not square") for note in summary.notes)
    assert "6 real faces are not 24x24 pixels and were taken over as they are" in summary.notes


@pytest.mark.parametrize(("how", "links"), [("link", 2), ("copy", 1)])
def test_real_faces_are_taken_over_unchanged(faces, tmp_path, how, links):
    out = tmp_path / "out"
    generate(faces, tiny_translator(), plan_for(faces), out, replace(CPU, include_real=how), {})
    real = table(out).query("not is_synthetic")
    assert real["source_file"].tolist() == faces.table["file_name"].tolist()
    for row in real.itertuples():
        assert (out / row.file_name).read_bytes() == (faces.root / row.source_file).read_bytes()
        assert (out / row.file_name).stat().st_nlink == links


def test_real_faces_stay_out_on_request(faces, tmp_path):
    summary = generate(faces, tiny_translator(), plan_for(faces), tmp_path / "out", replace(CPU, include_real="no"), {})
    assert table(tmp_path / "out")["is_synthetic"].all()
    assert summary.real == 0
    assert summary.per_class == {"happy": 9, "neutral": 9, "sad": 9}


def test_real_faces_of_equal_names_do_not_replace_each_other(tmp_path):
    for split in ("train", "test"):
        for label in ("happy", "sad"):
            (tmp_path / "faces" / split / label).mkdir(parents=True)
            picture = draw_face(label, len(split + label))
            (tmp_path / "faces" / split / label / "1.png").write_bytes(encode_png(picture))
    faces = read_faces(tmp_path / "faces")
    summary = generate(faces, tiny_translator(), plan_for(faces, count=2), tmp_path / "out", CPU, {})
    rows = table(tmp_path / "out")
    assert summary.real == 4
    assert rows["file_name"].is_unique
    assert set(rows.query("is_synthetic")["split"]) == {"train"}
    assert sorted(rows.query("not is_synthetic")["split"]) == ["test", "test", "train", "train"]


def test_the_published_table_of_grey_values_works_as_a_source(tmp_path):
    lines = ["emotion,pixels,Usage"]
    for i, (code, label) in enumerate([(3, "happy"), (4, "sad"), (3, "happy"), (4, "sad")]):
        values = draw_face(label, i, grey=True)[..., 0].ravel()
        lines.append(f"{code},{' '.join(map(str, values))},Training")
    (tmp_path / "fer2013.csv").write_text("\n".join(lines) + "\n")
    faces = read_faces(tmp_path / "fer2013.csv")
    names = tuple(sorted(set(faces.table["label"])))
    plan = build_plan(faces, names, PlanSettings(policy="multiply", factor=1))
    translator = type(tiny_translator())(names, tiny_translator().settings)
    generate(faces, translator, plan, tmp_path / "out", CPU, {})
    again = read_faces(tmp_path / "out")
    assert len(again) == 8
    real = np.flatnonzero(~again.table["is_synthetic"])
    assert all(np.array_equal(again.picture(i), faces.picture(k)) for k, i in enumerate(real))


def test_the_folder_is_read_again_with_nothing_lost(faces, tmp_path):
    out = tmp_path / "out"
    summary = generate(faces, tiny_translator(), plan_for(faces), out, CPU, {})
    again = read_faces(out)
    assert len(again) == summary.made + summary.real
    assert again.vocabulary == faces.vocabulary
    assert again.table["label"].value_counts().to_dict() == summary.per_class


def test_the_contact_sheet_is_the_same_for_the_same_run(faces, tmp_path):
    for name in ("a", "b"):
        generate(faces, tiny_translator(), plan_for(faces), tmp_path / name, CPU, {})
    sheets = [(tmp_path / name / "contact_sheet.png").read_bytes() for name in ("a", "b")]
    assert sheets[0] == sheets[1]
    height, width, _ = read_picture(tmp_path / "a/contact_sheet.png").shape
    assert height > 8 * 96
    assert width > 4 * 96


def test_a_sheet_of_sources_that_became_one_face_each_has_source_and_result_side_by_side(faces, tmp_path):
    plan = plan_for(faces).drop_duplicates("source_index").reset_index(drop=True)
    plan = plan.assign(row=range(len(plan)))
    generate(faces, tiny_translator(), plan, tmp_path / "out", CPU, {})
    table = pd.read_csv(tmp_path / "out" / "metadata.csv").query("is_synthetic")
    rows, targets = [], list(dict.fromkeys(plan.target))
    for target in targets:
        names = list(picture_names(plan[plan.target == target]))[:4]
        origins = plan[plan.target == target].source_index[:4]
        assert set(names) <= set(table.file_name)
        both = zip(origins, names, strict=True)
        rows.append([p for i, name in both for p in (fit(faces.picture(i), 24), read_picture(tmp_path / "out" / name))])
    expected = contact_sheet(rows, targets, ["source", "result"] * 4)
    assert np.array_equal(read_picture(tmp_path / "out" / "contact_sheet.png"), expected)


def test_a_plan_without_rows_gives_the_real_faces(faces, tmp_path):
    plan = build_plan(faces, EXPRESSIONS, PlanSettings(policy="per-class", count=0))
    summary = generate(faces, tiny_translator(), plan, tmp_path / "out", CPU, {})
    assert (summary.made, summary.real, summary.rejected) == (0, 19, {})
    assert len(table(tmp_path / "out")) == 19


def test_bfloat16_is_close_to_float32_and_does_not_mix_with_it(faces, tmp_path):
    plan, out = plan_for(faces), tmp_path / "half"
    generate(faces, tiny_translator(), plan, tmp_path / "single", CPU, {})
    generate(faces, tiny_translator(), plan, out, replace(CPU, precision="bf16-mixed"), {})
    for name in table(out).query("is_synthetic")["file_name"]:
        difference = read_picture(out / name).astype(int) - read_picture(tmp_path / "single" / name)
        assert np.abs(difference).mean() < 3
    with pytest.raises(EmoaugError, match="differs in precision"):
        generate(faces, tiny_translator(), plan, out, CPU, {})


def test_the_translator_is_left_in_its_mode(faces, tmp_path):
    translator = tiny_translator().train()
    generate(faces, translator, plan_for(faces, count=1), tmp_path / "out", CPU, {})
    assert translator.training


def test_labels_that_would_leave_the_folder_are_refused(faces, tmp_path):
    plan = plan_for(faces)
    faces.table["label"] = faces.table["label"].replace("happy", "../happy")
    with pytest.raises(EmoaugError, match="cannot be the name of a folder"):
        generate(faces, tiny_translator(), plan, tmp_path / "out", CPU, {})


@pytest.mark.parametrize("wrong", [{"batch_size": -1}, {"threads": -1}, {"include_real": "move"}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(EmoaugError, match=next(iter(wrong))):
        GenerateSettings(**wrong)


def test_faces_take_the_expressions_of_exemplars_and_say_whose(tmp_path):
    faces = draw_measured(tmp_path / "faces", subjects=5)
    faces.table["label"] = faces.table.label.where(faces.table.subject < "person03", None)
    scale = fit_scale(faces, "blendshapes")
    plan = build_exemplar_plan(faces, scale, PlanSettings("per-class", count=12), ExemplarSettings(mixing=0.5))
    mover, out = Mover(scale.names, TinySettings(size=32)), tmp_path / "out"
    summary = generate(faces, mover, plan, out, CPU, {"data": str(faces.root)})
    rows = table(out)
    made, real = rows[rows.is_synthetic], rows[~rows.is_synthetic]
    assert made.exemplar_file.tolist() == plan.exemplar_file.tolist()
    assert made.second_exemplar_file.notna().sum() == (plan.second_exemplar_index >= 0).sum() > 0
    for row in made.itertuples():
        exemplar = faces.root / row.exemplar_file
        assert hashlib.sha256(exemplar.read_bytes()).hexdigest() == row.exemplar_sha256
        assert row.exemplar_file.startswith(f"{row.label}/")
        if isinstance(row.second_exemplar_file, str):
            second = faces.root / row.second_exemplar_file
            assert hashlib.sha256(second.read_bytes()).hexdigest() == row.second_exemplar_sha256
    # Unlabelled people lend their faces, and are no part of the bigger dataset themselves.
    assert made.source_label.isna().any()
    assert len(real) == summary.real == 6
    assert verify_folder(out) == []
    again = generate(faces, mover, plan, tmp_path / "again", replace(CPU, batch_size=1, threads=1), {})
    assert again.made == 24
    for name in made.file_name:
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_system_that_retouches_gives_faces_of_the_size_of_their_sources(tmp_path):
    faces = draw_dataset(tmp_path / "faces", {"happy": 3, "sad": 3}, size=72)
    plan, out = plan_for(faces, count=3), tmp_path / "out"
    summary = generate(faces, small_lssl(), plan, out, CPU, {})
    made = table(out).query("is_synthetic")["file_name"]
    assert all(read_picture(out / name).shape == (72, 72, 3) for name in made)
    assert not any("scaled" in note or "taken over" in note for note in summary.notes)
    # Finished, and begun: whatever became of the sources since.
    assert generate(faces, small_lssl(), plan, out, CPU, {}).already_done
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(run | {"finished": False}))
    (out / made.iloc[0]).unlink()
    for path in faces.root.rglob("*.png"):
        path.write_bytes(encode_png(draw_face("happy", 0, 40)))
    generate(faces, small_lssl(), plan, out, CPU, {})
    assert read_picture(out / made.iloc[0]).shape == (72, 72, 3)


def test_the_size_of_new_faces_can_be_asked_for_as_far_as_the_system_can(tmp_path):
    faces = draw_dataset(tmp_path / "faces", {"happy": 3, "sad": 3}, size=72)
    plan = plan_for(faces, count=3)
    for size in (32, 48):
        out = tmp_path / str(size)
        generate(faces, small_lssl(), plan, out, replace(CPU, size=size), {})
        made = table(out).query("is_synthetic")["file_name"]
        assert {read_picture(out / name).shape for name in made} == {(size, size, 3)}
    with pytest.raises(EmoaugError, match="differs in size"):
        generate(faces, small_lssl(), plan, tmp_path / "48", replace(CPU, size=32), {})
    with pytest.raises(EmoaugError, match="differs in size"):
        generate(faces, small_lssl(), plan, tmp_path / "32", replace(CPU, size=48), {})
    with pytest.raises(EmoaugError, match="size is 16; faces of this lssl are 32 to 2048 pixels"):
        generate(faces, small_lssl(), plan, tmp_path / "small", replace(CPU, size=16), {})
    with pytest.raises(EmoaugError, match="size is 4096; faces of this lssl are 32 to 2048 pixels"):
        generate(faces, small_lssl(), plan, tmp_path / "huge", replace(CPU, size=4096), {})
    with pytest.raises(EmoaugError, match="size is 72; faces of this tiny are 24 pixels, or 0"):
        generate(faces, tiny_translator(), plan, tmp_path / "painted", replace(CPU, size=72), {})
    # Where sources differ, none is enlarged; where some are no squares, nobody knows where the face is.
    (faces.root / "happy/face000.png").write_bytes(encode_png(draw_face("happy", 0, 40)))
    generate(faces, small_lssl(), plan, tmp_path / "mixed", CPU, {})
    made = table(tmp_path / "mixed").query("is_synthetic")["file_name"]
    assert {read_picture(tmp_path / "mixed" / name).shape for name in made} == {(40, 40, 3)}
    (faces.root / "happy/face000.png").write_bytes(encode_png(draw_face("happy", 0, 72)[:60]))
    generate(faces, small_lssl(), plan, tmp_path / "wide", CPU, {})
    made = table(tmp_path / "wide").query("is_synthetic")["file_name"]
    assert {read_picture(tmp_path / "wide" / name).shape for name in made} == {(32, 32, 3)}


def test_a_chunk_is_made_as_a_whole_when_anything_of_it_is_missing(faces, tmp_path):
    plan = plan_for(faces, count=21).drop(index=[3, 17, 18]).sample(frac=1, random_state=0).reset_index(drop=True)
    job = Job(faces, tiny_translator(), plan, tmp_path, "cpu", "32-true", 24)
    done = np.ones(len(plan), dtype=bool)
    assert job.chunks(done) == []
    done[(plan["row"] == 20) | (plan["row"] == 62)] = False
    rows = [sorted(plan["row"][places]) for places in job.chunks(done)]
    assert rows == [[16, *range(19, 32)], list(range(48, 63))]
    everything = np.concatenate(job.chunks(np.zeros(len(plan), dtype=bool)))
    assert sorted(everything) == list(range(len(plan)))


def test_a_chunk_of_large_faces_holds_fewer(faces, tmp_path):
    plan = plan_for(faces, count=3)
    chunks = [
        Job(faces, tiny_translator(), plan, tmp_path, "cpu", "32-true", size).chunk for size in (24, 128, 256, 2048)
    ]
    assert chunks == [16, 16, 4, 1]


def test_a_source_is_decoded_once_as_long_as_there_is_room(faces, tmp_path, monkeypatch):
    looked_at = []
    read = type(faces).read
    monkeypatch.setattr(type(faces), "read", lambda table, i: looked_at.append(i) or read(table, i))
    monkeypatch.setattr("augment.generation_work.KEPT", 4 * 3 * 24 * 24)
    plan = plan_for(faces, count=40)
    generate(faces, tiny_translator(), plan, tmp_path / "out", replace(CPU, threads=1, include_real="no"), {})
    times = pd.Series(looked_at).value_counts().sort_values()
    used = plan["source_index"].value_counts()
    assert (times[:4] == 1).all()
    assert (times[4:] == used[times.index[4:]]).all()


def test_tables_in_pieces_are_the_tables_as_a_whole(tmp_path, monkeypatch):
    faces = draw_measured(tmp_path / "faces", subjects=5)
    faces.table["label"] = faces.table.label.where(faces.table.subject < "person03", None)
    (faces.root / faces.table.file_name[2]).write_bytes(b"no picture")
    scale = fit_scale(faces, "blendshapes")
    plan = build_exemplar_plan(faces, scale, PlanSettings("per-class", count=12), ExemplarSettings(mixing=0.5))
    torch.manual_seed(0)
    mover = Mover(scale.names, TinySettings(size=32))
    assert b"".join(csv_pieces(plan)) == plan.to_csv(index=False, lineterminator="\n").encode()
    generate(faces, mover, plan, tmp_path / "whole", CPU, {})
    monkeypatch.setattr("augment.generation_folder.PIECE", 5)
    assert len(list(csv_pieces(plan))) == 5
    generate(faces, mover, plan, tmp_path / "pieces", CPU, {})
    assert len(pd.read_csv(tmp_path / "whole" / "rejected.csv")) > 1
    assert contents(tmp_path / "whole") == contents(tmp_path / "pieces")


def test_what_a_generation_keeps_of_a_row_does_not_fill_the_memory(faces, tmp_path):
    def peak(rows):
        plan = plan_for(faces, count=rows // 3)
        tracemalloc.start()
        generate(faces, tiny_translator(channels=2), plan, tmp_path / f"out{rows}", CPU, {})
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(30)
    assert (peak(1200) - peak(150)) / 1050 < 400  # bytes a row
