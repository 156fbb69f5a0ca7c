"""RegGAN: a regression in closed form changes the expression, and a small adversarial network makes a photograph of it.

Sources: Akram, Khan, Mahmood, "Improving GAN Generalization for Facial Expression Synthesis", Multimedia Tools and
Applications 2026 (arXiv 2603.15648), for the two parts; Khan et al., "Masked Linear Regression for Learning Local
Receptive Fields for Facial Expression Synthesis", IJCV 2020 (arXiv 2011.09104), for the regression: one ridge
regression per output pixel, channel and expression, each seeing a small window of the source.

Where the sources are silent, this is our reading. The regression towards an expression learns from every pair of
pictures of one person of which the second shows it, whatever the first shows: a face's own expression need not be
known. Blends blend the regressions. Pixels are taken from [-1, 1] to [0, 1] and clamped at the end; the regression's
source instead stretches the contrast of each picture before and after, which changes faces that need no change. The
refining network is the small one of US-GAN (the same authors' earlier model), which adds to its input; its objective
has the distance to the paired picture besides the adversarial and the attribute term.

`paper` keeps what is published; `compact` changes what small data needs. Its regression shrinks towards the source
instead of towards black, and sees each pair and its mirror image several times, moved and lit as training faces are:
on 60 people this was nearer to the wanted picture on new people, exactly aligned or not. It sees all faces in one light
and contrast, and gives each its own again: so it serves strangers whom another camera took. Its network also sees the
source; it gets the regression's light and shade (its colours would tint grey faces), and decides how to move these
pixels and what to paint over: adding to the regression, it painted stripes that the critics took for teeth. Its critic
is regularised, conditional and augmented, and it answers mirror images alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment import losses
from augment.local_regression import LocalRegression, LocalRidge
from augment.mirroring import mirror, mirror_layers, mirror_retouch, still
from augment.networks import (
    Opinion,
    PatchCritic,
    ResidualBlock,
    Retouch,
    Retouched,
    UpStage,
    augment_for_critic,
    enlarged_along,
    tile,
)
from augment.tone import Tone, face_window
from emoaug import EmoaugError, check_least

from .base import Batch, Phase, Progress, SystemInfo, Translator
from .checks import check_halvings

if TYPE_CHECKING:
    from augment.training_data import TrainingFaces


@dataclass(frozen=True)
class RegGANSettings:
    """Regression, networks and objective of RegGAN."""

    size: int = 64
    """Side of the faces, pixels."""
    receptive_field: Literal[1, 3, 5, 7] = 3
    """Side of the window of the source that each pixel of the regression sees, pixels."""
    ridge_penalty: float = 0.4
    """Weight of the squared norm of a pixel's weights, bias included, against the squared error summed over pairs."""
    shrink_towards: Literal["nothing", "source"] = "source"
    """What the regression gives where the pairs say nothing: black, or the source's own pixel."""
    variations: int = 6
    """How many times each pair enters the regression, with its mirror image, each time moved, lit and photographed
    anew, whatever the training's variation; 0 takes it once, as it is."""
    toned: bool = False
    """Whether faces lose their own light and contrast before the regression, and get them back after it. Its weights
    are for the contrast that it learnt from: learnt from the Face Research Lab London Set, the regression alone made
    23 % of 150 strangers of FER2013 look happy, and 17 % of 100 of CMU Face Images; toned, 46 and 59 % (a throwaway
    script)."""
    mirrored: bool = False
    """Whether the refining network answers mirror images alike, by its weights; the regression does where each pair
    enters it with its mirror image."""
    most_pairs: int = 500
    """Most pairs that the regression towards one expression learns from, before their variations."""
    width: int = 24
    """Channels of the refining network's first layer; they double with each halving."""
    residual_blocks: int = 2
    """Residual blocks of the refining network, at a quarter of the side."""
    kernel: int = 5
    """Side of its first and last convolutions, pixels."""
    upsampling: Literal["shuffle", "transposed"] = "shuffle"
    """How it doubles the side: a convolution and a pixel shuffle, or a transposed 4×4 convolution."""
    sees_source: bool = True
    """Whether it sees the source beside the regression."""
    output: Literal["composed", "added"] = "composed"
    """`added` is the regressed face plus what the network makes; `composed` is the source, lighter and darker as the
    regressed face is, whose pixels are then moved and painted over."""
    critic_width: int = 32
    """Channels of the critic's first layer; they double with each halving."""
    critic_depth: int = 4
    """Halvings in the critic."""
    critic_leak: float = 0.2
    """Slope of the critic's leaky ReLUs below zero."""
    conditional_critic: bool = True
    """Whether real or made is asked for each expression apart, and a real face under a wrong expression counts as made.
    """
    fine_weight: float = 0.5
    """Weight of smaller patches looking real, whatever their expression; 0 judges large patches only."""
    adversarial: Literal["logistic", "wasserstein"] = "logistic"
    """Form of the adversarial terms."""
    adversarial_weight: float = 0.5
    """Weight of looking real to the critic."""
    penalty: Literal["r1", "wgan-gp"] = "r1"
    """What holds the critic's gradient."""
    penalty_weight: float = 0.2
    """Weight of that penalty."""
    penalty_every: int = 8
    """Steps between two penalties; the weight is multiplied by it."""
    generator_every: int = 1
    """Critic updates for one update of the refining network."""
    critic_augmentation: float = 0.4
    """Strength of the differentiable augmentation of what the critic sees, 0 to 1. With 124 training faces and 0.15,
    20 people's made smiles had a mean mouthSmile of 0.36, the faintest 0.01; with 0.4, 0.44 and 0.07 (a throwaway
    script)."""
    attribute_weight: float = 0.1
    """Weight of the expression that the critic reads off the face."""
    pair_weight: float = 10.0
    """Weight of the distance to the paired picture."""
    pair_blur: int = 2
    """Side of the squares over which both are averaged for that distance, pixels; 1 compares pixels."""
    source_weight: float = 0.25
    """Weight of the distance to the source."""
    flow_weight: float = 3.0
    """Weight of the unevenness of the motion, for `composed` output."""
    mask_weight: float = 0.01
    """Weight of the share of the face that is painted over, for `composed` output."""
    mask_smoothness_weight: float = 1.0
    """Weight of the unevenness of that share, for `composed` output."""

    def __post_init__(self) -> None:
        check_halvings(self, "critic_depth")
        if self.receptive_field not in (1, 3, 5, 7):
            raise EmoaugError(f"receptive_field is {self.receptive_field}; it is 1, 3, 5 or 7 pixels")
        if not self.ridge_penalty > 0:
            raise EmoaugError(f"ridge_penalty is {self.ridge_penalty}; it is above 0")
        if self.mirrored and self.upsampling == "transposed":
            raise EmoaugError("mirrored is for upsampling shuffle; with transposed, set mirrored=false")
        check_least(self, 0, "variations")
        check_least(self, 1, "most_pairs", "width", "critic_width", "penalty_every", "generator_every", "pair_blur")


