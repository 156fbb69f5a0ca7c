from dataclasses import replace

import pytest
import torch

from augment import losses
from augment.landmarks import FACE_49, heat_maps
from augment.networks import scaled
from augment.systems.base import Progress
from augment.systems.lssl import HELD_STEPS, LSSL, LSSLSettings, Translation

from .test_registry import build, make_batch


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_configuration_has_the_published_parameter_counts():
    with torch.device("meta"):
        paper = LSSL(tuple("abcdefg"), LSSL.configurations["paper"])
    assert count(paper.encoder) == 124_434_688
    assert count(paper.decoder) == 25_383_288
    assert count(paper.critic) == 44_781_511


@torch.no_grad()
def test_conditions_are_heard_beside_features_from_the_start_but_in_published_networks():
    batch = make_batch()
    for loudness, heard in ((LSSLSettings.loudness, True), (LSSL.configurations["paper"].loudness, False)):
        translator = build("lssl")
        translator = LSSL(translator.condition_names, replace(translator.settings, loudness=loudness))
        features = translator.encoder(batch.faces, translator.heat_maps(batch))
        first = translator.decoder.stages[0].layers[0]
        conditions = batch.targets[:, :, None, None].expand(-1, -1, *features.shape[2:])
        alone = first(torch.cat([0 * features, conditions], 1)) - first.bias[:, None, None]
        beside = first(torch.cat([features, 0 * conditions], 1)) - first.bias[:, None, None]
        share = (alone.square().mean() / beside.square().mean()).item()
        assert 0.5 < share < 2 if heard else share < 0.01


def test_the_encoder_sees_no_condition_and_the_decoder_does():
    translator = build("lssl")
    batch = make_batch()
    heat = translator.heat_maps(batch)
    features = translator.encoder(batch.faces, heat)
    assert features.shape == (4, 128, 4, 4)
    one = translator.decoder(features, batch.conditions, batch.faces).heat
    other = translator.decoder(features, batch.targets, batch.faces).heat
    assert (one - other).abs().max() > 0


def test_heat_maps_come_from_landmarks_and_where_there_are_none_from_the_network():
    translator, batch = build("lssl"), make_batch(landmarks=False)
    heat = translator.heat_maps(batch)
    torch.testing.assert_close(heat[1:], heat_maps(batch.landmarks[1:, list(FACE_49)], 32, 6 / 256, True))
    torch.testing.assert_close(heat[:1], translator.landmark_network(batch.faces)[0][:1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("output", ["composed", "direct"])
def test_generator_loss_is_the_weighted_sum_of_its_terms(output, monkeypatch):
    settings = replace(
        LSSL.configurations["compact"],
        **{"size": 32, "output": output, "critic_augmentation": 0.0, "ramp": 0.5, "agreement_weight": 5.0},
        **{"attribute_weight": 2.0, "bidirectional_weight": 3.0, "identity_weight": 5.0, "parsing_weight": 7.0},
        **{"flow_weight": 11.0, "mask_weight": 13.0, "mask_smoothness_weight": 19.0, "adversarial_weight": 17.0},
        pair_weight=23.0,
    )
    torch.manual_seed(0)
    translator = LSSL(("a", "b", "c"), settings)
    monkeypatch.setattr(losses, "ALIKE", 2.0)  # faces of noise are no pairs
    loss, terms = translator.generator_loss(make_batch(), Progress(100, 1000))
    cycle = terms["cycle_face"] + terms["cycle_heat"] + terms["cycle_latent"]
    identity = terms["change"] + terms["change_heat"]
    # A fifth of the ramp is done, so the terms that hold the face count a fifth.
    expected = (
        17 * terms["adversarial"] + 2 * terms["attribute"] + 0.2 * (3 * cycle + 5 * identity + 7 * terms["parsing"])
    )
    assert terms["pair"] > 0.1
    expected = expected + 23 * terms["pair"]
    if output == "composed":
        expected = expected + 5 * terms["agreement"] + 11 * terms["flow"] + 13 * terms["mask"]
        expected = expected + 19 * terms["mask_smoothness"]
    torch.testing.assert_close(loss, expected)


def test_pairs_that_differ_little_are_compared_face_and_heat_map_and_no_others():
    translator, batch = build("lssl"), make_batch()
    smooth = torch.linspace(-0.5, 0.5, 32).expand(4, 3, 32, 32)
    points = batch.landmarks.clone()
    points[1] = float("nan")
    # The second has no landmarks, the third is itself, the fourth was taken in other light.
    partners = smooth + torch.tensor([0.1, 0.1, 0.1, 0.3]).view(4, 1, 1, 1)
    same = torch.tensor([False, False, True, False])
    batch = replace(batch, faces=smooth, partners=partners, partner_landmarks=points, same_picture=same)
    heat = heat_maps(points.nan_to_num()[:, list(FACE_49)], 32, 6 / 256, True)
    counted = losses.are_pairs(smooth, partners, same)
    loss = translator.pair_loss(batch, Translation(smooth - 0.2, heat + 0.4), counted)
    torch.testing.assert_close(loss, torch.tensor((0.3 + 0.4 + 0.3) / 4))


def test_measured_faces_have_no_pairs_and_train_all_the_same():
    batch = replace(make_batch(), same_picture=torch.ones(4, dtype=torch.bool))
    assert build("lssl").generator_loss(batch, Progress(0, 10))[1]["pair"] == 0


def shown_by(teacher, faces, target):
    """What a teacher makes of faces, with its heat map, at the side of 32 pixels."""
    condition = teacher.condition([target]).expand(len(faces), -1)
    seen = scaled(faces, teacher.size)
    shown = teacher.decoder(teacher.encoder(seen, teacher.landmark_network(seen)[0]), condition, seen)
    return scaled(shown.faces, 32), scaled(shown.heat, 32)


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 64])
def test_strangers_are_compared_to_what_the_first_weights_make_of_them_where_these_know_the_target(size):
    translator, batch = build("lssl", names=("a", "b", "c")), make_batch()
    torch.manual_seed(1)
    # It knows two of the names, in another order.
    teacher = LSSL(("c", "z", "a"), replace(LSSL.configurations["compact"], size=size))
    translator.remember(teacher)
    batch = replace(batch, targets=torch.eye(3)[[0, 0, 2, 1]])
    faces, heat = shown_by(teacher, batch.faces, "a")
    faces[2], heat[2] = (x[2] for x in shown_by(teacher, batch.faces, "c"))
    result, shares = Translation(faces + 0.1, heat - 0.3), torch.tensor([0.0, 1.0, 0.25, 1.0])
    torch.testing.assert_close(translator.initial_loss(batch, result, shares), torch.tensor(1.25 * 0.4 / 4))
    # Heat maps that are drawn in other ways are not compared.
    translator.settings = replace(translator.settings, heat_sigma=0.1)
    torch.testing.assert_close(translator.initial_loss(batch, result, shares), torch.tensor(1.25 * 0.1 / 4))


