import csv
import hashlib
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augment.expressions import BASIC, JAFFE, KDEF
from augment.folders import drop_unreadable, load_faces, read_faces, write_metadata
from augment.pictures import encode_png, write_bytes
from emoaug import EmoaugError


def save(path: Path, value: int = 0, shape: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(np.full((*shape, 3), value, np.uint8)))
    return path


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    for i, name in enumerate(["happy/a.png", "happy/deep/er/b.png", "Sadness/c.png"]):
        save(tmp_path / name, i)
    return tmp_path


def reasons(faces) -> dict[str, str]:
    return dict(zip(faces.rejected["file_name"], faces.rejected["reason"], strict=True))


def test_class_folders(two_classes):
    faces = read_faces(two_classes)
    assert faces.table.to_dict("list") == {
        "file_name": ["Sadness/c.png", "happy/a.png", "happy/deep/er/b.png"],
        "label": ["sad", "happy", "happy"],
        "subject": [None] * 3,
        "split": [None] * 3,
        "is_synthetic": [False] * 3,
    }
    assert faces.vocabulary == ("happy", "sad")
    assert faces.label_indices().tolist() == [1, 0, 0]
    assert faces.notes == ("1 'Sadness' read as sad",)
    assert len(faces.rejected) == 0
    assert faces.picture(2)[0, 0].tolist() == [1, 1, 1]
    assert faces.sha256(0) == hashlib.sha256((two_classes / "Sadness/c.png").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["Training", "PublicTest"], ["train", "test"]),
        (["Training", "PublicTest", "PrivateTest"], ["train", "val", "test"]),
        (["train", "valid", "TEST"], ["train", "val", "test"]),
        (["train", "validation"], ["train", "val"]),
    ],
)
def test_split_folders(tmp_path, folders, expected):
    for folder in folders:
        save(tmp_path / folder / "happy" / "a.png")
    table = read_faces(tmp_path).table
    found = {name.split("/")[0]: split for name, split in zip(table["file_name"], table["split"], strict=True)}
    assert found == dict(zip(folders, expected, strict=True))
    assert set(table["label"]) == {"happy"}


def test_what_is_no_picture_is_passed_over_and_what_cannot_be_used_is_reported(two_classes):
    for name in ["faces.npz", "run.json", "happy/.hidden.png", ".cache/x.png", "contact_sheet.png", "README.txt"]:
        save(two_classes / name)
    save(two_classes / "outside.png")
    save(two_classes / "happy/photo.heic")
    faces = read_faces(two_classes)
    assert len(faces) == 3
    read = "bmp, gif, jfif, jpeg, jpg, pgm, png, ppm, tif, tiff, webp"
    assert reasons(faces) == {
        "outside.png": "not in a class folder",
        "happy/photo.heic": f"not a kind of picture that is read: {read}",
    }


def test_links_that_leave_the_folder_are_rejected_and_others_are_followed(two_classes, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "secret.png")
    (two_classes / "happy/out.png").symlink_to(elsewhere / "secret.png")
    (two_classes / "happy/in.png").symlink_to(two_classes / "happy/a.png")
    (two_classes / "angry").symlink_to(elsewhere)
    faces = read_faces(two_classes)
    assert "happy/in.png" in set(faces.table["file_name"])
    assert "link" in reasons(faces)["happy/out.png"]
    assert "link" in reasons(faces)["angry"]
    assert len(faces) == 4


