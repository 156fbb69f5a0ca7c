"""CDAAE: an autoencoder that generates the difference of low-level features and adds it on a feed-forward path.

Source: Zhou & Shi, "Photorealistic Facial Expression Synthesis by the Conditional Difference Adversarial Autoencoder",
ACII 2017 (arXiv 1708.09126). The first layers of the encoder give low-level features of the source face; the rest gives
a code. From code and condition, the first half of the decoder generates the difference between the low-level features
of this face and of the same person's face with the wanted expression; the second half makes the picture from their sum.
Two critics: of the code, whose prior is uniform, and of the picture with its condition. Training takes pairs of
pictures of one person.

Where the source is silent, this is our reading, and after its ancestor CAAE (Zhang, Song, Qi, "Age Progression/
Regression by Conditional Adversarial Autoencoder", CVPR 2017), whose layers and code of 50 `paper` has, with the
weights of ExprGAN (Ding et al., AAAI 2018), of the same family. At which level the difference is added is an option.
Training translates each face to what its partner shows and also to what it shows itself, so that the second half
learns to keep a face and an own expression is no difference; between the two, conditions interpolate.

`compact` changes what small data needs. The second half of the decoder says how to move and repaint the source's
pixels: one that makes the whole face needs thousands of steps before it keeps a person, and one that adds to the face
leaves the old mouth under the new. The critic judges patches, is conditional, regularised and augmented, and so can
weigh more; the distance to the partner forgives that pictures taken apart do not fit to the pixel; the second half of
the decoder has a residual block; and mirror images are answered alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment import losses
from augment.mirroring import mirror, mirror_layers, mirror_retouch, regain, still, twins
from augment.networks import (
    Opinion,
    PatchCritic,
    PlainResidualBlock,
    Retouch,
    Retouched,
    augment_for_critic,
    plain,
    tile,
)
from augment.ranks import drawn
from emoaug import EmoaugError, check_least

from .base import Batch, Phase, Progress, SystemInfo, Translator
from .checks import check_halvings


@dataclass(frozen=True)
class CDAAESettings:
    """Networks and objective of CDAAE."""

    size: int = 64
    """Side of the faces, pixels."""
    level: int = 1
    """Halvings after which the difference is added to the encoder's features; 1 is nearest to the pixels."""
    depth: int = 4
    """Halvings between the face and the code."""
    width: int = 32
    """Channels after the first halving; they double with each."""
    widest: int = 128
    """Most channels of encoder and decoder."""
    kernel: int = 5
    """Side of the convolutions, pixels, odd; those of the encoder have one less where mirrored."""
    mirrored: bool = False
    """Whether all but the critic answers mirror images alike, by its weights. Else mouths are painted askew, the same
    way on everyone."""
    upsampling: Literal["shuffle", "transposed"] = "shuffle"
    """How the decoder doubles the side: a 3×3 convolution and a pixel shuffle, or a transposed convolution of the
    encoder's kernel."""
    code: int = 64
    """Length of the code; its entries are within [-1, 1]."""
    output: Literal["composed", "decoded"] = "composed"
    """`decoded` is the picture that the decoder makes of the sum; `composed` is the source, whose pixels are moved and
    painted over as the decoder makes of the sum."""
    refining_blocks: int = 1
    """Residual blocks in which the second half of the decoder works on the sum."""
    code_weight: float = 0.01
    """Weight of the code looking drawn from a uniform distribution."""
    critic: Literal["patches", "whole"] = "patches"
    """Whether the critic of pictures judges patches, or the whole as CAAE's does."""
    critic_width: int = 32
    """Channels of that critic's first layer; they double with each halving."""
    critic_depth: int = 4
    """Halvings in that critic."""
    fine_weight: float = 0.5
    """Weight of smaller patches looking real, whatever their expression, for a critic of patches; 0 judges large ones
    only."""
    adversarial_weight: float = 0.3
    """Weight of looking real to the critic of pictures."""
    attribute_weight: float = 0.1
    """Weight of the expression that a critic of patches reads off the face."""
    wrong_conditions: bool = True
    """Whether a real face under a wrong expression counts as made."""
    penalty_weight: float = 0.2
    """Weight of R1, the squared norm of that critic's gradient at real faces; 0 is no penalty."""
    penalty_every: int = 8
    """Steps between two penalties; the weight is multiplied by it."""
    critic_augmentation: float = 0.15
    """Strength of the differentiable augmentation of what the critic sees, 0 to 1."""
    pair_weight: float = 10.0
    """Weight of the distance to the paired picture."""
    pair_blur: int = 2
    """Side of the squares over which both are averaged for that distance, pixels; 1 compares pixels."""
    own_weight: float = 0.5
    """Weight of the distance, pixel by pixel, between a face and its translation to what it shows already. At 4 some
    new people's neutral faces were taken for happy ones, and left as they were."""
    flow_weight: float = 3.0
    """Weight of the unevenness of the motion, for `composed` output."""
    mask_weight: float = 0.01
    """Weight of the share of the face that is painted over, for `composed` output."""
    mask_smoothness_weight: float = 1.0
    """Weight of the unevenness of that share, for `composed` output."""
    variation_weight: float = 0.0
    """Weight of the total variation of the picture."""

    def __post_init__(self) -> None:
        check_halvings(self, "depth", "critic_depth")
        if not 1 <= self.level <= self.depth:
            raise EmoaugError(f"level is {self.level}; it is from 1 to depth, which is {self.depth}")
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise EmoaugError(f"kernel is {self.kernel}; it is odd, 3 or more")
        if self.mirrored and self.upsampling == "transposed":
            raise EmoaugError("mirrored is for upsampling shuffle; with transposed, set mirrored=false")
        check_least(self, 1, "width", "widest", "code", "critic_width", "penalty_every", "pair_blur")

    def channels(self, halvings: int) -> int:
        """Channels of features after so many halvings, 1 or more."""
        return min(self.width * 2 ** (halvings - 1), self.widest)


