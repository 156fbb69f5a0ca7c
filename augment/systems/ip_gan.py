"""Open-set IP-GAN: the person of one face with the look of another, for people that training never saw.

Source: Bao, Chen, Wen, Li, Hua, "Towards Open-Set Identity Preserving Face Synthesis", CVPR 2018 (arXiv 1803.11182).
One encoder reads who a face is, another, variational, everything else: expression, pose, light, background. The
generator joins the two, held by the attribute face's pixels (fully where both faces are one picture, a tenth where they
are not), by a critic's features of the attribute face and by an identity classifier's features of the identity face.
Attribute faces need no person's name; identity faces whose person is unknown take no part in what asks for names.

`paper` keeps the published losses and weights; as in CVAE-GAN, squared norms are sums over features as printed, and the
objective is divided by the number of pixel values, which Adam does not notice. Widths are not known to us: the encoders
and the identity classifier are ResNet-34 with codes of 512 and 1024 numbers, as in a public re-implementation, and
generator and critic are CVAE-GAN's, which the paper takes over. Its alternation of same and other faces from step to
step is here a coin's toss for each face, so that every batch has both.

`compact` changes what some hundred faces need. A decoder that few faces taught paints a blurred stranger, so the
generator moves and repaints the identity face's pixels, as the codes and the maps of the identity encoder say, which
therefore also learns from the results. Where expressions are known, they are asked for in three places, since of
everything a face shows pixels say least about them: the attribute encoder must be able to tell them by the code; the
critic judges real or made for each expression apart, with real faces under a wrong expression among the made ones; and
it reads the expression off real faces and results. Attribute faces without a label take part in all the rest. Faces of
two people have no picture to be compared with, so the generator also gets a log D term, and the critic's features,
which at fine levels are nearly pixels, count less there. Critic and classifier have penalised gradients and see
augmented faces. The distance in pixels, which a copy of the identity face satisfies where both are one picture, rises
to its weight. Where people have several pictures, most pairs are two of one person: there the attribute face is the
very picture that is to come out, if light and pose are alike, and a distance to it that forgives small shifts counts
besides. With a quarter of such pairs, mouths of seven expressions hardly moved in 1,000 steps, and eyes were streaked.
Mirror images are answered alike.

An expression is not an input of this system: generation shows it a labelled face, whose look `recombine` gives to
another, which then has that label. `translate` keeps a face's own attribute code, but moves it, within the directions
in which the mean codes of the training expressions differ, to the mean asked for; the means are part of the checkpoint.
Pose and light so stay the source's as far as the code keeps them apart from expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment import losses
from augment.code_networks import (
    FaceDecoder,
    FaceEncoder,
    FaceRetoucher,
    PublishedCritic,
    PublishedDecoder,
    resnet34_features,
)
from augment.mirroring import regain, twins
from augment.networks import Opinion, PatchCritic, Retouched, augment_for_critic
from augment.ranks import drawn
from augment.recombination_networks import AttributeEncoder, ExpressionCodes, IdentityNetwork, Person
from emoaug import EmoaugError, check_least

from .base import Batch, Phase, Progress, SystemInfo, Translator
from .checks import check_code_networks

if TYPE_CHECKING:
    from augment.training_data import TrainingFaces

NEEDS_PEOPLE = (
    "ip-gan learns who is who from at least 2 named people, and here are {count}. Name them in a subject column of "
    "metadata.csv or with --subject-pattern, add such faces (emoaug simulate), or choose a system that needs none"
)


@dataclass(frozen=True)
class IPGANSettings:
    """Networks and objective of IP-GAN."""

    size: int = 64
    """Side of the faces, pixels."""
    identity: int = 64
    """Length of the identity code; 512 for `published` networks."""
    latent: int = 48
    """Length of the attribute code."""
    most_people: int = 1000
    """The most people that training tells apart."""
    output: Literal["composed", "decoded"] = "composed"
    """What the generator gives: `decoded` is a face painted from the codes; `composed` is the identity face, retouched
    as the codes and the identity encoder's maps say, and asks for residual networks."""
    networks: Literal["residual", "published"] = "residual"
    """`published` are near the paper's; the next six settings are for `residual` ones."""
    mirrored: bool = False
    """Whether all but the critic answers mirror images alike, by its weights. Else mouths are painted askew, the same
    way on everyone."""
    depth: int = 4
    """Halvings between a face and its codes, and in the critic."""
    width: int = 16
    """Channels of the encoders' first layer, and of the generator's last."""
    widest: int = 128
    """The most channels of encoders and generator."""
    judge_width: int = 24
    """Channels of the critic's first layer; they double with each halving."""
    matched_levels: int = 2
    """Levels of the critic, from the last, whose outputs are matched."""
    recognition_weight: float = 0.02
    """Weight of the identity encoder telling people apart."""
    rebuilding_identity: bool = True
    """Whether the identity encoder also learns from the faces made of its codes; published is from names alone."""
    expression_weight: float = 0.2
    """Weight of the attribute encoder telling, from the code alone, expressions that are known; the paper, which needs
    no such labels, has no such term."""
    kl_weight: float = 3.0
    """Weight of the divergence of attribute codes from the standard normal distribution."""
    pixel_weight: float = 2.0
    """Weight of the distance from the attribute face, where both faces are one picture."""
    cross_weight: float = 0.1
    """The same where they are not, as a share."""
    feature_weight: float = 1.0
    """Weight of the distance from the attribute face in the critic's features."""
    cross_feature_weight: float = 0.2
    """The same where the faces are not one picture, as a share."""
    own_share: float = 0.6
    """Share of the pairs that are two pictures of one person with different expressions, where there are such; of the
    rest half are one picture, as published."""
    pair_weight: float = 8.0
    """Weight of the distance, over squares of 2 pixels, from an attribute face that is another picture of the person,
    in alike light and pose; the paper has no such term."""
    person_weight: float = 3.0
    """Weight of the distance from the identity face in the identity classifier's features."""
    attribute_weight: float = 0.1
    """Weight of showing the attribute face's expression, where it is known, to the critic; the paper, which needs no
    such labels, has no such term."""
    conditional_critic: bool = True
    """Whether real or made is asked for each expression apart, where it is known, and a real face under a wrong
    expression counts as made."""
    fine_weight: float = 0.5
    """Weight of smaller patches looking real, whatever their expression; 0 judges large ones only."""
    adversarial_weight: float = 0.3
    """Weight of looking real to the critic; the paper has no such term for the generator."""
    flow_weight: float = 1.0
    """Weight of the unevenness of the motion, for `composed` output. At 0.2 mouths that close are pinched, the more so
    the more the critic asks for."""
    mask_weight: float = 0.002
    """Weight of the share of the face that is painted over, for `composed` output."""
    mask_smoothness_weight: float = 0.1
    """Weight of the unevenness of that share, for `composed` output."""
    ramp: float = 0.2
    """Share of the run over which the distances in pixels, and what retouching costs, rise to their weights. At full
    weight from the start they hold a generator that begins at the identity face there."""
    mean_decay: float = 0.95
    """What the mean attribute code of an expression keeps in a step."""
    critic_augmentation: float = 0.4
    """Strength of the augmentation of what the critic learns from, 0 to 1."""
    penalty_weight: float = 0.3
    """Weight of the squared gradients of critic and identity classifier at real faces; 0 is no penalty."""
    penalty_every: int = 8
    """Steps between two penalties; the weight is multiplied by it."""

    def __post_init__(self) -> None:
        check_code_networks(self)
        check_least(self, 1, "identity", "latent", "width", "widest", "judge_width", "matched_levels", "penalty_every")
        if self.networks == "published" and (
            self.output == "composed" or self.conditional_critic or self.attribute_weight > 0
        ):
            raise EmoaugError(
                f"output is {self.output}, conditional_critic {self.conditional_critic} and attribute_weight "
                f"{self.attribute_weight}; published networks have layers for decoded, False and 0 only"
            )
        if self.networks == "published" and self.identity != 512:
            raise EmoaugError(f"identity is {self.identity}; published networks have 512")
        check_least(self, 2, "most_people")
        if not 0 <= self.own_share <= 1:
            raise EmoaugError(f"own_share is {self.own_share}; it is a share, 0 to 1")