@torch.no_grad()
def test_who_has_a_picture_of_the_target_is_let_go_of_the_first_weights_unless_nothing_is_compared_to_it(monkeypatch):
    monkeypatch.setattr(losses, "ALIKE", 2.0)
    translator, batch = build("lssl"), make_batch()
    translator.remember(build("lssl"))

    def held(step: int) -> float:
        return translator.generator_loss(batch, Progress(step, 1000))[1]["initial"].item()

    for same, weight, at_the_end in ((False, 1.0, 0.0), (True, 1.0, 1.0), (False, 0.0, 1.0)):
        translator.settings = replace(translator.settings, pair_weight=weight)
        batch = replace(batch, same_picture=torch.full((4,), same))
        assert held(0) > 0
        assert held(HELD_STEPS) == held(2 * HELD_STEPS) == at_the_end * held(0)
        assert held(HELD_STEPS // 5) == pytest.approx(held(0) * (0.8 + 0.2 * at_the_end))


def test_training_holds_on_to_the_weights_that_it_began_with_and_does_not_train_them():
    translator, teacher = build("lssl"), build("lssl")
    own = {key: value.shape for key, value in translator.state_dict().items()}
    translator.remember(teacher)
    assert {key: value.shape for key, value in translator.state_dict().items()} == own
    batch = replace(make_batch(), same_picture=torch.ones(4, dtype=torch.bool))
    loss, terms = translator.generator_loss(batch, Progress(0, 10))
    assert terms["initial"] > 0
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_there_is_nothing_to_hold_on_to_where_nothing_is_shared_or_nobody_wants_to():
    translator, batch = build("lssl"), make_batch()
    intensities = LSSL(("jawOpen", "mouthSmile"), translator.settings)
    for teacher in (build("lssl", names=("x", "y")), intensities):
        translator.remember(teacher)
        assert "initial" not in translator.generator_loss(batch, Progress(0, 10))[1]
    translator.settings = replace(translator.settings, initial_weight=0.0)
    translator.remember(build("lssl"))
    assert "initial" not in translator.generator_loss(batch, Progress(0, 10))[1]
    assert LSSL.configurations["paper"].initial_weight == 0


@pytest.mark.parametrize("term", ["bidirectional", "parsing", "pair"])
def test_a_term_of_weight_nought_is_not_computed(term):
    settings = replace(LSSL.configurations["compact"], size=32, **{f"{term}_weight": 0.0})
    _, terms = LSSL(("a", "b", "c"), settings).generator_loss(make_batch(), Progress(0, 10))
    assert not [name for name in terms if name.startswith("cycle" if term == "bidirectional" else term)]


def test_conditional_critic_counts_a_real_face_under_a_wrong_expression_as_made():
    translator = build("lssl")
    translator.settings = replace(translator.settings, critic_augmentation=0.0, attribute_weight=0.0)
    batch = make_batch()
    source = Translation(batch.faces, translator.heat_maps(batch))
    stacked = torch.cat([source.faces, source.heat], 1)
    with torch.no_grad():
        loss, _ = translator.critic_loss(batch, Progress(0, 10))
        result = translator.decoder(translator.encoder(source.faces, source.heat), batch.targets, batch.faces)
        real = translator.critic(stacked, batch.conditions)
        wrong = translator.critic(stacked, batch.targets)
        fake = translator.critic(torch.cat([result.faces, result.heat], 1), batch.targets)
    large = losses.critic_loss(real.patches, torch.cat([fake.patches, wrong.patches]))
    torch.testing.assert_close(loss, large + 0.5 * losses.critic_loss(real.fine, fake.fine))
