"""A system that travels between processes: small on the way, loaded once, unchanged."""

import pickle

import pytest
import torch

from augment.checkpoints import load_translator, save_checkpoint
from augment.shared_translator import SharedTranslator
from augment.transforms import ExpressionBatch, RandomExpression
from emoaug import EmoaugError
from tests.augment.expression_transforms import CLASSES, always, small_lssl, tensor_face
from tests.augment.tiny_translator import tiny_translator


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(EmoaugError, match="no checkpoint"):
        RandomExpression(tmp_path, classes=CLASSES)


def test_a_path_is_pickled_without_weights_and_loaded_once(lssl_folder):
    transform = always(lssl_folder)
    assert len(pickle.dumps(transform)) < 10_000
    other = pickle.loads(pickle.dumps(transform))
    cpu = torch.device("cpu")
    assert (
        transform._system.on(cpu)
        is other._system.on(cpu)
        is ExpressionBatch(lssl_folder, classes=CLASSES)._system.on(cpu)
    )
    picture = tensor_face(size=32)
    torch.manual_seed(5)
    one = transform(picture, 0)
    torch.manual_seed(5)
    again = other(picture, 0)
    assert torch.equal(one[0], again[0])
    assert one[1] == again[1]


def test_a_class_that_no_training_face_showed_is_not_made(tmp_path):
    seen = {"training_data": {"classes": {"neutral": 4, "happy": 4, "sad": 0}}}
    save_checkpoint(tmp_path / "lssl" / "checkpoint", small_lssl(), seen)
    names, vectors = SharedTranslator(tmp_path / "lssl").expressions()
    known = small_lssl().condition_names
    assert names == tuple(name for name in known if name != "sad")
    assert torch.equal(vectors, small_lssl().condition(list(names)))
    change = RandomExpression(tmp_path / "lssl", p=1.0)
    torch.manual_seed(0)
    assert {change(tensor_face(size=32), "neutral")[1] for _ in range(20)} == {"happy"}
    with pytest.raises(EmoaugError, match='not trained on the class "sad"'):
        RandomExpression(tmp_path / "lssl", classes=CLASSES)


def test_a_checkpoint_that_changed_since_is_refused(lssl_folder):
    transform = always(lssl_folder)
    save_checkpoint(lssl_folder / "checkpoint", small_lssl(seed=4), {})
    with pytest.raises(EmoaugError, match="trained further"):
        transform(tensor_face(), 0)


def test_a_given_system_is_left_as_it_was():
    system = tiny_translator().train()
    always(system)(tensor_face(), 0)
    assert system.training
    assert all(p.requires_grad for p in system.parameters())


def test_a_loaded_checkpoint_makes_what_its_path_makes(lssl_folder):
    picture = tensor_face(size=32)
    options = {"targets": ["happy"], "strength": (1, 1)}
    assert torch.equal(
        always(lssl_folder, **options)(picture, 0)[0], always(load_translator(lssl_folder), **options)(picture, 0)[0]
    )


def test_what_it_makes_is_fit_for_autograd_and_in_range(tiny):
    made = SharedTranslator(tiny).make(tensor_face()[None] / 255, tiny.condition(["happy"]), "32-true")
    assert not made.is_inference()
    assert 0 <= made.min() < made.max() <= 1
