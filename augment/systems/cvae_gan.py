"""CVAE-GAN: a conditional variational autoencoder whose generator matches what a critic and a classifier see.

Source: Bao, Chen, Wen, Li, Hua, "CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training", ICCV 2017 (arXiv
1703.10155). Critic and classifier learn by cross-entropy; the generator never sees those, but brings the means of
features over its faces to those over real ones, and the features of a face rebuilt to those of the face itself.

`paper` keeps the published networks and weights. Where the paper is silent or unknown to us: the squared norms are sums
over features as printed, and the whole objective is divided by the number of pixel values, which Adam does not notice;
moving means keep 0.9 a step; AlexNet has no dropout; translating an unlabelled face takes its expression from the
system's own classifier, since the encoder wants to know it.

`compact` keeps the objective and changes what a few hundred faces need: residual networks with group norm and no batch
statistics; two levels of features matched instead of one, and pixels and features more strongly, against blur; a weaker
divergence, so that a code still tells people apart, and noise drawn from a normal distribution fitted to the codes,
which a weaker one leaves far from the standard (Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR
2020, sec. 4), nearer to its mean; a penalty on the gradients of critic and classifier and augmentation of what they
learn from, without which they know the training faces by heart and ask for changes that nobody sees; and faces
translated to other expressions among those whose means are matched, since an expression left in the code would else
come through. A code learned from a few hundred faces does not hold a stranger, so translating moves and repaints the
source's pixels, as the code, the condition and the encoder's maps say, which tell where things are in the face; and
where the data have the person's own picture of the target, the translated face is compared to it, as strongly as the
means of features ask: at a fortieth of that, seven expressions of people who showed them all were hardly learnt. A
condition is scaled to a code's length, so that it is heard beside it: Adam needs thousands of steps for weights that
make as much of a 1 as of 48 numbers. Mirror images are answered alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment import losses
from augment.code_networks import (
    FaceDecoder,
    FaceEncoder,
    FaceJudge,
    FaceRetoucher,
    PublishedClassifier,
    PublishedCritic,
    PublishedDecoder,
    googlenet_features,
)
from augment.mirroring import mirror, regain, still, twins
from augment.networks import Retouched, augment_for_critic
from augment.ranks import drawn, mean_over_ranks
from emoaug import EmoaugError, check_least

from .base import Batch, Phase, Progress, SystemInfo, Translator
from .checks import check_code_networks


@dataclass(frozen=True)
class CVAEGANSettings:
    """Networks and objective of CVAE-GAN."""

    size: int = 64
    """Side of the faces, pixels."""
    latent: int = 48
    """Length of the code."""
    output: Literal["composed", "decoded"] = "composed"
    """What translating gives: `decoded` is the picture of the code under the wanted condition; `composed` is the
    source, retouched as these and the encoder's maps say, and asks for residual networks."""
    noise: Literal["fitted", "standard"] = "fitted"
    """Codes of new faces: of the standard normal distribution, or of one fitted to the codes of training faces."""
    temperature: float = 0.75
    """What the deviation of that distribution is multiplied by for new faces (Kingma & Dhariwal, "Glow", NeurIPS 2018,
    sec. 6); at 1 some are a haze."""
    networks: Literal["residual", "published"] = "residual"
    """`published` are the paper's; the next five settings are for `residual` ones."""
    mirrored: bool = False
    """Whether all but the critic answers mirror images alike, by its weights. Else mouths are painted askew, the same
    way on everyone."""
    depth: int = 4
    """Halvings between the face and the code, and in critic and classifier."""
    width: int = 16
    """Channels of the encoder's first layer, and of the generator's last."""
    widest: int = 160
    """The most channels of encoder and generator."""
    judge_width: int = 24
    """Channels of the first layer of critic and classifier; they double with each halving."""
    matched_levels: int = 2
    """Levels of critic and classifier, from the last, whose outputs are matched."""
    kl_weight: float = 0.5
    """Weight of the divergence of codes from the standard normal distribution."""
    pixel_weight: float = 8.0
    """Weight of the distance of a rebuilt face from the face itself. At 1, as published, a few hundred faces were
    rebuilt with others' colours and without a likeness."""
    pair_weight: float = 2.0
    """Weight of the distance of their features, critic's and classifier's."""
    critic_mean_weight: float = 1.0
    """Weight of the distance of the critic's mean features, real and made."""
    class_mean_weight: float = 30.0
    """Weight of the distance of the classifier's mean features, real and made, class by class."""
    mean_decay: float = 0.9
    """What the moving means keep in a step."""
    translated_too: bool = True
    """Whether faces translated to their targets count among the made ones, besides those from noise."""
    own_weight: float = 0.02
    """Weight of the distance of a face from itself translated to what it shows, for `composed` output."""
    partner_weight: float = 120.0
    """Weight of the distance of a translated face from the person's own picture of the target, where there is one that
    differs little besides; for `composed` output. Ours: without it mouths are bent into arcs."""
    retouch_weight: float = 0.003
    """Weight of what retouching costs, for `composed` output; see `losses.retouching`."""
    critic_augmentation: float = 0.15
    """Strength of the augmentation of what critic and classifier learn from, 0 to 1."""
    penalty_weight: float = 0.3
    """Weight of the squared gradients of critic and classifier at real faces; 0 is no penalty."""
    penalty_every: int = 8
    """Steps between two penalties; the weight is multiplied by it."""

    def __post_init__(self) -> None:
        check_code_networks(self)
        if self.networks == "published" and self.output == "composed":
            raise EmoaugError("output is composed, for which published networks have no layers; take decoded")
        check_least(self, 0, "temperature")
        check_least(self, 1, "latent", "width", "widest", "judge_width", "matched_levels", "penalty_every")


