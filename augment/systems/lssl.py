"""LSSL: one encoder and decoder change the expression of a face and of its landmark heat map together.

Source: Bozorgtabar, Rad, Ekenel, Thiran, "Learn to Synthesize and Synthesize to Learn", CVIU 2019 (arXiv 1905.00286),
and the networks, weights and schedule of its authors' release. `paper` keeps the published networks; `compact` keeps
the objective and changes what small data and CPUs need: narrower networks, a decoder that says how to move and repaint
the source's pixels instead of painting the whole face, and a critic that is regularised and augmented; mirror images
are answered alike; where the data have the person's own picture of the target, the result is compared to it; and
where there is none and training begins with weights, to what these make of the face. Of the release, two faults are
left out: face and heat map flipped apart, and targets that equal what the face shows. The paper's face-parsing term is
not in the release; its form here is our own reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment import landmarks, losses
from augment.devices import upload
from augment.landmark_network import LandmarkNetwork
from augment.mirroring import mirror, mirror_layers, mirror_retouch, still, twins
from augment.networks import (
    Opinion,
    PatchCritic,
    ResidualBlock,
    Retouch,
    UpStage,
    augment_for_critic,
    enlarged,
    scaled,
    tile,
    warp,
)
from emoaug import check_least

from .base import Batch, Phase, Progress, SystemInfo, Translator
from .checks import check_halvings

HELD_STEPS = 500
"""Steps over which faces that have a picture of the target are let go of what the initial weights make of them: at
first pairs teach little but their mean, which would undo expressions that were known."""


@dataclass(frozen=True)
class LSSLSettings:
    """Networks and objective of LSSL."""

    size: int = 64
    """Side of the faces, pixels."""
    width: int = 16
    """Channels of the encoder's first layer and of the decoder's last."""
    depth: int = 3
    """Halvings between the face and the bottleneck, in which the condition enters."""
    widest: int = 128
    """Channels in the bottleneck, and the most in the encoder."""
    residual_blocks: int = 4
    """Residual blocks in the bottleneck."""
    kernel: int = 3
    """Side of the first and last convolutions, pixels."""
    loudness: float = 24.0
    """How much larger the decoder's first weights of conditions are than those of features. At 24 a condition adds
    about as much as the 128 features after their residual blocks do; at 1 it adds a six hundredth, and thousands of
    steps of Adam made its weights 7 times as large."""
    mirrored: bool = False
    """Whether all but the critic answers mirror images alike, by its weights. Else they paint mouths askew, the same
    way on everyone; held to it by a term of the objective, they changed less (a throwaway script)."""
    heat_channels: int = 1
    """Channels in which the heat map is given and asked for."""
    heat_sigma: float = 6 / 256
    """Standard deviation of a landmark in the heat map, as a share of the picture's side."""
    heat_clamped: bool = True
    """Whether the heat map is cut off at the height of one landmark, instead of stretched to the full range."""
    output: Literal["composed", "direct"] = "composed"
    """`direct` paints the face; `composed` moves the source's pixels and paints over them where a mask says so."""
    critic_width: int = 32
    """Channels of the critic's first layer; they double with each halving."""
    critic_depth: int = 4
    """Halvings in the critic."""
    fine_weight: float = 0.5
    """Weight of smaller patches looking real, whatever their expression; 0 judges large patches only."""
    critic_leak: float = 0.2
    """Slope of the critic's leaky ReLUs below zero."""
    adversarial: Literal["logistic", "wasserstein"] = "logistic"
    """Form of the adversarial terms."""
    adversarial_weight: float = 1.0
    """Weight of looking real to the critic."""
    penalty: Literal["r1", "wgan-gp"] = "r1"
    """What holds the critic's gradient."""
    penalty_weight: float = 0.2
    """Weight of that penalty."""
    penalty_every: int = 8
    """Steps between two penalties; the weight is multiplied by it."""
    generator_every: int = 1
    """Critic updates for one generator update."""
    critic_augmentation: float = 0.4
    """Strength of the differentiable augmentation of what the critic sees, 0 to 1. With 104 training faces and
    0.15 the critic knows them by heart: a judge of other data called 43 % of new people's made smiles happy, 70 % with
    0.4, and 23 % with 0.8, where mouths are drawn wide (a throwaway script)."""
    conditional_critic: bool = True
    """Whether real or made is asked for each expression apart, and a real face under a wrong expression counts as made.
    Without it the attribute head alone asks for the expression, and on little data the generator learns to fool that
    head with changes that nobody sees."""
    attribute_weight: float = 0.1
    """Weight of the expression that the critic reads off the face."""
    bidirectional_weight: float = 0.5
    """Weight of the cycle on face, heat map and latent feature."""
    identity_weight: float = 0.25
    """Weight of the distance between source and result, face and heat map."""
    parsing_weight: float = 2.0
    """Weight of the parts of the face staying where they are."""
    pair_weight: float = 10.0
    """Weight of the distance, face and heat map, to the person's own picture of the target, where there is one that
    differs little besides."""
    initial_weight: float = 20.0
    """Weight of the distance, face and heat map, to what the weights that training began with make of the face, where
    there is no such picture, and in the first 500 steps, ever less, also where there is: a critic of few faces, and the
    first steps with pairs, would let them forget how to change expressions (learning without forgetting, Li & Hoiem
    2016)."""
    agreement_weight: float = 5.0
    """Weight of the motion carrying the source's heat map to the translated one, for `composed` output."""
    flow_weight: float = 3.0
    """Weight of the unevenness of the motion, for `composed` output."""
    mask_weight: float = 0.01
    """Weight of the share of the face that is painted over, for `composed` output."""
    mask_smoothness_weight: float = 1.0
    """Weight of the unevenness of the painted share, for `composed` output: blotches fool a critic of few faces."""
    ramp: float = 0.2
    """Share of the run over which cycle, identity and parsing rise to their weights. At full weight from the start
    they hold a generator that begins at the identity there."""

    def __post_init__(self) -> None:
        check_halvings(self, "depth", "critic_depth")
        check_least(self, 1, "width", "widest", "heat_channels", "critic_width", "penalty_every", "generator_every")