def test_a_folder_that_is_itself_a_link_is_read(two_classes, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "faces"
    link.symlink_to(two_classes)
    assert len(read_faces(link)) == 3


@pytest.mark.parametrize("header", ["file_name,label,subject,split,age", "Path,Expression,Person,Usage,age"])
@pytest.mark.parametrize("table_name", ["metadata.csv", "labels.csv"])
def test_table_with_other_words_for_its_columns(two_classes, header, table_name):
    rows = ["happy/a.png,joy,p1,Training,31", "happy/deep/er/b.png,happy,,,", "Sadness/c.png,sad,p2,val,7"]
    (two_classes / table_name).write_text("\n".join([header, *rows]))
    faces = read_faces(two_classes)
    assert faces.table.to_dict("list") == {
        "file_name": ["happy/a.png", "happy/deep/er/b.png", "Sadness/c.png"],
        "label": ["happy", "happy", "sad"],
        "subject": ["p1", None, "p2"],
        "split": ["train", None, "val"],
        "is_synthetic": [False] * 3,
        "age": ["31", None, "7"],
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_dialects(tmp_path, encoding, delimiter, newline):
    save(tmp_path / "ü, x; y.png")
    rows = [["file_name", "label", "subject"], ['"ü, x; y.png"', '"happy"', "ö"]]
    text = newline.join(delimiter.join(row) for row in rows) + newline
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    table = read_faces(tmp_path).table
    assert table[["file_name", "label", "subject"]].values.tolist() == [["ü, x; y.png", "happy", "ö"]]


def test_rows_and_files_are_never_silently_lost(two_classes):
    (two_classes / "labels.csv").write_text(
        'path,label\nhappy/a.png,happy\nhappy/a.png,sad\n"gone\n.png",sad\n../up.png,sad\n/etc/passwd,sad\n'
        "C:\\x.png,sad\nhappy/deep/er/b.png,\nhappy/a.png\n\nhappy/../happy/a.png,sad\n"
    )
    faces = read_faces(two_classes)
    assert faces.table["file_name"].tolist() == ["happy/a.png"]
    assert list(faces.rejected.itertuples(index=False, name=None)) == [
        ("labels.csv, line 10", "1 cells where the header has 2"),
        ("happy/a.png", "labels.csv, line 3: listed already in line 2"),
        ("gone\n.png", "labels.csv, line 5: no such file"),
        ("../up.png", "labels.csv, line 6: the name leaves the table's folder"),
        ("/etc/passwd", "labels.csv, line 7: the name must be relative to the table's folder"),
        ("C:\\x.png", "labels.csv, line 8: the name must be relative to the table's folder"),
        ("happy/deep/er/b.png", "labels.csv, line 9: no label"),
        ("happy/../happy/a.png", "labels.csv, line 12: the name leaves the table's folder"),
        ("Sadness/c.png", "not listed in labels.csv"),
    ]


def test_windows_paths_and_stray_spaces_find_their_files(two_classes):
    (two_classes / "labels.csv").write_text("path, label\nhappy\\a.png, happy\n ./Sadness/c.png , sad\n")
    assert read_faces(two_classes).table["file_name"].tolist() == ["happy/a.png", "Sadness/c.png"]


def test_table_may_name_a_link_only_inside_its_folder(two_classes, tmp_path_factory):
    outside = save(tmp_path_factory.mktemp("elsewhere") / "secret.png")
    (two_classes / "out.png").symlink_to(outside)
    (two_classes / "dir").symlink_to(outside.parent)
    (two_classes / "labels.csv").write_text("path,label\nout.png,sad\ndir/secret.png,sad\nhappy/a.png,happy\n")
    faces = read_faces(two_classes)
    assert faces.table["file_name"].tolist() == ["happy/a.png"]
    assert reasons(faces)["dir/secret.png"] == "labels.csv, line 3: a link that leaves the folder"


def test_table_without_labels_takes_them_from_the_class_folders(two_classes):
    (two_classes / "metadata.csv").write_text("file_name,subject\nhappy/a.png,p1\nSadness/c.png,p2\n")
    assert read_faces(two_classes).table["label"].tolist() == ["happy", "sad"]


def test_single_csv_counts_the_pictures_it_does_not_list(two_classes):
    (two_classes / "part.csv").write_text("file,emotion\nhappy/a.png,happy\n")
    faces = read_faces(two_classes / "part.csv")
    assert len(faces) == 1
    assert any("2 pictures" in note and "part.csv" in note for note in faces.notes)


def test_is_synthetic_accepted_and_seed_have_their_types(two_classes):
    (two_classes / "metadata.csv").write_text(
        "file_name,label,is_synthetic,seed,accepted,reject_reason\nhappy/a.png,happy,True,7,True,\n"
        "Sadness/c.png,sad,False,8,True,\nsad/none.png,sad,True,9,False,label not reached\n"
    )
    faces = read_faces(two_classes)
    assert faces.table["is_synthetic"].tolist() == [True, False]
    assert faces.table["seed"].tolist() == [7, 8]
    assert faces.table["accepted"].dtype == bool
    assert reasons(faces)["sad/none.png"].endswith("line 4: not accepted: label not reached")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\nhappy/a.png,irritated\n", r'labels\.csv, line 2: unknown expression "irritated".*--labels'),
        ("path,label,split\nhappy/a.png,happy,fold3\n", r'labels\.csv, line 2: unknown split "fold3"; allowed'),
        ("path,label,is_synthetic\nhappy/a.png,happy,perhaps\n", r"line 2: is_synthetic.*True and False"),
        ("name,label\nhappy/a.png,happy\n", r"no column file_name.*it has name, label"),
        ("path,Path\nx,y\n", "two columns 'path'"),
        ("", "empty"),
        ("path,label\n", "no pictures"),
    ],
)
def test_table_errors_say_where_and_what_to_do(two_classes, content, message):
    (two_classes / "labels.csv").write_text(content)
    with pytest.raises(EmoaugError, match=message):
        read_faces(two_classes)


