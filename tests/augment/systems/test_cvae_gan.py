from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from augment import losses
from augment.systems.base import Progress
from augment.systems.cvae_gan import CVAEGAN, CodeDistribution, MovingMeans
from emoaug import EmoaugError

from .test_registry import build, make_batch

SMALL = {"size": 32, "width": 4, "widest": 16, "judge_width": 4, "latent": 8}


def small(**changes) -> CVAEGAN:
    torch.manual_seed(0)
    return CVAEGAN(("a", "b", "c"), replace(CVAEGAN.configurations["compact"], **(SMALL | changes)))


def test_published_configuration_has_the_published_networks_and_weights():
    with torch.device("meta"):
        paper = CVAEGAN(tuple("abcdefg"), CVAEGAN.configurations["paper"])
    s = paper.settings
    weights = (s.kl_weight, s.pixel_weight, s.pair_weight, s.critic_mean_weight, s.class_mean_weight)
    assert weights == (3, 1, 1, 1e-3, 1e-3)
    count = sum(p.numel() for p in paper.encoder.parameters())
    assert count == 6_624_904 - 1025 * 1000 + (1024 + 7 + 1) * 2 * 256
    assert [phase.name for phase in paper.phases()] == ["judges", "generator"]


def test_published_networks_train_and_translate():
    torch.manual_seed(0)
    settings = replace(CVAEGAN.configurations["paper"], size=64)
    translator = CVAEGAN(("a", "b", "c"), settings)
    batch = make_batch(n=3)
    batch = replace(batch, faces=F.interpolate(batch.faces, 64))
    for phase in translator.phases():
        loss, _ = phase.loss(batch, Progress(0, 10))
        loss.backward()
        assert loss.isfinite()
    with torch.inference_mode():
        assert translator.eval().translate(batch.faces, batch.targets).shape == batch.faces.shape


def test_generator_loss_is_the_weighted_sum_of_its_terms(monkeypatch):
    weights = {
        "kl": 2,
        "pixel": 3,
        "pair": 5,
        "critic_mean": 7,
        "class_mean": 11,
        "own": 13,
        "retouch": 17,
        "partner": 19,
    }
    monkeypatch.setattr(losses, "ALIKE", 2.0)  # faces of noise are no pairs
    translator = small(**{f"{name}_weight": weight for name, weight in weights.items()})
    loss, terms = translator.generator_loss(make_batch(), Progress(0, 10))
    expected = (
        2 * terms["kl"]
        + 3 * terms["pixel"]
        + 5 * (terms["pair_critic"] + terms["pair_class"])
        + 7 * terms["mean_critic"]
        + 11 * terms["mean_class"]
        + 13 * terms["own"]
        + 17 * (3 * terms["flow"] + 0.04 * terms["mask"] + terms["mask_smoothness"])
        + 19 * terms["partner"]
    )
    assert terms["partner"] > 0.1
    torch.testing.assert_close(loss, expected)
    assert all(terms[name] > 0 for name in ("kl", "pixel", "pair_critic", "pair_class", "mean_critic", "mean_class"))


def test_translated_faces_are_compared_to_pairs_that_differ_little_and_to_no_others():
    translator, batch = small(), make_batch()
    smooth = torch.linspace(-0.5, 0.5, 32).expand(4, 3, 32, 32)
    # The third is itself, the fourth was taken in other light.
    partners = smooth + torch.tensor([0.1, 0.1, 0.1, 0.3]).view(4, 1, 1, 1)
    same = torch.tensor([False, False, True, False])
    batch = replace(batch, faces=smooth, partners=partners, same_picture=same)
    assert translator.partner_loss(batch, smooth).item() == pytest.approx(0.1 * 2 / 4, rel=1e-4)
    assert translator.partner_loss(batch, partners).item() == 0


def test_terms_are_the_published_norms_over_the_number_of_pixel_values():
    translator, batch = small(), make_batch()
    torch.manual_seed(3)
    terms = {name: term.detach() for name, term in translator.generator_loss(batch, Progress(0, 10))[1].items()}
    torch.manual_seed(3)
    with torch.no_grad():
        rebuilt, _, mean, log_variance, _ = translator._make(batch)
        real, made = translator.critic(batch.faces).features, translator.critic(rebuilt).features
    values = 3 * 32 * 32
    pixel = sum(0.5 * float((a - b).square().sum()) for a, b in zip(rebuilt, batch.faces, strict=True)) / 4
    pair = sum(0.5 * float((a - b).square().sum()) for a, b in zip(real, made, strict=True)) / 4
    kl = 0.5 * float((mean**2 + log_variance.exp() - log_variance - 1).sum()) / 4
    assert float(terms["pixel"]) == pytest.approx(pixel / values, rel=1e-4)
    assert float(terms["pair_critic"]) == pytest.approx(pair / values, rel=1e-4)
    assert float(terms["kl"]) == pytest.approx(kl / values, rel=1e-4)


