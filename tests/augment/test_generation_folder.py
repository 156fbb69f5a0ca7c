"""What a generated folder holds: real faces, tables, sheets, reasons; and which folders are left alone."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import ExifTags, Image
from torchvision.datasets import ImageFolder

from augment.exemplar_plans import ExemplarSettings, build_exemplar_plan
from augment.folders import read_faces, write_metadata
from augment.generation import generate
from augment.generation_folder import csv_pieces, picture_names
from augment.measured_conditions import fit_scale
from augment.pictures import contact_sheet, encode_png, fit, read_picture, write_bytes
from augment.plans import PlanSettings, build_plan
from emoaug import EmoaugError
from tests.augment.tiny_translator import (
    CPU,
    EXPRESSIONS,
    Mover,
    TinySettings,
    contents,
    draw_dataset,
    draw_face,
    plan_for,
    table,
    tiny_translator,
)
from tests.drawn_dataset import draw_dataset as draw_measured


@pytest.fixture
def faces(tmp_path):
    return draw_dataset(tmp_path / "faces", {"happy": 9, "neutral": 6, "sad": 4})


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
    with pytest.raises(EmoaugError, match="were 9 happy, 9 neutral, 9 sad, and now 7 happy, 7 neutral, 7 sad"):
        generate(faces, translator, plan_for(faces, 7), out, settings, {})
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
    # By a table, since of folders only those of splits are read one below another.
    rows = []
    for place in ("one", "two"):
        for label in ("happy", "sad"):
            name = f"{place}/{label}/1.png"
            write_bytes(tmp_path / "faces" / name, encode_png(draw_face(label, len(place + label))))
            rows.append({"file_name": name, "label": label, "subject": place})
    write_metadata(tmp_path / "faces", pd.DataFrame(rows))
    faces = read_faces(tmp_path / "faces")
    summary = generate(faces, tiny_translator(), plan_for(faces, count=2), tmp_path / "out", CPU, {})
    rows = table(tmp_path / "out")
    assert summary.real == 4
    assert rows["file_name"].is_unique


def test_faces_that_test_are_not_brought_among_those_to_train_on(tmp_path):
    for split in ("train", "val", "test"):
        for label in ("happy", "sad"):
            picture = draw_face(label, len(split + label))
            write_bytes(tmp_path / "faces" / split / label / f"{split}.png", encode_png(picture))
    faces = read_faces(tmp_path / "faces")
    summary = generate(faces, tiny_translator(), plan_for(faces, count=2), tmp_path / "out", CPU, {})
    assert summary.real == 2
    assert "4 faces of the splits val and test were not taken over, lest they be trained on" in summary.notes
    assert set(table(tmp_path / "out")["split"]) == {"train"}
    assert not list((tmp_path / "out").rglob("test*.png"))


def test_where_every_face_is_rendered_these_count_as_given(tmp_path):
    for i, label in enumerate(["happy", "happy", "happy", "sad"]):
        write_bytes(tmp_path / "faces" / label / f"{i}.png", encode_png(draw_face(label, i)))
    faces = read_faces(tmp_path / "faces")
    faces = replace(faces, table=faces.table.assign(is_synthetic=True))
    plan = build_plan(faces, tiny_translator().condition_names, PlanSettings("balance", targets=("happy", "sad")))
    summary = generate(faces, tiny_translator(), plan, tmp_path / "out", CPU, {})
    assert summary.per_class == {"happy": 3, "sad": 3}
    assert (summary.made, summary.real) == (2, 4)
    assert "4 faces, all rendered or made themselves, were taken over as those that are given" in summary.notes


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


def test_labels_that_would_leave_the_folder_are_refused(faces, tmp_path):
    plan = plan_for(faces)
    faces.table["label"] = faces.table["label"].replace("happy", "../happy")
    with pytest.raises(EmoaugError, match="cannot be a class"):
        generate(faces, tiny_translator(), plan, tmp_path / "out", CPU, {})


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


def test_others_see_the_real_faces_that_are_seen_here_whatever_their_files(tmp_path):
    folder = tmp_path / "faces"
    draw_dataset(folder, {"happy": 1, "neutral": 1, "sad": 1})
    picture = Image.fromarray(draw_face("sad", 7))
    sideways = Image.Exif()
    sideways[ExifTags.Base.Orientation] = 6
    picture.save(folder / "sad" / "plain.jpg", quality=95)
    picture.save(folder / "sad" / "sideways.jpg", quality=95, exif=sideways)
    picture.convert("CMYK").save(folder / "sad" / "cmyk.jpg", quality=95)
    transparent = picture.convert("RGBA")
    transparent.putalpha(128)
    transparent.save(folder / "sad" / "transparent.png")
    picture.convert("P").save(folder / "sad" / "moving.gif")
    picture.save(folder / "sad" / "old.jfif", "JPEG", quality=95)
    Image.fromarray(np.full((24, 24), 40_000, np.uint16)).save(folder / "sad" / "deep.png")
    (folder / "metadata.csv").unlink()
    faces = read_faces(folder)
    generate(faces, tiny_translator(), plan_for(faces, 1), tmp_path / "out", CPU, {})
    rows = table(tmp_path / "out").query("~is_synthetic")
    sources = {Path(name).stem: i for i, name in enumerate(faces.table.file_name)}
    loaded = ImageFolder(tmp_path / "out")
    seen = {Path(path).stem: np.asarray(loaded.loader(path)) for path, _ in loaded.samples}
    assert len(rows) == len(faces) == 10
    for name in rows.file_name:
        ours = faces.picture(sources[Path(name).stem]).astype(int)
        assert np.abs(seen[Path(name).stem] - ours).max() <= 2, name
    linked = {name for name in rows.file_name if (tmp_path / "out" / name).stat().st_nlink > 1}
    assert {Path(name).stem for name in linked} == {*sources} - {
        "sideways",
        "cmyk",
        "transparent",
        "moving",
        "old",
        "deep",
    }
