"""What every system promises; a new one is tested by being in the register."""

from dataclasses import replace

import pytest
import torch

from augment.checkpoints import load_translator, save_checkpoint
from augment.systems import SYSTEMS, Batch, Progress, get_system
from augment.training_data import TrainingFaces
from emoaug import EmoaugError

SIZE = 32


MOVEMENTS = ("jawOpen", "mouthSmile", "browDown")
"""Conditions that are intensities."""


def build(name: str, classes: int = 3, names: tuple[str, ...] = ()):
    torch.manual_seed(0)
    system = SYSTEMS[name]
    names = names or tuple(f"expression{i}" for i in range(classes))
    return system(names, replace(system.configurations["compact"], size=SIZE))


def make_batch(classes: int = 3, n: int = 4, landmarks: bool = True) -> Batch:
    g = torch.Generator().manual_seed(1)
    labels = torch.arange(n) % classes
    eye = torch.eye(classes)
    points = torch.rand(n, 478, 2, generator=g) * 1.6 - 0.8
    if not landmarks:
        points[0] = float("nan")
    targets = eye[(labels + 1) % classes]
    faces, partners = (torch.rand(n, 3, SIZE, SIZE, generator=g) * 2 - 1 for _ in range(2))
    who = torch.arange(n)
    return Batch(
        faces,
        eye[labels],
        targets,
        points,
        subjects=who,
        partners=partners,
        partner_conditions=targets,
        partner_subjects=who,
        same_picture=torch.zeros(n, dtype=torch.bool),
    )


