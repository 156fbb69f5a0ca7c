"""The faces of a gain run, from one dataset or two."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from augment.folders import read_faces, write_metadata
from augment.pictures import encode_png, write_bytes
from emoaug import EmoaugError
from pipelines.gain_data import GainData
from pipelines.splits import Fold
from pipelines.trials import GainSettings
from tests.drawn_dataset import draw_dataset

SETTINGS = GainSettings(arms=("real",), folds=2, seeds=2)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("data") / "drawn", subjects=6)


def other_folder(drawn, folder, people=("zoe", "yan"), extra=()):
    """Another dataset: pictures of some faces that the first does not have, and copies of some that it has."""
    rows, generator = [], np.random.default_rng(7)
    for who in people:
        for label in ("happy", "neutral", "fear"):
            name = f"{label}/{who}.png"
            noise = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            write_bytes(folder / name, encode_png(noise))
            rows.append({"file_name": name, "label": label, "subject": who})
    for i in extra:
        name = f"happy/copy{i}.png"
        write_bytes(folder / name, encode_png(drawn.picture(i)))
        rows.append({"file_name": name, "label": drawn.table.label[i], "subject": f"copy{i}"})
    write_metadata(folder, pd.DataFrame(rows))
    return read_faces(folder)


def test_each_seed_has_folds_of_its_own_that_test_everybody_once(drawn):
    data = GainData.load(drawn, None, None)
    assert data.tested is data.faces
    folds = data.folds(SETTINGS)
    assert [(seed, fold.number) for seed, fold in folds] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for seed in (0, 1):
        tested = np.concatenate([fold.test for s, fold in folds if s == seed])
        assert sorted(tested.tolist()) == list(range(len(drawn)))
    assert data.left_out(folds[0][1], SETTINGS) == ""


def test_few_labels_are_a_part_of_more_and_other_seeds_have_others(drawn):
    data = GainData.load(drawn, None, None)
    fold = data.folds(SETTINGS)[0][1]
    one, two, rest = (set(data.labelled(fold, labels, 0)) for labels in (1, 2, "all"))
    assert (len(one), len(two)) == (2, 4)
    assert one < two < rest == set(fold.train)


def test_a_published_split_is_tested_by_every_seed(drawn):
    splits = ["test" if who in ("person00", "person01") else "train" for who in drawn.table.subject]
    data = GainData.load(replace(drawn, table=drawn.table.assign(split=splits)), None, None)
    folds = data.folds(replace(SETTINGS, test_split="test"))
    assert [(seed, len(fold.train), len(fold.test)) for seed, fold in folds] == [(0, 8, 4), (1, 8, 4)]


def test_another_dataset_tests_and_what_is_like_it_is_left_out_of_training(drawn, tmp_path):
    other = other_folder(drawn, tmp_path / "other", extra=(3,))
    data = GainData.load(drawn, other, None)
    (_, fold), _ = data.folds(SETTINGS)
    assert data.tested.vocabulary == drawn.vocabulary
    # Faces of fear are of no use; the other face of the person who was copied goes too.
    assert len(fold.test) == 5
    assert len(fold.train) == len(drawn) - 2
    assert drawn.table.subject[3] not in set(drawn.table.subject[fold.train])
    assert "2 training faces are left out" in data.left_out(fold, SETTINGS)
    assert data.notes == (f"Of {other.root} are left out, because the training faces do not show them: 2 fear.",)
    assert data.tested_pixels.shape == (5, 3, 32, 32)


def test_a_dataset_without_a_common_expression_says_how_to_map(drawn, tmp_path):
    other = other_folder(drawn, tmp_path / "other")
    with pytest.raises(EmoaugError, match="--test-labels"):
        GainData.load(drawn, other.select((other.table.label == "fear").to_numpy()), None)


def test_one_expression_alone_is_an_error(drawn):
    with pytest.raises(EmoaugError, match="needs two expressions"):
        GainData.load(drawn.select((drawn.table.label == "happy").to_numpy()), None, None)


def test_the_hash_of_a_fold_says_which_pictures_are_on_which_side_whatever_their_names(drawn, tmp_path):
    data = GainData.load(drawn, None, None)
    fold = data.folds(SETTINGS)[0][1]
    first = data.fold_sha256(fold)
    assert data.fold_sha256(Fold(0, fold.train[::-1], fold.test)) == first
    assert data.fold_sha256(Fold(0, fold.test, fold.train)) != first
    assert data.fold_sha256(Fold(0, fold.train[1:], fold.test)) != first
    renamed = replace(data, faces=replace(drawn, table=drawn.table.assign(file_name="x.png")))
    assert renamed.fold_sha256(fold) == first
    labels = drawn.table.label.where(drawn.table.index != fold.train[0], "other")
    assert replace(data, faces=replace(drawn, table=drawn.table.assign(label=labels))).fold_sha256(fold) != first


def test_what_decides_a_trial_is_in_the_hash(drawn):
    data = GainData.load(drawn, None, None)
    assert data.sha256() == GainData.load(drawn, None, None).sha256()
    assert replace(data, pixels=data.pixels + 1).sha256() != data.sha256()
    assert replace(data, blendshapes=data.blendshapes + 1).sha256() != data.sha256()
    assert replace(data, aligned=not data.aligned).sha256() != data.sha256()
