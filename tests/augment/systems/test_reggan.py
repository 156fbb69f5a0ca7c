from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from augment.checkpoints import settings_from
from augment.networks import Retouch
from augment.systems.base import Progress
from augment.systems.reggan import RegGAN
from augment.training import TrainingSettings
from augment.training_data import TrainingFaces
from augment.training_run import train
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset

from .test_registry import build, make_batch


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_sizes_have_the_published_parameter_counts():
    with torch.device("meta"):
        paper = RegGAN(tuple("abcdefg"), RegGAN.configurations["paper"])
    # US-GAN's generator and StarGAN's critic, whose linear head has a bias for each class here.
    assert count(paper.network) == 2_533_440
    assert count(paper.critic) == 44_778_432 + 7
    assert paper.regression.weights[:, 0].numel() == 3 * 10 * 128 * 128


def twins(size: int = 32) -> TrainingFaces:
    """Six people: neutral, and the same picture with its lower half lighter by 0.25 of its distance to white."""
    generator = torch.Generator().manual_seed(0)
    neutral = F.interpolate(torch.rand(6, 3, 4, 4, generator=generator), size=size, mode="bilinear") * 200
    other = neutral.clone()
    other[:, :, size // 2 :] += 0.25 * (255 - other[:, :, size // 2 :])
    faces = torch.stack([neutral, other], 1).flatten(0, 1).round().to(torch.uint8)
    people = torch.arange(12) // 2
    return TrainingFaces(faces, torch.arange(12) % 2, torch.zeros(12, 478, 2), 3, subjects=people)


@pytest.mark.parametrize("shrink", ["source", "nothing"])
def test_fitting_finds_the_change_between_pictures_of_a_person(shrink):
    # Without variations: a lower half that moves and turns is not the same pixels.
    settings = replace(RegGAN.configurations["compact"], size=32, shrink_towards=shrink, variations=0)
    translator, data = RegGAN(("neutral", "lit", "unseen"), settings), twins()
    translator.fit(data)
    faces = data.faces.float() / 127.5 - 1
    found = translator.regression(faces[::2], torch.eye(3)[1:2].expand(6, 3))
    unchanged = (faces[::2] - faces[1::2]).abs().mean()
    assert (found - faces[1::2]).abs().mean() < 0.35 * unchanged
    # Nobody shows the third expression: its regression stays the identity.
    torch.testing.assert_close(translator.regression(faces, torch.eye(3)[2:].expand(12, 3)), faces)


def test_a_toned_regression_knows_faces_of_other_contrast():
    data, apart = twins(), {}
    sharp = data.faces[::2].float() / 127.5 - 1
    asked = torch.eye(3)[1:2].expand(6, 3)
    for toned in (True, False):
        settings = replace(RegGAN.configurations["compact"], size=32, variations=0, toned=toned)
        translator = RegGAN(("neutral", "lit", "unseen"), settings)
        translator.fit(data)
        dull = 0.4 * sharp + 0.3
        changes = [translator.regression(sharp, asked) - sharp, (translator.regression(dull, asked) - dull) / 0.4]
        apart[toned] = float((changes[0] - changes[1]).abs().mean() / changes[0].abs().mean())
    # Not quite the same: the blackest pixels of sharp faces stay as they are.
    assert apart[True] < 0.08 < 0.3 < apart[False]


def test_compact_is_toned_and_the_default_and_what_says_nothing_of_it_is_not():
    assert RegGAN(("neutral", "lit")).settings == RegGAN.configurations["compact"]
    assert RegGAN.configurations["compact"].toned
    assert not RegGAN.configurations["paper"].toned
    # A checkpoint from before there was such a thing.
    before = {name: value for name, value in asdict(RegGAN.configurations["compact"]).items() if name != "toned"}
    assert not settings_from(RegGAN.settings_class, before, "config.json").toned


def test_with_few_pairs_shrinking_towards_the_source_keeps_faces_and_towards_nothing_darkens_them():
    data, light = twins(), {}
    for shrink in ("source", "nothing"):
        settings = replace(
            RegGAN.configurations["compact"], size=32, shrink_towards=shrink, variations=0, ridge_penalty=100.0
        )
        translator = RegGAN(("neutral", "lit", "unseen"), settings)
        translator.fit(data)
        faces = data.faces[::2].float() / 127.5 - 1
        light[shrink] = (translator.regression(faces, torch.eye(3)[1:2].expand(6, 3)) - faces).mean()
    assert light["source"] > 0
    assert light["nothing"] < -0.2


def test_variations_change_the_regression_and_follow_from_the_seed():
    data = twins()
    settings = replace(RegGAN.configurations["compact"], size=32, variations=2)
    fitted = []
    for seed, variations in ((0, 2), (0, 2), (0, 0), (1, 2)):
        torch.manual_seed(seed)
        translator = RegGAN(("neutral", "lit", "unseen"), replace(settings, variations=variations))
        translator.fit(data)
        fitted.append(translator.regression.weights)
    assert torch.equal(fitted[0], fitted[1])
    assert not torch.allclose(fitted[0], fitted[2], atol=1e-3)
    assert not torch.allclose(fitted[0], fitted[3], atol=1e-3)


def test_a_varied_regression_answers_a_face_and_its_mirror_image_alike():
    translator = RegGAN(("neutral", "lit", "unseen"), replace(RegGAN.configurations["compact"], size=32, variations=1))
    translator.fit(twins())
    faces = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    asked = torch.eye(3)[1:2].expand(4, 3)
    made, mirrored = (translator.regression(x, asked) for x in (faces, faces.flip(-1)))
    torch.testing.assert_close(mirrored.flip(-1), made, atol=1e-4, rtol=1e-4)
    assert (made - faces).abs().mean() > 0.05


def test_generator_loss_is_the_weighted_sum_of_its_terms():
    translator = build("reggan")
    translator.settings = replace(
        translator.settings,
        critic_augmentation=0.0,
        flow_weight=11.0,
        mask_weight=13.0,
        mask_smoothness_weight=17.0,
        **{"adversarial_weight": 2.0, "attribute_weight": 3.0, "pair_weight": 5.0, "source_weight": 7.0},
    )
    loss, terms = translator.generator_loss(make_batch(), Progress(0, 10))
    expected = 2 * terms["adversarial"] + 3 * terms["attribute"] + 5 * terms["pair"] + 7 * terms["change"]
    expected = expected + 11 * terms["flow"] + 13 * terms["mask"] + 17 * terms["mask_smoothness"]
    torch.testing.assert_close(loss, expected)


def test_with_a_mask_that_is_shut_it_gives_the_source_as_light_as_the_regression_inside_the_face(monkeypatch):
    monkeypatch.setattr(Retouch, "max_logit", 50.0)
    translator, batch = build("reggan"), make_batch()
    torch.nn.init.zeros_(translator.network.change.mask.weight)
    torch.nn.init.constant_(translator.network.change.mask.bias, -50.0)
    with torch.inference_mode():
        torch.testing.assert_close(translator.translate(batch.faces, batch.targets), batch.faces)
    torch.manual_seed(0)
    translator.regression.weights += 0.02 * torch.randn_like(translator.regression.weights)
    with torch.inference_mode():
        regressed = translator.regression(batch.faces, batch.targets)
        made = translator.translate(batch.faces, batch.targets)
    wanted = batch.faces + (regressed - batch.faces).mean(1, keepdim=True)
    assert (wanted - batch.faces).abs().mean() > 0.01
    side = wanted.shape[-1]
    place = (torch.arange(side) + 0.5) / side
    outwards = (((place - 0.53) / 0.41).square()[:, None] + ((place - 0.5) / 0.31).square()).expand_as(wanted)
    unclamped = (wanted.abs() < 1).all(1, keepdim=True).expand_as(wanted)
    within, beyond = unclamped & (outwards < 1), outwards > 1.35**2
    assert within.any()
    assert beyond.any()
    torch.testing.assert_close(made[within], wanted[within], atol=1e-4, rtol=0)
    torch.testing.assert_close(made[beyond], batch.faces[beyond])


@pytest.mark.parametrize("changed", [{"receptive_field": 2}, {"ridge_penalty": 0.0}, {"size": 40}, {"pair_blur": 0}])
def test_impossible_settings_are_named(changed):
    with pytest.raises(EmoaugError, match=f"{next(iter(changed))} is {next(iter(changed.values()))}"):
        replace(RegGAN.configurations["compact"], **changed)


TRAINING = TrainingSettings(steps=5, batch_size=2, sample_every=5, save_every=2, device="cpu", precision="32-true")
SMALLEST = replace(RegGAN.configurations["compact"], size=32, width=4, critic_width=4, variations=1)


def test_the_trainer_solves_the_regression_first_and_a_stopped_run_keeps_it(tmp_path, monkeypatch):
    faces = draw_dataset(tmp_path / "faces")
    whole = load_file(train(faces, tmp_path / "whole", "reggan", SMALLEST, TRAINING) / "weights.safetensors")
    assert (whole["regression/weights"][4] - 1).abs().max() > 0.001
    one_step = RegGAN.generator_loss

    def killed(self, batch, progress):
        if progress.step == 3:
            raise KeyboardInterrupt
        return one_step(self, batch, progress)

    with monkeypatch.context() as patch:
        patch.setattr(RegGAN, "generator_loss", killed)
        with pytest.raises(KeyboardInterrupt):
            train(faces, tmp_path / "parts", "reggan", SMALLEST, TRAINING)
    # What was solved is part of the state: going on does not solve again.
    monkeypatch.setattr(RegGAN, "fit", None)
    parts = load_file(train(faces, tmp_path / "parts", "reggan", SMALLEST, TRAINING) / "weights.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_training_without_pairs_says_what_would_make_some_and_leaves_no_run_behind(tmp_path):
    faces = draw_dataset(tmp_path / "faces")
    faces.table["subject"] = None
    with pytest.raises(EmoaugError, match="--subject-pattern, or make such faces: emoaug simulate"):
        train(faces, tmp_path / "run", "reggan", SMALLEST, TRAINING)
    assert not (tmp_path / "run" / "settings.json").exists()
    train(draw_dataset(tmp_path / "faces"), tmp_path / "run", "reggan", SMALLEST, TRAINING)
