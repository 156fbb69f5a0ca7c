import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment import alignment
from augment.alignment import AlignSettings, AlignSummary, align_folder
from augment.alignment_record import aligned_names
from augment.faces import EYES, anchor_points, read_measures
from augment.folders import FaceTable, read_faces
from augment.pictures import encode_png, is_grey, read_picture, write_bytes
from augment.runs import Hold
from augment.verification import verify
from emoaug import EmoaugError
from tests.augment.drawn_face import draw_face, model_path


@pytest.fixture
def settings() -> AlignSettings:
    return AlignSettings(size=32, workers=1, model=model_path())


@pytest.fixture
def source(tmp_path: Path) -> FaceTable:
    """Seven pictures: five faces (one grey, two of one name), one without a face, one damaged."""
    folder = tmp_path / "source"
    grey = draw_face(96)
    grey[:] = grey[..., :1]
    pictures = {
        "happy/a.png": draw_face(128, smile=1),
        "happy/more/A.png": draw_face(100, smile=1, skin=150),
        "happy/ü b.png": draw_face(64, smile=1, skin=140),
        "neutral/a.png": draw_face(128),
        "neutral/grey.png": grey,
        "neutral/wall.png": np.full((64, 80, 3), 90, np.uint8),
    }
    for name, picture in pictures.items():
        write_bytes(folder / name, encode_png(picture))
    write_bytes(folder / "neutral/cut.png", (folder / "neutral/a.png").read_bytes()[:500])
    rows = [f"{name},{name.split('/')[0]},s{i},{30 + i}" for i, name in enumerate([*pictures, "neutral/cut.png"])]
    write_bytes(
        folder / "labels.csv", "\n".join(["path,expression,subject,age", *rows, "gone.png,happy,s9,1"]).encode()
    )
    return read_faces(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_picture_is_aligned_or_rejected_with_its_reason(source, settings, tmp_path):
    out = tmp_path / "out"
    summary = align_folder(source, out, settings)
    assert (summary.aligned, summary.no_face, summary.unusable) == (5, 1, 2)
    assert str(summary) == "aligned 5 faces (3 rejected: 1 no face found, 2 unusable)"
    table = pd.read_csv(out / "metadata.csv")
    assert table["source_file"].tolist() == source.table["file_name"][:5].tolist()
    assert table["source_sha256"].tolist() == [source.sha256(i) for i in range(5)]
    assert table["age"].tolist() == [30, 31, 32, 33, 34]
    assert (table["faces_found"] == 1).all()
    rejected = pd.read_csv(out / "rejected.csv").set_index("file_name")["reason"]
    assert set(rejected.index) == {"gone.png", "neutral/wall.png", "neutral/cut.png"}
    assert rejected["neutral/wall.png"] == "no face found"
    assert "truncated" in rejected["neutral/cut.png"]
    assert str(tmp_path) not in rejected["neutral/cut.png"]
    assert not (out / ".parts").exists()
    assert read_picture(out / "contact_sheet.png").shape[2] == 3


def test_the_written_folder_reads_back_as_a_dataset_with_measures(source, settings, tmp_path):
    out = tmp_path / "out"
    align_folder(source, out, settings)
    aligned = read_faces(out)
    assert len(aligned) == 5
    assert len(aligned.rejected) == 0
    assert aligned.vocabulary == source.vocabulary
    assert aligned.table["subject"].tolist() == source.table["subject"][:5].tolist()
    measures = read_measures(out, aligned.table["file_name"].tolist())
    eyes = np.array([anchor_points(mesh)[:2] for mesh in (measures.landmarks + 1) / 2])
    assert np.abs(eyes - np.array(EYES)).max() < 0.05
    smile = measures.blendshape_names.tolist().index("mouthSmileLeft")
    assert measures.blendshapes[:3, smile].min() > measures.blendshapes[3:, smile].max()
    assert np.abs(measures.pose).max() < 20
    grey = aligned.table["file_name"].tolist().index("neutral/grey.png")
    for i in range(5):
        assert aligned.picture(i).shape == (32, 32, 3)
        assert is_grey(aligned.picture(i)) == (i == grey)


def test_the_bytes_do_not_depend_on_the_number_of_workers(source, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "_PART", 2)
    align_folder(source, tmp_path / "one", settings)
    align_folder(source, tmp_path / "two", replace(settings, workers=2))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_stopped_run_goes_on_without_repeating_what_is_done(source, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "_PART", 2)
    align_folder(source, tmp_path / "whole", settings)
    out = tmp_path / "parts"
    calls = iter(range(9))

    def stop_at_third(hold: Hold, names: object = ()) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Hold, "check", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            align_folder(source, out, settings)
    done = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert len(done) == 5
    del done[max(done, key=done.__getitem__)]  # of the third part, which is not noted
    align_folder(source, out, settings)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert content(out) == content(tmp_path / "whole")


def test_a_finished_run_says_so_and_does_nothing(source, settings, tmp_path):
    out = tmp_path / "out"
    first = align_folder(source, out, settings)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = align_folder(source, out, replace(settings, workers=2))
    assert again == replace(first, already_done=True)
    assert "finished before" in str(again)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("what", ["other settings", "another source", "other pictures", "a stopped run", "other files"])
def test_a_folder_with_something_else_is_refused_and_left_as_it_is(source, settings, tmp_path, what):
    out = tmp_path / "out"
    if what == "other files":
        write_bytes(out / "thesis.txt", b"precious")
    elif what == "a stopped run":
        write_bytes(out / "run.json", b'{"kind": "emoaug align", "finished": false, "identity": {}}')
    else:
        align_folder(source, out, settings)
    if what == "other settings":
        settings = replace(settings, size=48)
    elif what == "another source":
        source = source.select([0, 1, 2])
    elif what == "other pictures":
        write_bytes(source.path(0), encode_png(draw_face(90)))
    before = content(out)
    with pytest.raises(EmoaugError, match="nothing was changed"):
        align_folder(source, out, settings)
    assert content(out) == before


def test_a_folder_that_cannot_be_written_is_a_clear_error(source, settings, tmp_path):
    write_bytes(tmp_path / "file", b"")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(EmoaugError, match="file"):
            align_folder(source, out, settings)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_clear_error(source, settings, tmp_path):
    out = tmp_path / "out"
    out.mkdir(mode=0o500)
    with pytest.raises(EmoaugError, match="cannot write"):
        align_folder(source, out, settings)


def test_without_cropping_whole_pictures_are_kept_and_nothing_without_a_face_is_lost(source, settings, tmp_path):
    out = tmp_path / "out"
    summary = align_folder(source, out, replace(settings, crop="none", size=64))
    assert (summary.aligned, summary.no_face, summary.unmeasured, summary.padded) == (6, 0, 1, 1)
    aligned = read_faces(out)
    names = aligned.table["file_name"].tolist()
    same_size = names.index("happy/ü b.png")
    np.testing.assert_array_equal(aligned.picture(same_size), source.picture(2))
    measures = read_measures(out, names)
    missing = np.isnan(measures.landmarks).any((1, 2))
    assert [names[i] for i in np.flatnonzero(missing)] == ["neutral/wall.png"]
    # draw_face has the left eye at (98, 114) of 256.
    eye = anchor_points(measures.landmarks[same_size])[0]
    np.testing.assert_allclose((eye + 1) / 2, [98 / 256, 114 / 256], atol=0.03)


def test_run_json_says_how_the_folder_was_made_but_not_by_whom(source, settings, tmp_path):
    align_folder(source, tmp_path / "out", settings)
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["settings"]["size"] == 32
    assert run["vocabulary"] == list(source.vocabulary)
    assert run["result"]["aligned"] == 5
    assert {"emoaug", "mediapipe", "opencv-contrib-python"} <= set(run["versions"])
    assert str(tmp_path) not in (tmp_path / "out/run.json").read_text()


def test_an_aligned_folder_is_verified_wherever_one_stands(source, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    align_folder(replace(source, root=Path("source")), Path("out"), settings)
    monkeypatch.chdir(Path(__file__).parent)
    found = verify(tmp_path / "out")
    assert (found.problems, found.sources_checked, found.sources_missing) == ((), 5, 0)
    (tmp_path / "both").mkdir()
    for name in ("source", "out"):
        (tmp_path / name).rename(tmp_path / "both" / name)
    write_bytes(tmp_path / "both/source/happy/a.png", encode_png(draw_face(128)))
    (problem,) = verify(tmp_path / "both/out").problems
    assert "happy/a.png" in problem


@pytest.mark.parametrize("change", [{"size": 8}, {"size": 5000}, {"crop": "eyes"}, {"workers": -1}])
def test_settings_out_of_range_are_refused_before_anything_is_written(source, tmp_path, change):
    with pytest.raises(EmoaugError, match=str(next(iter(change.values())))):
        align_folder(source, tmp_path / "out", replace(AlignSettings(), **change))
    assert not (tmp_path / "out").exists()


def test_an_empty_source_is_a_clear_error(source, settings, tmp_path):
    with pytest.raises(EmoaugError, match="no pictures"):
        align_folder(source.select([]), tmp_path / "out", settings)


def test_summary_counts_every_kind():
    summary = AlignSummary(aligned=4812, no_face=48, unusable=13, several_faces=7, unmeasured=0, padded=0)
    assert str(summary) == (
        "aligned 4,812 faces (61 rejected: 48 no face found, 13 unusable); 7 with several faces, the largest taken"
    )


def test_names_keep_the_stem_and_get_a_hash_only_where_they_collide():
    names = aligned_names(["x/a.jpg", "y/A.png", "x/b c.jpg", "x/ü.jpg", "a.jpg"], ["happy"] * 4 + ["sad"])
    assert names[2:] == ["happy/b c.png", "happy/ü.png", "sad/a.png"]
    assert names[0] != names[1]
    assert names[0].startswith("happy/a-")
    assert names[1].startswith("happy/A-")


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=20), st.sampled_from(["happy", "../up", "Happy", ".."])), max_size=30
    )
)
def test_names_are_different_and_stay_inside_the_folder_whatever_the_source_is_called(rows):
    rows = list({name: (name, label) for name, label in rows}.values())
    try:
        names = aligned_names([name for name, _ in rows], [label for _, label in rows])
    except UnicodeEncodeError:
        return  # a lone surrogate is no file name in UTF-8
    assert len({name.casefold() for name in names}) == len(rows)
    for name in names:
        folder, _, file = name.partition("/")
        assert folder not in ("", ".", "..")
        assert not file.startswith(".")
        assert not set(file) & set('<>:"/\\|?*\0\n')
        assert len(file.encode("utf-8", "surrogatepass")) <= 255


def test_unlabelled_pictures_are_aligned_into_a_folder_of_their_own(settings, tmp_path):
    folder, out = tmp_path / "source", tmp_path / "out"
    for name, smile in (("happy/a.png", 1), ("b.png", 0)):
        write_bytes(folder / name, encode_png(draw_face(96, smile=smile)))
    assert align_folder(read_faces(folder, unlabelled=True), out, settings).aligned == 2
    aligned = read_faces(out, unlabelled=True)
    assert dict(zip(aligned.table.file_name, aligned.table.label, strict=True)) == {
        "happy/a.png": "happy",
        "unlabelled/b.png": None,
    }
    assert np.isfinite(read_measures(out, ["unlabelled/b.png"]).blendshapes).all()
    assert read_faces(out).table.file_name.tolist() == ["happy/a.png"]
    assert verify(out).problems == ()