def doubling(settings: CDAAESettings, channels: int, out: int) -> list[nn.Module]:
    """Layers that double the side of features, with a ReLU."""
    if settings.upsampling == "shuffle":
        return [plain(nn.Conv2d(channels, 4 * out, 3, padding=1)), nn.PixelShuffle(2), nn.ReLU()]
    kernel = settings.kernel
    return [plain(nn.ConvTranspose2d(channels, out, kernel, 2, kernel // 2, output_padding=1)), nn.ReLU()]


class Encoder(nn.Module):
    """Faces (N, 3, S, S) to low-level features (N, C, S / 2^level, S / 2^level) and codes (N, code) in [-1, 1]."""

    def __init__(self, settings: CDAAESettings) -> None:
        super().__init__()
        s = settings
        # An odd side with stride 2 would look further to one side than to the other.
        side = s.kernel - s.mirrored

        def halving(number: int) -> list[nn.Module]:
            channels = 3 if number == 1 else s.channels(number - 1)
            return [plain(nn.Conv2d(channels, s.channels(number), side, 2, (side - 1) // 2)), nn.ReLU()]

        self.low = nn.Sequential(*(layer for i in range(1, s.level + 1) for layer in halving(i)))
        self.high = nn.Sequential(*(layer for i in range(s.level + 1, s.depth + 1) for layer in halving(i)))
        self.side = s.size // 2**s.depth
        self.code = nn.Linear(s.channels(s.depth) * self.side**2, s.code)

    def mirror(self) -> None:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        given = mirror_layers([self.low, self.high], still(self, 3))
        mirror(self.code, given.flattened(self.side), twins(self, self.code.out_features))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Encode faces."""
        low = self.low(faces)
        return low, torch.tanh(self.code(self.high(low).flatten(1)))


class DifferenceDecoder(nn.Module):
    """Codes (N, code) and conditions (N, K) to differences of low-level features.

    As in CAAE, a condition is repeated to about the length of the code, so that it is heard beside it.
    """

    def __init__(self, settings: CDAAESettings, classes: int) -> None:
        super().__init__()
        s = settings
        self.repeats = max(1, s.code // classes)
        self.side, self.channels = s.size // 2**s.depth, s.channels(s.depth)
        self.code, self.first = s.code, nn.Linear(s.code + self.repeats * classes, self.channels * self.side**2)
        plain(self.first)
        layers: list[nn.Module] = []
        for number in range(s.depth, s.level, -1):
            layers += doubling(s, s.channels(number), s.channels(number - 1))
        # The last layer is linear: a difference has either sign.
        last = nn.Conv2d(s.channels(s.level), s.channels(s.level), 3, padding=1)
        # The start is near to no difference.
        plain(last, share=0.3)
        self.layers = nn.Sequential(nn.ReLU(), *layers, last)

    def mirror(self) -> None:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        given = twins(self, self.code).and_then(still(self, self.first.in_features - self.code))
        mirror(self.first, given, twins(self, self.channels).flattened(self.side))
        mirror_layers(self.layers, twins(self, self.channels))

    def forward(self, code: Tensor, condition: Tensor) -> Tensor:
        """Generate differences."""
        condition = condition.to(code.dtype).repeat(1, self.repeats)
        x = self.first(torch.cat([code, condition], 1))
        return self.layers(x.unflatten(1, (self.channels, self.side, self.side)))


class PictureDecoder(nn.Module):
    """Low-level features (N, C, S / 2^level, S / 2^level) to faces (N, 3, S, S) in [-1, 1], given their sources."""

    def __init__(self, settings: CDAAESettings) -> None:
        super().__init__()
        s = settings
        self.composed = s.output == "composed"
        self.channels = channels = s.channels(s.level)
        layers: list[nn.Module] = [PlainResidualBlock(channels) for _ in range(s.refining_blocks)]
        for number in range(s.level, 0, -1):
            out = s.channels(number - 1) if number > 1 else max(1, s.width // 2)
            layers += doubling(s, channels, out)
            channels = out
        layers += [plain(nn.Conv2d(channels, channels, s.kernel, padding=s.kernel // 2)), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.face: Retouch | nn.Conv2d
        if self.composed:
            self.face = Retouch(channels, channels)
        else:
            self.face = nn.Conv2d(channels, 3, s.kernel, padding=s.kernel // 2)

    def mirror(self) -> None:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        given = mirror_layers(self.layers, twins(self, self.channels))
        if isinstance(self.face, Retouch):
            mirror_retouch(self.face)
        else:
            mirror(self.face, given, still(self, 3))

    def forward(self, low: Tensor, source: Tensor) -> tuple[Tensor, Retouched | None]:
        """Make faces (N, 3, S, S), and say how `composed` ones came about."""
        x = self.layers(low)
        if isinstance(self.face, nn.Conv2d):
            return torch.tanh(self.face(x).float()), None
        retouched = self.face(source, x, F.avg_pool2d(x, 4))
        return retouched.faces, retouched


class CodeCritic(nn.Module):
    """Codes (N, code) to real or made (N, 1).

    Source: CAAE's critic of the code, with layer norms in place of batch norms: real codes and made ones are judged
    apart, and a norm over each batch would take away the very statistics that tell them apart.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide in (64, 32, 16):
            layers += [nn.Linear(length, wide), nn.LayerNorm(wide), nn.ReLU()]
            length = wide
        self.layers = nn.Sequential(*layers, nn.Linear(length, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """Judge codes; real ones are drawn from a uniform distribution."""
        return self.layers(codes)


class WholeCritic(nn.Module):
    """Judges whole faces (N, 3, S, S) as pictures of conditions (N, K); reads no expression off them.

    Source: CAAE's critic of pictures.
    """

    def __init__(self, size: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 5, 2, 2)
        layers: list[nn.Module] = [nn.ReLU()]
        channels = width + classes
        for level in range(1, depth):
            wider = width * 2**level
            layers += [nn.Conv2d(channels, wider, 5, 2, 2, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
            channels = wider
        flat = channels * (size // 2**depth) ** 2
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1))

    def forward(self, faces: Tensor, condition: Tensor) -> Opinion:
        """Judge faces: one patch, and even odds for every expression."""
        x = self.first(faces)
        real = self.layers(torch.cat([x, tile(condition, x.shape[-1]).to(x.dtype)], 1))
        return Opinion(real[:, :, None, None], None, torch.zeros_like(condition))


class CDAAE(Translator):
    """Conditional Difference Adversarial Autoencoder; see the module's docstring."""

    name = "cdaae"
    info = SystemInfo(
        title="CDAAE",
        paper="Zhou & Shi, Photorealistic Facial Expression Synthesis by the Conditional Difference Adversarial "
        "Autoencoder, ACII 2017, arXiv 1708.09126",
        needs="aligned faces of people who each show at least two expressions, with subjects",
    )
    settings_class = CDAAESettings
    configurations: ClassVar[dict[str, Any]] = {
        "compact": CDAAESettings(mirrored=True),
        "paper": CDAAESettings(
            size=32,
            depth=3,
            width=64,
            widest=1024,
            upsampling="transposed",
            code=50,
            output="decoded",
            refining_blocks=0,
            critic="whole",
            critic_width=16,
            fine_weight=0,
            adversarial_weight=0.01,
            attribute_weight=0,
            wrong_conditions=False,
            penalty_weight=0,
            critic_augmentation=0,
            pair_weight=1,
            pair_blur=1,
            own_weight=1,
            variation_weight=0.001,
        ),
    }
    partners = "same subject"
    learns_intensities = True
    initial_alike = ("mirrored",)
    settings: CDAAESettings

    def __init__(self, condition_names: tuple[str, ...], settings: CDAAESettings | None = None) -> None:
        super().__init__(condition_names, settings or self.configurations["compact"])
        s, classes = self.settings, len(self.condition_names)
        self.encoder = Encoder(s)
        self.difference = DifferenceDecoder(s, classes)
        self.picture = PictureDecoder(s)
        self.after_step()
        if s.mirrored:
            for part in self.averaged_modules().values():
                regain(part)
        self.code_critic = CodeCritic(s.code)
        self.critic: PatchCritic | WholeCritic
        if s.critic == "whole":
            self.critic = WholeCritic(s.size, s.critic_width, s.critic_depth, classes)
        else:
            self.critic = PatchCritic(
                channels=3,
                size=s.size,
                width=s.critic_width,
                depth=s.critic_depth,
                maps=classes + self.intensities,
                attributes=classes,
                fine=s.fine_weight > 0,
                leak=0.2,
            )

    def after_step(self) -> None:
        """Bring the weights of what translates back to where they answer mirror images alike."""
        if self.settings.mirrored:
            self.encoder.mirror()
            self.difference.mirror()
            self.picture.mirror()

    def averaged_modules(self) -> dict[str, nn.Module]:
        """The encoder and both halves of the decoder."""
        return {"encoder": self.encoder, "difference": self.difference, "picture": self.picture}

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Change the expression of faces (N, 3, S, S) in [-1, 1] to conditions (N, K) in [0, 1]."""
        self.check(faces, condition)
        return self._decoded(faces, self.encoder(self.seen(faces)), condition)[0].clamp(-1, 1)

    def _decoded(
        self, faces: Tensor, encoded: tuple[Tensor, Tensor], *conditions: Tensor
    ) -> tuple[Tensor, Retouched | None]:
        """Encoded faces changed to each of C conditions, (C N, 3, S, S), not clamped, and how they came about."""
        low, code = encoded
        sums = [low + self.difference(code, condition) for condition in conditions]
        return self.picture(torch.cat(sums), faces.repeat(len(sums), 1, 1, 1))

    def phases(self) -> list[Phase]:
        """Critic of the code, critic of pictures, its gradient penalty, then encoder and decoder.

        A part that nothing hears is not trained: the critic of the code where it weighs nothing.
        """
        s = self.settings
        betas = (0.5, 0.999) if s.critic == "whole" else (0.0, 0.99)
        phases = [Phase("critic", [self.critic], self.critic_loss, betas=betas)]
        if s.code_weight > 0:
            phases.insert(0, Phase("code", [self.code_critic], self.code_loss, betas=(0.5, 0.99)))
        if s.penalty_weight > 0:
            phases.append(Phase("penalty", [self.critic], self.penalty_loss, every=s.penalty_every, betas=betas))
        networks: list[nn.Module] = [self.encoder, self.difference, self.picture]
        # Without norms, a momentum is needed to go through the noise of small batches.
        return [*phases, Phase("generator", networks, self.generator_loss, betas=(0.5, 0.99))]

    # The terms of the objective

    def code_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Tell codes of faces from draws of the uniform distribution."""
        with torch.no_grad():
            made = self.encoder(batch.faces)[1]
        real = drawn(torch.rand, made.shape, dtype=made.dtype, device=made.device) * 2 - 1
        loss = losses.critic_loss(self.code_critic(real), self.code_critic(made))
        return loss, {"code_critic": loss}

    def _judge(self, faces: Tensor, condition: Tensor) -> Opinion:
        return self.critic(augment_for_critic(faces, self.settings.critic_augmentation), condition)

    def critic_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Tell real faces with what they show from translated ones, and read the expression off the real."""
        s = self.settings
        with torch.no_grad():
            result, _ = self._decoded(batch.faces, self.encoder(batch.faces), batch.targets)
        adversarial, attribute = losses.patch_critic_loss(
            self._judge,
            (batch.faces, batch.conditions),
            (result, batch.targets),
            kind="logistic",
            fine_weight=s.fine_weight,
            wrong_conditions=s.wrong_conditions,
            attribute_loss=losses.attribute_loss(self.intensities),
        )
        return adversarial + s.attribute_weight * attribute, {"critic": adversarial, "critic_attribute": attribute}

    def penalty_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Hold the critic's gradient by R1 at real faces."""
        s = self.settings
        seen = augment_for_critic(batch.faces, s.critic_augmentation)
        penalty = losses.patch_r1_penalty(self.critic, (seen, batch.conditions), s.fine_weight)
        return s.penalty_weight * s.penalty_every * penalty, {"penalty": penalty}

    def generator_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Come near to the paired picture, keep a face that shows the target already, look real, spread the codes."""
        s = self.settings
        assert batch.partners is not None
        encoded = self.encoder(batch.faces)
        both, retouched = self._decoded(batch.faces, encoded, batch.targets, batch.conditions)
        result, own = both.chunk(2)
        terms = {}
        terms["adversarial"], terms["attribute"] = losses.patch_generator_loss(
            self._judge,
            (result, batch.targets),
            kind="logistic",
            fine_weight=s.fine_weight,
            attribute_loss=losses.attribute_loss(self.intensities),
        )
        terms["pair"] = losses.blurred_l1(result, batch.partners, s.pair_blur)
        terms["own"] = F.l1_loss(own, batch.faces)
        loss = s.adversarial_weight * terms["adversarial"] + s.attribute_weight * terms["attribute"]
        loss = loss + s.pair_weight * terms["pair"] + s.own_weight * terms["own"]
        if s.code_weight > 0:
            terms["code"] = losses.generator_loss(self.code_critic(encoded[1]))
            loss = loss + s.code_weight * terms["code"]
        if retouched is not None:
            terms |= losses.retouching(retouched.flow, retouched.mask)
            loss = loss + s.flow_weight * terms["flow"] + s.mask_weight * terms["mask"]
            loss = loss + s.mask_smoothness_weight * terms["mask_smoothness"]
        if s.variation_weight > 0:
            terms["variation"] = losses.total_variation(result)
            loss = loss + s.variation_weight * terms["variation"]
        terms["change"] = F.l1_loss(result, batch.faces)
        return loss, terms
