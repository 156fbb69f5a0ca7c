"""What runs on a graphics card, on a pretended one: on one device throughout, and waited for only where it must be."""

import pickle
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from augment import landmarks
from augment.generation_network import CHUNK, reproducible
from augment.refiner import DOMAINS, Refiner, RefinerSettings
from augment.simulation.behaviour import Prototypes
from augment.simulation.morphable import load_face_model
from augment.simulation.scenes import SceneSettings, draw_scene
from augment.simulation.studio import take_pictures
from augment.systems import SYSTEMS, Batch, Progress, Translator
from augment.training import Trainer, TrainingSettings
from augment.transforms import ExpressionBatch, RandomExpression
from tests.augment.systems.test_registry import (
    MOVEMENTS,
    SIZE,
    abilities,
    build,
    make_batch,
    make_training_faces,
    smallest,
)
from tests.augment.tiny_translator import Recombiner, tiny_translator
from tests.pretended_cuda import CPU, CUDA, Far, PretendedCuda, pretended_cuda

STEP = Progress(30, 100)


def measured(name: str) -> Translator:
    """A system that learns intensities."""
    return build(name, settings=smallest(name), names=MOVEMENTS)


def refiner() -> Refiner:
    torch.manual_seed(0)
    return Refiner(DOMAINS, RefinerSettings(SIZE, expressions=3, width=8, residual_blocks=1, critic_width=4))


def batch_for(translator: Translator, known: bool = True) -> Batch:
    batch = make_batch(landmarks=known)
    if isinstance(translator, Refiner):
        domain = torch.eye(2)[torch.arange(4) % 2]
        batch = replace(batch, conditions=domain, targets=1 - domain, attributes=batch.conditions)
    return replace(batch, all_landmarks=known)


TRANSLATORS: dict[str, Callable[[], Translator]] = {
    **{name: lambda name=name: build(name, settings=smallest(name)) for name in sorted(SYSTEMS)},
    **{
        f"{name}-measured": lambda name=name: measured(name)
        for name, kind in sorted(SYSTEMS.items())
        if kind.learns_intensities
    },
    "refiner": refiner,
}


@pytest.fixture(params=TRANSLATORS)
def translator(request):
    built = TRANSLATORS[request.param]()
    if not isinstance(built, Refiner):
        built.fit(make_training_faces())
    return built


@pytest.mark.parametrize("known", [True, False])
def test_a_training_step_stays_on_its_device_and_never_waits_for_it(translator, known):
    batch = batch_for(translator, known)
    with pretended_cuda() as card:
        translator.to(CUDA)
        there = batch.to(CUDA)
        # The numbers of landmarks are copied to a device once.
        for outline in (landmarks.FACE_49, *chain.from_iterable(landmarks.REGIONS.values())):
            landmarks.chosen(there.landmarks, outline)
        card.waits.clear()
        for phase in translator.phases():
            loss, terms = phase.loss(there, STEP)
            loss.backward()
            assert all(isinstance(term, Far) for term in terms.values())
            gradients = [p.grad for module in phase.modules for p in module.parameters() if p.grad is not None]
            assert gradients
            assert all(gradient.device == CUDA for gradient in gradients)
        assert card.waits == []


def test_a_training_step_computes_in_the_types_that_autocast_gives_it_on_cuda(translator, monkeypatch):
    batch = batch_for(translator)
    # There are no gradients here; what comes of the penalties does not matter, what they ask for does.
    monkeypatch.setattr(torch.autograd, "grad", lambda outputs, inputs, **_: (torch.zeros_like(inputs),))
    with pretended_cuda(casts=True):
        translator.requires_grad_(False).to(CUDA)
        there = batch.to(CUDA)
        for phase in translator.phases():
            with torch.autocast("cuda", torch.bfloat16):
                loss, _ = phase.loss(there, STEP)
            assert loss.dtype == torch.float32
            assert bool(loss.isfinite())


@pytest.mark.parametrize("half", [False, True])
def test_faces_are_made_on_the_device_without_waiting_for_it(translator, half):
    translator.eval().requires_grad_(False)
    batch = batch_for(translator)
    with pretended_cuda(casts=half) as card:
        translator.to(CUDA)
        there = batch.to(CUDA)
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            made = abilities(translator, there, torch.Generator(CUDA))
        for ability, faces in made.items():
            assert (faces.device, faces.dtype) == (CUDA, torch.float32), ability
            assert bool(faces.isfinite().all()), ability
    assert not [wait for wait in card.waits if "isfinite" not in wait and "pin" not in wait and ".to(" not in wait]