class Made(NamedTuple):
    """What a training step makes of N pairs of faces."""

    faces: Tensor
    """Recombined, (N, 3, S, S)."""
    retouched: Retouched | None
    """How, for `composed` output."""
    person: Person
    """Who the identity faces are."""
    code: Tensor
    """Attribute codes, (N, latent)."""
    mean: Tensor
    """Of the attribute codes, (N, latent)."""
    log_variance: Tensor
    """Of the attribute codes, (N, latent)."""


class IPGAN(Translator):
    """Identity-preserving recombination of faces; see the module's docstring."""

    name = "ip-gan"
    info = SystemInfo(
        title="IP-GAN",
        paper="Bao et al., Towards Open-Set Identity Preserving Face Synthesis, CVPR 2018, arXiv 1803.11182",
        needs="aligned faces of at least two named people; faces of unknown people are welcome besides",
        abilities=("translate", "recombine"),
    )
    settings_class = IPGANSettings
    partners = "anyone"
    takes_unlabelled = True
    configurations: ClassVar[dict[str, Any]] = {
        "compact": IPGANSettings(mirrored=True),
        "paper": IPGANSettings(
            size=128,
            identity=512,
            latent=1024,
            most_people=10_000,
            output="decoded",
            attribute_weight=0,
            expression_weight=0,
            conditional_critic=False,
            ramp=0,
            networks="published",
            matched_levels=1,
            recognition_weight=1,
            rebuilding_identity=False,
            kl_weight=1,
            pixel_weight=1,
            cross_weight=0.1,
            feature_weight=1,
            cross_feature_weight=1,
            own_share=0,
            pair_weight=0,
            person_weight=1,
            adversarial_weight=0,
            critic_augmentation=0,
            penalty_weight=0,
        ),
    }
    initial_alike = ("mirrored",)
    settings: IPGANSettings
    people: Tensor

    def __init__(self, condition_names: tuple[str, ...], settings: IPGANSettings | None = None) -> None:
        super().__init__(condition_names, settings or self.configurations["compact"])
        s = self.settings
        code = s.identity if s.networks == "residual" else None
        # The paper's I and C.
        self.identity, self.classifier = (IdentityNetwork(*_features(s), code, s.most_people) for _ in range(2))
        told = len(self.condition_names) if s.expression_weight > 0 else 0
        self.attributes = AttributeEncoder(*_features(s), s.latent, told)
        self.generator: nn.Module
        self.critic: PatchCritic | PublishedCritic
        if s.networks == "residual":
            kind = FaceRetoucher if s.output == "composed" else FaceDecoder
            self.generator = kind(s.identity + s.latent, s.size, s.width, s.widest, s.depth)
            classes = len(self.condition_names)
            self.critic = PatchCritic(
                channels=3,
                size=s.size,
                width=s.judge_width,
                depth=s.depth,
                maps=1 + classes if s.conditional_critic else 1,
                attributes=classes,
                fine=s.fine_weight > 0,
                leak=0.2,
            )
        else:
            self.generator = PublishedDecoder(s.identity + s.latent, s.size)
            self.critic = PublishedCritic(s.size)
        self.expressions = ExpressionCodes(len(self.condition_names), s.latent, s.mean_decay)
        self.own_share = s.own_share
        self.after_step()
        if s.mirrored:
            regain(self.generator)
        # How many people the training data have; known once it is there.
        self.register_buffer("people", torch.tensor(s.most_people))

    def after_step(self) -> None:
        """Bring the weights of what translates back to where they answer mirror images alike."""
        if self.settings.mirrored:
            s = self.settings
            assert isinstance(self.generator, FaceDecoder | FaceRetoucher)
            self.identity.mirror()
            self.attributes.mirror()
            attributes = twins(self, s.latent)
            self.generator.mirror(twins(self, s.identity).and_then(attributes))
            self.expressions.mirror(attributes)

    def averaged_modules(self) -> dict[str, nn.Module]:
        """The two encoders, the generator, and the mean attribute code of each expression."""
        return {
            "identity": self.identity,
            "attributes": self.attributes,
            "generator": self.generator,
            "expressions": self.expressions,
        }

    def fit(self, data: TrainingFaces) -> None:
        """Count the people; EmoaugError where there are fewer than 2, or more than the settings allow."""
        count = 0 if data.subjects is None else int((data.subjects.unique() >= 0).sum())
        if data.subjects is None or count < 2:
            raise EmoaugError(NEEDS_PEOPLE.format(count=count))
        highest = int(data.subjects.max()) + 1
        if highest > self.settings.most_people:
            raise EmoaugError(
                f"the dataset has {highest} people, and most_people is {self.settings.most_people}; raise it"
            )
        self.people.fill_(highest)

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Move the attribute codes of faces (N, 3, S, S) in [-1, 1] to the means of conditions (N, K).

        The means are those of the training faces of each expression; see the module's docstring.
        """
        self.check(faces, condition)
        seen = self.seen(faces)
        moved = self.expressions.move(self.attributes(seen)[0], condition)
        return self._join(faces, self.identity(seen), moved)[0].float().clamp(-1, 1)

    def recombine(self, identity_faces: Tensor, attribute_faces: Tensor) -> Tensor:
        """Give the people of one set of faces the look of another, both (N, 3, S, S) in [-1, 1]."""
        if identity_faces.shape != attribute_faces.shape:
            raise EmoaugError(
                f"faces have shapes {tuple(identity_faces.shape)} and {tuple(attribute_faces.shape)}; "
                f"{self.name} takes two of one shape"
            )
        self.check_faces(identity_faces)
        attributes = self.attributes(self.seen(attribute_faces))[0]
        person = self.identity(self.seen(identity_faces))
        return self._join(identity_faces, person, attributes)[0].float().clamp(-1, 1)

    def phases(self) -> list[Phase]:
        """Critic and identity classifier, the penalty on their gradients, then the encoders and the generator."""
        s = self.settings
        betas = (0.5, 0.999) if s.networks == "published" else (0.0, 0.99)
        judges: list[nn.Module] = [self.critic, self.classifier]
        phases = [Phase("judges", judges, self.judge_loss, betas=betas)]
        if s.penalty_weight > 0:
            phases.append(Phase("penalty", judges, self.penalty_loss, every=s.penalty_every, betas=betas))
        makers = [self.identity, self.attributes, self.generator]
        # Without norms, retouching needs a momentum to go through the noise of small batches.
        return [*phases, Phase("generator", makers, self.generator_loss, betas=(0.5, betas[1]))]

    # The terms of the objective

    def _join(self, faces: Tensor, person: Person, attributes: Tensor) -> tuple[Tensor, Retouched | None]:
        """Recombined faces, and how they came about where they are retouched ones."""
        code = torch.cat([person.code, attributes], 1)
        if self.settings.output == "decoded":
            return self.generator(code), None
        result = self.generator(faces, person.maps, code)
        return result.faces, result

    def _make(self, batch: Batch, attribute_faces: Tensor) -> Made:
        person = self.identity(batch.faces)
        mean, log_variance = self.attributes(attribute_faces)
        # Printed is z = mean + r exp(e), which does not fit the printed divergence: there exp(e) is the variance.
        code = mean + (0.5 * log_variance).exp() * drawn(torch.randn, mean.shape, device=mean.device)
        seen = person
        if not self.settings.rebuilding_identity:
            seen = Person(person.code.detach(), person.logits, [level.detach() for level in person.maps])
        return Made(*self._join(batch.faces, seen, code), person, code, mean, log_variance)

    def _opinion(self, faces: Tensor, condition: Tensor) -> Opinion:
        """What the critic says of faces (N, 3, S, S) as faces of conditions (N, K), zeros where these are unknown."""
        if isinstance(self.critic, PatchCritic):
            return self.critic(faces, condition)
        features, logits = self.critic(faces)
        return Opinion(logits[:, :, None, None], None, torch.zeros_like(condition), (features,))

    def _matched(self, opinion: Opinion) -> Tensor:
        """The critic's features (N, F) that a result is to share with its attribute face."""
        return torch.cat([level.flatten(1) for level in opinion.levels[-self.settings.matched_levels :]], 1)

    def recognition_loss(self, logits: Tensor, subjects: Tensor) -> Tensor:
        """Cross-entropy of who faces are (N, most_people), subjects (N,), -1 where unknown; those do not count."""
        return losses.mean_of_counted(-self._recognised(logits, subjects), subjects >= 0)

    def _recognised(self, logits: Tensor, subjects: Tensor) -> Tensor:
        """Log probability of each face's person, (N,), among as many as the training data have."""
        nobody = torch.arange(logits.shape[1], device=logits.device) >= self.people
        known = logits.float().masked_fill(nobody, -1e4).log_softmax(1)
        return known.gather(1, subjects.clamp_min(0)[:, None])[:, 0]

    def judge_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Tell real attribute faces from recombined ones, and people from one another."""
        s, shown = self.settings, _shown(batch)
        subjects, partners, _ = _asked_for(batch)
        with torch.no_grad():
            made = self._make(batch, partners).faces.float()
        faces, look, made = (augment_for_critic(x, s.critic_augmentation) for x in (batch.faces, partners, made))
        real, fake = self._opinion(look, shown), self._opinion(made, shown)
        if s.conditional_critic:
            wrong = self._opinion(faces, batch.targets).patches
            fake = fake._replace(patches=torch.cat([fake.patches, wrong]))
        critic = losses.over_patches(losses.critic_loss, s.fine_weight, real, fake)
        classifier = self.recognition_loss(self.classifier(faces).logits, subjects)
        terms = {"critic": critic, "classifier": classifier}
        loss = critic + classifier
        if s.attribute_weight > 0:
            terms["critic_attribute"] = losses.soft_cross_entropy(real.attributes, shown)
            loss = loss + terms["critic_attribute"]
        return loss, terms

    def penalty_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Hold the gradients of the critic's answer, and of the identity classifier's for who a real face is."""
        s = self.settings
        subjects, *_ = _asked_for(batch)

        def judge(faces: Tensor) -> Tensor:
            named = self._recognised(self.classifier(faces).logits, subjects)
            # One sign for each face, drawn evenly: on average the penalty is the sum of the two squared gradients.
            sign = drawn(partial(torch.randint, 0, 2), named.shape, device=named.device) * 2 - 1
            opinion = self._opinion(faces, batch.conditions)
            return losses.over_patches(losses.mean_patch, s.fine_weight, opinion) + sign * named * (subjects >= 0)

        penalty = losses.r1_penalty(judge, augment_for_critic(batch.faces, s.critic_augmentation))
        return s.penalty_weight * s.penalty_every * penalty, {"penalty": penalty}

    def generator_loss(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Look like the attribute face, be the identity face's person, and know people apart.

        `change`, how far results are from the identity faces, is for the log alone.
        """
        s = self.settings
        ramp = 1.0 if s.ramp == 0 else min(1.0, progress.share / s.ramp)
        subjects, partners, same = _asked_for(batch)
        made, retouched, person, code, mean, log_variance = self._make(batch, partners)
        with torch.no_grad():
            look = self._matched(self._opinion(partners, _shown(batch)))
            who = self.classifier(batch.faces).code
            # Partners may be of no known expression, the faces themselves are of one.
            self.expressions.learn(self.attributes(batch.faces)[0], batch.conditions)
        opinion = self._opinion(made, _shown(batch))
        shown = self.classifier(made).code
        share = torch.where(same, 1.0, s.cross_weight)
        own = (subjects >= 0) & (subjects == batch.partner_subjects)
        paired = own & losses.are_pairs(batch.faces, partners, same)
        feature_share = torch.where(same | paired, 1.0, s.cross_feature_weight)
        terms = {
            "kl": losses.kl_to_standard_normal(mean, log_variance),
            "pixel": (share * losses.half_squared_distance(made, partners)).mean(),
            "feature": (feature_share * losses.half_squared_distance(self._matched(opinion), look)).mean(),
            "person": losses.mean_of_counted(losses.half_squared_distance(shown, who), subjects >= 0),
        }
        terms = {name: term / batch.faces[0].numel() for name, term in terms.items()}
        terms["recognition"] = self.recognition_loss(person.logits, subjects)
        loss = (
            s.kl_weight * terms["kl"]
            + ramp * s.pixel_weight * terms["pixel"]
            + s.feature_weight * terms["feature"]
            + s.person_weight * terms["person"]
            + s.recognition_weight * terms["recognition"]
        )
        if s.pair_weight > 0:
            counted = paired.view(-1, 1, 1, 1)
            pair = losses.blurred_l1(made.float() * counted, partners * counted, 2)
            terms["pair"] = pair * len(paired) / losses.count_of(paired)
            loss = loss + ramp * s.pair_weight * terms["pair"]
        if s.attribute_weight > 0:
            terms["attribute"] = losses.soft_cross_entropy(opinion.attributes.float(), _shown(batch))
            loss = loss + s.attribute_weight * terms["attribute"]
        if self.attributes.expression is not None:
            terms["expression"] = losses.soft_cross_entropy(self.attributes.expression(code).float(), _shown(batch))
            loss = loss + s.expression_weight * terms["expression"]
        if s.adversarial_weight > 0:
            terms["adversarial"] = losses.over_patches(losses.generator_loss, s.fine_weight, opinion)
            loss = loss + s.adversarial_weight * terms["adversarial"]
        if retouched is not None:
            terms |= losses.retouching(retouched.flow, retouched.mask)
            cost = s.flow_weight * terms["flow"] + s.mask_weight * terms["mask"]
            loss = loss + ramp * (cost + s.mask_smoothness_weight * terms["mask_smoothness"])
        terms["change"] = F.l1_loss(made.detach().float(), batch.faces)
        return loss, terms


def _shown(batch: Batch) -> Tensor:
    """What attribute faces show, (N, K); a row of zeros where nobody knows."""
    assert batch.partner_conditions is not None
    return batch.partner_conditions


def _asked_for(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """People, attribute faces, and where these are the same picture."""
    if batch.subjects is None or batch.partners is None or batch.same_picture is None:
        raise EmoaugError(NEEDS_PEOPLE.format(count=0))
    return batch.subjects, batch.partners, batch.same_picture


def _features(settings: IPGANSettings) -> tuple[nn.Module, int]:
    """What turns faces into features (N, length), and that length."""
    s = settings
    if s.networks == "published":
        return resnet34_features()
    encoder = FaceEncoder(s.size, s.width, s.widest, s.depth)
    return encoder, encoder.length