class CodeEncoder(nn.Module):
    """Faces (N, 3, S, S) and what they show (N, K) to mean and log variance of their codes, (N, latent) each.

    The condition enters at the last layer, as published.
    """

    def __init__(self, settings: CVAEGANSettings, classes: int) -> None:
        super().__init__()
        s = settings
        self.features: nn.Module
        if s.networks == "residual":
            self.features = encoder = FaceEncoder(s.size, s.width, s.widest, s.depth)
            length = encoder.length
        else:
            self.features, length = googlenet_features()
        self.code = nn.Linear(length + classes, 2 * s.latent)

    def mirror(self) -> None:
        """Bring the weights of residual networks to the nearest that answer mirror images alike."""
        assert isinstance(self.features, FaceEncoder)
        code = twins(self, self.code.out_features // 2)
        shown = still(self, self.code.in_features - self.features.length)
        mirror(self.code, self.features.mirror().and_then(shown), code.and_then(code))

    def forward(self, faces: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Encode faces."""
        return self._code(self.features(faces), condition)

    def read(self, faces: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode faces, and give the maps of residual networks besides; see `FaceEncoder.read`."""
        assert isinstance(self.features, FaceEncoder)
        features, maps = self.features.read(faces)
        return *self._code(features, condition), maps

    def _code(self, features: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.code(torch.cat([features, condition.to(features.dtype)], 1)).float().chunk(2, 1)
        return mean, log_variance.clamp(-10, 10)


class CodeDistribution(nn.Module):
    """A normal distribution that follows codes (N, L); standard before it has seen any."""

    mean: Tensor
    covariance: Tensor
    decay: ClassVar[float] = 0.99
    """What it keeps in a step: some hundred batches make a covariance."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("covariance", torch.eye(latent))

    @torch.no_grad()
    def learn(self, codes: Tensor) -> None:
        """Take in codes (N, L)."""
        with torch.autocast(codes.device.type, enabled=False):
            apart = codes.float() - self.mean
            # Of a batch's second moment about the old mean and the old covariance, less the step of the mean itself:
            # exactly the covariance of the mixture of the two.
            step = (1 - self.decay) * mean_over_ranks(apart.mean(0))
            second = mean_over_ranks(apart.T @ apart / len(codes))
            self.covariance.lerp_(second, 1 - self.decay).sub_(torch.outer(step, step))
            self.mean.add_(step)

    def forward(self, noise: Tensor) -> Tensor:
        """Codes (N, L) for standard normal noise (N, L)."""
        with torch.autocast(noise.device.type, enabled=False):
            least = 1e-4 * torch.eye(len(self.mean), device=noise.device)
            # Whether there is a root is not asked, because a GPU would be waited for: the least makes sure.
            root = torch.linalg.cholesky_ex(self.covariance + least).L
            return self.mean + noise.float() @ root.T


class MovingMeans(nn.Module):
    """Mean features of real and of made faces, class by class, as exponential moving averages.

    A batch holds a few faces of a class, or none; the averages stand for many. The gradient goes through the current
    made faces alone, as if their mean were the whole: at full strength, whatever the decay.

    Args:
        classes: C.
        features: F.
        decay: what an average keeps in a step.

    Source: CVAE-GAN, sec. 3.2 and 3.3.
    """

    real: Tensor
    made: Tensor
    real_known: Tensor
    made_known: Tensor

    def __init__(self, classes: int, features: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        for kind in ("real", "made"):
            self.register_buffer(kind, torch.zeros(classes, features))
            self.register_buffer(f"{kind}_known", torch.zeros(classes, dtype=torch.bool))

    def forward(self, real: Tensor, real_classes: Tensor, made: Tensor, made_classes: Tensor) -> Tensor:
        """Take in features (N, F) of faces of classes (N, C), and give half the squared distance of the means.

        Classes may be shares of a blend. Those that were never seen among both real and made faces do not count.

        Returns:
            Scalar, summed over features and classes.
        """
        with torch.no_grad():
            wanted = self._follow(self.real, self.real_known, real, real_classes)
        shown = self._follow(self.made, self.made_known, made, made_classes)
        both = (self.real_known & self.made_known)[:, None]
        return losses.half_squared_distance(shown * both, wanted * both).sum()

    def _follow(self, kept: Tensor, known: Tensor, features: Tensor, classes: Tensor) -> Tensor:
        share = mean_over_ranks(classes.float().sum(0))
        seen = share > 0
        # A mean in bf16 would be too coarse for the small differences that it is for.
        with torch.autocast(features.device.type, enabled=False):
            now = mean_over_ranks(classes.float().T @ features.float()) / share.clamp_min(1e-6)[:, None]
        with torch.no_grad():
            moved = torch.where(known[:, None], torch.lerp(now, kept, self.decay), now)
            kept.copy_(torch.where(seen[:, None], moved, kept))
            known |= seen
        return kept.clone() + (now - now.detach()) * seen[:, None]


class Made(NamedTuple):
    """What a training step makes of N faces."""

    rebuilt: Tensor
    """The faces from their own codes, (N, 3, S, S)."""
    for_targets: Tensor
    """Faces made for the targets: from noise, and where wanted translated, (N or 2N, 3, S, S)."""
    mean: Tensor
    """Of the codes, (N, latent)."""
    log_variance: Tensor
    """Of the codes, (N, latent)."""
    retouched: Retouched | None
    """For `composed` output the faces translated to their targets, then those to what they show, 2N."""


class CVAEGAN(Translator):
    """Conditional VAE-GAN with asymmetric training; see the module's docstring."""

    name = "cvae-gan"
    info = SystemInfo(
        title="CVAE-GAN",
        paper="Bao et al., CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training, ICCV 2017, "
        "arXiv 1703.10155",
        needs="aligned faces of at least two expressions; pairs of one person help",
        abilities=("translate", "sample"),
    )
    settings_class = CVAEGANSettings
    partners = "same subject if any"
    any_frame = False
    configurations: ClassVar[dict[str, Any]] = {
        "compact": CVAEGANSettings(mirrored=True),
        "paper": CVAEGANSettings(
            size=128,
            latent=256,
            output="decoded",
            noise="standard",
            temperature=1,
            networks="published",
            matched_levels=1,
            kl_weight=3,
            pixel_weight=1,
            pair_weight=1,
            critic_mean_weight=1e-3,
            class_mean_weight=1e-3,
            translated_too=False,
            critic_augmentation=0,
            penalty_weight=0,
            partner_weight=0,
        ),
    }
    initial_alike = ("mirrored",)
    settings: CVAEGANSettings

    def __init__(self, condition_names: tuple[str, ...], settings: CVAEGANSettings | None = None) -> None:
        super().__init__(condition_names, settings or self.configurations["compact"])
        s, classes = self.settings, len(self.condition_names)
        self.encoder = CodeEncoder(s, classes)
        self.generator: nn.Module
        self.critic: FaceJudge | PublishedCritic
        self.classifier: FaceJudge | PublishedClassifier
        if s.networks == "residual":
            self.generator = FaceDecoder(s.latent + classes, s.size, s.width, s.widest, s.depth)
            self.critic = FaceJudge(s.size, s.judge_width, s.depth, 1, s.matched_levels)
            self.classifier = FaceJudge(s.size, s.judge_width, s.depth, classes, s.matched_levels)
        else:
            self.generator = PublishedDecoder(s.latent + classes, s.size)
            self.critic = PublishedCritic(s.size)
            self.classifier = PublishedClassifier(classes)
        self.retoucher: FaceRetoucher | None = None
        if s.output == "composed":
            self.retoucher = FaceRetoucher(s.latent + classes, s.size, s.width, s.widest, s.depth)
        self.after_step()
        if s.mirrored:
            for part in (self.generator, self.retoucher):
                if part is not None:
                    regain(part)
        self.codes = CodeDistribution(s.latent)
        self.critic_means = MovingMeans(1, self.critic.feature_length, s.mean_decay)
        self.class_means = MovingMeans(classes, self.classifier.feature_length, s.mean_decay)

    def after_step(self) -> None:
        """Bring the weights of what translates back to where they answer mirror images alike."""
        if self.settings.mirrored:
            code = twins(self, self.settings.latent).and_then(still(self, len(self.condition_names)))
            self.encoder.mirror()
            for part in (self.generator, self.retoucher):
                if isinstance(part, FaceDecoder | FaceRetoucher):
                    part.mirror(code)
            # It says what a face shows that is to be translated.
            assert isinstance(self.classifier, FaceJudge)
            self.classifier.mirror()

    def averaged_modules(self) -> dict[str, nn.Module]:
        """Encoder, generator, the distribution of codes, and the classifier that tells what a face shows."""
        modules = {
            "encoder": self.encoder,
            "generator": self.generator,
            "codes": self.codes,
            "classifier": self.classifier,
        }
        return modules if self.retoucher is None else modules | {"retoucher": self.retoucher}

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Encode faces (N, 3, S, S) in [-1, 1] to their mean codes and decode those with conditions (N, K).

        What a face shows now is the system's own classifier's guess.
        """
        self.check(faces, condition)
        seen = self.seen(faces)
        shown = self.classifier(seen).logits.float().softmax(1)
        if self.retoucher is None:
            return self._decode(self.encoder(seen, shown)[0], condition).float().clamp(-1, 1)
        code, _, maps = self.encoder.read(seen, shown)
        return self.retoucher(faces, maps, self._joined(code, condition)).faces.float().clamp(-1, 1)

    def sample(self, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Make new faces (N, 3, size, size) in [-1, 1] of nobody, with the expressions of condition (N, K).

        Args:
            condition: on the translator's device.
            generator: draws the codes, on its own device.
        """
        if condition.ndim != 2 or condition.shape[1] != len(self.condition_names):
            raise EmoaugError(
                f"condition has shape {tuple(condition.shape)}; this {self.name} needs (N, {len(self.condition_names)})"
            )
        noise = torch.randn(len(condition), self.settings.latent, generator=generator, device=generator.device)
        codes = self.codes(self.settings.temperature * noise.to(condition.device))
        return self._decode(codes, condition).float().clamp(-1, 1)

    def phases(self) -> list[Phase]:
        """Critic and classifier, the penalty on their gradients, then encoder and generator."""
        s = self.settings
        betas = (0.5, 0.999) if s.networks == "published" else (0.0, 0.99)
        judges: list[nn.Module] = [self.critic, self.classifier]
        phases = [Phase("judges", judges, self.judge_loss, betas=betas)]
        if s.penalty_weight > 0:
            phases.append(Phase("penalty", judges, self.penalty_loss, every=s.penalty_every, betas=betas))
        makers: list[nn.Module] = [self.encoder, self.generator]
        makers += [] if self.retoucher is None else [self.retoucher]
        # Without norms, retouching needs a momentum to go through the noise of small batches.
        return [*phases, Phase("generator", makers, self.generator_loss, betas=(0.5, betas[1]))]

    # The terms of the objective

    def _decode(self, code: Tensor, condition: Tensor) -> Tensor:
        return self.generator(self._joined(code, condition))

    def _joined(self, code: Tensor, condition: Tensor) -> Tensor:
        """Codes (N, latent) and conditions (N, K) joined; for residual networks these get a code's length."""
        length = self.settings.latent**0.5 if self.settings.networks == "residual" else 1.0
        return torch.cat([code, length * condition.to(code.dtype)], 1)

    def _make(self, batch: Batch) -> Made:
        maps: list[Tensor] = []
        if self.retoucher is None:
            mean, log_variance = self.encoder(batch.faces, batch.conditions)
        else:
            mean, log_variance, maps = self.encoder.read(batch.faces, batch.conditions)
        # The log variance is the logarithm of the square: the printed z = mean + r exp(e) does not fit the printed
        # divergence, in which exp(e) is the variance.
        code = mean + (0.5 * log_variance).exp() * drawn(torch.randn, mean.shape, device=mean.device)
        from_noise = self.codes(drawn(torch.randn, mean.shape, device=mean.device))
        codes, conditions = [code, from_noise], [batch.conditions, batch.targets]
        if self.settings.translated_too and self.settings.output == "decoded":
            codes.append(code)
            conditions.append(batch.targets)
        rebuilt, *made = self._decode(torch.cat(codes), torch.cat(conditions)).chunk(len(codes))
        retouched = None
        if self.retoucher is not None:
            both = self._joined(code.repeat(2, 1), torch.cat([batch.targets, batch.conditions]))
            twice = [level.repeat(2, 1, 1, 1) for level in maps]
            retouched = self.retoucher(batch.faces.repeat(2, 1, 1, 1), twice, both)
            if self.settings.translated_too:
                made.append(retouched.faces[: len(code)].to(rebuilt.dtype))
        return Made(rebuilt, torch.cat(made), mean, log_variance, retouched)

    def partner_loss(self, batch: Batch, translated: Tensor) -> Tensor:
        """Distance to the person's own picture of the target, over squares of 1/32 of the side."""
        assert batch.partners is not None
        assert batch.same_picture is not None
        counted = losses.are_pairs(batch.faces, batch.partners, batch.same_picture)
        # Over all, not over those that count: one pair among strangers weighs no more than one among pairs.
        return (losses.distances(translated, batch.partners, max(1, self.size // 32)) * counted).mean()

    def judge_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Tell real faces from rebuilt ones and from those made for the targets; name the expression of real faces."""
        strength = self.settings.critic_augmentation
        with torch.no_grad():
            rebuilt, made, *_ = self._make(batch)
        n = len(batch.faces)
        seen = augment_for_critic(torch.cat([batch.faces, rebuilt.float(), made.float()]), strength)
        opinions = self.critic(seen).logits.float()
        critic = F.softplus(-opinions[:n]).mean() + F.softplus(opinions[n : 2 * n]).mean()
        critic = critic + F.softplus(opinions[2 * n :]).mean()
        named = self.classifier(seen[:n]).logits.float()
        classifier = losses.soft_cross_entropy(named, batch.conditions)
        return critic + classifier, {"critic": critic, "classifier": classifier}

    def penalty_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Hold the gradients of the critic's answer, and of the classifier's for what a real face shows."""
        s = self.settings

        def judge(faces: Tensor) -> Tensor:
            named = (self.classifier(faces).logits.float().log_softmax(1) * batch.conditions).sum(1)
            # Their squared gradients add up, but for a product of the two that is nought on average: one sign for each
            # face, drawn evenly.
            sign = drawn(partial(torch.randint, 0, 2), named.shape, device=named.device) * 2 - 1
            return self.critic(faces).logits.float()[:, 0] + sign * named

        penalty = losses.r1_penalty(judge, augment_for_critic(batch.faces, s.critic_augmentation))
        return s.penalty_weight * s.penalty_every * penalty, {"penalty": penalty}

    def generator_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Keep codes normal, rebuild faces, and match means of features; no log D term.

        Every term is divided by the number of pixel values. `change` and `attribute`, how far translations are from
        their sources and how far the classifier is from calling them (without `translated_too`, faces made from noise)
        by their targets, are for the log alone.
        """
        s, n = self.settings, len(batch.faces)
        values = batch.faces[0].numel()
        rebuilt, made, mean, log_variance, retouched = self._make(batch)
        if s.noise == "fitted":
            self.codes.learn(mean + (0.5 * log_variance).exp() * drawn(torch.randn, mean.shape, device=mean.device))
        with torch.no_grad():
            critic_real, class_real = self.critic(batch.faces).features, self.classifier(batch.faces).features
        both = torch.cat([rebuilt, made])
        critic_made = self.critic(both).features
        named = self.classifier(both)
        targets = batch.targets.repeat(len(made) // n, 1)
        terms = {
            "kl": losses.kl_to_standard_normal(mean, log_variance),
            "pixel": losses.half_squared_distance(rebuilt, batch.faces).mean(),
            "pair_critic": losses.half_squared_distance(critic_made[:n], critic_real).mean(),
            "pair_class": losses.half_squared_distance(named.features[:n], class_real).mean(),
            "mean_critic": self.critic_means(
                critic_real, torch.ones_like(targets[:n, :1]), critic_made[n:], torch.ones_like(targets[:, :1])
            ),
            "mean_class": self.class_means(class_real, batch.conditions, named.features[n:], targets),
        }
        terms = {name: term / values for name, term in terms.items()}
        loss = (
            s.kl_weight * terms["kl"]
            + s.pixel_weight * terms["pixel"]
            + s.pair_weight * (terms["pair_critic"] + terms["pair_class"])
            + s.critic_mean_weight * terms["mean_critic"]
            + s.class_mean_weight * terms["mean_class"]
        )
        if retouched is not None:
            terms["own"] = F.l1_loss(retouched.faces[n:], batch.faces)
            terms |= losses.retouching(retouched.flow, retouched.mask)
            cost = 3 * terms["flow"] + 0.04 * terms["mask"] + terms["mask_smoothness"]
            loss = loss + s.own_weight * terms["own"] + s.retouch_weight * cost
            if s.partner_weight > 0:
                terms["partner"] = self.partner_loss(batch, retouched.faces[:n])
                loss = loss + s.partner_weight * terms["partner"]
        with torch.no_grad():
            terms["attribute"] = losses.soft_cross_entropy(named.logits[-n:].float(), batch.targets)
            if s.translated_too:
                terms["change"] = F.l1_loss(made[-n:].float(), batch.faces)
        return loss, terms
