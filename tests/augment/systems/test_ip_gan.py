from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from augment import losses
from augment.systems.base import Batch, Progress
from augment.systems.ip_gan import IPGAN
from augment.training_data import TrainingFaces
from emoaug import EmoaugError

from .test_registry import build, make_batch, train_a_little

SMALL = {"size": 32, "width": 4, "widest": 16, "judge_width": 4, "identity": 8, "latent": 6, "most_people": 20}


def small(**changes) -> IPGAN:
    torch.manual_seed(0)
    return IPGAN(("a", "b", "c"), replace(IPGAN.configurations["compact"], **(SMALL | changes)))


def alike() -> Batch:
    """Each face with another picture of the person in the same light."""
    batch = make_batch()
    return replace(batch, partners=0.8 * batch.faces + 0.2 * batch.partners)


def training_faces(subjects: list[int] | None) -> TrainingFaces:
    n = 4 if subjects is None else len(subjects)
    known = None if subjects is None else torch.tensor(subjects)
    return TrainingFaces(
        torch.zeros(n, 3, 32, 32, dtype=torch.uint8), torch.arange(n) % 3, torch.zeros(n, 478, 2), 3, subjects=known
    )


def test_published_configuration_has_the_stated_networks_and_weights():
    with torch.device("meta"):
        paper = IPGAN(tuple("abcdefg"), IPGAN.configurations["paper"])
    s = paper.settings
    weights = (s.kl_weight, s.pixel_weight, s.cross_weight, s.feature_weight, s.person_weight, s.recognition_weight)
    assert weights == (1, 1, 0.1, 1, 1, 1)
    assert s.adversarial_weight == 0
    resnet = 21_797_672 - 513 * 1000
    assert sum(p.numel() for p in paper.identity.parameters()) == resnet + 513 * 10_000
    assert sum(p.numel() for p in paper.attributes.parameters()) == resnet + 513 * 2 * 1024


def test_published_networks_train_and_recombine():
    torch.manual_seed(0)
    settings = replace(IPGAN.configurations["paper"], size=64, most_people=20)
    translator, batch = IPGAN(("a", "b", "c"), settings), make_batch(n=2)
    batch = replace(batch, faces=F.interpolate(batch.faces, 64), partners=F.interpolate(batch.partners, 64))
    for phase in translator.phases():
        loss, _ = phase.loss(batch, Progress(0, 10))
        loss.backward()
        assert loss.isfinite()
    with torch.inference_mode():
        assert translator.eval().recombine(batch.faces, batch.partners).shape == batch.faces.shape


@pytest.mark.parametrize(
    ("subjects", "count"), [(None, 0), ([-1, -1, -1, -1], 0), ([0, 0, 0, -1], 1)], ids=["none", "unknown", "one"]
)
def test_faces_of_fewer_than_two_named_people_are_an_error_that_says_what_to_do(subjects, count):
    with pytest.raises(EmoaugError, match=f"here are {count}.*--subject-pattern"):
        small().fit(training_faces(subjects))


def test_more_people_than_the_settings_allow_are_an_error():
    with pytest.raises(EmoaugError, match="has 20 people, and most_people is 19"):
        small(most_people=19).fit(training_faces(list(range(20))))


def test_unknown_people_and_numbers_that_nobody_has_do_not_count_in_recognition():
    translator = small()
    translator.fit(training_faces([0, 1, 4, -1]))
    logits, subjects = torch.randn(5, 20), torch.tensor([4, -1, 0, -1, 1])
    known = subjects >= 0
    expected = F.cross_entropy(logits[known][:, :5], subjects[known])
    torch.testing.assert_close(translator.recognition_loss(logits, subjects), expected)
    assert translator.recognition_loss(logits, torch.full((5,), -1)) == 0