def test_the_generator_does_not_hear_whether_the_critic_calls_its_faces_real():
    losses_of = []
    for scale in (1.0, -30.0):
        translator = small()
        with torch.no_grad():
            translator.critic.answer.weight.mul_(scale)
            translator.critic.answer.bias.fill_(scale)
        torch.manual_seed(1)
        losses_of.append(translator.generator_loss(make_batch(), Progress(0, 10))[0])
    assert torch.equal(*losses_of)


def test_judges_learn_by_cross_entropy_from_real_rebuilt_and_made_faces():
    translator, batch = small(critic_augmentation=0.0), make_batch()
    torch.manual_seed(2)
    loss, terms = translator.judge_loss(batch, Progress(0, 10))
    torch.manual_seed(2)
    with torch.no_grad():
        rebuilt, made, *_ = translator._make(batch)
        said = [translator.critic(x).logits.sigmoid() for x in (batch.faces, rebuilt, made)]
        named = translator.classifier(batch.faces).logits
    critic = -(said[0].log().mean() + (1 - said[1]).log().mean() + (1 - said[2]).log().mean())
    torch.testing.assert_close(terms["critic"], critic)
    torch.testing.assert_close(loss, critic + F.cross_entropy(named, batch.conditions.argmax(1)))
    assert len(made) == 2 * len(rebuilt)


def test_the_penalty_is_on_average_the_squared_gradient_of_critic_and_of_classifier():
    translator, batch = small(critic_augmentation=0.0), make_batch()
    index = batch.conditions.argmax(1)
    apart = losses.r1_penalty(lambda x: translator.critic(x).logits, batch.faces) + losses.r1_penalty(
        lambda x: translator.classifier(x).logits.log_softmax(1).gather(1, index[:, None]), batch.faces
    )
    torch.manual_seed(0)
    drawn = torch.stack([translator.penalty_loss(batch, Progress(0, 10))[1]["penalty"].detach() for _ in range(60)])
    assert drawn.mean().item() == pytest.approx(apart.item(), abs=4 * drawn.std().item() / 60**0.5 + 1e-4)


def test_moving_means_follow_real_and_made_faces_class_by_class():
    g = torch.Generator().manual_seed(0)
    means = MovingMeans(3, 5, 0.8)
    kept = {"real": [None] * 3, "made": [None] * 3}
    for _ in range(6):
        features = {kind: torch.randn(4, 5, generator=g) for kind in kept}
        # The third class comes rarely, and in some batches a class is absent.
        classes = {kind: torch.tensor([0.5, 0.4, 0.1]).multinomial(4, True, generator=g) for kind in kept}
        loss = means(features["real"], F.one_hot(classes["real"], 3), features["made"], F.one_hot(classes["made"], 3))
        for kind, lines in kept.items():
            for c in range(3):
                of_class = features[kind][classes[kind] == c]
                if len(of_class):
                    now = of_class.mean(0)
                    lines[c] = now if lines[c] is None else 0.8 * lines[c] + 0.2 * now
        pairs = [(a, b) for a, b in zip(kept["real"], kept["made"], strict=True) if a is not None and b is not None]
        torch.testing.assert_close(loss, sum(0.5 * (a - b).square().sum() for a, b in pairs))
    torch.testing.assert_close(means.made[0], kept["made"][0])


def test_the_gradient_goes_through_the_current_made_faces_alone_and_at_full_strength():
    g = torch.Generator().manual_seed(0)
    means = MovingMeans(2, 5, 0.9)
    one, both = torch.eye(2)[[0, 0, 1]], torch.eye(2)[[0, 0, 0]]
    means(torch.randn(3, 5, generator=g), one, torch.randn(3, 5, generator=g), one)
    real = torch.randn(3, 5, generator=g, requires_grad=True)
    made = torch.randn(3, 5, generator=g, requires_grad=True)
    means(real, one, made, both).backward()
    assert real.grad is None
    torch.testing.assert_close(made.grad, ((means.made[0] - means.real[0]) / 3).expand(3, 5))


def test_the_distribution_of_codes_follows_them_and_begins_standard():
    g = torch.Generator().manual_seed(0)
    codes = CodeDistribution(4)
    noise = torch.randn(2000, 4, generator=g)
    torch.testing.assert_close(codes(noise), noise, rtol=1e-3, atol=1e-3)
    mix, shift = torch.randn(4, 4, generator=g), torch.tensor([3.0, 0.0, -2.0, 1.0])
    for _ in range(1500):
        codes.learn(torch.randn(64, 4, generator=g) @ mix + shift)
    drawn = codes(noise)
    torch.testing.assert_close(drawn.mean(0), shift, atol=0.3, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), mix.T @ mix, atol=0.15 * float((mix.T @ mix).max()), rtol=0)


