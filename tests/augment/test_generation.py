"""Generation: the same bytes however it is run, nothing lost, nothing overwritten, everything accounted for."""

import fcntl
import hashlib
import json
import multiprocessing
import random
import shutil
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from augment.checkpoints import weights_sha256
from augment.exemplar_plans import ExemplarSettings, build_exemplar_plan
from augment.generation import GenerateSettings, generate
from augment.generation_record import Made, Record
from augment.generation_work import Job
from augment.measured_conditions import fit_scale
from augment.pictures import encode_png, read_picture, write_bytes
from augment.plans import PlanSettings
from augment.verification import verify
from emoaug import EmoaugError
from tests.augment.expression_transforms import small_lssl
from tests.augment.tiny_translator import (
    CPU,
    EXPRESSIONS,
    Mover,
    TinySettings,
    contents,
    draw_dataset,
    draw_face,
    plan_for,
    run_generation,
    table,
    tiny_translator,
)
from tests.drawn_dataset import draw_dataset as draw_measured


@pytest.fixture
def faces(tmp_path):
    return draw_dataset(tmp_path / "faces", {"happy": 9, "neutral": 6, "sad": 4})


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
    assert verify(out).problems == ()
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


def test_sources_may_be_gone_since_and_may_not_have_changed(tmp_path):
    faces = draw_dataset(tmp_path / "faces", {"happy": 3, "sad": 3}, size=72)
    plan, out = plan_for(faces, count=3), tmp_path / "out"
    generate(faces, small_lssl(), plan, out, replace(CPU, include_real="no"), {})
    rows = table(out).query("is_synthetic")
    needed = faces.root / rows["source_file"].iloc[0]
    for path in faces.root.rglob("*.png"):
        if path != needed:
            path.unlink()
    assert generate(faces, small_lssl(), plan, out, replace(CPU, include_real="no"), {}).already_done
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(run | {"finished": False}))
    (out / rows["file_name"].iloc[0]).unlink()
    generate(faces, small_lssl(), plan, out, replace(CPU, include_real="no"), {})
    assert read_picture(out / rows["file_name"].iloc[0]).shape == (72, 72, 3)
    for finished in (True, False):
        (out / "run.json").write_text(json.dumps(run | {"finished": finished}))
        write_bytes(needed, encode_png(draw_face("happy", 0, 40)))
        with pytest.raises(EmoaugError, match=rf"{needed.name} has changed since .* was begun"):
            generate(faces, small_lssl(), plan, out, replace(CPU, include_real="no"), {})


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
