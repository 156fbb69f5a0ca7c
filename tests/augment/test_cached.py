"""CachedExpressions: written once, taken up where it stopped, and a dataset like torchvision's."""

import multiprocessing
import os

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from augment import cached
from augment.augmented_dataset import seeded
from augment.cached import CachedExpressions
from augment.devices import seed_from
from augment.pictures import is_grey
from augment.transforms import RandomExpression
from emoaug import EmoaugError
from tests.augment.tiny_translator import TinySettings, TinyTranslator, contents, draw_dataset, tiny_translator


@pytest.fixture
def faces(tmp_path):
    draw_dataset(tmp_path / "faces", {"happy": 3, "neutral": 3, "sad": 2})
    return ImageFolder(str(tmp_path / "faces"))


def test_first_the_dataset_then_its_copies_with_their_labels(faces, tiny, tmp_path):
    data = CachedExpressions(faces, tiny, copies=3, folder=tmp_path / "cache", strength=(1, 1), precision="32-true")
    assert len(data) == 8 * 4
    assert data.sources == list(range(8)) * 3
    for i in range(8):
        assert np.array_equal(np.asarray(data[i][0]), np.asarray(faces[i][0]))
        assert data[i][1] == faces[i][1]
    table = pd.read_csv(tmp_path / "cache" / "metadata.csv")
    for i, row in enumerate(table.itertuples()):
        picture, label = data[8 + i]
        source, before = faces[row.source_index]
        assert row.label == row.file_name.split("/")[0] == faces.classes[label] != faces.classes[before]
        condition = tiny.condition([faces.classes[label]])
        made = tiny.translate(v2.functional.pil_to_tensor(source)[None].float() / 127.5 - 1, condition)[0]
        pixels = made.mean(0, keepdim=True).expand(3, -1, -1) if is_grey(np.asarray(source)) else made
        wanted = pixels.mul(127.5).add(127.5).permute(1, 2, 0).numpy()
        assert np.abs(np.asarray(picture) - wanted).max() < 0.51


def test_a_copy_is_what_the_transform_makes_from_its_seed(faces, tiny, tmp_path):
    data = CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "cache", seed=5)
    transform = RandomExpression(tiny, p=1.0, classes=faces.classes)
    with seeded(seed_from(5, 1, 3)):
        picture, label = transform(*faces[3])
    assert np.array_equal(np.asarray(data[8 + 8 + 3][0]), np.asarray(picture))
    assert data[8 + 8 + 3][1] == label


def test_the_same_call_writes_nothing_again(faces, tiny, tmp_path):
    folder = tmp_path / "cache"
    CachedExpressions(faces, tiny, copies=2, folder=folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    data = CachedExpressions(faces, tiny, copies=2, folder=folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert len(data) == 24


def test_a_copy_that_was_removed_is_made_again(faces, tiny, tmp_path):
    CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "whole")
    data = CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "parts")
    next((tmp_path / "parts").glob("*/000002_1.png")).unlink()
    data = CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    assert len([data[i] for i in range(len(data))]) == 24


def test_a_table_that_cannot_be_read_is_named(faces, tiny, tmp_path):
    CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "cache")
    (tmp_path / "cache/metadata.csv").write_text("nothing\n1\n")
    with pytest.raises(EmoaugError, match=r"metadata\.csv is damaged"):
        CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "cache")


def test_what_was_stopped_is_taken_up_and_ends_the_same(faces, tiny, tmp_path):
    CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "whole")
    CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "parts")
    kept = next((tmp_path / "parts").glob("*/000001_0.png"))
    when = kept.stat().st_mtime_ns
    next((tmp_path / "parts").glob("*/000002_0.png")).unlink()
    CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "parts", workers=1)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    assert kept.stat().st_mtime_ns == when


def test_a_folder_that_another_process_filled_meanwhile_with_others_is_refused(faces, tiny, tmp_path, monkeypatch):
    folder, looked = tmp_path / "cache", cached._finished

    def looked_and_then(*arguments):
        done = looked(*arguments)
        monkeypatch.setattr(cached, "_finished", looked)
        CachedExpressions(faces, tiny, copies=1, folder=folder, seed=0)
        return done

    monkeypatch.setattr(cached, "_finished", looked_and_then)
    with pytest.raises(EmoaugError, match=r"another run, which differs in seed"):
        CachedExpressions(faces, tiny, copies=2, folder=folder, seed=1)
    CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "undisturbed", seed=0)
    assert contents(folder) == contents(tmp_path / "undisturbed")