def test_one_step_of_the_distribution_is_the_covariance_of_a_mixture():
    g = torch.Generator().manual_seed(0)
    codes, batch = CodeDistribution(3), torch.randn(200, 3, generator=g) * 3 + 5
    codes.learn(batch)
    mean = 0.01 * batch.mean(0)
    second = 0.99 * torch.eye(3) + 0.01 * batch.T @ batch / 200
    torch.testing.assert_close(codes.mean, mean)
    torch.testing.assert_close(codes.covariance, second - torch.outer(mean, mean))


@pytest.mark.parametrize("noise", ["standard", "fitted"])
def test_published_noise_stays_standard(noise):
    translator = small(noise=noise)
    translator.generator_loss(make_batch(), Progress(0, 10))
    assert torch.equal(translator.codes.covariance, torch.eye(8)) == (noise == "standard")


def test_new_faces_follow_from_condition_and_generator():
    translator = build("cvae-gan").eval()
    condition = translator.condition(["expression0", "expression0", "expression1"])

    def draw(seed: int) -> torch.Tensor:
        with torch.inference_mode():
            return translator.sample(condition, torch.Generator().manual_seed(seed))

    one = draw(0)
    assert one.shape == (3, 3, 32, 32)
    assert one.abs().max() <= 1
    assert torch.equal(one, draw(0))
    assert not torch.equal(one, draw(1))
    assert not torch.equal(one[0], one[1])
    with pytest.raises(EmoaugError, match="needs \\(N, 3\\)"):
        translator.sample(torch.zeros(2, 5), torch.Generator())


def test_codes_of_new_faces_deviate_as_far_as_the_temperature_says(monkeypatch):
    drawn = {}
    for temperature in (1.0, 0.5, 0.0):
        translator = small(temperature=temperature).eval()
        translator.codes.mean += torch.arange(8.0)
        monkeypatch.setattr(translator, "_decode", lambda codes, _, t=temperature: drawn.setdefault(t, codes))
        translator.sample(translator.condition(["a"]).expand(40, -1), torch.Generator().manual_seed(0))
    mean = torch.arange(8.0).expand(40, -1)
    torch.testing.assert_close(drawn[0.5] - mean, (drawn[1.0] - mean) / 2)
    torch.testing.assert_close(drawn[0.0], mean)


@pytest.mark.parametrize("output", ["decoded", "composed"])
def test_translating_decodes_the_mean_code_of_what_the_classifier_sees(output):
    translator, batch = small(output=output).eval(), make_batch()
    with torch.inference_mode():
        shown = translator.classifier(batch.faces).logits.softmax(1)
        mean, _, *maps = (translator.encoder.read if output == "composed" else translator.encoder)(batch.faces, shown)
        # A condition is as long as a code is on average.
        code = torch.cat([mean, batch.targets * translator.settings.latent**0.5], 1)
        if output == "composed":
            expected = translator.retoucher(batch.faces, *maps, code).faces
        else:
            expected = translator.generator(code)
        torch.testing.assert_close(translator.translate(batch.faces, batch.targets), expected.clamp(-1, 1))


def test_training_lowers_what_the_generator_minimises():
    translator, batch = (
        small(translated_too=False, kl_weight=0.05, pair_weight=0.05, class_mean_weight=0.05),
        make_batch(n=6),
    )
    # Smooth pictures: a code has no room for noise.
    batch = replace(batch, faces=F.interpolate(batch.faces[..., :4, :4], 32, mode="bicubic").clamp(-1, 1))
    phases = [(p, torch.optim.Adam([w for m in p.modules for w in m.parameters()], 2e-3)) for p in translator.phases()]
    pixel = []
    for step in range(60):
        for phase, optimizer in phases:
            optimizer.zero_grad()
            loss, terms = phase.loss(batch, Progress(step, 60))
            loss.backward()
            optimizer.step()
        translator.after_step()
        pixel.append(terms["pixel"].item())
    assert sum(pixel[-5:]) < 0.9 * sum(pixel[:5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 40}, "multiple of 16"),
        ({"networks": "published", "size": 96}, "multiple of 64"),
        ({"matched_levels": 5}, "matched_levels is 5"),
        ({"mean_decay": 1.0}, "mean_decay"),
        ({"latent": 0}, "latent is 0"),
        ({"temperature": -0.5}, "temperature is -0.5; it is 0 or more"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(EmoaugError, match=message):
        replace(CVAEGAN.configurations["compact"], **changes)
