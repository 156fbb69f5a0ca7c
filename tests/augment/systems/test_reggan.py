import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from augment.systems.base import Progress
from augment.systems.reggan import LocalRegression, LocalRidge, RegGAN
from augment.training import TrainingSettings
from augment.training_data import TrainingFaces
from augment.training_run import train
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset

from .test_registry import build, make_batch


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def solve(sources: torch.Tensor, targets: torch.Tensor, side: int, penalty: float = 0.4) -> torch.Tensor:
    ridge = LocalRidge(tuple(sources.shape[1:]), side)
    ridge.add(sources, targets)
    return ridge.solve(penalty)


def pictures(n: int, channels: int, height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)


def test_published_sizes_have_the_published_parameter_counts():
    with torch.device("meta"):
        paper = RegGAN(tuple("abcdefg"), RegGAN.configurations["paper"])
    # US-GAN's generator and StarGAN's critic, whose linear head has a bias for each class here.
    assert count(paper.network) == 2_533_440
    assert count(paper.critic) == 44_778_432 + 7
    assert paper.regression.weights[:, 0].numel() == 3 * 10 * 128 * 128


@pytest.mark.parametrize("side", [1, 3, 5, 7])
def test_regression_equals_a_plain_solve_of_every_pixel(side):
    sources, targets = pictures(12, 2, 9, 11, 0), pictures(12, 2, 9, 11, 1)
    weights = solve(sources, targets, side)
    half = side // 2
    for channel in range(2):
        for y in range(9):
            for x in range(11):
                # Only the taps inside the picture, in reading order, then the bias.
                inside = [
                    (dy, dx)
                    for dy in range(-half, half + 1)
                    for dx in range(-half, half + 1)
                    if 0 <= y + dy < 9 and 0 <= x + dx < 11
                ]
                design = torch.stack([sources[:, channel, y + dy, x + dx] for dy, dx in inside], 1)
                design = torch.cat([design, torch.ones(12, 1)], 1)
                gram = design.T @ design + 0.4 * torch.eye(len(inside) + 1, dtype=torch.float64)
                plain = torch.linalg.solve(gram, design.T @ targets[:, channel, y, x])
                found = weights[:, channel, y, x]
                places = [(dy + half) * side + dx + half for dy, dx in inside]
                torch.testing.assert_close(found[[*places, -1]], plain, atol=1e-6, rtol=0)
                assert found.abs().sum() == pytest.approx(found[[*places, -1]].abs().sum())


def test_pairs_added_in_parts_are_the_same_regression():
    sources, targets = pictures(9, 1, 8, 8, 0), pictures(9, 1, 8, 8, 1)
    ridge = LocalRidge((1, 8, 8), 3)
    ridge.add(sources[:4], targets[:4])
    ridge.add(sources[4:], targets[4:])
    torch.testing.assert_close(ridge.solve(0.4), solve(sources, targets, 3))


def test_a_linear_change_within_the_window_is_found_and_applied():
    # Each target pixel is half its left neighbour, a quarter of itself and a bias.
    sources = pictures(400, 3, 8, 8, 0)
    left = F.pad(sources, (1, 0))[..., :-1]
    regression = LocalRegression(2, 8, 3)
    regression.set_weights(1, solve(sources, 0.5 * left + 0.25 * sources + 0.1, 3, penalty=1e-6))
    new = pictures(5, 3, 8, 8, 2)
    wanted = 0.5 * F.pad(new, (1, 0))[..., :-1] + 0.25 * new + 0.1
    condition = torch.tensor([[0.0, 1.0]]).expand(5, 2)
    found = regression((new * 2 - 1).float(), condition)
    torch.testing.assert_close(found, (wanted * 2 - 1).float(), atol=1e-4, rtol=0)
    # A blend of both expressions is the blend of what they give; the other is not fitted, and so the source.
    half = regression((new * 2 - 1).float(), torch.full((5, 2), 0.5))
    torch.testing.assert_close(half, (wanted + new - 1).float(), atol=1e-4, rtol=0)


def test_two_hundred_pairs_of_128_pixels_take_at_most_a_second_a_channel():
    sources, targets = torch.rand(200, 3, 128, 128), torch.rand(200, 3, 128, 128)
    began = time.process_time()
    solve(sources, targets, 3)
    # Time of the processor, whatever else runs here: less than two cores spend in a second, for each of 3 channels.
    assert time.process_time() - began < 3 * 2


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


@pytest.mark.parametrize("hidden", [0.0, 0.3, 1.0])
def test_the_regression_is_hidden_from_that_share_of_training_faces(hidden):
    translator = build("reggan", settings=replace(RegGAN.configurations["compact"], size=32, hidden=hidden))
    torch.nn.init.normal_(translator.regression.weights)
    batch = make_batch(n=400)
    seen = translator._regressed(batch)
    source, regressed = (
        (seen == faces).flatten(1).all(1) for faces in (batch.faces, translator.regression(batch.faces, batch.targets))
    )
    assert (source ^ regressed).all()
    assert abs(source.float().mean() - hidden) < 4 * (hidden * (1 - hidden) / 400) ** 0.5 + 1e-6


def test_a_closed_gate_gives_the_source():
    translator, batch = build("reggan"), make_batch()
    torch.nn.init.zeros_(translator.network.change.mask.weight)
    torch.nn.init.constant_(translator.network.change.mask.bias, -50.0)
    torch.nn.init.zeros_(translator.network.gate.weight)
    torch.nn.init.constant_(translator.network.gate.bias, -50.0)
    torch.nn.init.normal_(translator.regression.weights)
    with torch.inference_mode():
        torch.testing.assert_close(translator.translate(batch.faces, batch.targets), batch.faces)


@pytest.mark.parametrize(
    "changed", [{"receptive_field": 2}, {"ridge_penalty": 0.0}, {"size": 40}, {"pair_blur": 0}, {"hidden": 1.5}]
)
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
