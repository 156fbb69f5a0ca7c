import math

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from classifiers.augmentation import (
    RECIPES,
    ColourRanges,
    ErasingRanges,
    GeometryRanges,
    augment_batch,
    erase,
    mix_batch,
    recolour,
    warp,
)
from emoaug import EmoaugError

STILL = GeometryRanges(flip=0.0, shift=0.0)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(count: int = 8, size: int = 32) -> Tensor:
    return torch.rand(count, 3, size, size, generator=seeded(99)) * 2 - 1


def smooth(count: int = 1, size: int = 48) -> Tensor:
    return torch.nn.functional.interpolate(noise(count, 4), size=(size, size), mode="bicubic").clamp(-1, 1)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_keeps_shape_type_range_and_the_faces_given(recipe: str) -> None:
    faces = noise()
    before = faces.clone()
    changed = augment_batch(faces, recipe, seeded())
    assert changed.shape == faces.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= -1.001
    assert changed.max() <= 1.001
    torch.testing.assert_close(faces, before)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_generator_state_gives_the_same_faces(recipe: str) -> None:
    first, again = (augment_batch(noise(), recipe, seeded(5)) for _ in range(2))
    assert torch.equal(first, again)
    if recipe != "none":
        assert not torch.equal(first, augment_batch(noise(), recipe, seeded(6)))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_global_random_state_is_left_alone(recipe: str) -> None:
    before = torch.random.get_rng_state()
    augment_batch(noise(), recipe, seeded())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe != "none"])
def test_every_face_has_its_own_draw(recipe: str) -> None:
    changed = augment_batch(noise(1).repeat(16, 1, 1, 1), recipe, seeded())
    # Few different pictures would mean draws that are shared.
    assert len({face.numpy().tobytes() for face in changed}) >= 12


@pytest.mark.parametrize("recipe", RECIPES)
def test_grey_faces_stay_grey(recipe: str) -> None:
    grey = noise()[:, :1].repeat(1, 3, 1, 1)
    changed = augment_batch(grey, recipe, seeded())
    torch.testing.assert_close(changed[:, :1].expand(-1, 3, -1, -1), changed, atol=0.02, rtol=0)


def test_without_ranges_the_warp_changes_nothing() -> None:
    torch.testing.assert_close(warp(noise(), STILL, seeded()), noise(), atol=1e-5, rtol=0)


def test_a_certain_flip_is_a_mirror_image() -> None:
    flipped = warp(noise(), GeometryRanges(flip=1.0, shift=0.0), seeded())
    torch.testing.assert_close(flipped, noise().flip(-1), atol=1e-5, rtol=0)


def test_half_of_the_faces_are_flipped() -> None:
    faces = noise(1, 8).repeat(2000, 1, 1, 1)
    flipped = (warp(faces, GeometryRanges(shift=0.0), seeded()) - faces).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert flipped.float().mean() == pytest.approx(0.5, abs=0.05)


def test_rotation_agrees_with_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = smooth()
    # All uniform draws at the top of their range: the angle is then the largest one.
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.ones(count))
    turned = warp(faces, GeometryRanges(flip=0.0, shift=0.0, rotation=20.0), seeded())
    expected = reference.rotate(faces, -20.0, interpolation=v2.InterpolationMode.BILINEAR)
    other = reference.rotate(faces, 20.0, interpolation=v2.InterpolationMode.BILINEAR)
    middle = (..., slice(14, 34), slice(14, 34))
    errors = [(turned[middle] - picture[middle]).abs().max() for picture in (expected, other)]
    assert min(errors) < 0.02


def test_scale_and_shift_stay_in_their_ranges() -> None:
    # A picture of its own coordinates shows where each pixel came from.
    size = 64
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    x, y = axis.expand(size, size), axis[:, None].expand(size, size)
    faces = torch.stack([x, y, torch.zeros(size, size)])[None].repeat(500, 1, 1, 1) * 0.3
    ranges = GeometryRanges(flip=0.0, shift=0.1, scale=0.2)
    moved = warp(faces, ranges, seeded()) / 0.3
    centre = moved[:, :2, 31:33, 31:33].mean(dim=(2, 3))
    assert centre.abs().max() <= 0.2 + 1e-3
    assert centre.abs().max() > 0.18
    zoom = (moved[:, 0, 32, 40] - moved[:, 0, 32, 24]) / (axis[40] - axis[24])
    assert zoom.min() >= 1 / 1.2 - 1e-3
    assert zoom.max() <= 1.2 + 1e-3
    assert zoom.log().mean().abs() < 0.02