def test_generator_loss_is_the_weighted_sum_of_its_terms():
    weights = {"kl": 2, "pixel": 3, "feature": 5, "person": 7, "recognition": 11, "adversarial": 13, "attribute": 17}
    weights |= {"pair": 37, "expression": 19, "flow": 23, "mask": 29, "mask_smoothness": 31}
    translator = small(**{f"{name}_weight": float(weight) for name, weight in weights.items()}, ramp=0.2)
    # Motion begins at none.
    torch.nn.init.normal_(translator.generator.retouch.flow.weight)
    loss, terms = translator.generator_loss(alike(), Progress(5, 10))
    torch.testing.assert_close(loss, sum(weight * terms[name] for name, weight in weights.items()))
    assert all(terms[name] > 0 for name in weights)
    # At the start of the ramp pixels and retouching do not count, half-way they count half.
    for step, share in ((0, 0.0), (1, 0.5)):
        torch.manual_seed(2)
        loss, terms = translator.generator_loss(alike(), Progress(step, 10))
        rising = ("pixel", "pair", "flow", "mask", "mask_smoothness")
        expected = sum(weight * terms[name] * (share if name in rising else 1) for name, weight in weights.items())
        torch.testing.assert_close(loss, expected)


def test_a_look_from_another_picture_counts_a_tenth():
    batch, terms = replace(make_batch(), partner_subjects=torch.full((4,), -1)), []
    for same in ([True] * 4, [False] * 4, [True, True, False, False]):
        torch.manual_seed(1)
        now = small(cross_feature_weight=0.25).generator_loss(
            replace(batch, same_picture=torch.tensor(same)), Progress(0, 10)
        )
        terms.append({name: term.item() for name, term in now[1].items()})
    assert terms[1]["pixel"] == pytest.approx(0.1 * terms[0]["pixel"], rel=1e-5)
    assert terms[1]["feature"] == pytest.approx(0.25 * terms[0]["feature"], rel=1e-5)
    assert terms[1]["pixel"] < terms[2]["pixel"] < terms[0]["pixel"]


def test_features_of_another_picture_of_the_person_count_in_full_and_pixels_a_tenth():
    batch, terms = alike(), []
    strangers = replace(batch, partner_subjects=torch.full((4,), -1))
    for now in (replace(batch, same_picture=torch.ones(4, dtype=torch.bool)), batch, strangers):
        torch.manual_seed(1)
        terms.append(small(cross_feature_weight=0.25).generator_loss(now, Progress(0, 10))[1])
    same, person, stranger = ({name: term.item() for name, term in t.items()} for t in terms)
    assert person["feature"] == pytest.approx(same["feature"], rel=1e-5)
    assert stranger["feature"] == pytest.approx(0.25 * same["feature"], rel=1e-5)
    assert person["pixel"] == pytest.approx(0.1 * same["pixel"], rel=1e-5)


def test_the_pair_term_is_the_distance_to_other_pictures_of_the_person_over_squares():
    same, theirs = torch.tensor([True, False, False, False]), torch.tensor([0, 1, -1, 3])
    translator, batch = small(), replace(alike(), same_picture=same, partner_subjects=theirs)
    torch.manual_seed(3)
    term = translator.generator_loss(batch, Progress(0, 10))[1]["pair"].item()
    torch.manual_seed(3)
    with torch.no_grad():
        made = translator._make(batch, batch.partners).faces
    apart = (made - batch.partners).unfold(2, 2, 1).unfold(3, 2, 1).mean((-1, -2)).abs().mean((1, 2, 3))
    assert term == pytest.approx((apart[1] + apart[3]).item() / 2, rel=1e-4)
    strangers = replace(batch, partner_subjects=torch.full((4,), -1))
    assert translator.generator_loss(strangers, Progress(0, 10))[1]["pair"] == 0


def test_another_picture_of_the_person_in_other_light_is_a_strangers():
    dark = replace(alike(), partners=alike().partners * 0.5 - 0.5)
    terms = []
    for batch in (dark, replace(dark, partner_subjects=torch.full((4,), -1))):
        torch.manual_seed(1)
        terms.append(small().generator_loss(batch, Progress(0, 10))[1])
    assert terms[0]["pair"] == 0
    assert terms[0]["feature"] == terms[1]["feature"]