def test_what_is_trained_on_a_card_is_what_is_trained_on_a_cpu(tmp_path):
    # Random numbers come from the same stream here, so that a difference would be one of devices.
    def trainer(name: str, device: torch.device) -> Trainer:
        fabric: Any = SimpleNamespace(
            **{"device": device, "world_size": 1, "autocast": nullcontext, "backward": lambda loss: loss.backward()}
        )
        hold: Any = SimpleNamespace(check=lambda: None)
        settings = TrainingSettings(steps=4, batch_size=4)
        translator, data = build(name, settings=smallest(name)), make_training_faces()
        translator.fit(data)
        for folder in ("samples", "checkpoint"):
            (tmp_path / device.type / folder).mkdir(parents=True, exist_ok=True)
        return Trainer(translator, data, tmp_path / device.type, settings, {}, fabric, hold)

    def take_steps(trained: Trainer, card: PretendedCuda | None) -> None:
        for trained.step in range(2):
            if card is not None and trained.step:
                card.waits.clear()
            trained._one_step()
        assert card is None or card.waits == []
        trained._save_samples()
        trained._save_checkpoint()

    for name in ("lssl", "cvae-gan"):
        take_steps(trainer(name, CPU), None)
        with pretended_cuda() as card:
            take_steps(trainer(name, CUDA), card)
        for file in ("samples/000001.png", "checkpoint/weights.safetensors"):
            assert (tmp_path / "cuda" / file).read_bytes() == (tmp_path / "cpu" / file).read_bytes()


@pytest.mark.parametrize("new_person", [False, True])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_a_batch_of_expressions_is_made_on_its_device_without_waiting_for_it(name, precision, new_person):
    system = build(name, settings=smallest(name)).eval().requires_grad_(False)
    if new_person and "sample" not in system.info.abilities:
        return
    change = ExpressionBatch(
        system, p=0.6, classes=list(system.condition_names), precision=precision, new_person=new_person
    )
    pictures, labels = torch.randint(256, (6, 3, 40, 44), dtype=torch.uint8), torch.arange(6) % 3
    with pretended_cuda(casts=precision == "bf16-mixed") as card:
        pictures, labels = pictures.to(CUDA), labels.to(CUDA)
        change(pictures, labels)  # the first batch brings weights and tables over
        card.waits.clear()
        made, after = change(pictures, labels)
        assert card.waits == []
    assert (made.device, made.dtype, after.device) == (CUDA, torch.uint8, CUDA)


def test_pictures_whose_label_no_class_has_stay_as_they_are_on_a_card():
    change = ExpressionBatch(tiny_translator().eval(), p=1.0, classes=["happy", "neutral", "sad"], precision="32-true")
    torch.manual_seed(0)
    pictures, labels = torch.randint(256, (4, 3, 24, 24), dtype=torch.uint8), torch.tensor([-1, 0, 3, 1])
    with pretended_cuda():
        made, after = (tensor.cpu() for tensor in change(pictures.to(CUDA), labels.to(CUDA)))
    assert (made == pictures).flatten(1).all(1).tolist() == [True, False, True, False]
    assert (after == labels).tolist() == [True, False, True, False]


def test_workers_get_no_tensor_of_the_card_that_a_system_was_on():
    system = tiny_translator().eval().requires_grad_(False)
    with pretended_cuda():
        transforms = [
            kind(system.to(CUDA), p=1.0, classes=["happy", "neutral", "sad"], precision="32-true")
            for kind in (RandomExpression, ExpressionBatch)
        ]
        pictures, labels = torch.zeros(2, 3, 24, 24, device=CUDA), torch.zeros(2, dtype=torch.long, device=CUDA)
        transforms[1](pictures, labels)
    # Outside, as in a forked worker, whatever touches the card fails.
    for transform in transforms:
        sent = pickle.loads(pickle.dumps(transform))
        assert list(sent._system._given) == [CPU]
        assert list(getattr(sent, "_statistics", [CPU])) == [CPU]
        for here in (transform, sent):
            assert all(p.device == CPU for p in here._system.on(CPU).parameters())
    picture, _ = transforms[0](torch.zeros(3, 24, 24), 0)
    assert picture.device == CPU


@pytest.mark.parametrize("shown", [False, True], ids=["conditions", "exemplars"])
def test_chunks_go_to_the_card_and_back_through_pinned_memory(shown):
    translator = tiny_translator(kind=Recombiner)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (CHUNK["cuda"], 24, 24, 3), dtype=np.uint8)
    asked = pictures[::-1].copy() if shown else random.dirichlet([1, 1, 1], len(pictures)).astype(np.float32)
    with reproducible(translator, "cpu") as translate:
        expected, _ = translate(pictures, asked)
    with pretended_cuda() as card, reproducible(translator, "cuda") as translate:
        card.waits.clear()
        made, usable = translate(pictures, asked)
        assert card.waits == []
    assert np.array_equal(made, expected)
    assert usable.all()


def test_simulated_faces_are_rendered_on_the_card():
    # Here the host waits often: how many triangles there are to look at decides what is done next.
    settings = SceneSettings()
    scenes = [draw_scene(settings, row, Prototypes(settings.intensity)) for row in range(2)]
    model = load_face_model(None)
    expected = take_pictures(model, scenes, settings, 16)
    with pretended_cuda(), torch.inference_mode():
        made = take_pictures(model.to(CUDA), scenes, settings, 16, "cuda")
        pictures = made.pictures.cpu()
    assert torch.equal(pictures, expected.pictures)
    assert np.array_equal(made.landmarks, expected.landmarks)