def test_without_ranges_colours_stay() -> None:
    kept = recolour(noise(), ColourRanges(0.0, 0.0, 0.0, 0.0), seeded())
    torch.testing.assert_close(kept, noise(), atol=1e-3, rtol=0)


def test_brightness_shifts_by_no_more_than_its_range() -> None:
    faces = torch.zeros(500, 3, 4, 4)
    shift = recolour(faces, ColourRanges(0.2, 0.0, 0.0, 0.0), seeded())[:, 0, 0, 0] / 2
    assert 0.19 < shift.max() <= 0.2 + 1e-4
    assert -0.2 - 1e-4 <= shift.min() < -0.19


def test_gamma_keeps_black_and_white() -> None:
    faces = torch.tensor([-1.0, 1.0]).repeat(2)[None, None, :, None].expand(8, 3, 4, 4)
    changed = recolour(faces, ColourRanges(0.0, 0.0, 1.0, 0.0), seeded())
    torch.testing.assert_close(changed, faces, atol=0.02, rtol=0)


def test_erasing_hides_the_promised_share() -> None:
    faces = torch.full((2000, 3, 32, 32), 5.0)
    ranges = ErasingRanges(probability=1.0, area=(0.1, 0.1), aspect=1.0)
    hidden = (erase(faces, ranges, seeded()) != 5.0).float().mean(dim=(1, 2, 3))
    # A square of edge a whose centre is anywhere keeps a - a^2 / 4 of each side on average.
    edge = math.sqrt(0.1)
    assert hidden.mean() == pytest.approx((edge - edge**2 / 4) ** 2, rel=0.05)
    assert hidden.max() < 0.13


def test_erasing_leaves_the_promised_share_of_faces_whole() -> None:
    faces = torch.full((2000, 3, 16, 16), 5.0)
    touched = (erase(faces, ErasingRanges(probability=0.25, area=(0.2, 0.3)), seeded()) != 5.0).flatten(1).any(dim=1)
    assert touched.float().mean() == pytest.approx(0.25, abs=0.04)


def test_faces_that_are_not_aligned_are_moved_further() -> None:
    bars = torch.full((256, 3, 33, 33), -1.0)
    bars[:, :, 15:18] = 1.0

    def kept(recipe: str) -> float:
        """How much of the bar the mean of all faces still has where it was."""
        rows = augment_batch(bars, recipe, seeded()).mean((0, 1, 3))
        return float(rows[15:18].mean() - rows.mean())

    assert kept("classical") > 1.5 * kept("classical-wide") > 0


def test_an_unknown_recipe_is_refused_with_the_choices() -> None:
    with pytest.raises(EmoaugError, match="classical"):
        augment_batch(noise(), "strong", seeded())


def mixed_pair(mixing: str, seed: int) -> tuple[Tensor, Tensor]:
    """A batch of three black and three white faces, classes 0 and 1 of 3, mixed: how white each is, and its shares."""
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    faces = (2.0 * labels - 1).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    mixed, shares = mix_batch(faces, labels, 3, mixing, seeded(seed))
    assert mixed.shape == faces.shape
    return (mixed.mean(dim=(1, 2, 3)) + 1) / 2, shares


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_labels_are_mixed_as_the_faces_are(mixing: str) -> None:
    for seed in range(20):
        white, shares = mixed_pair(mixing, seed)
        torch.testing.assert_close(shares[:, 1], white)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
        assert (shares[:, 2] == 0).all()


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_a_face_is_mixed_with_one_of_any_class_even_where_classes_come_in_turn(mixing: str) -> None:
    pure = [
        bool(((shares == 0) | (shares == 1)).all(dim=1).any())
        for _, shares in (mixed_pair(mixing, s) for s in range(9))
    ]
    assert any(pure)
    before = torch.random.get_rng_state()
    first, again, other = (mixed_pair(mixing, seed)[1] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_mixing_faces_and_labels_stay() -> None:
    faces, labels = noise(), torch.arange(8) % 3
    kept, truth = mix_batch(faces, labels, 3, "none", seeded())
    assert kept is faces
    assert truth is labels
    with pytest.raises(EmoaugError, match="cutmix"):
        mix_batch(faces, labels, 3, "blend", seeded())