HEAT_MAPS = ("heat_channels", "heat_sigma", "heat_clamped")
"""Settings that say how landmarks are drawn."""


class Translation(NamedTuple):
    """A face (N, 3, S, S) with its heat map (N, heat, S, S), and how `composed` output came about."""

    faces: Tensor
    heat: Tensor
    flow: Tensor | None = None
    """Where each pixel was fetched, (N, 2, S, S), the picture being 2 wide."""
    mask: Tensor | None = None
    """Share of each pixel that was painted over, (N, 1, S, S)."""

    @property
    def stacked(self) -> Tensor:
        """What the critic sees: face and heat map, (N, 3 + heat, S, S)."""
        return torch.cat([self.faces, self.heat], 1)


class Encoder(nn.Module):
    """Face and heat map (N, 3 + heat, S, S) to features (N, widest, S / 2^depth, S / 2^depth); sees no condition."""

    def __init__(self, settings: LSSLSettings) -> None:
        super().__init__()
        channels = settings.width
        layers: list[nn.Module] = [
            nn.Conv2d(3 + settings.heat_channels, channels, settings.kernel, padding=settings.kernel // 2, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(inplace=True),
        ]
        for _ in range(settings.depth):
            wider = min(2 * channels, settings.widest)
            layers += [
                nn.Conv2d(channels, wider, 4, 2, 1, bias=False),
                nn.InstanceNorm2d(wider, affine=True),
                nn.ReLU(inplace=True),
            ]
            channels = wider
        layers += [ResidualBlock(channels) for _ in range(settings.residual_blocks)]
        self.layers = nn.Sequential(*layers)
        self.out_channels = channels

    def mirror(self) -> None:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        first = self.layers[0]
        assert isinstance(first, nn.Conv2d)
        mirror_layers(self.layers, still(first, first.in_channels))

    def forward(self, faces: Tensor, heat: Tensor) -> Tensor:
        """Encode a face with its heat map."""
        return self.layers(torch.cat([faces, heat], 1))


class Decoder(nn.Module):
    """Features and condition to a face and its heat map.

    `composed` output is the source retouched; see `Retouch`.
    """

    def __init__(self, settings: LSSLSettings, channels: int, classes: int) -> None:
        super().__init__()
        self.composed = settings.output == "composed"
        self.channels, self.classes = channels, classes
        channels += classes
        stages: list[UpStage] = []
        for level in range(settings.depth):
            last = level == settings.depth - 1
            stages.append(UpStage(channels, settings.width if last else channels // 2))
            channels = stages[-1].out_channels
        self.stages = nn.ModuleList(stages)
        with torch.no_grad():
            next(stages[0].parameters())[:, -classes:].mul_(settings.loudness)
        kernel = settings.kernel
        self.heat = nn.Conv2d(channels, settings.heat_channels, kernel, padding=kernel // 2, bias=False)
        self.face: Retouch | nn.Conv2d
        if self.composed:
            self.face = Retouch(channels, stages[0].out_channels)
        else:
            self.face = nn.Conv2d(channels, 3, kernel, padding=kernel // 2, bias=False)

    def mirror(self) -> None:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        heat = self.heat
        given = twins(heat, self.channels).and_then(still(heat, self.classes))
        given = mirror_layers(self.stages, given)
        mirror(heat, given, still(heat, heat.out_channels))
        if isinstance(self.face, Retouch):
            mirror_retouch(self.face)
        else:
            mirror(self.face, given, still(self.face, 3))

    def forward(self, features: Tensor, condition: Tensor, source: Tensor) -> Translation:
        """Decode features (N, C, s, s) for conditions (N, K), given the source faces (N, 3, S, S)."""
        x = torch.cat([features, tile(condition, features.shape[-1])], 1)
        for level, stage in enumerate(self.stages):
            x = stage(x)
            if level == 0:
                coarse = x
        heat = torch.tanh(self.heat(x))
        if not self.composed:
            return Translation(torch.tanh(self.face(x)), heat)
        faces, flow, mask = self.face(source, x, coarse)
        return Translation(faces, enlarged(heat, source.shape[-1]), flow, mask)


class LSSL(Translator):
    """Learn to Synthesize and Synthesize to Learn; see the module's docstring."""

    name = "lssl"
    info = SystemInfo(
        title="LSSL",
        paper="Bozorgtabar et al., Learn to Synthesize and Synthesize to Learn, CVIU 2019, arXiv 1905.00286",
        needs="aligned faces of at least two expressions, with their landmarks; pairs of one person help",
    )
    settings_class = LSSLSettings
    partners = "same subject if any"
    learns_intensities = True
    initial_alike = ("mirrored",)
    configurations: ClassVar[dict[str, Any]] = {
        "compact": LSSLSettings(mirrored=True),
        "paper": LSSLSettings(
            size=128,
            width=64,
            depth=4,
            widest=1024,
            residual_blocks=6,
            kernel=7,
            loudness=1,
            heat_channels=3,
            heat_sigma=10 / 256,
            heat_clamped=False,
            output="direct",
            critic_width=64,
            critic_depth=6,
            fine_weight=0,
            critic_leak=0.01,
            adversarial="wasserstein",
            penalty="wgan-gp",
            penalty_weight=10,
            penalty_every=1,
            conditional_critic=False,
            attribute_weight=1,
            generator_every=5,
            critic_augmentation=0,
            bidirectional_weight=10,
            identity_weight=10,
            parsing_weight=0,
            pair_weight=0,
            initial_weight=0,
            ramp=0,
        ),
    }
    settings: LSSLSettings

    def __init__(self, condition_names: tuple[str, ...], settings: LSSLSettings | None = None) -> None:
        super().__init__(condition_names, settings or self.configurations["compact"])
        classes = len(self.condition_names)
        self.encoder = Encoder(self.settings)
        self.decoder = Decoder(self.settings, self.encoder.out_channels, classes)
        s = self.settings
        self.critic = PatchCritic(
            channels=3 + s.heat_channels,
            size=s.size,
            width=s.critic_width,
            depth=s.critic_depth,
            maps=classes + self.intensities if s.conditional_critic else 1,
            attributes=classes,
            fine=s.fine_weight > 0,
            leak=s.critic_leak,
        )
        self.attribute_loss = losses.attribute_loss(self.intensities)
        self.landmark_network = LandmarkNetwork()
        self.after_step()
        self._teacher: tuple[LSSL, Tensor] | None = None
        """Whose weights training begins with, and which of the conditions here (K) are which there (L), (K, L); in a
        tuple, lest its networks count as parts of these."""

    def after_step(self) -> None:
        """Bring the weights of what translates back to where they answer mirror images alike."""
        if self.settings.mirrored:
            self.encoder.mirror()
            self.decoder.mirror()
            self.landmark_network.mirror()

    def averaged_modules(self) -> dict[str, nn.Module]:
        """Encoder, decoder and the network that draws the heat map."""
        return {"encoder": self.encoder, "decoder": self.decoder, "landmark_network": self.landmark_network}

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Change the expression of faces (N, 3, S, S) in [-1, 1] to conditions (N, K) in [0, 1]."""
        self.check(faces, condition)
        return self._translation(faces, condition).faces.float().clamp(-1, 1)

    def _translation(self, faces: Tensor, condition: Tensor) -> Translation:
        seen = self.seen(faces)
        heat = self._channels(self.landmark_network(seen)[0])
        return self.decoder(self.encoder(seen, heat), condition, faces)

    def remember(self, teacher: Translator) -> None:
        """Keep in mind the translator whose weights training begins with, for `initial_loss`."""
        assert isinstance(teacher, LSSL)
        self._teacher = None
        if self.settings.initial_weight > 0:
            same = [[float(name == other) for other in teacher.condition_names] for name in self.condition_names]
            if any(map(any, same)):
                self._teacher = teacher.eval().requires_grad_(False), torch.tensor(same)

    def phases(self) -> list[Phase]:
        """Critic, its gradient penalty, the landmark network, then encoder and decoder."""
        s = self.settings
        betas = (0.5, 0.999) if s.adversarial == "wasserstein" else (0.0, 0.99)
        return [
            Phase("critic", [self.critic], self.critic_loss, betas=betas),
            Phase("penalty", [self.critic], self.penalty_loss, every=s.penalty_every, betas=betas),
            Phase(
                "landmarks", [self.landmark_network], self.landmark_loss, learning_rate_factor=5.0, betas=(0.9, 0.99)
            ),
            Phase("generator", [self.encoder, self.decoder], self.generator_loss, every=s.generator_every, betas=betas),
        ]

    # What a training face brings along

    def _channels(self, heat: Tensor) -> Tensor:
        return heat.expand(-1, self.settings.heat_channels, -1, -1)

    def _drawn(self, points: Tensor) -> Tensor:
        chosen = landmarks.chosen(points, landmarks.FACE_49)
        return landmarks.heat_maps(chosen, self.size, self.settings.heat_sigma, self.settings.heat_clamped)

    def heat_maps(self, batch: Batch) -> Tensor:
        """Heat maps (N, heat_channels, size, size) from landmarks, or from the network for faces that have none."""
        known = batch.landmarks.isfinite().all((1, 2))
        heat = self._drawn(batch.landmarks.nan_to_num())
        if not batch.all_landmarks:
            with torch.no_grad():
                heat = torch.where(known.view(-1, 1, 1, 1), heat, self.landmark_network(batch.faces)[0].float())
        return self._channels(heat)

    # The terms of the objective

    def _judge(self, stacked: Tensor, condition: Tensor) -> Opinion:
        return self.critic(augment_for_critic(stacked, self.settings.critic_augmentation), condition)

    def _encode(self, pair: Translation) -> Tensor:
        return self.encoder(pair.faces, pair.heat)

    def critic_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Tell real pairs from translated ones, and read the expression off the real."""
        s = self.settings
        source = Translation(batch.faces, self.heat_maps(batch))
        with torch.no_grad():
            result = self.decoder(self._encode(source), batch.targets, source.faces)
        adversarial, attribute = losses.patch_critic_loss(
            self._judge,
            (source.stacked, batch.conditions),
            (result.stacked, batch.targets),
            kind=s.adversarial,
            fine_weight=s.fine_weight,
            wrong_conditions=s.conditional_critic,
            attribute_loss=self.attribute_loss,
        )
        return adversarial + s.attribute_weight * attribute, {"critic": adversarial, "critic_attribute": attribute}

    def penalty_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Hold the critic's gradient: R1 at real pairs, or WGAN-GP between real and translated ones."""
        s = self.settings
        source = Translation(batch.faces, self.heat_maps(batch))
        real = augment_for_critic(source.stacked, s.critic_augmentation)
        if s.penalty == "r1":
            penalty = losses.patch_r1_penalty(self.critic, (real, batch.conditions), s.fine_weight)
        else:
            with torch.no_grad():
                result = self.decoder(self._encode(source), batch.targets, source.faces)
            made = augment_for_critic(result.stacked, s.critic_augmentation)
            penalty = losses.gradient_penalty(lambda x: self.critic(x, batch.conditions).patches, real, made)
        return s.penalty_weight * s.penalty_every * penalty, {"penalty": penalty}

    def landmark_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw heat map and parts as the landmarks say; faces without landmarks do not count."""
        known = batch.landmarks.isfinite().all((1, 2))
        points = batch.landmarks.nan_to_num()
        heat, parts = self.landmark_network(batch.faces)
        wanted = self._drawn(points)
        regions = landmarks.region_maps(points, self.size // 2)
        each = (heat - wanted).square().mean((1, 2, 3)) + 0.1 * F.cross_entropy(
            parts.float(), regions, reduction="none"
        ).mean((1, 2))
        loss = losses.mean_of_counted(each, known)
        return loss, {"landmarks": loss}

    def generator_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Fool the critic, show the target, come back again, stay the same person."""
        s = self.settings
        ramp = 1.0 if s.ramp == 0 else min(1.0, progress.share / s.ramp)
        source = Translation(batch.faces, self.heat_maps(batch))
        features = self._encode(source)
        result = self.decoder(features, batch.targets, source.faces)
        terms = {}
        terms["adversarial"], terms["attribute"] = losses.patch_generator_loss(
            self._judge,
            (result.stacked, batch.targets),
            kind=s.adversarial,
            fine_weight=s.fine_weight,
            attribute_loss=self.attribute_loss,
        )
        loss = s.adversarial_weight * terms["adversarial"] + s.attribute_weight * terms["attribute"]
        recovered = None
        if s.bidirectional_weight > 0:
            result_features = self._encode(result)
            recovered = self.decoder(result_features, batch.conditions, result.faces)
            terms["cycle_face"] = F.l1_loss(recovered.faces, source.faces)
            terms["cycle_heat"] = F.l1_loss(recovered.heat, source.heat)
            terms["cycle_latent"] = F.l1_loss(result_features, features)
            cycle = terms["cycle_face"] + terms["cycle_heat"] + terms["cycle_latent"]
            loss = loss + ramp * s.bidirectional_weight * cycle
        terms["change"] = F.l1_loss(result.faces, source.faces)
        terms["change_heat"] = F.l1_loss(result.heat, source.heat)
        loss = loss + ramp * s.identity_weight * (terms["change"] + terms["change_heat"])
        if result.flow is not None and result.mask is not None:
            terms |= losses.retouching(result.flow, result.mask)
            # The heat map is far easier to get right than the face, so it leads, without a gradient back into it. Asked
            # through the landmark network instead, the face was painted in colours that fool that network.
            terms["agreement"] = F.l1_loss(warp(source.heat, result.flow), result.heat.detach())
            loss = loss + s.agreement_weight * terms["agreement"]
            loss = loss + s.flow_weight * terms["flow"] + s.mask_weight * terms["mask"]
            loss = loss + s.mask_smoothness_weight * terms["mask_smoothness"]
        pairs = torch.zeros(len(batch.faces), dtype=torch.bool, device=batch.faces.device)
        if s.pair_weight > 0:
            assert batch.partners is not None
            assert batch.same_picture is not None
            pairs = losses.are_pairs(batch.faces, batch.partners, batch.same_picture)
            terms["pair"] = self.pair_loss(batch, result, pairs)
            loss = loss + s.pair_weight * terms["pair"]
        if self._teacher is not None:
            held = max(0.0, 1 - progress.step / HELD_STEPS)
            terms["initial"] = self.initial_loss(batch, result, torch.where(pairs, held, 1.0))
            loss = loss + s.initial_weight * terms["initial"]
        if s.parsing_weight > 0:
            terms["parsing"] = self.parsing_loss(source, result, recovered)
            loss = loss + ramp * s.parsing_weight * terms["parsing"]
        return loss, terms

    def pair_loss(self, batch: Batch, result: Translation, counted: Tensor) -> Tensor:
        """Distance to the person's own picture of the target, face and heat map, over squares of 1/32 of the side, of
        the faces that are counted, (N,) bool.

        Ours: the paper has no pairs, but datasets taken in a studio do.
        """
        assert batch.partners is not None
        assert batch.partner_landmarks is not None
        drawn = batch.partner_landmarks.isfinite().all((1, 2))
        heat = self._channels(self._drawn(batch.partner_landmarks.nan_to_num()))
        each = self._distances(result.faces, batch.partners) + self._distances(result.heat, heat) * drawn
        # Over all, not over those that count: one pair among strangers weighs no more than one among pairs.
        return (each * counted).mean()

    def initial_loss(self, batch: Batch, result: Translation, shares: Tensor) -> Tensor:
        """Distance to what the teacher makes of the source, likewise, where it knows the target, times shares (N,)."""
        assert self._teacher is not None
        teacher, same = self._teacher
        asked = batch.targets @ upload(same, batch.targets.device)
        # A target that is unknown to it in part is another one.
        known = (asked.sum(1) - batch.targets.sum(1)).abs() < 1e-3
        with torch.no_grad():
            teacher.to(batch.faces.device)
            shown = teacher._translation(scaled(batch.faces, max(self.size, teacher.size)), asked)
            faces, heat = (scaled(pictures.float(), self.size) for pictures in (shown.faces, shown.heat))
        each = self._distances(result.faces, faces)
        if all(getattr(self.settings, name) == getattr(teacher.settings, name) for name in HEAT_MAPS):
            each = each + self._distances(result.heat, heat)
        return (each * shares * known).mean()

    def _distances(self, one: Tensor, other: Tensor) -> Tensor:
        return losses.distances(one, other, max(1, self.size // 32))

    def parsing_loss(self, source: Translation, result: Translation, recovered: Translation | None) -> Tensor:
        """Distance of the parts of faces, as probabilities.

        The result keeps the parts that an expression does not move (background, skin, nose); the recovered face keeps
        them all. The paper names the term and not its form; this is our reading.
        """
        # The landmark network is a fixed measure here: the generator phase does not train it.
        wanted = self.landmark_network(source.faces)[1].float().softmax(1).detach()
        shown = self.landmark_network(result.faces)[1].float().softmax(1)
        loss = F.l1_loss(shown[:, :3], wanted[:, :3])
        if recovered is not None:
            loss = loss + F.l1_loss(self.landmark_network(recovered.faces)[1].float().softmax(1), wanted)
        return loss
