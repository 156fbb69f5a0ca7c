"""What every system promises; a new one is tested by being in the register."""

from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from augment.checkpoints import load_translator, save_checkpoint
from augment.systems import SYSTEMS, Batch, Progress, get_system
from augment.training import Trainer, TrainingSettings
from augment.training_data import TrainingFaces
from augment.training_run import train
from augment.variation import Variation
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset

SIZE = 32
SMALLEST = {
    **{"width": 4, "widest": 16, "critic_width": 4, "judge_width": 4, "residual_blocks": 1, "refining_blocks": 1},
    **{"latent": 6, "identity": 8, "code": 8, "most_people": 20, "variations": 1},
}
"""Settings of whichever system has them, for trainings of some steps."""


MOVEMENTS = ("jawOpen", "mouthSmile", "browDown")
"""Conditions that are intensities."""


def build(name: str, classes: int = 3, settings=None, names: tuple[str, ...] = ()):
    torch.manual_seed(0)
    system = SYSTEMS[name]
    names = names or tuple(f"expression{i}" for i in range(classes))
    return system(names, settings or replace(system.configurations["compact"], size=SIZE))


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
        partner_landmarks=points,
        same_picture=torch.zeros(n, dtype=torch.bool),
    )


def make_training_faces(people: int = 4, classes: int = 3) -> TrainingFaces:
    """Each person once with every expression."""
    n = people * classes
    pixels = torch.randint(256, (n, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    each = torch.arange(n)
    return TrainingFaces(pixels, each % classes, torch.zeros(n, 478, 2), classes, subjects=each // classes)


def smallest(name: str):
    compact = SYSTEMS[name].configurations["compact"]
    own = {field.name for field in fields(compact)}
    return replace(compact, size=SIZE, **{key: value for key, value in SMALLEST.items() if key in own})


def abilities(translator, batch: Batch, generator: torch.Generator | None = None) -> dict[str, torch.Tensor]:
    """A picture made in each way that a system can."""

    def sampled():
        return translator.sample(batch.targets, (generator or torch.Generator()).manual_seed(5))

    ways = {
        "translate": partial(translator.translate, batch.faces, batch.targets),
        "sample": sampled,
        "recombine": partial(translator.recombine, batch.faces, batch.partners),
    }
    with torch.inference_mode():
        return {ability: ways[ability]() for ability in translator.info.abilities}


def train_a_little(translator, batch: Batch, steps: int = 8):
    """Updates enough to leave the beginning, where some systems change nothing."""
    phases = [(p, torch.optim.Adam([w for m in p.modules for w in m.parameters()], 1e-3)) for p in translator.phases()]
    for step in range(steps):
        for phase, optimizer in phases:
            optimizer.zero_grad()
            phase.loss(batch, Progress(step, 1000))[0].backward()
            optimizer.step()
        translator.after_step()
    return translator


@pytest.fixture(params=sorted(SYSTEMS))
def name(request):
    return request.param


@pytest.mark.parametrize("classes", [2, 22])
def test_made_pictures_are_faces_for_small_and_large_vocabularies(name, classes):
    translator, batch = build(name, classes).eval(), make_batch(classes)
    for ability, result in abilities(translator, batch).items():
        assert result.shape == batch.faces.shape, ability
        assert result.dtype == torch.float32, ability
        assert result.abs().max() <= 1, ability
        assert result.isfinite().all(), ability


def large_faces(n: int = 4) -> torch.Tensor:
    """Faces of three times the size, without fine detail."""
    coarse = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(3)) * 1.6 - 0.8
    return F.interpolate(coarse, (3 * SIZE, 3 * SIZE), mode="bilinear", align_corners=False)


def test_larger_faces_change_as_they_do_at_the_size_that_networks_see(name):
    batch, large = make_batch(), large_faces()
    translator = train_a_little(build(name, settings=smallest(name)), batch).eval()
    seen = translator.seen(large)
    assert seen.shape == batch.faces.shape
    here, there = (abilities(translator, replace(batch, faces=x, partners=x.flip(0))) for x in (seen, large))
    for ability in set(here) - {"sample"}:
        assert there[ability].shape == large.shape, ability
        change = (here[ability] - seen).abs().mean()
        # Windows are whole numbers of pixels, and weights of neighbours differ.
        assert (translator.seen(there[ability]) - here[ability]).abs().mean() < 0.2 * change, ability


def test_larger_faces_keep_what_is_too_fine_for_the_networks(name):
    translator, batch, large = build(name).eval(), make_batch(), large_faces()
    # Gone when it is reduced to a third; and no system moves pixels before its first update.
    fine = 0.2 * torch.tensor([[1.0, -0.5, -0.5]]).repeat(3 * SIZE, SIZE)
    plain, textured = (
        abilities(translator, replace(batch, faces=x, partners=large)) for x in (large, (large + fine).clamp(-1, 1))
    )
    for ability in set(plain) - {"sample"}:
        kept = ((textured[ability] - plain[ability]) * fine).mean() / fine.square().mean()
        assert kept > 0.75, ability


@pytest.mark.parametrize("output", ["compact", "paper"])
def test_mirror_images_are_answered_alike_and_weights_are_brought_back_to_it_after_a_step(name, output):
    settings = replace(smallest(name), output=SYSTEMS[name].configurations[output].output)
    translator, batch = train_a_little(build(name, settings=settings), make_batch()).eval(), make_batch()

    def apart() -> float:
        twins = replace(batch, faces=batch.faces.flip(-1), partners=batch.partners.flip(-1))
        made, other = abilities(translator, batch), abilities(translator, twins)
        return max(
            float((made[ability] - other[ability].flip(-1)).abs().max() / (made[ability] - batch.faces).abs().max())
            for ability in set(made) - {"sample"}
        )

    assert apart() < 1e-3
    with torch.no_grad():
        for part in translator.averaged_modules().values():
            for parameter in part.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    assert apart() > 0.02
    translator.after_step()
    assert apart() < 1e-3


def test_compact_is_mirrored_and_the_default_and_what_says_nothing_of_it_is_not(name):
    system = SYSTEMS[name]
    assert system(("neutral", "happy")).settings == system.configurations["compact"]
    assert system.configurations["compact"].mirrored
    assert not system.configurations["paper"].mirrored
    assert not system.settings_class().mirrored


def test_faces_that_are_too_small_or_not_square_are_refused_and_larger_ones_where_faces_are_painted_anew(name):
    translator, batch = build(name), make_batch()
    assert translator.keeps_detail
    for shape in ((4, 3, SIZE // 2, SIZE // 2), (4, 3, SIZE, 2 * SIZE), (3, SIZE, SIZE)):
        with pytest.raises(EmoaugError, match="or larger squares"):
            translator.translate(torch.zeros(shape), batch.targets)
    paper = SYSTEMS[name].configurations["paper"]
    painter = build(name, settings=replace(smallest(name), output=paper.output))
    assert not painter.keeps_detail
    with pytest.raises(EmoaugError, match=rf"takes \(N, 3, {SIZE}, {SIZE}\)$"):
        painter.translate(large_faces(), batch.targets)


@pytest.mark.parametrize("classes", [2, 22])
def test_small_and_large_vocabularies_train(name, classes):
    translator = build(name, classes, smallest(name))
    data = make_training_faces(people=3, classes=classes)
    translator.fit(data)
    batch = data.batch(torch.Generator().manual_seed(0), 4, Variation(), translator.partners)
    assert batch.targets.shape == (4, classes)
    for phase in translator.phases():
        loss, _ = phase.loss(batch, Progress(500, 1000))
        assert loss.isfinite(), phase.name


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


def test_after_a_few_updates_another_condition_is_another_face_and_so_is_a_blend(name):
    batch = make_batch(n=6)
    translator = train_a_little(build(name, settings=smallest(name)), batch)
    conditions = torch.eye(3)[:2]
    with torch.inference_mode():
        one, other, blend = (
            translator.translate(batch.faces, c.expand(6, 3)) for c in (*conditions, conditions.mean(0))
        )
    assert (one - other).abs().mean() > 1e-5
    assert (blend - one).abs().mean() > 1e-6
    assert (blend - other).abs().mean() > 1e-6


def test_a_grey_face_stays_grey(name):
    translator, batch = build(name, settings=smallest(name)), make_batch()
    translator.fit(make_training_faces())
    train_a_little(translator, batch)
    grey = batch.faces.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    with torch.no_grad():
        made = translator.translate(grey, batch.targets)
    assert not torch.allclose(made, grey, atol=1e-3)
    torch.testing.assert_close(made, made[:, :1].expand_as(made), atol=1e-5, rtol=0)


def test_faces_without_landmarks_do_not_spoil_a_phase(name):
    translator = build(name)
    for phase in translator.phases():
        loss, _ = phase.loss(make_batch(landmarks=False), Progress(0, 10))
        assert loss.isfinite(), phase.name


def test_a_saved_and_loaded_translator_makes_the_same_pictures(name, tmp_path):
    batch = make_batch()
    translator = train_a_little(build(name), batch, steps=1).eval()
    save_checkpoint(tmp_path, translator, {})
    again = load_translator(tmp_path)
    made = abilities(again, batch)
    for ability, result in abilities(translator, batch).items():
        assert torch.equal(result, made[ability]), ability
    assert again.condition_names == translator.condition_names
    assert again.settings == translator.settings


TRAINING = TrainingSettings(
    steps=6, batch_size=4, sample_every=6, save_every=3, device="cpu", precision="32-true", learning_rate=1e-3
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn"))


def test_a_stopped_run_ends_with_the_same_weights_and_log(name, drawn, tmp_path, monkeypatch):
    settings = smallest(name)
    first = train(drawn, tmp_path / "first", name, settings, replace(TRAINING, steps=1))
    checkpoint = train(drawn, tmp_path / "whole", name, settings, TRAINING, initial=first)
    step = Trainer._one_step

    def stopped(self):
        # Not where a state was saved: what was done since is done again.
        if self.step == 5:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(drawn, tmp_path / "parts", name, settings, TRAINING, initial=first)
    torch.rand(17)  # whatever else the process drew in between
    # What was solved before the first step is part of the state.
    monkeypatch.setattr(SYSTEMS[name], "fit", None)
    train(drawn, tmp_path / "parts", name, settings, TRAINING, initial=first)
    whole, parts = (torch.load(tmp_path / run / "state" / "state.pt", weights_only=True) for run in ("whole", "parts"))
    assert whole["weights"].keys() == parts["weights"].keys()
    assert all(torch.equal(value, parts["weights"][key]) for key, value in whole["weights"].items())
    again = tmp_path / "parts" / "checkpoint"
    assert (checkpoint / "weights.safetensors").read_bytes() == (again / "weights.safetensors").read_bytes()
    assert (tmp_path / "whole" / "log.jsonl").read_text() == (tmp_path / "parts" / "log.jsonl").read_text()


def test_bfloat16_and_float32_agree(name):
    batch = make_batch()
    # Before its first update what a system retouches hardly depends on its layers.
    translator = train_a_little(build(name), batch).eval()
    exact = abilities(translator, batch)
    with torch.autocast("cpu", torch.bfloat16):
        quick = abilities(translator, batch)
    for ability, result in exact.items():
        assert quick[ability].dtype == torch.float32, ability
        assert (result - quick[ability]).abs().mean() < 0.01, ability


def test_losses_of_bfloat16_and_float32_agree(name):
    translator, batch = build(name), make_batch()
    translator.fit(make_training_faces())
    for phase in translator.phases():
        losses = []
        for enabled in (False, True):
            before = {key: value.clone() for key, value in translator.state_dict().items()}
            torch.manual_seed(3)
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss, _ = phase.loss(batch, Progress(500, 1000))
            loss.backward()
            losses.append(loss.item())
            # Some phases keep running means of what they saw.
            translator.load_state_dict(before)
        assert losses[0] == pytest.approx(losses[1], rel=0.05, abs=1e-3), phase.name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cpu_and_cuda_agree(name):
    batch = make_batch()
    translator = train_a_little(build(name), batch, steps=2).eval()
    with torch.inference_mode():
        here = translator.translate(batch.faces, batch.targets)
        there = translator.cuda().translate(batch.faces.cuda(), batch.targets.cuda()).cpu()
    assert (here - there).abs().max() < 5e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_every_system_trains_on_cuda(name, drawn, tmp_path):
    on_cuda = replace(TRAINING, device="cuda", steps=2, precision="auto")
    translator = load_translator(train(drawn, tmp_path, name, smallest(name), on_cuda))
    batch = make_batch(classes=2)
    assert translator.translate(batch.faces, batch.targets).isfinite().all()


def test_wrong_shapes_are_named(name):
    translator = build(name)
    with pytest.raises(EmoaugError, match="takes \\(N, 3, 32, 32\\)"):
        translator.translate(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3))
    with pytest.raises(EmoaugError, match="condition has shape"):
        translator.translate(torch.zeros(2, 3, 32, 32), torch.zeros(2, 5))
    with pytest.raises(EmoaugError, match="takes \\(N, 3, 32, 32\\)"):
        translator.translate(torch.zeros(0, 3, 32, 32), torch.zeros(0, 3))


@pytest.mark.parametrize(
    ("faces", "asked", "says"),
    [
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 1.0, "faces are torch.uint8; .* float32 in"),
        (np.zeros((1, 3, 32, 32), np.float32), 1.0, "faces are ndarray"),
        (torch.full((1, 3, 32, 32), 200.0), 1.0, "values from 200 to 200"),
        (torch.zeros(1, 3, 32, 32), 9.0, "outside \\[0, 1\\]"),
        (torch.zeros(1, 3, 32, 32), float("nan"), "no numbers"),
    ],
)
def test_wrong_types_and_ranges_are_named(name, faces, asked, says):
    with pytest.raises(EmoaugError, match=says):
        build(name).translate(faces, torch.tensor([[asked, 0.0, 0.0]]))


def test_what_a_system_cannot_do_says_what_it_can(name):
    translator, batch = build(name), make_batch()
    ways = {
        "sample": lambda: translator.sample(batch.targets, torch.Generator()),
        "recombine": lambda: translator.recombine(batch.faces, batch.faces),
    }
    for ability in ways.keys() - set(translator.info.abilities):
        with pytest.raises(EmoaugError, match=f"{name} cannot {ability}; it can translate"):
            ways[ability]()


def test_an_unknown_system_is_an_error_that_lists_the_known():
    with pytest.raises(EmoaugError, match="lssl"):
        get_system("stargan")


def test_conditions_come_from_names(name):
    translator = build(name)
    assert torch.equal(translator.condition(["expression1", "expression0"]), torch.eye(3)[[1, 0]])
    with pytest.raises(EmoaugError, match="expression0, expression1"):
        translator.condition(["joy"])
    for wrong in ("expression0", [3]):
        with pytest.raises(EmoaugError, match="give a list"):
            translator.condition(wrong)


def test_conditions_come_from_synonyms(name):
    translator = SYSTEMS[name](("happy", "sad"), smallest(name))
    assert torch.equal(translator.condition(["Sadness", "joy", "sad"]), torch.eye(2)[[1, 0, 1]])


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
        translator.condition(["sad"])
