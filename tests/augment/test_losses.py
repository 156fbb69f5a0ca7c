import math

import pytest
import torch

from augment import losses


def test_critic_and_generator_losses_equal_their_published_forms():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    log = -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean())
    torch.testing.assert_close(losses.critic_loss(real, fake, "logistic"), log)
    assert losses.critic_loss(real, fake, "hinge").item() == pytest.approx((0 + 2) / 2 + (1.5 + 0) / 2)
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