def test_unknown_class_folder_names_a_file(two_classes):
    save(two_classes / "irritated" / "x.png")
    with pytest.raises(EmoaugError, match=r'irritated/x\.png: unknown expression "irritated"'):
        read_faces(two_classes)
    assert read_faces(two_classes, labels={"Irritated": "angry"}).vocabulary == ("happy", "sad", "angry")


def test_empty_or_missing_folder_says_what_was_expected(tmp_path):
    with pytest.raises(EmoaugError, match=re.escape(f"no pictures in {tmp_path}; expected DIR/CLASS/NAME.png")):
        read_faces(tmp_path)
    with pytest.raises(EmoaugError, match="neither a folder nor a CSV file"):
        read_faces(tmp_path / "gone")
    (tmp_path / "faces.zip").write_bytes(b"PK")
    with pytest.raises(EmoaugError, match="unpack it first"):
        read_faces(tmp_path / "faces.zip")


def test_a_file_whose_name_is_no_text_is_rejected_with_a_reason(two_classes):
    good = (two_classes / "happy" / "a.png").read_bytes()
    Path(os.fsdecode(os.fsencode(two_classes / "happy") + b"/b\xff.png")).write_bytes(good)
    faces = read_faces(two_classes)
    assert reasons(faces)["happy/b\ufffd.png"] == "its name is not UTF-8 text; rename it"


@pytest.mark.parametrize("nobody", ["", " ", "nan", "NaN", "None", "<NA>", "NULL"])
def test_a_subject_that_a_program_did_not_know_is_nobody(two_classes, nobody):
    rows = f"file_name,label,subject\nhappy/a.png,happy,{nobody}\nSadness/c.png,sad,NA\nhappy/deep/er/b.png,happy,NA \n"
    (two_classes / "metadata.csv").write_text(rows)
    assert read_faces(two_classes).table["subject"].tolist() == [None, "NA", "NA"]


def test_a_label_that_is_not_a_number_is_none(two_classes):
    (two_classes / "metadata.csv").write_text("file_name,label\nhappy/a.png,nan\nSadness/c.png,sad\n")
    faces = read_faces(two_classes)
    assert faces.table["label"].tolist() == ["sad"]
    assert reasons(faces)["happy/a.png"] == "metadata.csv, line 2: no label"


