import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from augment.networks import (
    Halving,
    PatchCritic,
    ResidualBlock,
    Retouch,
    UpStage,
    augment_for_critic,
    enlarged,
    enlarged_along,
    mean_around,
    scaled,
    smoothed,
    splined,
    tile,
    warp,
)


def test_warp_by_whole_pixels_moves_the_picture():
    faces = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(2, 2, 8, 8)
    torch.testing.assert_close(warp(faces, flow), faces)
    flow[:, 0] = 2 / 8  # one pixel: each output pixel looks one to the right
    torch.testing.assert_close(warp(faces, flow)[..., :-1], faces[..., 1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(warp(faces, flow)[..., -1], faces[..., -1], atol=1e-5, rtol=1e-5)


def test_warp_by_half_a_pixel_weighs_four_neighbours_as_cubic_convolution_does():
    """Keys 1981, eq. 15, with a = -3/4: half way, w(1/2) = 19/32 and w(3/2) = -3/32."""
    faces = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(2, 2, 8, 8)
    flow[:, 0] = 1 / 8
    wanted = (19 * (faces[..., 1:6] + faces[..., 2:7]) - 3 * (faces[..., :5] + faces[..., 3:])) / 32
    torch.testing.assert_close(warp(faces, flow, "bicubic")[..., 1:6], wanted, atol=1e-5, rtol=1e-5)


def test_retouching_moves_pixels_with_bicubic_weights(monkeypatch):
    monkeypatch.setattr(Retouch, "max_logit", 40.0)
    torch.manual_seed(0)
    retouch = Retouch(4, 4)
    torch.nn.init.normal_(retouch.flow.weight, std=0.3)
    torch.nn.init.constant_(retouch.mask.bias, -40)
    source = torch.rand(2, 3, 16, 16)
    result = retouch(source, torch.randn(2, 4, 8, 8), torch.randn(2, 4, 4, 4))
    assert result.mask.max() < 1e-6
    torch.testing.assert_close(result.faces, warp(source, result.flow, "bicubic"), atol=1e-5, rtol=0)
    assert (result.faces - warp(source, result.flow)).abs().max() > 1e-2


def test_warp_by_what_is_no_number_does_not_take_the_process_down():
    faces = torch.rand(2, 3, 8, 8, requires_grad=True)
    flow = torch.full((2, 2, 8, 8), float("nan"), requires_grad=True)
    warp(faces, flow).sum().backward()
    assert faces.grad.shape == faces.shape


def test_the_mean_around_a_pixel_leaves_out_what_is_outside_the_picture():
    maps = torch.rand(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    around = mean_around(maps, 5)
    assert around.shape == maps.shape
    for y, x in ((0, 0), (3, 3), (5, 1)):
        square = maps[:, :, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        torch.testing.assert_close(around[:, :, y, x], square.mean((2, 3)))


@pytest.mark.parametrize("sides", [(2, 2), (4, 4), (2, 8), (8, 8)])
def test_halving_is_a_convolution_however_few_pixels_there_are(sides):
    torch.manual_seed(0)
    halving = Halving(3, 5, 0.2).double()
    maps = torch.randn(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(maps, halving.weight, halving.bias, stride=2, padding=1)
    torch.testing.assert_close(halving(maps), plain)
    gradients = []
    for answer in (halving(maps), plain):
        # As a gradient penalty asks: the gradient of a gradient.
        (slope,) = torch.autograd.grad(answer.square().sum(), maps, create_graph=True)
        gradients.append(torch.autograd.grad(slope.square().sum(), [maps, *halving.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_critic_augmentation_varies_samples_and_passes_gradients():
    torch.manual_seed(0)
    samples = torch.rand(16, 4, 16, 16, requires_grad=True)
    assert augment_for_critic(samples, 0) is samples
    changed = augment_for_critic(samples, 1.0)
    assert changed.shape == samples.shape
    assert (changed - samples).abs().mean((1, 2, 3)).min() > 0.01
    changed.sum().backward()
    assert (samples.grad != 0).float().mean() > 0.4


def test_critic_augmentation_leaves_brightness_of_the_heat_map():
    torch.manual_seed(0)
    samples = torch.ones(8, 4, 16, 16)
    changed = augment_for_critic(samples, 1.0)
    assert set(changed[:, 3].round(decimals=4).unique().tolist()) <= {0.0, 1.0}
    assert len(changed[:, 0].unique()) > 4


def test_a_critic_of_intensities_also_judges_a_face_at_rest():
    torch.manual_seed(0)
    critic = PatchCritic(channels=3, size=16, width=4, depth=2, maps=4, attributes=3, fine=False, leak=0.2)
    samples, condition = torch.randn(2, 3, 16, 16), torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.0, 1.0]])
    maps = critic.real(critic.levels[1](critic.levels[0](samples)))
    expected = maps[:, :1] + (maps[:, 1:] * condition[:, :, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(critic(samples, condition).patches, expected)
    assert critic(samples, condition).patches[0].abs().sum() > 0


def test_shapes_of_blocks():
    x = torch.rand(2, 8, 6, 6)
    assert ResidualBlock(8)(x).shape == x.shape
    assert UpStage(8, 5)(x).shape == (2, 5, 12, 12)
    condition = torch.rand(2, 3)
    assert torch.equal(tile(condition, 4)[:, :, 2, 1], condition)


def retouch() -> tuple[Retouch, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    faces = torch.rand(2, 3, 32, 32) * 2 - 1
    return Retouch(6, 4), (faces, torch.randn(2, 6, 32, 32), torch.randn(2, 4, 8, 8))


def test_motion_never_shifts_the_whole_picture(monkeypatch):
    monkeypatch.setattr(Retouch, "max_logit", 50.0)
    layer, (faces, features, coarse) = retouch()
    torch.nn.init.constant_(layer.flow.bias, 3.0)
    torch.nn.init.constant_(layer.mask.bias, -50.0)
    torch.nn.init.zeros_(layer.mask.weight)
    torch.testing.assert_close(layer(faces, features, coarse).faces, faces, atol=1e-4, rtol=1e-4)


def test_a_retouched_grey_face_stays_grey():
    layer, (faces, features, coarse) = retouch()
    torch.nn.init.constant_(layer.mask.bias, 2.0)
    grey = faces.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    result = layer(grey, features, coarse)
    assert (result.faces - grey).abs().mean() > 0.05
    torch.testing.assert_close(result.faces, result.faces.mean(1, keepdim=True).expand_as(grey), atol=1e-5, rtol=0)
    assert result.flow.shape == (2, 2, 32, 32)
    assert ((result.mask > 0) & (result.mask < 1)).all()


def test_paint_follows_the_light_on_the_face():
    layer, (faces, features, coarse) = retouch()
    torch.nn.init.constant_(layer.mask.bias, 2.0)
    light = layer(faces, features, coarse).faces + 1
    # A fifth of the light, black being 0.
    dark = layer((faces + 1) / 5 - 1, features, coarse).faces + 1
    torch.testing.assert_close(dark, light / 5, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("asked", "times"), [(-50.0, 1 / 6), (0.0, 1.0), (50.0, 6.0)])
def test_paint_is_as_many_times_as_light_as_its_neighbourhood_as_it_may_be(asked, times):
    layer, (faces, features, coarse) = retouch()
    torch.nn.init.constant_(layer.mask.bias, 50.0)
    torch.nn.init.zeros_(layer.mask.weight)
    torch.nn.init.zeros_(layer.paint.weight)
    with torch.no_grad():
        layer.paint.weight[0, 0, 1, 1] = asked
    made = layer(torch.full_like(faces, -0.8), features.abs() + 1, coarse)
    # 0.1 of white; the mask lets less than a hundredth of what is below through.
    torch.testing.assert_close(
        (made.faces[..., 4:-4, 4:-4] + 1) / 2, torch.full((2, 3, 24, 24), 0.1 * times), atol=2e-3, rtol=0
    )


def test_paint_is_no_more_colourful_than_what_is_around_it():
    layer, (_, features, coarse) = retouch()
    torch.nn.init.constant_(layer.mask.bias, 50.0)
    torch.nn.init.zeros_(layer.mask.weight)
    torch.nn.init.normal_(layer.paint.weight, std=2.0)
    skin = torch.tensor([0.4, 0.0, -0.3]).view(1, 3, 1, 1).expand(2, -1, 32, 32)
    made = layer(skin, features, coarse).faces
    colour, own = made - made.mean(1, keepdim=True), skin - skin.mean(1, keepdim=True)
    share = (colour * own).sum(1) / own.square().sum(1)
    assert share.min() > -1e-4
    assert share.max() < 1 + 1e-4
    assert share.max() - share.min() > 0.5
    # The same hue, stronger or paler.
    torch.testing.assert_close(colour, share[:, None] * own, atol=1e-4, rtol=0)


def test_the_outline_of_what_is_painted_is_the_same_and_as_sharp_in_a_finer_face():
    layer, (faces, features, coarse) = retouch()
    torch.nn.init.zeros_(layer.mask.weight)
    with torch.no_grad():
        layer.mask.weight[:, 0, 1, 1] = 1.0
    features[:, 0] = torch.where(torch.arange(32) < 14, -20.0, 20.0)
    small, large = (layer(enlarged(faces, side), features, coarse).mask[0, 0] for side in (32, 512))
    # A small pixel's middle lies between two large ones.
    torch.testing.assert_close((large[7::16, 7::16] + large[8::16, 8::16]) / 2, small, atol=0.01, rtol=0)
    rim = ((large[256] > 0.1) & (large[256] < 0.9)).sum().item() / 16
    shares = enlarged(torch.sigmoid(features[:1, :1]), 512)[0, 0, 256]
    assert 0 < rim < 0.6 * ((shares > 0.1) & (shares < 0.9)).sum().item() / 16


def test_paint_never_alternates_pixel_by_pixel():
    layer, (faces, _, coarse) = retouch()
    torch.nn.init.constant_(layer.mask.bias, 50.0)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    chequers = (5.0 * (-1.0) ** (rows + columns)).expand(2, 6, -1, -1)
    with torch.no_grad():
        layer.paint.weight[0] = torch.zeros_like(layer.paint.weight[0])
        layer.paint.weight[0, :, 2, 2] = 1.0
    flat = layer(torch.zeros_like(faces), chequers, coarse).faces[..., 4:-4, 4:-4]
    assert flat.std() < 1e-4


def test_smoothing_is_a_binomial_mean_of_neighbours():
    x = torch.rand(2, 3, 6, 7)
    wide = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    wanted = sum(
        (2 - abs(dy)) * (2 - abs(dx)) / 16 * wide[..., 1 + dy : 7 + dy, 1 + dx : 8 + dx]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    )
    torch.testing.assert_close(smoothed(x), wanted)


@pytest.mark.parametrize("side", [6, 9, 24])
def test_control_points_are_enlarged_to_quadratic_splines(side):
    points = torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    places = (np.indices((side, side)) + 0.5) * 6 / side - 0.5
    for surface, controls in zip(splined(points, side).flatten(0, 1), points.flatten(0, 1), strict=True):
        wanted = ndimage.map_coordinates(controls.numpy(), places, order=2, prefilter=False, mode="nearest")
        np.testing.assert_allclose(surface.numpy(), wanted, atol=1e-5)


def test_control_points_are_enlarged_in_full_precision_whatever_is_cast():
    points = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        cast = splined(points, 32)
    assert torch.equal(cast, splined(points, 32))


def test_maps_are_enlarged_as_a_plain_guided_filter_enlarges_them():
    g = torch.Generator().manual_seed(0)
    maps, faces = torch.rand(1, 1, 6, 6, generator=g), torch.rand(1, 3, 6, 6, generator=g) * 2 - 1
    detailed = torch.rand(1, 3, 12, 12, generator=g) * 2 - 1
    light, finer, wanted = faces.mean(1)[0].numpy(), detailed.mean(1)[0].numpy(), maps[0, 0].numpy()
    slope = np.zeros((6, 6))

    def around(of, y, x):
        return of[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]

    for y, x in np.ndindex(6, 6):
        here, there = around(light, y, x), around(wanted, y, x)
        slope[y, x] = np.cov(here.ravel(), there.ravel(), bias=True)[0, 1] / (here.var() + 0.01)
    slope = np.array([[around(slope, y, x).mean() for x in range(6)] for y in range(6)])
    large = [cv2.resize(of, (12, 12), interpolation=cv2.INTER_LINEAR) for of in (slope, wanted, light)]
    expected = large[1] + large[0] * (finer - large[2])
    np.testing.assert_allclose(enlarged_along(maps, faces, detailed)[0, 0].numpy(), expected, atol=1e-5)


def test_an_enlarged_map_has_its_edge_where_the_face_has_one():
    # A dark half that begins at column 27 of 64, which none of 16 columns shows.
    detailed = torch.ones(1, 3, 64, 64)
    detailed[..., 27:] = -1
    faces = scaled(detailed, 16)
    maps = (1 - faces.mean(1, keepdim=True)) / 2
    truth = (detailed.mean(1, keepdim=True) < 0).float()
    along, alone = enlarged_along(maps, faces, detailed), enlarged(maps, 64)
    assert (along - truth).abs().max() < 0.1
    assert (alone - truth).abs().max() > 0.3
    assert torch.equal(enlarged_along(maps, faces, faces), maps)
    # Where a face has no finer detail, the map is interpolated, as sharp as it was.
    torch.testing.assert_close(enlarged_along(maps, faces, enlarged(faces, 64)), alone)
    torch.testing.assert_close(enlarged_along(torch.full_like(maps, 0.3), faces, detailed), torch.full_like(truth, 0.3))
