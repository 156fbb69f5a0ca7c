"""A classifier on a pretended graphics card: on one device throughout, and waited for only where it must be."""

import pytest
import torch

from classifiers import training
from classifiers.augmentation import MIXINGS, RECIPES, augment_batch, mix_batch
from classifiers.classifier import Classifier
from classifiers.networks import build_network
from classifiers.training import ClassifierSettings
from tests.pretended_cuda import CPU, CUDA, Generator, pretended_cuda

BY_TORCHVISION = ("randaugment", "trivialaugment", "mixup", "cutmix")
"""They draw from torch's global generator, whose seed is asked from the card."""


def faces_and_labels(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    faces = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return faces, torch.arange(count) % 3


@pytest.mark.parametrize("recipe", RECIPES)
def test_faces_are_augmented_on_their_device(recipe):
    faces, _ = faces_and_labels()
    expected = augment_batch(faces / 127.5 - 1, recipe, torch.Generator().manual_seed(1))
    with pretended_cuda() as card:
        there = (faces / 127.5 - 1).to(CUDA)
        card.waits.clear()
        made = augment_batch(there, recipe, torch.Generator(CUDA).manual_seed(1))
        assert recipe in BY_TORCHVISION or card.waits == []
        assert made.device == CUDA
        assert torch.equal(made.cpu(), expected)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_faces_are_mixed_on_their_device(mixing):
    faces, labels = faces_and_labels()
    with pretended_cuda() as card:
        there = (faces / 127.5 - 1).to(CUDA), labels.to(CUDA)
        card.waits.clear()
        made, shares = mix_batch(*there, 3, mixing, torch.Generator(CUDA).manual_seed(1))
        assert mixing in BY_TORCHVISION or card.waits == []
        assert (made.device, shares.device) == (CUDA, CUDA)


def test_what_is_trained_on_a_card_is_what_is_trained_on_a_cpu(monkeypatch):
    faces, labels = faces_and_labels()
    settings = ClassifierSettings(steps=3, batch_size=6, label_smoothing=0.1)

    def trained(device: torch.device) -> Classifier:
        torch.manual_seed(0)
        network = build_network("compact", 3).to(device)
        training._fit(network, [(faces, labels)], 3, settings, 0, [], device, progress=False)
        return Classifier(network, 3, "compact")

    expected = trained(CPU)(faces / 127.5 - 1)
    monkeypatch.setattr(training, "Generator", Generator)
    with pretended_cuda() as card:
        judge = trained(CUDA)
        training_waits = [wait for wait in card.waits if "classifiers/training.py" in wait]
        # Of its loss in the first step and in the last.
        assert len(training_waits) == 2
        assert all("loss.item()" in wait for wait in training_waits)
        assert torch.equal(judge(faces / 127.5 - 1), expected)
        assert judge((faces / 127.5 - 1).to(CUDA)).device == CUDA


def test_a_classifier_computes_in_the_types_that_autocast_gives_it_on_cuda():
    faces, _ = faces_and_labels()
    network = build_network("compact", 3).requires_grad_(False)
    with pretended_cuda(casts=True):
        network.to(CUDA)
        with torch.autocast("cuda", torch.bfloat16):
            scores = network((faces / 127.5 - 1).to(CUDA))
        assert scores.dtype == torch.bfloat16
        assert bool(scores.isfinite().all())