def test_a_table_without_labels_names_the_columns_that_it_has(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file_name,lable\na.png,happy\n")
    with pytest.raises(EmoaugError, match=r"no pictures to use in .*no column label in file_name, lable"):
        read_faces(tmp_path / "labels.csv")


def test_subject_from_the_file_name(tmp_path):
    for name in ["happy/S005_001_00000011.png", "sad/S010_002_00000014.png", "sad/other.png"]:
        save(tmp_path / name)
    faces = read_faces(tmp_path, subject_pattern=r"(S\d+)_(?P<subject>\d+)?")
    assert faces.table["subject"].tolist() == ["001", "002"]
    faces = read_faces(tmp_path, subject_pattern=r"(S\d+)")
    assert faces.table["subject"].tolist() == ["S005", "S010"]
    assert "does not match" in reasons(faces)["sad/other.png"]


@pytest.mark.parametrize("of", ["subject", "label"])
@pytest.mark.parametrize(
    ("pattern", "message"), [(r"S\d+", "no group"), (r"(S\d+", "not a regular expression"), (r"(Q\d+)", "no file name")]
)
def test_patterns_that_cannot_work(two_classes, of, pattern, message):
    with pytest.raises(EmoaugError, match=f"{of} pattern .*{message}"):
        read_faces(two_classes, **{f"{of}_pattern": pattern})


def test_label_from_the_file_name(tmp_path):
    for name in ["KA.AN1.39.tiff", "KA.HA2.30.tiff", "TM.HA1.180.tiff", "README.tiff"]:
        save(tmp_path / name)
    pattern = r"\.(?P<label>[A-Z]{2})\d"
    faces = read_faces(tmp_path, JAFFE.renames(), None, r"^(..)\.", False, pattern)
    assert faces.table[["file_name", "label", "subject"]].to_numpy().tolist() == [
        ["KA.AN1.39.tiff", "angry", "KA"],
        ["KA.HA2.30.tiff", "happy", "KA"],
        ["TM.HA1.180.tiff", "happy", "TM"],
    ]
    assert faces.vocabulary == ("happy", "angry")
    assert reasons(faces)["README.tiff"] == f"label pattern {pattern!r} does not match"


def test_file_names_say_more_than_folders_and_columns(tmp_path):
    for person in ("AF01", "BM20"):
        for shown in ("NES", "SUS", "SUFL"):
            save(tmp_path / person / f"{person}{shown}.jpg")
    with pytest.raises(EmoaugError, match=r"unknown expression .AF01.*--label-pattern"):
        read_faces(tmp_path)
    read = partial(read_faces, labels=KDEF.renames(), subject_pattern=r"([FM]\d\d)..S", label_pattern=r"\d\d(..)S")
    faces = read(tmp_path)
    assert faces.table["label"].tolist() == ["neutral", "surprise", "neutral", "surprise"]
    assert faces.table["subject"].tolist() == ["F01", "F01", "M20", "M20"]
    assert sorted(reasons(faces)) == ["AF01/AF01SUFL.jpg", "BM20/BM20SUFL.jpg"]
    (tmp_path / "labels.csv").write_text("file_name,label\nAF01/AF01NES.jpg,happy\nAF01/AF01SUS.jpg,\n")
    assert read(tmp_path).table["label"].tolist() == ["neutral", "surprise"]


def test_published_fer2013_table(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    usages = ["Training", "PublicTest", "PrivateTest", "Training"]
    with (tmp_path / "fer2013.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for emotion, picture, usage in zip([0, 3, 6, 1], pictures, usages, strict=True):
            writer.writerow([emotion, " ".join(map(str, picture.ravel())), usage])
        writer.writerow([1, "1 2 3", "Training"])
    for path in (tmp_path, tmp_path / "fer2013.csv"):
        faces = read_faces(path)
        assert faces.table["file_name"].tolist() == [
            *("train/angry/000000.png", "val/happy/000001.png", "test/neutral/000002.png", "train/disgust/000003.png")
        ]
        assert faces.table["split"].tolist() == ["train", "val", "test", "train"]
        assert faces.table["label"].tolist() == ["angry", "happy", "neutral", "disgust"]
        assert reasons(faces) == {"fer2013.csv, line 6": "3 pixels, which is no square picture"}
        np.testing.assert_array_equal(load_faces(faces, None), np.repeat(pictures[:, None], 3, axis=1))
        assert len({faces.sha256(i) for i in range(4)}) == 4


def test_damaged_fer2013_pixels_are_an_error_that_names_the_row(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels\n0,1 2 3 999\n")
    with pytest.raises(EmoaugError, match=r"000000\.png"):
        read_faces(tmp_path).picture(0)


def test_saved_vocabulary_keeps_the_users_own_names(two_classes):
    (two_classes / "Sadness").rename(two_classes / "sad")
    (two_classes / "happy").rename(two_classes / "joy")
    (two_classes / "run.json").write_text('{"vocabulary": ["sad", "joy"]}')
    assert read_faces(two_classes).vocabulary == ("sad", "joy")
    assert read_faces(two_classes, vocabulary=["happy", "sad"]).vocabulary == ("happy", "sad")


def test_select_by_mask_and_by_indices(two_classes):
    faces = read_faces(two_classes)
    by_mask = faces.select(faces.table["label"].to_numpy() == "happy")
    assert by_mask.table["file_name"].tolist() == ["happy/a.png", "happy/deep/er/b.png"]
    assert by_mask.table.index.tolist() == [0, 1]
    assert by_mask.vocabulary == faces.vocabulary
    assert faces.select([2, 0]).table["file_name"].tolist() == ["happy/deep/er/b.png", "Sadness/c.png"]
    assert len(faces.select([])) == 0


def test_load_faces_in_row_order_and_resized(tmp_path):
    for i in range(20):
        save(tmp_path / "happy" / f"{i:02d}.png", i * 10)
    faces = read_faces(tmp_path)
    loaded = load_faces(faces, None)
    assert loaded.shape == (20, 3, 8, 8)
    assert loaded[:, 0, 0, 0].tolist() == [i * 10 for i in range(20)]
    assert load_faces(faces, 4).shape == (20, 3, 4, 4)
    assert load_faces(faces, 16)[3].max() == 30
    assert load_faces(faces.select([]), 16).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("shape", [(8, 9), (9, 9)])
def test_load_faces_refuses_mixed_or_oblong_pictures_unless_told_a_size(two_classes, shape):
    save(two_classes / "happy/odd.png", shape=shape)
    faces = read_faces(two_classes)
    with pytest.raises(EmoaugError, match=rf"odd\.png is {shape[1]}x{shape[0]} pixels"):
        load_faces(faces, None)
    assert load_faces(faces, 8).shape == (4, 3, 8, 8)


def test_unreadable_pictures_are_moved_to_rejected(two_classes):
    (two_classes / "happy/bad.png").write_text("no picture")
    faces = read_faces(two_classes)
    with pytest.raises(EmoaugError, match=r"bad\.png"):
        load_faces(faces, None)
    good = drop_unreadable(faces)
    assert len(good) == 3
    assert good.rejected["file_name"].tolist() == ["happy/bad.png"]
    assert "not a picture" in good.rejected["reason"][0]


def test_metadata_columns_are_in_the_documented_order(tmp_path):
    table = pd.DataFrame(
        {"age": [3], "scores": [{"hit": 0.5}], "seed": [1], "label": ["sad"], "file_name": ["a"], "pixels": ["1"]}
    )
    write_metadata(tmp_path, table.assign(subject=None))
    assert (
        tmp_path / "metadata.csv"
    ).read_text() == 'file_name,label,subject,seed,scores,age\na,sad,,1,"{""hit"": 0.5}",3\n'


# What a Linux file name or a person's name may be made of; surrogates stand for bytes that are not UTF-8.
_CHARACTERS = st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",))
_NAMES = st.text(_CHARACTERS, min_size=1, max_size=12).filter(lambda name: ".." not in name)
_PEOPLE = _NAMES.map(str.strip).filter(lambda name: name.lower() not in ("", "nan", "none", "null", "<na>"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            *(_NAMES, st.sampled_from(BASIC), st.none() | _PEOPLE),
            *(st.sampled_from([None, "train", "val", "test"]), st.booleans(), st.none() | _NAMES),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda row: row[0],
    )
)
def test_reading_back_what_was_written_gives_the_same_table(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("faces")
    names = ["file_name", "label", "subject", "split", "is_synthetic", "remark"]
    table = pd.DataFrame(
        {name: pd.Series(list(cells), dtype=object) for name, cells in zip(names, zip(*rows, strict=True), strict=True)}
    )
    table["file_name"] = table["label"] + "/" + table["file_name"] + ".png"
    try:
        for name in table["file_name"]:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
    except (OSError, UnicodeEncodeError):
        return  # not a file name here
    write_metadata(folder, table.astype({"is_synthetic": bool}))
    again = read_faces(folder).table
    pd.testing.assert_frame_equal(again, table.astype({"is_synthetic": bool}), check_column_type=False)


def test_synthetic_faces_are_learned_from_only_where_no_face_is_real(tmp_path):
    for name in ("a", "b"):
        write_bytes(tmp_path / "happy" / f"{name}.png", encode_png(np.zeros((8, 8, 3), np.uint8)))
    rows = pd.DataFrame({"file_name": ["happy/a.png", "happy/b.png"], "is_synthetic": [True, False]})
    write_metadata(tmp_path, rows)
    assert read_faces(tmp_path).for_training().tolist() == [False, True]
    write_metadata(tmp_path, rows.assign(is_synthetic=True))
    assert read_faces(tmp_path).for_training().tolist() == [True, True]


def test_unlabelled_pictures_are_taken_on_demand(two_classes):
    for name in ["outside.png", "unlabelled/d.png", "train/e.png"]:
        save(two_classes / name)
    assert len(read_faces(two_classes)) == 3
    faces = read_faces(two_classes, unlabelled=True)
    unlabelled = faces.table[faces.table.label.isna()]
    assert dict(zip(unlabelled.file_name, unlabelled.split, strict=True)) == {
        "outside.png": None,
        "train/e.png": "train",
        "unlabelled/d.png": None,
    }
    assert faces.vocabulary == ("happy", "sad")
    assert sorted(faces.label_indices().tolist()) == [-1, -1, -1, 0, 0, 1]
    # Written and read again, they are still there.
    write_metadata(two_classes, faces.table)
    again = read_faces(two_classes, unlabelled=True)
    assert again.table.label.isna().tolist() == faces.table.label.isna().tolist()
    labelled = read_faces(two_classes)
    assert len(labelled) == 3
    assert reasons(labelled)["outside.png"].endswith("no label")


def test_a_dataset_may_be_wholly_unlabelled(tmp_path):
    save(tmp_path / "a.png")
    faces = read_faces(tmp_path, unlabelled=True)
    assert faces.vocabulary == ()
    assert faces.for_training().tolist() == [True]
    with pytest.raises(EmoaugError, match="no pictures"):
        read_faces(tmp_path)


def test_pictures_of_an_albums_folders_are_without_a_label_where_told_so(tmp_path):
    for name in ("a.png", "sub dir/b.png", "happy/c.png"):
        write_bytes(tmp_path / name, encode_png(np.full((8, 8, 3), 9, np.uint8)))
    with pytest.raises(EmoaugError, match=r"without a label: --labels 'sub dir=unlabelled'"):
        read_faces(tmp_path, unlabelled=True)
    with pytest.raises(EmoaugError) as error:
        read_faces(tmp_path)
    assert "unlabelled" not in str(error.value)
    with pytest.raises(EmoaugError, match="sub dir=unlabelled: pictures without a label are not taken here"):
        read_faces(tmp_path, {"sub dir": "unlabelled"})
    faces = read_faces(tmp_path, {"Sub Dir": "Unlabeled", "misc": "unlabelled"}, unlabelled=True)
    assert "no picture is labelled 'misc', so the renaming misc=unlabelled did nothing" in faces.notes
    table = faces.table
    assert dict(zip(table.file_name, table.label, strict=True)) == {
        "a.png": None,
        "sub dir/b.png": None,
        "happy/c.png": "happy",
    }
