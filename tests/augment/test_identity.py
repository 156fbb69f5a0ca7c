"""The embedding of people, on drawn faces."""

import numpy as np
import pytest
import torch

from augment.folders import load_faces
from augment.identity import IdentityEmbedding, separation, train_embedding
from augment.training_data import subjects_of
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Faces uint8 (24, 3, 32, 32), people (24,) and labels (24,) of 12 people, neutral and happy."""
    faces = draw_dataset(tmp_path_factory.mktemp("drawn"), subjects=12)
    return torch.from_numpy(load_faces(faces, 32)), subjects_of(faces)[0], faces.label_indices()


@pytest.fixture(scope="module")
def embedding(drawn):
    pixels, people, _ = drawn
    return train_embedding(pixels[people < 8], people[people < 8])


def floats(pixels):
    return pixels.float() / 127.5 - 1


def test_people_that_it_never_saw_are_told_apart_whatever_their_expression(drawn, embedding):
    pixels, people, labels = drawn
    new = people >= 8
    found = separation(embedding(floats(pixels[new])), people[new], labels[new.numpy()])
    assert found.pairs == 4
    assert found.area > 0.9
    assert found.same > found.different + 0.3


def test_embeddings_are_unit_vectors_and_the_same_for_the_mirror_image(drawn, embedding):
    faces = floats(drawn[0])
    vectors = embedding(faces)
    assert vectors.shape == (24, 7)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(24))
    torch.testing.assert_close(embedding(faces.flip(-1)), vectors)
    # Light is nobody's: half the contrast, a little brighter.
    assert (vectors * embedding(0.5 * faces + 0.2)).sum(1).min() > 0.95


def test_a_saved_embedding_is_the_same_and_something_else_is_refused(drawn, embedding, tmp_path):
    embedding.save(tmp_path / "identity.safetensors")
    faces = floats(drawn[0])
    assert torch.equal(IdentityEmbedding.load(tmp_path / "identity.safetensors")(faces), embedding(faces))
    (tmp_path / "other").write_text("no tensors")
    for name in ("other", "absent"):
        with pytest.raises(EmoaugError, match="holds no identity embedding"):
            IdentityEmbedding.load(tmp_path / name)


def test_faces_of_unknown_people_change_nothing(drawn, embedding):
    pixels, people, _ = drawn
    masked = torch.where(people < 8, people, -1)
    assert torch.equal(train_embedding(pixels, masked).weights, embedding.weights)
    assert not torch.equal(train_embedding(pixels, masked, seed=1).weights, embedding.weights)


def test_too_few_people_with_two_pictures_are_an_error(drawn):
    pixels, people, labels = drawn
    with pytest.raises(EmoaugError, match=r"^2 people with two pictures"):
        train_embedding(pixels[people < 2], people[people < 2])
    neutral = torch.from_numpy(labels == labels[0])
    with pytest.raises(EmoaugError, match=r"^0 people.*--subject-pattern"):
        train_embedding(pixels[neutral], people[neutral])


def test_separation_compares_pairs_with_different_labels():
    vectors = torch.eye(3)[[0, 0, 0, 1, 2]]
    people, labels = np.array([0, 0, 0, 1, -1]), np.array([0, 1, 1, 1, 0])
    found = separation(vectors, people, labels)
    # Pairs with different labels among known people: 0-1 and 0-2 of one person, 0-3 of two.
    assert (found.same, found.different, found.area, found.pairs) == (1.0, 0.0, 1.0, 2)
    assert separation(vectors, np.array([0, 1, 2, 3, 4]), labels) is None
    assert separation(vectors, people, np.zeros(5)) is None
