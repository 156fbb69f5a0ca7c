"""Simulated to real: make rendered faces look like photographs while the person and the expression stay.

The attribute-guided model of LSSL with realism as its condition: one network turns faces of either domain into the
other, and the critic judges each domain apart and reads the expression off every face. Terms that hold the content:
attribute classification, identity, the bidirectional cycle, the landmark heat map, and self-regularisation.

Sources: Bozorgtabar et al., "Learn to Synthesize and Synthesize to Learn", CVIU 2019 (arXiv 1905.00286), whose second
half this is; self-regularisation after Shrivastava et al., "Learning from Simulated and Unsupervised Images through
Adversarial Training", CVPR 2017 (eq. 2 and sec. 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment import landmarks, losses
from augment.landmark_network import LandmarkNetwork
from augment.networks import PatchCritic, ResidualBlock, UpStage, augment_for_critic, mean_around, smoothed, tile
from augment.systems import Batch, Phase, Progress, SystemInfo, Translator
from augment.systems.checks import check_halvings
from emoaug import EmoaugError, check_least

DOMAINS = ("simulated", "real")
"""What a refiner can be asked for."""


@dataclass(frozen=True)
class RefinerSettings:
    """Networks and objective of the refiner. A term of weight 0 is switched off."""

    size: int = 64
    """Side of the faces, pixels."""
    expressions: int = 2
    """Number of expressions that the critic tells apart."""
    width: int = 32
    """Channels at half the side; at a quarter there are twice as many."""
    residual_blocks: int = 3
    """Residual blocks at a quarter of the side."""
    critic_width: int = 32
    """Channels of the critic's first layer; they double with each halving."""
    critic_depth: int = 4
    """Halvings in the critic."""
    fine_weight: float = 1.0
    """Weight of smaller patches looking real: texture, grain and compression are small."""
    critic_augmentation: float = 0.15
    """Strength of the differentiable augmentation of what the critic sees, 0 to 1."""
    penalty_weight: float = 0.2
    """Weight of R1 at faces of either domain."""
    penalty_every: int = 8
    """Steps between two penalties; the weight is multiplied by it."""
    adversarial_weight: float = 1.0
    """Weight of looking like the wanted domain."""
    attribute_weight: float = 2.0
    """Weight of the expression that the critic reads off the result."""
    bidirectional_weight: float = 1.0
    """Weight of coming back to the same face from the other domain."""
    identity_weight: float = 0.3
    """Weight of the distance between source and result."""
    heat_weight: float = 10.0
    """Weight of the landmarks staying where they are."""
    self_regularisation_weight: float = 0.5
    """Weight of the distance to the source, free of light and contrast: both are the camera's, not the face's."""
    tone_weight: float = 1.0
    """Weight of skin and backdrop keeping their tone: distance of the means over a quarter of the side."""

    def __post_init__(self) -> None:
        check_halvings(self, "critic_depth")
        check_least(self, 1, "expressions", "critic_width", "penalty_every")
        check_least(self, 4, "width")


