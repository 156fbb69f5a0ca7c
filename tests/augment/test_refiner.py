"""The refiner's networks and objective."""

import torch

from augment.refiner import DOMAINS, Refiner, RefinerSettings, flat_light
from augment.systems import Batch, Progress

SMALL = RefinerSettings(size=32, expressions=3, width=8, residual_blocks=1, critic_width=8, critic_depth=3)


def batch(attributes=True):
    torch.manual_seed(0)
    faces = torch.rand(4, 3, 32, 32) * 2 - 1
    domain = torch.eye(2)[torch.tensor([0, 1, 0, 1])]
    shown = torch.eye(3)[torch.tensor([0, 1, 2, 0])] if attributes else None
    return Batch(faces, domain, 1 - domain, torch.rand(4, 478, 2) - 0.5, shown)


def test_an_untrained_refiner_changes_nothing():
    refiner, faces = Refiner(DOMAINS, SMALL), batch().faces
    assert torch.equal(refiner.translate(faces, refiner.condition(["real"] * 4)), faces)


def test_a_refiner_cannot_add_a_chequerboard():
    torch.manual_seed(0)
    refiner = Refiner(DOMAINS, SMALL)
    torch.nn.init.normal_(refiner.network.change.weight, std=0.02)
    added = refiner.network(torch.zeros(1, 3, 32, 32), torch.tensor([[0.0, 1.0]]))[..., 2:-2, 2:-2]
    board = torch.ones(28, 28).mul(-1).pow(torch.arange(28)[:, None] + torch.arange(28))
    assert added.std() > 0.001
    assert (added * board).mean().abs() < 0.01 * added.std()


def test_a_refiner_adds_detail_in_light_rather_than_in_colour():
    torch.manual_seed(0)
    refiner = Refiner(DOMAINS, SMALL)
    torch.nn.init.normal_(refiner.network.change.weight, std=0.02)
    added = refiner.network(batch().faces, batch().targets) - batch().faces
    light = added.mean(1, keepdim=True)
    steps = {name: part.diff(dim=3).abs().mean() for name, part in (("light", light), ("colour", added - light))}
    assert steps["light"] > 0
    assert steps["colour"] < 0.5 * steps["light"]


def test_tone_is_missed_where_a_face_gets_lighter_and_not_where_detail_changes():
    torch.manual_seed(0)
    settings = RefinerSettings(**{**vars(SMALL), "tone_weight": 1.0})
    board = torch.ones(32, 32).mul(-1).pow(torch.arange(32)[:, None] + torch.arange(32))
    missed = []
    for added in (0.2 * torch.ones(32, 32), 0.2 * board):
        refiner = Refiner(DOMAINS, settings)
        refiner.network.forward = lambda faces, condition, added=added: faces + added
        missed.append(float(refiner.generator_loss(batch(), Progress(0, 10))[1]["tone"]))
    assert abs(missed[0] - 0.2) < 1e-5
    assert missed[1] < 0.02


def test_flat_light_does_not_see_brightness_or_contrast():
    faces = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 0.5
    assert torch.allclose(flat_light(faces), flat_light(faces + 0.2), atol=1e-4)
    # The small constant in the denominator, which keeps flat skin flat, leaves a trace of the contrast.
    assert torch.allclose(flat_light(faces), flat_light(1.4 * faces), rtol=0.1)
    assert not torch.allclose(flat_light(faces), flat_light(faces.flip(3)), atol=0.5)


def test_every_term_of_weight_zero_is_left_out():
    silent = RefinerSettings(
        **{
            **vars(SMALL),
            **dict.fromkeys(
                (
                    "attribute_weight",
                    "bidirectional_weight",
                    "identity_weight",
                    "heat_weight",
                    "self_regularisation_weight",
                    "tone_weight",
                ),
                0.0,
            ),
        }
    )
    loud, _ = Refiner(DOMAINS, SMALL).generator_loss(batch(), Progress(0, 10))
    loss, terms = Refiner(DOMAINS, silent).generator_loss(batch(), Progress(0, 10))
    assert set(terms) == {"adversarial", "fine", "change"}
    assert torch.isclose(loss, terms["adversarial"] + terms["fine"])
    assert loss < loud


def test_each_phase_reaches_its_own_networks():
    refiner = Refiner(DOMAINS, SMALL)
    torch.nn.init.normal_(refiner.network.change.weight, std=0.1)
    for phase in refiner.phases():
        refiner.zero_grad()
        loss, terms = phase.loss(batch(), Progress(0, 10))
        # What the log calls so is an answer to what was asked for, and a refiner is asked for no expression.
        assert "attribute" not in terms
        loss.backward()
        for module in phase.modules:
            # Weights only: R1 does not touch a bias, which shifts every output alike, nor the head of the expressions.
            named = [(n, p) for n, p in module.named_parameters() if p.ndim > 1]
            reached = [p for n, p in named if not n.startswith(("attribute", "parts"))]
            assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in reached), phase.name
