"""The rounding of JPEG against OpenCV, which writes and reads real files."""

import cv2
import numpy as np
import pytest
import torch

from augment.simulation.jpeg import jpeg


def drawing(height: int, width: int) -> np.ndarray:
    """A picture with gradients, edges, texture and colour, uint8 RGB."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / max(height, width)
    picture = np.stack([x, 1 - y, 0.5 + 0.4 * np.sin(9 * x * y)], 2)
    picture[height // 4 : height // 2, width // 3 : width // 2] = [0.9, 0.2, 0.1]
    picture = cv2.GaussianBlur(picture + 0.05 * rng.normal(size=picture.shape), (0, 0), 0.7)
    return (picture.clip(0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 83)])
@pytest.mark.parametrize("quality", [10, 30, 60, 85, 95])
def test_what_is_lost_is_what_a_saved_file_loses(quality, height, width):
    picture = drawing(height, width)
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    saved = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    ours = jpeg(torch.from_numpy(picture / 255).permute(2, 0, 1)[None].float(), torch.tensor([quality]))
    ours = ours[0].permute(1, 2, 0).numpy() * 255
    lost = np.abs(saved - picture).mean()
    # Coders differ in how they round and enlarge colour, by far less than what all of them lose.
    assert np.abs(ours - saved).mean() < 0.25 * lost + 0.2
    assert np.abs(ours - picture).mean() == pytest.approx(lost, rel=0.1)


def test_quality_is_each_pictures_own_and_zero_leaves_it_alone():
    picture = torch.from_numpy(drawing(32, 32) / 255).permute(2, 0, 1).float()
    three = jpeg(picture.expand(3, -1, -1, -1), torch.tensor([0, 20, 90]))
    assert torch.equal(three[0], picture)
    coarse, fine = ((three[i] - picture).abs().mean() for i in (1, 2))
    assert coarse > 2 * fine > 0
    torch.testing.assert_close(three[1], jpeg(picture[None], torch.tensor([20]))[0])


def test_even_grey_survives():
    grey = torch.full((1, 3, 24, 24), 128 / 255)
    torch.testing.assert_close(jpeg(grey, torch.tensor([50])), grey, rtol=0, atol=1e-6)