def test_pixel_term_is_the_published_norm_over_the_number_of_pixel_values():
    translator, batch = small(), replace(make_batch(), same_picture=torch.tensor([True, False, False, True]))
    torch.manual_seed(3)
    terms = translator.generator_loss(batch, Progress(0, 10))[1]
    torch.manual_seed(3)
    with torch.no_grad():
        made = translator._make(batch, batch.partners).faces
    each = [0.5 * (a - b).square().sum().item() for a, b in zip(made, batch.partners, strict=True)]
    expected = (each[0] + 0.1 * each[1] + 0.1 * each[2] + each[3]) / 4 / (3 * 32 * 32)
    assert terms["pixel"].item() == pytest.approx(expected, rel=1e-4)


def test_identity_faces_of_unknown_people_ask_for_no_person():
    batch, translator = make_batch(), small()
    nobody = torch.full((4,), -1)
    terms = translator.generator_loss(replace(batch, subjects=nobody), Progress(0, 10))[1]
    assert terms["person"] == 0
    assert terms["recognition"] == 0
    assert terms["pixel"] > 0
    judged = translator.judge_loss(replace(batch, subjects=nobody), Progress(0, 10))[1]
    assert judged["classifier"] == 0
    # Who a stranger with the attributes is does not matter.
    values = []
    for partner_subjects in (nobody, torch.arange(4) + 10):
        torch.manual_seed(1)
        values.append(small().generator_loss(replace(batch, partner_subjects=partner_subjects), Progress(0, 10))[0])
    assert torch.equal(*values)


@pytest.mark.parametrize("rebuilding", [False, True])
def test_published_identity_encoder_learns_from_names_alone(rebuilding):
    translator = small(rebuilding_identity=rebuilding)
    loss, terms = translator.generator_loss(make_batch(), Progress(0, 10))
    weight = translator.identity.people.weight, translator.identity.code.weight
    whole = torch.autograd.grad(loss, weight, retain_graph=True)
    names = torch.autograd.grad(translator.settings.recognition_weight * terms["recognition"], weight)
    torch.testing.assert_close(whole[0], names[0])
    assert torch.allclose(whole[1], names[1], rtol=1e-4, atol=1e-9) != rebuilding


def test_a_batch_without_people_is_an_error():
    with pytest.raises(EmoaugError, match="named people"):
        small().generator_loss(replace(make_batch(), subjects=None), Progress(0, 10))


def test_recombined_faces_depend_on_both_sources_and_on_nothing_else():
    batch = make_batch()
    # Before its first update what a system retouches hardly depends on its layers.
    translator = train_a_little(build("ip-gan"), batch).eval()
    with torch.inference_mode():
        result = translator.recombine(batch.faces, batch.partners)
        assert result.shape == batch.faces.shape
        assert result.dtype == torch.float32
        assert result.abs().max() <= 1
        assert torch.equal(result, translator.recombine(batch.faces, batch.partners))
        assert (result - translator.recombine(batch.faces.flip(0), batch.partners)).abs().mean() > 1e-3
        assert (result - translator.recombine(batch.faces, batch.partners.flip(0))).abs().mean() > 1e-3


def test_recombining_faces_of_wrong_shapes_is_an_error():
    translator, faces = small(), torch.zeros(2, 3, 32, 32)
    for one, other in ((faces[:1], faces), (faces, faces[..., :16])):
        with pytest.raises(EmoaugError, match="takes two of one shape"):
            translator.recombine(one, other)
    with pytest.raises(EmoaugError, match="takes \\(N, 3, 32, 32\\), or larger squares"):
        translator.recombine(faces[..., :16], faces[..., :16])