class RefiningNetwork(nn.Module):
    """Regressed faces, source faces (N, 3, S, S) each and conditions (N, K) to faces.

    `composed` ones come of retouching the sources, or the same faces in finer detail: (N, 3, T, T), T >= S.

    Source: the generator of US-GAN: StarGAN's with one residual block and a skip from input to output.
    """

    def __init__(self, settings: RegGANSettings, classes: int) -> None:
        super().__init__()
        s = self.settings = settings
        channels = (6 if s.sees_source else 3) + classes
        padding = s.kernel // 2

        def block(convolution: nn.Module, out: int) -> list[nn.Module]:
            return [convolution, nn.InstanceNorm2d(out, affine=True), nn.ReLU(inplace=True)]

        layers = block(nn.Conv2d(channels, s.width, s.kernel, padding=padding, bias=False), s.width)
        channels = s.width
        for _ in range(2):
            layers += block(nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False), 2 * channels)
            channels *= 2
        layers += [ResidualBlock(channels) for _ in range(s.residual_blocks)]
        composed = s.output == "composed"
        for _ in range(2):
            channels //= 2
            if s.upsampling == "shuffle":
                layers.append(UpStage(2 * channels, channels))
            else:
                layers += block(nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1, bias=False), channels)
        self.layers = nn.Sequential(*layers)
        self.change: Retouch | nn.Conv2d
        if composed:
            self.change = Retouch(channels, channels)
        else:
            self.change = nn.Conv2d(channels, 3, s.kernel, padding=padding, bias=False)
            # The start is the regression with little added to it; from noise on top of it the way back would be long.
            nn.init.normal_(self.change.weight, std=0.1 / (s.kernel * channels**0.5))

    def mirror(self) -> None:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        first = self.layers[0]
        assert isinstance(first, nn.Conv2d)
        given = mirror_layers(self.layers, still(first, first.in_channels))
        if isinstance(self.change, Retouch):
            mirror_retouch(self.change)
        else:
            mirror(self.change, given, still(self.change, 3))

    def forward(
        self, regressed: Tensor, source: Tensor, condition: Tensor, detailed: Tensor
    ) -> tuple[Tensor, Retouched | None]:
        """Refine regressed faces: the result, not clamped, and how a `composed` one came about."""
        seen = [regressed, source] if self.settings.sees_source else [regressed]
        x = self.layers(torch.cat([*seen, tile(condition, source.shape[-1]).to(source.dtype)], 1))
        if self.settings.output == "added":
            return regressed + torch.tanh(self.change(x).float()), None
        # Regressed channel by channel, a grey face would get colours: what is taken is lighter or darker, hue stays.
        # All of it: a network that might decide how much took a sixth and moved pixels instead (a throwaway script),
        # which was no worse for the people that it learnt from, and worse for strangers.
        # Beyond the face two pictures of a person differ by chance: heads had white, blurred outlines.
        lighter = face_window(source) * (regressed - source).mean(1, keepdim=True)
        lit = detailed + enlarged_along(lighter, source, detailed)
        retouched = self.change(lit, x, F.avg_pool2d(x, 4))
        return retouched.faces, retouched