def _make_and_die(faces, folder):
    class Deadly(ImageFolder):
        def __getitem__(self, index):
            if index == 5 and (folder / "neutral").exists() and any(folder.glob("*/000004_1.png")):
                os._exit(9)
            return super().__getitem__(index)

    CachedExpressions(Deadly(faces), tiny_translator().eval().requires_grad_(False), copies=2, folder=folder)


def test_a_killed_process_leaves_nothing_half_done(faces, tiny, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_make_and_die, args=(faces.root, tmp_path / "parts"))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert not (tmp_path / "parts" / "metadata.csv").exists()
    CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "parts")
    CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_fewer_copies_are_a_part_of_more(faces, tiny, tmp_path):
    CachedExpressions(faces, tiny, copies=3, folder=tmp_path / "cache")
    data = CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "cache")
    assert len(data) == 16
    assert data.sources == list(range(8))


def test_classes_may_be_numbers(tmp_path):
    draw_dataset(tmp_path / "faces", {"happy": 2, "neutral": 2, "sad": 1})
    for number, name in enumerate(("happy", "neutral", "sad"), 1):
        (tmp_path / "faces" / name).rename(tmp_path / "faces" / str(number))
    faces = ImageFolder(str(tmp_path / "faces"))
    data = CachedExpressions(
        faces, TinyTranslator(("1", "2", "3"), TinySettings()), copies=2, folder=tmp_path / "cache"
    )
    assert {data[i][1] for i in range(len(faces), len(data))} == {0, 1, 2}


def test_faces_that_stay_as_they_are_have_no_copies(faces, tiny, tmp_path):
    data = CachedExpressions(faces, tiny, copies=2, folder=tmp_path / "cache", targets={"sad": "happy"})
    assert len(data) == 8 + 2 * 2
    assert {faces[i][1] for i in data.sources} == {faces.class_to_idx["sad"]}
    assert {data[8 + i][1] for i in range(4)} == {faces.class_to_idx["happy"]}


def test_it_is_a_dataset_for_transforms_and_loaders(faces, tiny, tmp_path):
    transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    data = CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "cache", transform=transform)
    batches = list(DataLoader(data, batch_size=8, num_workers=1, shuffle=True))
    assert [tuple(pictures.shape) for pictures, _ in batches] == [(8, 3, 24, 24)] * 2
    assert "Number of datapoints: 16" in repr(data)
    assert ImageFolder(str(tmp_path / "cache")).classes == faces.classes


def test_without_a_folder_it_has_one_of_its_own_in_the_cache(faces, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one = CachedExpressions(faces, tiny, copies=1).folder
    assert one.is_relative_to(tmp_path / "cache" / "emoaug")
    assert CachedExpressions(faces, tiny, copies=1).folder == one
    assert CachedExpressions(faces, tiny, copies=1, seed=1).folder != one


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seed": 1}, "differs in seed"),
        ({"strength": (0.9, 1.0)}, "differs in settings: strength"),
        ({"copies": 0}, "copies is 0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(faces, tiny, tmp_path, options, says):
    CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "cache")
    with pytest.raises(EmoaugError, match=says):
        CachedExpressions(faces, tiny, **{"copies": 1, **options}, folder=tmp_path / "cache")


def test_other_weights_and_other_pictures_are_refused(faces, tiny, tmp_path):
    CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "cache")
    with pytest.raises(EmoaugError, match="differs in weights"):
        CachedExpressions(faces, tiny_translator(seed=9).eval(), copies=1, folder=tmp_path / "cache")
    path = faces.samples[3][0]
    PIL.Image.new("RGB", (24, 24)).save(path)
    for copies in (1, 2):
        with pytest.raises(EmoaugError, match="sample 3 of the dataset is not the one"):
            CachedExpressions(faces, tiny, copies=copies, folder=tmp_path / "cache")


def test_any_file_that_is_of_another_size_is_noticed(faces, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(cached, "CHECKED", 2)
    CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "cache")
    PIL.Image.new("RGB", (24, 24)).save(faces.samples[3][0])
    with pytest.raises(EmoaugError, match="some file of the dataset is not the one"):
        CachedExpressions(faces, tiny, copies=1, folder=tmp_path / "cache")


def test_datasets_of_another_kind_are_refused(faces, tiny, tmp_path):
    with pytest.raises(EmoaugError, match="without its transform"):
        CachedExpressions(ImageFolder(faces.root, v2.ToImage()), tiny, folder=tmp_path / "cache")
    with pytest.raises(EmoaugError, match="class numbers mean"):
        CachedExpressions([faces[0]], tiny, folder=tmp_path / "other")