class RefinerNetwork(nn.Module):
    """Faces (N, 3, S, S) and the wanted domain (N, 2) to faces (N, 3, S, S).

    A U-Net that works with pixels shuffled into channels, which costs a quarter of convolutions at full resolution and
    loses no detail. It decides what is added to the source; at the start that is nothing. What is added is smoothed by
    one pixel: a critic whose layers skip every second pixel does not mind a chequerboard, and gets one. Its colour,
    apart from its light, is averaged over five pixels: a critic of few photographs asks for coloured speckles.
    """

    def __init__(self, width: int, residual_blocks: int) -> None:
        super().__init__()

        def block(channels: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels, out, kernel, stride, 1, bias=False),
                nn.InstanceNorm2d(out, affine=True),
                nn.ReLU(inplace=True),
            )

        self.first = nn.Sequential(nn.PixelUnshuffle(2), block(4 * (3 + len(DOMAINS)), width), ResidualBlock(width))
        self.down = block(width, 2 * width, 4, 2)
        self.blocks = nn.Sequential(*(ResidualBlock(2 * width) for _ in range(residual_blocks)))
        self.up = UpStage(2 * width, width)
        self.last = nn.Sequential(block(2 * width, width), ResidualBlock(width), nn.Conv2d(width, width // 4 * 4, 1))
        self.change = nn.Conv2d(width // 4 + 3, 3, 3, padding=1)
        for parameter in self.change.parameters():
            nn.init.zeros_(parameter)

    def forward(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Change the domain of faces."""
        x = self.first(torch.cat([faces, tile(condition, faces.shape[-1]).to(faces.dtype)], 1))
        x = self.last(torch.cat([self.up(self.blocks(self.down(x))), x], 1))
        change = self.change(torch.cat([F.pixel_shuffle(x, 2), faces.to(x.dtype)], 1))
        change = smoothed(change.float())
        light = change.mean(1, keepdim=True)
        return faces + 2 * torch.tanh((light + mean_around(change - light, 5)) / 2)


def flat_light(faces: Tensor) -> Tensor:
    """Take light and contrast out of faces, at half their side.

    Args:
        faces: (N, 3, S, S) in [-1, 1].

    Returns:
        (N, 1, S/2, S/2): luminance less its neighbourhood's mean, over its neighbourhood's deviation.
    """
    light = F.avg_pool2d(faces.float().mean(1, keepdim=True), 2)
    side = 2 * (light.shape[-1] // 8) + 1

    difference = light - mean_around(light, side)
    return difference / (mean_around(difference.square(), side) + 1e-3).sqrt()


class Refiner(Translator):
    """Turns simulated faces into faces that look real, and back; see the module's docstring."""

    name = "refiner"
    info = SystemInfo(
        title="Refiner",
        paper="Bozorgtabar et al., Learn to Synthesize and Synthesize to Learn, CVIU 2019, arXiv 1905.00286",
        needs="simulated faces with labels, and real faces with or without, both with landmarks",
    )
    settings_class = RefinerSettings
    any_frame = False
    configurations: ClassVar[dict[str, Any]] = {"compact": RefinerSettings()}
    settings: RefinerSettings

    def __init__(self, condition_names: tuple[str, ...] = DOMAINS, settings: RefinerSettings | None = None) -> None:
        super().__init__(condition_names, settings or RefinerSettings())
        if self.condition_names != DOMAINS:
            raise EmoaugError(f"a refiner's conditions are {', '.join(DOMAINS)}, not {', '.join(condition_names)}")
        s = self.settings
        self.network = RefinerNetwork(s.width, s.residual_blocks)
        self.critic = PatchCritic(
            channels=3,
            size=s.size,
            width=s.critic_width,
            depth=s.critic_depth,
            maps=len(DOMAINS),
            attributes=s.expressions,
            fine=False,
            leak=0.2,
        )
        # Texture has a critic of its own, with one map a domain: the other's patches are as wide as a mouth.
        self.fine_critic = PatchCritic(
            channels=3,
            size=s.size,
            width=s.critic_width,
            depth=2,
            maps=len(DOMAINS),
            attributes=1,
            fine=False,
            leak=0.2,
        )
        self.landmark_network = LandmarkNetwork()

    def averaged_modules(self) -> dict[str, nn.Module]:
        """The one network that makes faces."""
        return {"network": self.network}

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Give faces (N, 3, size, size) in [-1, 1] the look of a domain; conditions (N, 2) as in `DOMAINS`."""
        self.check(faces, condition)
        return self.network(faces, condition).float().clamp(-1, 1)

    def phases(self) -> list[Phase]:
        """Critics, their gradient penalty, the landmark network, then the network that makes faces."""
        betas = (0.0, 0.99)
        critics: list[nn.Module] = [self.critic, self.fine_critic]
        return [
            Phase("critic", critics, self.critic_loss, betas=betas),
            Phase("penalty", critics, self.penalty_loss, every=self.settings.penalty_every, betas=betas),
            Phase(
                "landmarks", [self.landmark_network], self.landmark_loss, learning_rate_factor=5.0, betas=(0.9, 0.99)
            ),
            Phase("generator", [self.network], self.generator_loss, betas=betas),
        ]

    def _seen(self, faces: Tensor) -> Tensor:
        return augment_for_critic(faces, self.settings.critic_augmentation)

    def critic_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Tell each domain's own faces from those turned into it, and read the expression off the former."""
        with torch.no_grad():
            result = self.network(batch.faces, batch.targets)
        own, made = self._seen(batch.faces), self._seen(result)
        opinion = self.critic(own, batch.conditions)
        coarse = losses.critic_loss(opinion.patches, self.critic(made, batch.targets).patches)
        fine = losses.critic_loss(
            self.fine_critic(own, batch.conditions).patches, self.fine_critic(made, batch.targets).patches
        )
        assert batch.attributes is not None
        expression = losses.soft_cross_entropy(opinion.attributes, batch.attributes)
        return coarse + self.settings.fine_weight * fine + expression, {
            "critic": coarse,
            "critic_fine": fine,
            "critic_expression": expression,
        }

    def penalty_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """R1 at each domain's own faces."""
        s = self.settings

        def judge(faces: Tensor) -> Tensor:
            coarse = self.critic(faces, batch.conditions).patches.mean((1, 2, 3))
            return coarse + s.fine_weight * self.fine_critic(faces, batch.conditions).patches.mean((1, 2, 3))

        penalty = losses.r1_penalty(judge, self._seen(batch.faces))
        return s.penalty_weight * s.penalty_every * penalty, {"penalty": penalty}

    def landmark_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw the heat map of the landmarks, on faces of both domains."""
        loss = self._heat_distance(batch.faces, batch)
        return loss, {"landmarks": loss}

    def _heat_distance(self, faces: Tensor, batch: Batch) -> Tensor:
        """Mean squared distance between the heat maps seen in faces and those of the batch's landmarks, where known."""
        known = batch.landmarks.isfinite().all((1, 2))
        points = landmarks.chosen(batch.landmarks.nan_to_num(), landmarks.FACE_49)
        wanted = landmarks.heat_maps(points, self.size, 6 / 256, clamped=True)
        each = (self.landmark_network(faces)[0].float() - wanted).square().mean((1, 2, 3))
        return losses.mean_of_counted(each, known)

    def generator_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Look like the other domain, show the same, come back again."""
        s = self.settings
        result = self.network(batch.faces, batch.targets)
        seen = self._seen(result)
        opinion = self.critic(seen, batch.targets)
        adversarial = losses.generator_loss(opinion.patches)
        fine = losses.generator_loss(self.fine_critic(seen, batch.targets).patches)
        terms = {"adversarial": adversarial, "fine": fine}
        loss = s.adversarial_weight * (adversarial + s.fine_weight * fine)
        if s.attribute_weight > 0:
            assert batch.attributes is not None
            terms["expression"] = losses.soft_cross_entropy(opinion.attributes, batch.attributes)
            loss = loss + s.attribute_weight * terms["expression"]
        if s.bidirectional_weight > 0:
            terms["cycle"] = F.l1_loss(self.network(result, batch.conditions), batch.faces)
            loss = loss + s.bidirectional_weight * terms["cycle"]
        terms["change"] = F.l1_loss(result, batch.faces)
        loss = loss + s.identity_weight * terms["change"]
        if s.heat_weight > 0:
            terms["heat"] = self._heat_distance(result, batch)
            loss = loss + s.heat_weight * terms["heat"]
        if s.tone_weight > 0:
            side = 2 * (self.size // 8) + 1
            terms["tone"] = mean_around(result - batch.faces, side).abs().mean()
            loss = loss + s.tone_weight * terms["tone"]
        if s.self_regularisation_weight > 0:
            terms["self_regularisation"] = F.l1_loss(flat_light(result), flat_light(batch.faces))
            loss = loss + s.self_regularisation_weight * terms["self_regularisation"]
        return loss, terms
