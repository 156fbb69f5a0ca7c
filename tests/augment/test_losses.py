import math

import pytest
import torch

from augment import losses
from augment.networks import PatchCritic


def test_critic_and_generator_losses_equal_their_published_forms():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    log = -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean())
    torch.testing.assert_close(losses.critic_loss(real, fake, "logistic"), log)
    assert losses.critic_loss(real, fake, "wasserstein").item() == pytest.approx(-1.25 - 0.5)
    torch.testing.assert_close(losses.generator_loss(fake, "logistic"), -torch.sigmoid(fake).log().mean())
    assert losses.generator_loss(fake, "wasserstein").item() == pytest.approx(1.25)


def test_r1_of_a_linear_critic_is_half_its_squared_weight():
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    real = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    penalty = losses.r1_penalty(lambda x: (x * weight).sum((1, 2, 3)), real)
    torch.testing.assert_close(penalty, 0.5 * weight.square().sum())


def test_gradient_penalty_of_a_linear_critic_depends_on_its_slope_alone():
    weight = torch.full((3, 4, 4), 0.5)
    real, fake = torch.zeros(5, 3, 4, 4), torch.ones(5, 3, 4, 4)
    penalty = losses.gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)), real, fake)
    assert penalty.item() == pytest.approx((0.5 * math.sqrt(48) - 1) ** 2, rel=1e-5)


def test_soft_cross_entropy_equals_torch_on_classes_and_on_blends():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1, 2, 3, 0, 1])
    one_hot = torch.nn.functional.one_hot(classes, 4).float()
    torch.testing.assert_close(
        losses.soft_cross_entropy(logits, one_hot), torch.nn.functional.cross_entropy(logits, classes)
    )
    blend = torch.softmax(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), 1)
    torch.testing.assert_close(
        losses.soft_cross_entropy(logits, blend), torch.nn.functional.cross_entropy(logits, blend)
    )
    torch.testing.assert_close(losses.soft_cross_entropy(logits, 3 * blend), losses.soft_cross_entropy(logits, blend))


def test_divergence_from_the_standard_normal_equals_torch_s():
    g = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(5, 7, generator=g), torch.randn(5, 7, generator=g)
    normal, standard = torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0, 1)
    expected = torch.distributions.kl_divergence(normal, standard).sum(1).mean()
    torch.testing.assert_close(losses.kl_to_standard_normal(mean, log_variance), expected)


def test_half_squared_distance_is_a_sum_over_a_sample():
    one, other = torch.zeros(2, 3, 4, 4), torch.stack([torch.full((3, 4, 4), 2.0), torch.full((3, 4, 4), -1.0)])
    assert losses.half_squared_distance(one, other).tolist() == [0.5 * 48 * 4, 0.5 * 48]


def patch_critic() -> PatchCritic:
    torch.manual_seed(0)
    return PatchCritic(channels=3, size=16, width=4, depth=2, maps=3, attributes=3, fine=True, leak=0.2)


def test_a_real_face_under_a_wrong_condition_counts_as_made():
    critic, g = patch_critic(), torch.Generator().manual_seed(1)
    real, made = torch.randn(4, 3, 16, 16, generator=g), torch.randn(4, 3, 16, 16, generator=g)
    shows, asked = torch.eye(3)[[0, 1, 2, 0]], torch.eye(3)[[1, 2, 0, 2]]
    own, theirs, wrong = critic(real, shows), critic(made, asked), critic(real, asked)
    adversarial, attribute = losses.patch_critic_loss(critic, (real, shows), (made, asked), "logistic", 0.5)
    log = torch.nn.functional.logsigmoid
    # Half of what counts as made is real.
    large = -log(own.patches).mean() - 0.5 * (log(-theirs.patches).mean() + log(-wrong.patches).mean())
    fine = -log(own.fine).mean() - log(-theirs.fine).mean()
    torch.testing.assert_close(adversarial, large + 0.5 * fine)
    torch.testing.assert_close(attribute, torch.nn.functional.cross_entropy(own.attributes, shows))
    without, _ = losses.patch_critic_loss(critic, (real, shows), (made, asked), "logistic", 0.5, wrong_conditions=False)
    torch.testing.assert_close(without, -log(own.patches).mean() - log(-theirs.patches).mean() + 0.5 * fine)
    adversarial, attribute = losses.patch_generator_loss(critic, (made, asked), "logistic", 0.5)
    torch.testing.assert_close(adversarial, -log(theirs.patches).mean() - 0.5 * log(theirs.fine).mean())
    torch.testing.assert_close(attribute, torch.nn.functional.cross_entropy(theirs.attributes, asked))


def test_penalty_of_a_patch_critic_is_the_slope_of_its_mean_over_patches():
    critic, real = patch_critic(), torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    condition = torch.eye(3)[[0, 2]]
    penalty = losses.patch_r1_penalty(critic, (real, condition), 0.5)
    real.requires_grad_(True)
    opinion = critic(real, condition)
    mean = opinion.patches.mean((1, 2, 3)) + 0.5 * opinion.fine.mean((1, 2, 3))
    (slope,) = torch.autograd.grad(mean.sum(), real)
    torch.testing.assert_close(penalty, 0.5 * slope.square().sum() / 2)


def test_blurred_distance_forgives_a_shift_and_keeps_a_difference_of_light():
    g = torch.Generator().manual_seed(0)
    picture = torch.rand(2, 3, 33, 33, generator=g)
    one, shifted = picture[..., :-1], picture[..., 1:]
    assert losses.blurred_l1(one, shifted, 8) < 0.15 * losses.blurred_l1(one, shifted, 1)
    assert losses.blurred_l1(one, one + 0.25, 8).item() == pytest.approx(0.25, rel=1e-4)
    torch.testing.assert_close(losses.blurred_l1(one, shifted, 1), (one - shifted).abs().mean())


def test_cross_entropy_counts_the_labelled_only():
    logits = torch.tensor([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    attributes = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    expected = torch.nn.functional.cross_entropy(logits[[0, 2]], torch.tensor([0, 1]))
    assert torch.allclose(losses.soft_cross_entropy(logits, attributes), expected)
    assert losses.soft_cross_entropy(logits, torch.zeros(3, 2)) == 0


def test_intensity_divergence_is_the_kl_of_bernoulli_distributions_and_nought_for_a_perfect_answer():
    generator = torch.Generator().manual_seed(0)
    wanted = torch.rand(6, 5, generator=generator)
    wanted[0], wanted[1] = 0.0, 1.0
    logits = torch.randn(6, 5, generator=generator, requires_grad=True)
    loss = losses.intensity_divergence(logits, wanted)
    real, read = (torch.distributions.Bernoulli(probs=p) for p in (wanted, logits.sigmoid()))
    torch.testing.assert_close(loss, torch.distributions.kl_divergence(real, read).sum(1).mean())
    # It pulls at each logit by answer less truth.
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, (logits.sigmoid() - wanted) / 6)
    perfect = losses.intensity_divergence(torch.logit(wanted[2:]), wanted[2:])
    torch.testing.assert_close(perfect, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_the_attribute_loss_follows_the_kind_of_condition():
    logits, shown = torch.randn(4, 3), torch.zeros(4, 3)
    assert losses.attribute_loss(False)(logits, shown) == 0  # no class is no label
    assert losses.attribute_loss(True)(logits, shown) > 0  # no movement is a face at rest
