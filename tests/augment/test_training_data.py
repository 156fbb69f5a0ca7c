import numpy as np
import pytest
import torch

from augment.training_data import TrainingFaces, load_training_faces, vary
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset


def test_batches_are_balanced_and_no_target_is_what_the_face_shows(tmp_path):
    faces = draw_dataset(tmp_path)
    rare = faces.select(np.array([1, 3, 5, 7, 9, 0]))  # five happy, one neutral
    data = load_training_faces(rare, faces.vocabulary, 32)
    batch = data.batch(torch.Generator().manual_seed(0), 400, 1.0)
    assert (batch.conditions * batch.targets).sum() == 0
    assert batch.targets.sum(1).eq(1).all()
    assert abs(batch.conditions[:, 0].mean() - 0.5) < 0.1
    assert batch.faces.abs().max() <= 1


def test_an_expression_that_no_face_shows_is_not_asked_for(tmp_path):
    data = load_training_faces(draw_dataset(tmp_path), ("happy", "angry", "neutral"), 32)
    batch = data.batch(torch.Generator().manual_seed(0), 200, 0.0)
    assert batch.targets[:, 1].sum() == 0
    assert (batch.conditions * batch.targets).sum() == 0
    assert batch.targets.sum(1).eq(1).all()


def test_face_and_landmarks_move_as_one():
    # A bright dot at each landmark must be found at the moved landmark.
    generator = torch.Generator().manual_seed(3)
    size, n = 64, 32
    places = torch.randint(20, 44, (n, 2), generator=generator)
    faces = torch.full((n, 3, size, size), -1.0)
    for i, (x, y) in enumerate(places.tolist()):
        faces[i, :, y - 1 : y + 2, x - 1 : x + 2] = 1.0
    points = ((places.float() + 0.5) * 2 / size - 1).unsqueeze(1)
    moved, after = vary(faces, points, 1.0, generator)
    weight = (moved[:, 0] - moved[:, 0].amin((1, 2), keepdim=True)).clamp_min(0)
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    x = (weight.sum(1) * axis).sum(1) / weight.sum((1, 2))
    y = (weight.sum(2) * axis).sum(1) / weight.sum((1, 2))
    assert (x - after[:, 0, 0]).abs().max() < 0.02
    assert (y - after[:, 0, 1]).abs().max() < 0.02
    assert (after[:, 0, 0] * points[:, 0, 0] < 0).any()  # some were mirrored


def test_training_faces_need_two_classes():
    with pytest.raises(EmoaugError, match="another class"):
        TrainingFaces(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.zeros(3).long(), torch.zeros(3, 478, 2), 2)
