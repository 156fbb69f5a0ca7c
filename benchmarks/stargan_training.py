"""StarGAN's training as published, the reference for the speed of ours: plain loops, float32, one update after another.

The published critic and objective stand here: `published_loop` runs them as the paper's authors describe it, and
`TrainableStarGAN` gives our trainer the same updates, computed in fewer passes and by the layers of our critics.

Source: Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation",
CVPR 2018, table 5, equations 4 to 6, section 5.3 and appendix 7.2.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.losses import gradient_penalty
from augment.networks import Halving
from augment.systems import Batch, Phase, Progress
from augment.training_data import TrainingFaces
from augment.variation import Variation
from benchmarks.stargan import StarGAN, StarGANSettings

GENERATOR_EVERY = 5
BETAS = (0.5, 0.999)


class StarGANCritic(nn.Module):
    """Six halvings from 64 to 2048 channels; faces (N, 3, S, S) to patches (N, 1, S/64, S/64) and logits (N, K).

    Args:
        size: S, a multiple of 64.
        classes: K.
        plain: whether every layer is torch's own convolution, as published, or our critics'.
    """

    def __init__(self, size: int, classes: int, plain: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for level in range(6):
            wider = 64 * 2**level
            layers.append(nn.Conv2d(channels, wider, 4, 2, 1) if plain else Halving(channels, wider, 0.01))
            layers.append(nn.LeakyReLU(0.01))
            channels = wider
        self.layers = nn.Sequential(*layers)
        self.patches = nn.Conv2d(channels, 1, 3, 1, 1, bias=False)
        self.classes = nn.Conv2d(channels, classes, size // 64, bias=False)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Judge faces."""
        features = self.layers(faces)
        return self.patches(features), self.classes(features).flatten(1)


class TrainableStarGAN(StarGAN):
    """StarGAN with its critic, in layers of ours or `plain` ones, and its objective."""

    def __init__(
        self, condition_names: tuple[str, ...], settings: StarGANSettings | None = None, plain: bool = False
    ) -> None:
        super().__init__(condition_names, settings)
        self.critic = StarGANCritic(self.size, len(condition_names), plain)

    def phases(self) -> list[Phase]:
        """One update of the critic in every step, one of the generator in every fifth."""
        return [
            Phase("critic", [self.critic], self.critic_loss, betas=BETAS),
            Phase("generator", [self.generator], self.generator_loss, every=GENERATOR_EVERY, betas=BETAS),
        ]

    def critic_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """As `published_critic_loss`, in one pass of the critic.

        Its last layer's 34 million weights, which take most of the time, are fetched and summed up once and not thrice.
        """
        with torch.no_grad():
            made = self.painted(batch.faces, batch.targets).float()
        passes = []

        def midway(between: Tensor) -> Tensor:
            passes.append(self.critic(torch.cat([batch.faces, made, between])))
            return passes[-1][0].chunk(3)[2]

        penalty = gradient_penalty(midway, batch.faces, made)
        ((patches, classes),) = passes
        real, fake, _ = patches.chunk(3)
        distance = fake.mean() - real.mean()
        named = F.cross_entropy(classes.chunk(3)[0], batch.conditions.argmax(1))
        return distance + named + 10 * penalty, {"critic": distance, "penalty": penalty}

    def published_critic_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 5, with the Wasserstein distance of equation 4 and its penalty, weight 10."""
        with torch.no_grad():
            made = self.painted(batch.faces, batch.targets)
        real, classes = self.critic(batch.faces)
        distance = self.critic(made)[0].mean() - real.mean()
        named = F.cross_entropy(classes, batch.conditions.argmax(1))
        penalty = gradient_penalty(lambda faces: self.critic(faces)[0], batch.faces, made)
        return distance + named + 10 * penalty, {"critic": distance, "penalty": penalty}

    def generator_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 6, reconstruction with weight 10."""
        made = self.painted(batch.faces, batch.targets)
        real, classes = self.critic(made)
        named = F.cross_entropy(classes, batch.targets.argmax(1))
        back = F.l1_loss(self.painted(made, batch.conditions), batch.faces)
        return named + 10 * back - real.mean(), {"cycle_face": back}


def published_loop(network: TrainableStarGAN, data: TrainingFaces, batch_size: int) -> Iterator[tuple[str, Tensor]]:
    """Train for ever; after every update its name, `critic` or `generator`, and the loss.

    Faces are flipped and not varied otherwise, as in the source, and lie in memory, so that reading costs nothing.
    """
    critic = torch.optim.Adam(network.critic.parameters(), 1e-4, BETAS)
    generator = torch.optim.Adam(network.generator.parameters(), 1e-4, BETAS)
    draws, step = torch.Generator().manual_seed(0), 0
    device = next(network.parameters()).device
    while True:
        batch = data.batch(draws, batch_size, Variation(jitter=0.0)).to(device)
        updates = [("critic", critic, network.published_critic_loss)]
        if (step + 1) % GENERATOR_EVERY == 0:
            updates.append(("generator", generator, network.generator_loss))
        for name, optimizer, objective in updates:
            critic.zero_grad()
            generator.zero_grad()
            loss = objective(batch, Progress(step, 1))[0]
            loss.backward()
            optimizer.step()
            yield name, loss
        step += 1
