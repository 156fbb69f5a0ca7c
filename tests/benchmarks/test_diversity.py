"""Whether the figures on new faces see copies, and faces that are all alike."""

import cv2
import numpy as np
import pytest
import torch

from benchmarks.diversity import copies, drawn, nearer, nearer_to_training, parted, spread
from emoaug import EmoaugError
from tests.augment.systems.test_registry import build, smallest
from tests.drawn_dataset import draw_dataset


def pictures(count: int, seed: int) -> list[np.ndarray]:
    noise = np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    return [cv2.GaussianBlur(picture, (0, 0), 2) for picture in noise]


def test_copies_are_nearer_than_one_and_strangers_farther():
    training = pictures(20, 0)
    assert copies(training, training) == pytest.approx(0, abs=1e-3)
    mirrored = [np.ascontiguousarray(picture[:, ::-1]) for picture in training]
    assert (copies(mirrored, training) < 1).all()
    assert (copies(pictures(5, 1), training) > 3).all()


def test_spread_is_the_mean_distance_of_two():
    assert spread(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])) == pytest.approx(10 / 3)
    assert spread(torch.zeros(4, 2)) == 0
    assert np.isnan(spread(torch.zeros(1, 2)))


def test_people_whom_the_system_did_not_see_are_held_out(tmp_path):
    faces = draw_dataset(tmp_path / "faces", subjects=3)
    people = sorted(faces.table.subject.unique())
    table = parted(faces, set(people[:2])).table
    assert {who: set(rows.split) for who, rows in table.groupby("subject")} == dict(
        zip(people, ({"train"}, {"train"}, {"test"}), strict=True)
    )
    for seen, which in ((set(people), "all"), (set(), "none")):
        with pytest.raises(EmoaugError, match=f"saw {which} of its people"):
            parted(faces, seen)


def test_distances_are_compared_pair_by_pair():
    distances, others = np.array([1.0, 2.0, 5.0]), np.array([2.0, 3.0])
    pairs = [(a < b) + 0.5 * (a == b) for a in distances for b in others]
    assert nearer(distances, others) == pytest.approx(np.mean(pairs))


def test_copies_are_nearer_to_training_faces_and_others_as_often_to_held_out_ones():
    training, held_out = pictures(40, 0), pictures(10, 1)
    # A copy is nearest in the one group of four that has its source, and as often as not in the others.
    assert nearer_to_training(training, training, held_out) == pytest.approx(0.25 + 0.75 / 2, abs=0.1)
    assert nearer_to_training(held_out, training, held_out) == 0
    assert nearer_to_training(pictures(300, 2), training, held_out) == pytest.approx(0.5, abs=0.1)
    assert np.isnan(nearer_to_training(held_out, training[:5], held_out))


def test_as_many_faces_are_drawn_as_asked_for_and_the_same_again():
    translator = build("cvae-gan", names=("happy", "sad"), settings=smallest("cvae-gan")).eval()
    faces = drawn(translator, "sad", 60, 3)
    assert faces.shape[0] == 60
    assert torch.equal(faces, drawn(translator, "sad", 60, 3))
    assert not torch.equal(faces[0], faces[50])