def make_training_faces(people: int = 4, classes: int = 3) -> TrainingFaces:
    """Each person once with every expression."""
    n = people * classes
    pixels = torch.randint(256, (n, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    each = torch.arange(n)
    return TrainingFaces(pixels, each % classes, torch.zeros(n, 478, 2), classes, subjects=each // classes)


@pytest.fixture(params=sorted(SYSTEMS))
def name(request):
    return request.param


@pytest.mark.parametrize("classes", [2, 22])
def test_translations_are_faces_for_small_and_large_vocabularies(name, classes):
    translator = build(name, classes).eval()
    batch = make_batch(classes)
    with torch.inference_mode():
        result = translator.translate(batch.faces, batch.targets)
    assert result.shape == batch.faces.shape
    assert result.dtype == torch.float32
    assert result.abs().max() <= 1


def test_each_phase_gives_a_gradient_to_every_parameter_that_it_trains(name):
    translator = build(name)
    translator.fit(make_training_faces())
    for phase in translator.phases():
        translator.zero_grad(set_to_none=True)
        # Layers behind a zero-initialised one get no gradient at the very first step: move off that point.
        with torch.no_grad():
            for p in translator.parameters():
                p.add_(0.01 * torch.randn_like(p))
        loss, terms = phase.loss(make_batch(), Progress(500, 1000))
        loss.backward()
        assert loss.isfinite()
        assert all(value.ndim == 0 and value.isfinite() for value in terms.values())
        trained = [(n, p) for m in phase.modules for n, p in m.named_parameters()]
        without = [n for n, p in trained if p.grad is None or not p.grad.abs().sum() > 0]
        if phase.name == "penalty":
            # A gradient penalty cannot see what only shifts the output, nor heads that the penalty leaves out.
            without = [n for n in without if not n.endswith("bias") and not n.startswith("attribute")]
        assert without == [], phase.name


def test_a_few_updates_make_the_condition_change_the_face(name):
    translator = build(name)
    batch = make_batch(n=6)
    phases = [(p, torch.optim.Adam([w for m in p.modules for w in m.parameters()], 1e-3)) for p in translator.phases()]
    for step in range(8):
        for phase, optimizer in phases:
            optimizer.zero_grad()
            phase.loss(batch, Progress(step, 1000))[0].backward()
            optimizer.step()
    with torch.inference_mode():
        one = translator.translate(batch.faces, torch.eye(3)[:1].expand(6, 3))
        other = translator.translate(batch.faces, torch.eye(3)[1:2].expand(6, 3))
    assert (one - other).abs().mean() > 1e-5


def test_faces_without_landmarks_do_not_spoil_a_phase(name):
    translator = build(name)
    for phase in translator.phases():
        loss, _ = phase.loss(make_batch(landmarks=False), Progress(0, 10))
        assert loss.isfinite(), phase.name


def test_a_saved_and_loaded_translator_gives_the_same_picture(name, tmp_path):
    translator = build(name).eval()
    save_checkpoint(tmp_path, translator, {})
    again = load_translator(tmp_path)
    batch = make_batch()
    with torch.inference_mode():
        assert torch.equal(
            translator.translate(batch.faces, batch.targets), again.translate(batch.faces, batch.targets)
        )
    assert again.condition_names == translator.condition_names
    assert again.settings == translator.settings


def test_bfloat16_and_float32_agree(name):
    translator, batch = build(name).eval(), make_batch()
    with torch.inference_mode():
        exact = translator.translate(batch.faces, batch.targets)
        with torch.autocast("cpu", torch.bfloat16):
            quick = translator.translate(batch.faces, batch.targets)
    assert quick.dtype == torch.float32
    assert (exact - quick).abs().mean() < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cpu_and_cuda_agree(name):
    translator, batch = build(name).eval(), make_batch()
    with torch.inference_mode():
        here = translator.translate(batch.faces, batch.targets)
        there = translator.cuda().translate(batch.faces.cuda(), batch.targets.cuda()).cpu()
    assert (here - there).abs().max() < 5e-3


def test_wrong_shapes_are_named(name):
    translator = build(name)
    with pytest.raises(EmoaugError, match="takes \\(N, 3, 32, 32\\)"):
        translator.translate(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3))
    with pytest.raises(EmoaugError, match="condition has shape"):
        translator.translate(torch.zeros(2, 3, 32, 32), torch.zeros(2, 5))


def test_what_a_system_cannot_do_says_what_it_can(name):
    translator = build(name)
    if "recombine" not in translator.info.abilities:
        with pytest.raises(EmoaugError, match="it can translate"):
            translator.recombine(torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, 3, SIZE, SIZE))


def test_an_unknown_system_is_an_error_that_lists_the_known():
    with pytest.raises(EmoaugError, match="lssl"):
        get_system("stargan")


def test_conditions_come_from_names(name):
    translator = build(name)
    assert torch.equal(translator.condition(["expression1", "expression0"]), torch.eye(3)[[1, 0]])
    with pytest.raises(EmoaugError, match="expression0, expression1"):
        translator.condition(["joy"])


MEASURED = sorted(name for name, system in SYSTEMS.items() if system.learns_intensities)


@pytest.mark.parametrize("name", MEASURED)
def test_measured_intensities_train_every_part_and_change_the_face(name):
    translator = build(name, names=MOVEMENTS)
    assert translator.intensities
    batch = make_batch()
    shown = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(4))
    shown[0, 0] = 0  # a face at rest
    batch = replace(batch, conditions=shown[0], targets=shown[1])
    phases = [(p, torch.optim.Adam([w for m in p.modules for w in m.parameters()], 1e-3)) for p in translator.phases()]
    for step in range(3):
        for phase, optimizer in phases:
            optimizer.zero_grad()
            loss, terms = phase.loss(batch, Progress(500 + step, 1000))
            loss.backward()
            assert all(value.isfinite() for value in terms.values())
            trained = [(n, p) for m in phase.modules for n, p in m.named_parameters()]
            without = [n for n, p in trained if p.grad is None or not p.grad.abs().sum() > 0]
            if phase.name == "penalty":
                without = [n for n in without if not n.endswith("bias") and not n.startswith("attribute")]
            assert step < 2 or without == [], phase.name
            optimizer.step()
    with torch.inference_mode():
        rest, moved = (translator.translate(batch.faces, c) for c in (torch.zeros(4, 3), batch.targets))
    assert (rest - moved).abs().mean() > 1e-6


@pytest.mark.parametrize("name", MEASURED)
def test_the_head_of_a_critic_learns_intensities_of_real_faces(name):
    translator, batch = build(name, names=MOVEMENTS), make_batch()
    shown = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.3, 0.9, 0.0], [1.0, 1.0, 1.0]])
    batch = replace(batch, conditions=shown, targets=shown.roll(1, 0))
    optimizer = torch.optim.Adam(translator.critic.parameters(), 1e-3)
    seen = []
    for step in range(12):
        optimizer.zero_grad()
        loss, terms = translator.critic_loss(batch, Progress(step, 100))
        (loss + terms["critic_attribute"]).backward()
        optimizer.step()
        seen.append(terms["critic_attribute"].item())
    assert sum(seen[-3:]) < 0.6 * sum(seen[:3])


def test_systems_that_need_classes_refuse_intensities(name):
    if name not in MEASURED:
        with pytest.raises(EmoaugError, match=f"{name} learns from labels only"):
            build(name, names=MOVEMENTS)


def test_named_conditions_stand_beside_the_entries():
    translator = build("lssl", names=MOVEMENTS)
    translator.named_conditions = {"happy": (0.2, 0.8, 0.0)}
    asked = translator.condition(["happy", "browDown"])
    torch.testing.assert_close(asked, torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]]))
    with pytest.raises(EmoaugError, match="jawOpen, mouthSmile, browDown, happy"):
        translator.condition(["joy"])