def test_training_lowers_what_the_generator_minimises():
    translator, batch = small(), replace(make_batch(n=6), same_picture=torch.ones(6, dtype=torch.bool))
    # Smooth pictures: a code has no room for noise.
    faces = F.interpolate(batch.faces[..., :4, :4], 32, mode="bicubic").clamp(-1, 1)
    batch = replace(batch, faces=faces, partners=faces)
    phases = [(p, torch.optim.Adam([w for m in p.modules for w in m.parameters()], 5e-3)) for p in translator.phases()]
    lines = []
    for step in range(30):
        for phase, optimizer in phases:
            optimizer.zero_grad()
            loss, terms = phase.loss(batch, Progress(step, 30))
            loss.backward()
            optimizer.step()
        lines.append((terms["pixel"].item(), terms["recognition"].item()))
    for first, last in zip(lines[0], lines[-1], strict=True):
        assert last < 0.8 * first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 40}, "multiple of 16"),
        ({"networks": "published", "mirrored": False}, "published networks have layers for decoded"),
        (
            {
                **{"networks": "published", "mirrored": False, "output": "decoded"},
                **{"conditional_critic": False, "attribute_weight": 0.0},
            },
            "published networks have 512",
        ),
        ({"networks": "published"}, "mirrored is for residual networks"),
        ({"matched_levels": 5}, "matched_levels is 5"),
        ({"mean_decay": 1.0}, "mean_decay"),
        ({"most_people": 1}, "most_people is 1"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(EmoaugError, match=message):
        replace(IPGAN.configurations["compact"], **changes)


def test_the_penalty_is_on_average_the_squared_gradient_of_critic_and_of_classifier():
    translator, batch = small(critic_augmentation=0.0), make_batch()
    people = int(batch.subjects.max()) + 1
    translator.people.fill_(people)

    def real(faces):
        opinion = translator.critic(faces, batch.conditions)
        return opinion.patches.mean((1, 2, 3)) + translator.settings.fine_weight * opinion.fine.mean((1, 2, 3))

    def named(faces):
        # Among the people of the data alone.
        logits = translator.classifier(faces).logits[:, :people]
        return logits.log_softmax(1).gather(1, batch.subjects.clamp_min(0)[:, None])[:, 0] * (batch.subjects >= 0)

    apart = losses.r1_penalty(real, batch.faces) + losses.r1_penalty(named, batch.faces)
    torch.manual_seed(0)
    drawn = torch.stack([translator.penalty_loss(batch, Progress(0, 10))[1]["penalty"].detach() for _ in range(60)])
    assert drawn.mean().item() == pytest.approx(apart.item(), abs=4 * drawn.std().item() / 60**0.5 + 1e-4)
    everybody = losses.r1_penalty(
        lambda x: translator.classifier(x).logits.log_softmax(1).gather(1, batch.subjects.clamp_min(0)[:, None])[:, 0],
        batch.faces,
    )
    assert abs(everybody - losses.r1_penalty(named, batch.faces)) > 10 * drawn.std().item() / 60**0.5


def test_attribute_faces_of_unknown_expression_ask_for_none():
    translator, batch = small(attribute_weight=1.0), make_batch(n=4)
    nothing = replace(batch, partner_conditions=torch.zeros_like(batch.partner_conditions))
    terms = translator.generator_loss(nothing, Progress(0, 10))[1]
    assert terms["attribute"] == 0
    assert translator.judge_loss(nothing, Progress(0, 10))[1]["critic_attribute"] == 0
    assert translator.generator_loss(batch, Progress(0, 10))[1]["attribute"] > 0


def test_translating_to_the_code_that_a_face_has_changes_nothing():
    translator, batch = small().eval(), make_batch(n=4)
    # With one mean for every expression there is no direction to move along.
    translator.expressions.means.fill_(0.5)
    translator.expressions.known.fill_(True)
    with torch.inference_mode():
        own = translator.recombine(batch.faces, batch.faces)
        torch.testing.assert_close(translator.translate(batch.faces, batch.targets), own)
