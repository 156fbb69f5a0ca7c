import pytest
import torch

from augment import variation
from augment.variation import FRAMED, GREY, SOFT, Variation, vary


def faces(n: int = 400) -> torch.Tensor:
    """Smooth coloured pictures with fine stripes, (n, 3, 16, 16) in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 4, 4, generator=generator) - 0.5
    stripes = 0.2 * (1 - 2 * (torch.arange(16) % 2))
    return torch.nn.functional.interpolate(coarse, 16, mode="bilinear") + stripes


def varied(x: torch.Tensor, jitter: float = 1.0, seed: int = 1) -> torch.Tensor:
    """In their frame."""
    variation = Variation(jitter, framing=0.0)
    return vary(x, torch.zeros(len(x), 1, 2), variation, torch.Generator().manual_seed(seed))[0]


def test_face_and_landmarks_move_as_one():
    # A bright dot at each landmark must be found at the moved landmark.
    generator = torch.Generator().manual_seed(3)
    size, n = 64, 32
    places = torch.randint(26, 38, (n, 2), generator=generator)
    faces = torch.full((n, 3, size, size), -1.0)
    for i, (x, y) in enumerate(places.tolist()):
        faces[i, :, y - 1 : y + 2, x - 1 : x + 2] = 1.0
    points = ((places.float() + 0.5) * 2 / size - 1).unsqueeze(1)
    moved, after = vary(faces, points, Variation(), generator)
    weight = (moved[:, 0] - moved[:, 0].amin((1, 2), keepdim=True)).clamp_min(0)
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    x = (weight.sum(1) * axis).sum(1) / weight.sum((1, 2))
    y = (weight.sum(2) * axis).sum(1) / weight.sum((1, 2))
    assert (x - after[:, 0, 0]).abs().max() < 0.02
    assert (y - after[:, 0, 1]).abs().max() < 0.02
    assert (after[:, 0, 0] * points[:, 0, 0] < 0).any()  # some were mirrored


def test_without_jitter_faces_are_mirrored_at_most():
    x = faces(40)
    y = varied(x, 0.0)
    apart = [(y - other).abs().amax((1, 2, 3)) for other in (x, x.flip(3))]
    assert torch.minimum(*apart).max() < 1e-5
    assert min(a.max() for a in apart) > 0.1


def framed(variation: Variation) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """How much larger faces get, how far they are turned, in degrees, and how far moved."""
    points = torch.tensor([[0.0, 0.0], [0.0, 0.5]]).expand(4000, 2, 2)
    after = vary(torch.zeros(4000, 3, 8, 8), points, variation, torch.Generator().manual_seed(2))[1]
    down = after[:, 1] - after[:, 0]
    turned = torch.rad2deg(torch.atan2(down[:, 0].abs(), down[:, 1]))
    return down.norm(dim=1) / 0.5, turned, after[:, 0].abs().amax(1)


def test_some_faces_are_larger_smaller_tilted_or_aside_the_others_as_aligners_leave_them():
    larger, turned, moved = framed(Variation())
    aligned = (larger > 0.94) & (larger < 1.07) & (turned < 6.01) & (moved < 0.09)
    assert 1 - aligned.float().mean() == pytest.approx(FRAMED, abs=0.05)
    # A power of two from -0.2 to 0.5, besides the aligners' six hundredths.
    assert larger.min() == pytest.approx(2**-0.2 / 1.06, abs=0.03)
    assert larger.max() == pytest.approx(2**0.5 / 0.94, abs=0.06)
    assert turned.max() == pytest.approx(21, abs=1.5)
    assert moved.max() > 0.25


def test_without_other_frames_faces_lie_as_aligners_leave_them_and_nothing_is_drawn_for_them():
    larger, turned, moved = framed(Variation(framing=0.0))
    assert larger.sub(1).abs().max() < 0.07
    assert turned.max() < 6.01
    assert moved.max() < 0.09


def test_without_other_cameras_colours_and_sharpness_stay_and_nothing_is_drawn_for_them():
    x, generators = faces(), [torch.Generator().manual_seed(1) for _ in range(2)]
    points = torch.zeros(len(x), 1, 2)
    y = vary(x, points, Variation(cameras=0.0, framing=0.0), generators[0])[0]
    assert ((y - y.mean(1, keepdim=True)).abs().amax((1, 2, 3)) > 0.01).all()
    vary(x, points, Variation(framing=0.0), generators[1])
    # Five draws a face: whether grey, how far bent, how harsh, whether and how far blurred.
    torch.rand(5 * len(x), generator=generators[0])
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_the_same_draws_vary_two_sets_alike():
    # Light and shade that are raised to a power, greyed, blurred and moved alike keep their order everywhere.
    x = faces(40)
    brighter = (x + 0.05).clamp(-1, 1)
    assert (varied(brighter) >= varied(x) - 1e-5).all()
    assert not torch.equal(varied(x), varied(x, seed=2))


def test_some_faces_are_grey_and_some_keep_their_colours():
    x = faces()
    y = varied(x)
    grey = (y - y.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-5
    assert grey.float().mean() == pytest.approx(GREY, abs=0.08)
    coloured = (y - y.mean(1, keepdim=True)).abs().mean((1, 2, 3))[~grey]
    assert coloured.min() > 0.1 * coloured.median()


def test_grey_is_the_luma_of_video():
    # Red, green and blue of one brightness, greyed, with nothing else done to them: Rec. 601's shares.
    colours = torch.diag(torch.full((3,), 2.0)) - 1
    x = colours.view(3, 3, 1, 1).expand(3, 3, 8, 8)
    found = []
    for seed in range(200):
        y = varied(x, 0.02, seed)
        grey = (y - y.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6
        found += [(i, float(y[i].mean() + 1) / 2) for i in range(3) if grey[i]]
    for i, share in enumerate((0.299, 0.587, 0.114)):
        values = [value for number, value in found if number == i]
        assert values
        assert sum(values) / len(values) == pytest.approx(share, abs=0.01)


def test_some_faces_lose_more_or_less_of_their_sharpness(monkeypatch):
    x = faces()
    y = varied(x)
    monkeypatch.setattr(variation, "SOFT", 0.0)
    sharp = varied(x)  # the same draws, and nothing blurred

    def fine(z: torch.Tensor) -> torch.Tensor:
        return (z - torch.nn.functional.avg_pool2d(z, 3, 1, 1))[..., 2:-2, 2:-2].square().sum((1, 2, 3)).sqrt()

    kept = fine(y) / fine(sharp)
    same = (y - sharp).abs().amax((1, 2, 3)) < 1e-6
    assert same.float().mean() == pytest.approx(1 - SOFT, abs=0.08)
    assert (kept[~same] < 1).all()
    assert kept[~same].min() < 0.5
    assert kept[~same].max() > 0.9


def test_contrast_is_lowered_a_little_or_raised_up_to_threefold_around_the_tone_of_the_skin(monkeypatch):
    monkeypatch.setattr(variation, "GREY", 0.0)
    monkeypatch.setattr(variation, "SOFT", 0.0)
    monkeypatch.setattr(variation, "BEND", 0.0)
    # Skin of one tone, lighter around it, and in every second picture a dark mouth.
    x = torch.full((800, 3, 32, 32), -0.1)
    x[:, :, 4:8] = 0.1
    shut, gaping = x, x.clone()
    gaping[:, :, 24:28] = -0.3
    light = [varied(pictures).flatten(1).quantile(0.98, 1) for pictures in (shut, gaping)]
    skin = [varied(pictures)[:, :, 15, 15].mean(1) for pictures in (shut, gaping)]
    # What opens does not change the rest: two pictures of a person are varied alike.
    torch.testing.assert_close(light[0], light[1])
    torch.testing.assert_close(skin[0], skin[1])
    monkeypatch.setattr(variation, "CONTRAST", (0.0, 0.0))
    plain = varied(shut)
    # The same draws: brightness and contrast of jitter alone are divided out.
    factor = (light[0] - skin[0]) / (plain.flatten(1).quantile(0.98, 1) - plain[:, :, 15, 15].mean(1))
    assert factor.min() == pytest.approx(2**-0.25, abs=0.02)
    assert factor.max() == pytest.approx(2**1.5, abs=0.06)
    torch.testing.assert_close(skin[0], plain[:, :, 15, 15].mean(1))