class RegGAN(Translator):
    """Improving GAN Generalization for Facial Expression Synthesis; see the module's docstring."""

    name = "reggan"
    info = SystemInfo(
        title="RegGAN",
        paper="Akram et al., Improving GAN Generalization for Facial Expression Synthesis, 2026, arXiv 2603.15648",
        needs="aligned faces of people who each show at least two expressions, with subjects",
    )
    settings_class = RegGANSettings
    configurations: ClassVar[dict[str, Any]] = {
        "compact": RegGANSettings(toned=True, mirrored=True),
        "paper": RegGANSettings(
            size=128,
            shrink_towards="nothing",
            variations=0,
            width=64,
            residual_blocks=1,
            kernel=7,
            upsampling="transposed",
            sees_source=False,
            output="added",
            critic_width=64,
            critic_depth=6,
            critic_leak=0.01,
            conditional_critic=False,
            fine_weight=0,
            adversarial="wasserstein",
            adversarial_weight=1,
            penalty="wgan-gp",
            penalty_weight=10,
            penalty_every=1,
            generator_every=5,
            critic_augmentation=0,
            attribute_weight=1,
            pair_weight=1,
            pair_blur=1,
            source_weight=0,
        ),
    }
    partners = "same subject"
    any_frame = False
    initial_alike = ("mirrored",)
    settings: RegGANSettings

    def __init__(self, condition_names: tuple[str, ...], settings: RegGANSettings | None = None) -> None:
        super().__init__(condition_names, settings or self.configurations["compact"])
        s, classes = self.settings, len(self.condition_names)
        self.regression = LocalRegression(classes, s.size, s.receptive_field, s.toned)
        self.network = RefiningNetwork(s, classes)
        self.after_step()
        self.critic = PatchCritic(
            channels=3,
            size=s.size,
            width=s.critic_width,
            depth=s.critic_depth,
            maps=classes if s.conditional_critic else 1,
            attributes=classes,
            fine=s.fine_weight > 0,
            leak=s.critic_leak,
        )

    def after_step(self) -> None:
        """Bring the weights of the refining network back to where they answer mirror images alike."""
        if self.settings.mirrored:
            self.network.mirror()

    def averaged_modules(self) -> dict[str, nn.Module]:
        """The regressions' weights and the network that refines what they give."""
        return {"regression": self.regression, "network": self.network}

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Change the expression of faces (N, 3, S, S) in [-1, 1] to conditions (N, K) in [0, 1]."""
        self.check(faces, condition)
        return self._refined(faces, condition)[0].clamp(-1, 1)

    def _refined(self, faces: Tensor, condition: Tensor) -> tuple[Tensor, Retouched | None]:
        seen = self.seen(faces)
        return self.network(self.regression(seen, condition), seen, condition, faces)

    @torch.no_grad()
    def fit(self, data: TrainingFaces) -> None:
        """Solve the regression towards every expression that somebody shows besides another."""
        data.check_partners(self.partners)
        # Of its own, whose draws do not depend on the device, and yet the run's.
        s, generator = self.settings, torch.Generator().manual_seed(torch.initial_seed())
        for label in range(len(self.condition_names)):
            rows, partners = data.pairs.towards(label, s.most_pairs)
            if not len(rows):
                continue
            ridge = LocalRidge((3, s.size, s.size), s.receptive_field)
            for _ in range(max(1, s.variations)):
                for some, others in zip(rows.split(64), partners.split(64), strict=True):
                    faces, wanted = data.pictures_of(some, others, generator if s.variations else None)
                    if s.variations:
                        faces, wanted = (torch.cat([x, x.flip(-1)]) for x in (faces, wanted))
                    if s.toned:
                        tone = Tone.of(faces)
                        faces, wanted = tone.taken_from(faces), tone.taken_from(wanted)
                    faces, wanted = (faces.double() + 1) / 2, (wanted.double() + 1) / 2
                    ridge.add(faces, wanted - faces if s.shrink_towards == "source" else wanted)
            weights = ridge.solve(s.ridge_penalty)
            if s.shrink_towards == "source":
                weights[s.receptive_field**2 // 2] += 1
            self.regression.set_weights(label, weights)

    def phases(self) -> list[Phase]:
        """Critic, its gradient penalty, then the refining network; the regression was solved before."""
        s = self.settings
        betas = (0.5, 0.999) if s.adversarial == "wasserstein" else (0.0, 0.99)
        return [
            Phase("critic", [self.critic], self.critic_loss, betas=betas),
            Phase("penalty", [self.critic], self.penalty_loss, every=s.penalty_every, betas=betas),
            Phase("generator", [self.network], self.generator_loss, every=s.generator_every, betas=betas),
        ]

    # The terms of the objective

    def _judge(self, faces: Tensor, condition: Tensor) -> Opinion:
        return self.critic(augment_for_critic(faces, self.settings.critic_augmentation), condition)

    def critic_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Tell real faces from refined ones, and read the expression off the real."""
        s = self.settings
        with torch.no_grad():
            result, _ = self._refined(batch.faces, batch.targets)
        adversarial, attribute = losses.patch_critic_loss(
            self._judge,
            (batch.faces, batch.conditions),
            (result, batch.targets),
            kind=s.adversarial,
            fine_weight=s.fine_weight,
            wrong_conditions=s.conditional_critic,
        )
        return adversarial + s.attribute_weight * attribute, {"critic": adversarial, "critic_attribute": attribute}

    def penalty_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Hold the critic's gradient: R1 at real faces, or WGAN-GP between real and refined ones."""
        s = self.settings
        if s.penalty == "r1":
            seen = augment_for_critic(batch.faces, s.critic_augmentation)
            penalty = losses.patch_r1_penalty(self.critic, (seen, batch.conditions), s.fine_weight)
        else:
            with torch.no_grad():
                result, _ = self._refined(batch.faces, batch.targets)
            penalty = losses.gradient_penalty(
                lambda faces: self.critic(faces, batch.conditions).patches, batch.faces, result
            )
        return s.penalty_weight * s.penalty_every * penalty, {"penalty": penalty}

    def generator_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Look real, show the target, and be near to the paired picture and to the source."""
        s = self.settings
        assert batch.partners is not None
        result, retouched = self._refined(batch.faces, batch.targets)
        terms = {}
        terms["adversarial"], terms["attribute"] = losses.patch_generator_loss(
            self._judge, (result, batch.targets), kind=s.adversarial, fine_weight=s.fine_weight
        )
        terms["pair"] = losses.blurred_l1(result, batch.partners, s.pair_blur)
        terms["change"] = F.l1_loss(result, batch.faces)
        loss = s.adversarial_weight * terms["adversarial"] + s.attribute_weight * terms["attribute"]
        loss = loss + s.pair_weight * terms["pair"] + s.source_weight * terms["change"]
        if retouched is not None:
            terms |= losses.retouching(retouched.flow, retouched.mask)
            loss = loss + s.flow_weight * terms["flow"] + s.mask_weight * terms["mask"]
            loss = loss + s.mask_smoothness_weight * terms["mask_smoothness"]
        return loss, terms
