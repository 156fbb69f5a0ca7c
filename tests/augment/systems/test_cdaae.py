from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from augment import losses
from augment.systems.base import Progress
from augment.systems.cdaae import CDAAE
from emoaug import EmoaugError

from .test_registry import make_batch


def small(**changed: object) -> CDAAE:
    torch.manual_seed(0)
    return CDAAE(("a", "b", "c"), replace(CDAAE.configurations["compact"], size=32, **changed))


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("upsampling", ["shuffle", "transposed"])
def test_the_difference_has_the_shape_of_the_features_of_its_level(level, upsampling):
    mirrored = upsampling == "shuffle"
    translator, batch = small(level=level, upsampling=upsampling, mirrored=mirrored), make_batch()
    low, code = translator.encoder(batch.faces)
    difference = translator.difference(code, batch.targets)
    assert low.shape == difference.shape == (4, (32, 64, 128, 128)[level - 1], 32 >> level, 32 >> level)
    assert code.shape == (4, 64)
    assert translator.picture(low + difference, batch.faces)[0].shape == batch.faces.shape


@pytest.mark.parametrize("output", ["decoded", "composed"])
def test_the_picture_is_made_of_the_sum_and_only_the_difference_hears_the_condition(output):
    translator, batch = small(output=output), make_batch()
    with torch.inference_mode():
        low, code = translator.encoder(batch.faces)
        expected, _ = translator.picture(low + translator.difference(code, batch.targets), batch.faces)
        torch.testing.assert_close(translator.translate(batch.faces, batch.targets), expected.clamp(-1, 1))
        assert (translator.difference(code, batch.targets) - translator.difference(code, batch.conditions)).abs().max()
        last = translator.difference.layers[-1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        one, other = (translator.translate(batch.faces, c) for c in (batch.targets, batch.conditions))
    torch.testing.assert_close(one, other)


def test_layers_begin_at_the_scale_of_their_input():
    # Without norms, a scale that dwindles or grows with depth would be one that does not learn.
    faces = make_batch(n=6).faces
    for upsampling in ("shuffle", "transposed"):
        translator = small(upsampling=upsampling, mirrored=upsampling == "shuffle")
        low, code = translator.encoder(faces)
        features = translator.encoder.high(low)
        assert 0.1 < features.std() / low.std() < 10
        assert 0.01 < translator.difference(code, torch.eye(3)[[0, 1, 2] * 2]).std() < 1
        assert 0.1 < translator.picture.layers(low).std() / low.std() < 10


@pytest.mark.parametrize("output", ["decoded", "composed"])
def test_generator_loss_is_the_weighted_sum_of_its_terms(output):
    weights = {"adversarial": 2, "attribute": 3, "pair": 5, "own": 7, "code": 11, "variation": 13}
    if output == "composed":
        weights |= {"flow": 17, "mask": 19, "mask_smoothness": 23}
    given = {f"{name}_weight": float(weight) for name, weight in weights.items()}
    translator = small(critic_augmentation=0.0, pair_blur=1, output=output, **given)
    batch = make_batch()
    loss, terms = translator.generator_loss(batch, Progress(0, 10))
    torch.testing.assert_close(loss, sum(weight * terms[name] for name, weight in weights.items()))
    with torch.inference_mode():
        both, _ = translator._decoded(batch.faces, translator.encoder(batch.faces), batch.targets, batch.conditions)
        result, own = both.chunk(2)
        torch.testing.assert_close(terms["pair"], F.l1_loss(result, batch.partners))
        torch.testing.assert_close(terms["own"], F.l1_loss(own, batch.faces))
        torch.testing.assert_close(terms["variation"], losses.total_variation(result))


def test_the_critic_of_the_code_tells_codes_from_uniform_draws():
    translator, batch = small(), make_batch(n=8)
    # Codes far from uniform: all alike.
    torch.nn.init.zeros_(translator.encoder.code.weight)
    optimizer = torch.optim.Adam(translator.code_critic.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = translator.code_loss(batch, Progress(0, 10))
        loss.backward()
        optimizer.step()
    code = translator.encoder(batch.faces)[1]
    drawn = torch.rand(200, 64) * 2 - 1
    assert translator.code_critic(code).max() < translator.code_critic(drawn).median()
    # To look drawn from the prior is what the encoder is asked for.
    assert losses.generator_loss(translator.code_critic(code)) > losses.generator_loss(translator.code_critic(drawn))


def test_published_configuration_trains_every_part_that_it_has():
    torch.manual_seed(0)
    translator = CDAAE(("a", "b", "c"), CDAAE.configurations["paper"])
    assert translator.encoder.code.out_features == 50
    batch, phases = make_batch(), translator.phases()
    assert [phase.name for phase in phases] == ["code", "critic", "generator"]
    for phase in phases:
        translator.zero_grad(set_to_none=True)
        phase.loss(batch, Progress(0, 10))[0].backward()
        for module in phase.modules:
            assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_a_few_pairs_are_learned():
    # The partner is the face with its lower half darkened: after some updates the translation is nearer to it.
    torch.manual_seed(0)
    translator = small(width=8, critic_width=4, adversarial_weight=0.01, pair_blur=1, own_weight=0.0)
    smooth = F.interpolate(make_batch(n=8).faces[:, :, :4, :4], size=32, mode="bilinear")
    partners = smooth.clone()
    partners[:, :, 16:] -= 0.5
    batch = replace(make_batch(n=8), faces=smooth, partners=partners.clamp(-1, 1))
    generator = next(phase for phase in translator.phases() if phase.name == "generator")
    optimizer = torch.optim.Adam([p for m in generator.modules for p in m.parameters()], 2e-3, betas=generator.betas)
    seen = []
    for step in range(60):
        optimizer.zero_grad()
        loss, terms = generator.loss(batch, Progress(step, 60))
        loss.backward()
        optimizer.step()
        seen.append(terms["pair"].item())
    assert seen[-1] < 0.4 * seen[0]


@pytest.mark.parametrize("changed", [{"level": 5}, {"level": 0}, {"kernel": 4}, {"size": 40}, {"code": 0}])
def test_impossible_settings_are_named(changed):
    with pytest.raises(EmoaugError, match=f"{next(iter(changed))} is {next(iter(changed.values()))}"):
        replace(CDAAE.configurations["compact"], **changed)
