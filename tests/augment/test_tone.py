import pytest
import torch

from augment.tone import DEVIATION, LEAST, MEAN, Tone, face_window


def pictures(n: int = 6, side: int = 32) -> torch.Tensor:
    """Noise of several contrasts around several means, (n, 3, side, side)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, 3, side, side, generator=generator, dtype=torch.float64)
    steps = torch.arange(1, n + 1).view(n, 1, 1, 1)
    return 0.2 * steps * noise + 0.1 * steps - 0.3


def test_tone_is_that_of_the_brightness_inside_the_face():
    x = pictures()
    tone = Tone.of(x)
    outside = x.clone()
    outside[..., :2] = outside[..., -2:] = outside[..., :2, :] = 9.0
    assert torch.equal(Tone.of(outside).mean, tone.mean)
    assert torch.equal(Tone.of(outside).deviation, tone.deviation)
    # Against NumPy's sums over the pixels that an ellipse holds, drawn pixel by pixel.
    for picture, mean, deviation in zip(x.numpy(), tone.mean.flatten(), tone.deviation.flatten(), strict=True):
        inside = [
            picture[:, i, j].mean()
            for i in range(32)
            for j in range(32)
            if (((i + 0.5) / 32 - 0.53) / 0.41) ** 2 + (((j + 0.5) / 32 - 0.5) / 0.31) ** 2 < 1
        ]
        assert float(mean) == pytest.approx(sum(inside) / len(inside))
        spread = (sum((v - float(mean)) ** 2 for v in inside) / len(inside)) ** 0.5
        assert float(deviation) == pytest.approx(max(spread, LEAST))


def test_without_their_tone_faces_are_alike_and_with_it_they_are_back():
    x = pictures()
    tone = Tone.of(x)
    alike = tone.taken_from(x)
    found = Tone.of(alike)
    torch.testing.assert_close(found.mean, torch.full_like(found.mean, MEAN), atol=1e-9, rtol=0)
    torch.testing.assert_close(found.deviation, torch.full_like(found.deviation, DEVIATION))
    torch.testing.assert_close(tone.given_to(alike), x)
    # Whatever light and contrast a camera gave them, they are the same without.
    other = 0.6 * x + 0.2
    torch.testing.assert_close(Tone.of(other).taken_from(other), alike)


def test_a_blank_picture_has_no_contrast_to_stretch():
    x = torch.full((1, 3, 16, 16), 0.25)
    assert float(Tone.of(x).deviation) == pytest.approx(LEAST)
    torch.testing.assert_close(Tone.of(x).taken_from(x), torch.full_like(x, MEAN), atol=1e-5, rtol=0)


def test_the_window_of_a_face_is_whole_inside_nothing_well_outside_and_falls_between():
    side = 200
    window = face_window(torch.zeros(1, 3, side, side))[0, 0]
    y, x = (torch.arange(side) + 0.5) / side, (torch.arange(side) + 0.5) / side
    far = (((y - 0.53) / 0.41) ** 2)[:, None] + ((x - 0.5) / 0.31) ** 2
    assert (window[far < 1] == 1).all()
    assert (window[far > 1.35**2] == 0).all()
    assert window[0, 0] == window[-1, -1] == 0
    # Half way out, along the middle row.
    assert float(window[106, 100 + round(0.31 * 1.175 * side)]) == pytest.approx(0.5, abs=0.03)
    across = window[106, 100:]
    assert (across[1:] <= across[:-1]).all()
