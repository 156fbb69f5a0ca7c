import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Generator

from classifiers.networks import build_network
from classifiers.training import Classifier, ClassifierSettings, draw_batches, train_classifier
from emoaug import EmoaugError

QUICK = ClassifierSettings(steps=3, batch_size=8, recipe="flip")


def toy_faces(count: int = 48, size: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that a glance tells apart: where in the picture the bright bar lies."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    faces = generator.integers(0, 120, size=(count, 3, size, size), dtype=np.uint8)
    for face, label in zip(faces, labels, strict=True):
        face[:, label * size // 3 : (label + 1) * size // 3] += 100
    return faces, labels


def as_floats(faces: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(faces).float() / 127.5 - 1


def weights(classifier: Classifier) -> dict[str, torch.Tensor]:
    return classifier.network.state_dict()


def same_weights(first: Classifier, second: Classifier) -> bool:
    return all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


@pytest.mark.parametrize("quiet", ["", "1"])
def test_the_bar_can_be_switched_off(quiet, monkeypatch, capsys) -> None:
    monkeypatch.setenv("TQDM_DISABLE", quiet)
    train_classifier(*toy_faces(), 3, QUICK)
    assert ("classifier" in capsys.readouterr().err) == (not quiet)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_it_learns_what_is_easy_to_see(schedule, precision) -> None:
    settings = ClassifierSettings(steps=40, batch_size=24, recipe="flip", schedule=schedule, precision=precision)
    classifier = train_classifier(*toy_faces(), 3, settings, progress=False)
    faces, labels = toy_faces(60, seed=1)
    assert (classifier(as_floats(faces)).argmax(dim=1).numpy() == labels).mean() > 0.9


@pytest.mark.parametrize(("recipe", "mixing"), [("classical", "none"), ("trivialaugment", "none"), ("flip", "mixup")])
def test_the_same_seed_gives_the_same_weights(recipe, mixing) -> None:
    settings = dataclasses.replace(QUICK, recipe=recipe, mixing=mixing)
    first, again, other = (train_classifier(*toy_faces(), 3, settings, seed, progress=False) for seed in (3, 3, 4))
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_mixing_reaches_the_training() -> None:
    trained = [
        train_classifier(*toy_faces(), 3, dataclasses.replace(QUICK, mixing=mixing), progress=False)
        for mixing in ("none", "mixup", "cutmix")
    ]
    assert not same_weights(trained[0], trained[1])
    assert not same_weights(trained[1], trained[2])


def test_training_leaves_the_global_random_states_alone() -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    train_classifier(*toy_faces(), 3, dataclasses.replace(QUICK, recipe="trivialaugment"), progress=False)
    assert torch.equal(before[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_what_was_drawn_before_does_not_change_the_classifier() -> None:
    first = train_classifier(*toy_faces(), 3, QUICK, progress=False)
    torch.rand(17)
    assert same_weights(first, train_classifier(*toy_faces(), 3, QUICK, progress=False))


def test_tensors_and_arrays_are_the_same_faces() -> None:
    faces, labels = toy_faces()
    first = train_classifier(faces, labels, 3, QUICK, progress=False)
    second = train_classifier(torch.from_numpy(faces), torch.from_numpy(labels), 3, QUICK, progress=False)
    assert same_weights(first, second)


def test_a_balanced_batch_has_every_class_equally_often() -> None:
    labels = torch.tensor([0] * 90 + [1] * 9 + [3])
    batches = draw_batches(labels, [10] * 30, True, Generator().manual_seed(0))
    counts = torch.stack([torch.bincount(labels[batch], minlength=4) for batch in batches])
    assert counts[:, 2].sum() == 0
    assert counts[:, [0, 1, 3]].min() >= 2
    assert counts.max() <= 4
    assert counts.sum(dim=0).tolist() == [100, 100, 0, 100]


def test_an_unbalanced_draw_shows_every_face_once_an_epoch() -> None:
    batches = list(draw_batches(torch.zeros(30, dtype=torch.int64), [10] * 6, False, Generator().manual_seed(0)))
    assert torch.cat(batches[:3]).sort().values.tolist() == list(range(30))
    assert torch.cat(batches[3:]).sort().values.tolist() == list(range(30))
    assert not torch.equal(torch.cat(batches[:3]), torch.cat(batches[3:]))


def test_batches_of_any_size_go_on_where_the_last_one_ended() -> None:
    sizes = [3, 0, 7, 10, 5, 5]
    batches = list(draw_batches(torch.zeros(30, dtype=torch.int64), sizes, False, Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == sizes
    assert torch.cat(batches).sort().values.tolist() == list(range(30))


@pytest.mark.parametrize(
    ("share", "first", "expected"),
    [
        (0.0, 0.0, [0] * 10),
        (0.25, 0.0, [2] * 10),
        (1.0, 0.0, [8] * 10),
        (0.25, 0.4, [8] * 4 + [2] * 6),
        (0.0, 1.0, [8] * 10),
    ],
)
def test_every_batch_has_its_share_of_synthetic_faces(share, first, expected, monkeypatch) -> None:
    faces, labels = toy_faces()
    synthetic = np.full_like(faces, 255)
    seen = []
    network = build_network(classes=3)
    watch = network.features
    monkeypatch.setattr(type(network), "features", lambda _, batch: seen.append(batch.detach().clone()) or watch(batch))
    settings = dataclasses.replace(QUICK, recipe="none", steps=10)
    extra = (synthetic, labels)
    train_classifier(faces, labels, 3, settings, 0, extra, share, first, progress=False)
    counts = [int((batch == 1).all(dim=(1, 2, 3)).sum()) for batch in seen]
    assert counts == expected
    assert {len(batch) for batch in seen} == {8}


def test_synthetic_faces_teach_a_class_that_has_no_real_face() -> None:
    faces, labels = toy_faces()
    real = labels != 2
    settings = ClassifierSettings(steps=40, batch_size=24, recipe="flip")
    extra = (faces[~real], labels[~real])
    classifier = train_classifier(faces[real], labels[real], 3, settings, extra=extra, progress=False)
    test, truth = toy_faces(60, seed=1)
    assert (classifier(as_floats(test)).argmax(dim=1).numpy() == truth).mean() > 0.9


def test_a_loss_that_runs_away_is_a_clear_error() -> None:
    with pytest.raises(EmoaugError, match="learning rate smaller"):
        train_classifier(*toy_faces(), 3, dataclasses.replace(QUICK, learning_rate=1e30), progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "strong"}, "classical"),
        ({"mixing": "blend"}, "cutmix"),
        ({"network": "resnet19"}, "resnet18"),
        ({"schedule": "linear"}, "one-cycle"),
        ({"precision": "16"}, "bf16-mixed"),
        ({"steps": 0}, "at least 1"),
        ({"batch_size": 1}, "at least 2"),
        ({"label_smoothing": 1.0}, "below 1"),
        ({"learning_rate": math.nan}, "finite"),
    ],
)
def test_settings_that_do_not_exist_are_refused(change, message) -> None:
    with pytest.raises(EmoaugError, match=message):
        train_classifier(*toy_faces(), 3, dataclasses.replace(QUICK, **change), progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x.astype(np.float32), y), "uint8"),
        (lambda x, y: (x[:, :1], y), "N, 3, H, W"),
        (lambda x, y: (x, y[:-1]), "labels of the faces"),
        (lambda x, y: (x, y + 1), "0 to 2"),
        (lambda x, y: (x[:0], y[:0]), "no faces"),
    ],
)
def test_faces_that_do_not_fit_are_refused(change, message) -> None:
    with pytest.raises(EmoaugError, match=message):
        train_classifier(*change(*toy_faces()), 3, QUICK, progress=False)


def test_synthetic_faces_of_another_size_are_refused() -> None:
    with pytest.raises(EmoaugError, match=r"32x32 and 24x24"):
        train_classifier(*toy_faces(), 3, QUICK, extra=toy_faces(size=24), progress=False)


@pytest.mark.parametrize("device", ["tpu-7", "cuda:0"])
def test_a_device_that_is_not_here_is_refused(device) -> None:
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(EmoaugError, match="auto"):
        train_classifier(*toy_faces(), 3, QUICK, device=device, progress=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_it_learns_on_a_gpu() -> None:
    settings = ClassifierSettings(steps=40, batch_size=24, recipe="classical", precision="bf16-mixed")
    classifier = train_classifier(*toy_faces(), 3, settings, device="auto", progress=False)
    faces, labels = toy_faces(60, seed=1)
    assert (classifier(as_floats(faces)).argmax(dim=1).numpy() == labels).mean() > 0.9
