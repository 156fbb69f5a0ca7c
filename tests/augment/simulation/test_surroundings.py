"""Scenes drawn like photographs have these photographs' poses, backdrops, greyness and side of light."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from augment.action_units import BLENDSHAPE_NAMES
from augment.faces import FaceMeasures, write_measures
from augment.folders import load_faces, read_faces, write_metadata
from augment.pictures import encode_png, write_bytes
from augment.simulation.photograph import blur, face_mask, to_srgb
from augment.simulation.scenes import SceneSettings, draw_scene
from augment.simulation.simulate import simulate
from augment.simulation.simulation_work import SimulateSettings
from augment.simulation.surroundings import Surroundings, contrast_of, softness
from emoaug import EmoaugError

LEFT, RIGHT = (200, 30, 40), (20, 60, 210)
SIDE = 32


def photographs(folder, lit_from_right: bool, grey: bool = False, split: str | None = None) -> None:
    """Twelve faces before a backdrop of two colours, one cheek lighter; sad heads look down, happy ones to a side."""
    rows, poses = [], np.zeros((12, 3), np.float32)
    for i in range(12):
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        picture[:, : SIDE // 2], picture[:, SIDE // 2 :] = LEFT, RIGHT
        cheeks = picture[8:28, 6:26]
        cheeks[:, :10], cheeks[:, 10:] = (90, 200) if lit_from_right else (200, 90)
        if grey:
            picture[:] = picture.mean(2, keepdims=True).astype(np.uint8)
        label = "happy" if i < 6 else "sad"
        poses[i] = (30, 0, 0) if i < 6 else (0, -15, 0)
        name = f"{label}/{i}.png"
        write_bytes(folder / name, encode_png(picture))
        rows.append({"file_name": name, "label": label, "split": split})
    write_metadata(folder, pd.DataFrame(rows))
    shapes, mesh = np.zeros((12, 52), np.float32), np.zeros((12, 478, 3), np.float32)
    names = [row["file_name"] for row in rows]
    write_measures(folder, names, FaceMeasures(mesh, shapes, np.array(BLENDSHAPE_NAMES), poses))


def scenes_like(folder, count=40):
    surroundings = Surroundings.from_folder(folder)
    settings = SceneSettings(expressions=("happy", "sad"), per_subject=2)
    return [draw_scene(settings, row, None, surroundings) for row in range(count)]


def test_heads_are_held_as_on_photographs_of_the_same_expression(tmp_path):
    photographs(tmp_path, lit_from_right=True)
    for scene in scenes_like(tmp_path):
        yaw, pitch, _ = scene.pose
        wanted = (30, 0) if scene.label == "happy" else (0, -15)
        assert abs(abs(yaw) - wanted[0]) < 10
        assert abs(pitch - wanted[1]) < 8


def test_backdrops_have_the_colours_beside_the_heads_once_the_camera_has_raised_the_contrast(tmp_path):
    photographs(tmp_path, lit_from_right=True)
    for scene in scenes_like(tmp_path):
        seen = to_srgb(torch.tensor(scene.place.backdrop))
        raised = 0.5 + scene.place.camera["contrast"] * (seen - 0.5)
        assert np.allclose(raised, np.array([LEFT, RIGHT]) / 255, atol=2e-3)
        assert not scene.place.camera["grey"]


def test_backdrops_are_read_off_beside_hair(tmp_path):
    photographs(tmp_path, lit_from_right=True)
    noise = np.random.default_rng(0)
    for path in tmp_path.glob("*/*.png"):
        picture = cv2.imread(str(path))
        # Hair in both corners, and on the left down to the cheek.
        for hair in (picture[:7, :8], picture[:7, -8:], picture[:12, :3]):
            hair[:] = noise.integers(10, 60, hair.shape)
        cv2.imwrite(str(path), picture)
    backdrop = to_srgb(torch.from_numpy(Surroundings.from_folder(tmp_path).backdrop))
    assert np.allclose(backdrop, np.array([LEFT, RIGHT]) / 255, atol=2e-3)


def test_photographs_as_hard_as_a_render_want_no_contrast_and_harder_ones_as_much_more():
    grey = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    spread = grey[:, face_mask(64)].std(1)
    assert torch.allclose(contrast_of(grey), spread / 0.1)
    assert torch.allclose(contrast_of(0.5 + 1.5 * (grey - 0.5)), 1.5 * spread / 0.1)
    assert contrast_of(torch.full((1, 64, 64), 0.5)) == 0.6


@pytest.mark.parametrize("sigma", [0.4, 0.6, 0.9])
def test_softness_is_the_gaussian_that_was_laid_over_sharp_pictures(sigma):
    noise = torch.randn(32, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    # As sharp as a render: power that falls with a power of the frequency, by `_SHARP` from the middle to the high.
    radius = torch.hypot(torch.fft.fftfreq(64), torch.fft.fftfreq(64)[:, None]).clamp(min=1 / 64)
    sharp = torch.fft.ifft2(torch.fft.fft2(noise) * radius ** (-3.3 / 2 / np.log(0.45 / 0.16))).real
    assert softness(sharp[:, 0]).median() < 0.15
    assert softness(blur(sharp, torch.full((32,), sigma))[:, 0]).median() == pytest.approx(sigma, abs=0.12)


def test_soft_photographs_give_soft_renders_without_noise(tmp_path):
    photographs(tmp_path, lit_from_right=True)
    for path in tmp_path.glob("*/*.png"):
        picture = cv2.GaussianBlur(cv2.imread(str(path)), (0, 0), 1.5)
        write_bytes(path, encode_png(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))
    cameras = [scene.place.camera for scene in scenes_like(tmp_path)]
    assert all(camera["noise"] == 0 for camera in cameras)
    assert all(camera["blur"] * SIDE > 0.3 for camera in cameras)


@pytest.mark.parametrize("right", [True, False])
def test_light_comes_from_the_side_that_it_came_from(tmp_path, right):
    photographs(tmp_path, lit_from_right=right)
    across = np.array([scene.place.lamps[0][0] for scene in scenes_like(tmp_path)])
    assert (across > 0.5).all() if right else (across < -0.5).all()


def test_rendered_backdrops_are_seen_and_grey_photographs_give_grey_pictures(tmp_path, monkeypatch):
    photographs(tmp_path / "grey", lit_from_right=True, grey=True)
    surroundings = Surroundings.from_folder(tmp_path / "grey")
    scenes = SceneSettings(expressions=("happy", "sad"), per_subject=2)
    out = tmp_path / "out"
    simulate(out, scenes, SimulateSettings(count=4, size=32, device="cpu", workers=1), None, surroundings)
    pixels = load_faces(read_faces(out), None).astype(int)
    assert (pixels.max(1) - pixels.min(1)).max() <= 3
    monkeypatch.setattr("augment.simulation.simulate.RENDERER", -1)
    with pytest.raises(EmoaugError, match="renderer"):
        simulate(out, scenes, SimulateSettings(count=4, size=32, device="cpu", workers=1), None, surroundings)
    monkeypatch.undo()
    with pytest.raises(EmoaugError, match="another run"):
        simulate(out, scenes, SimulateSettings(count=4, size=32, device="cpu", workers=1))


def test_photographs_for_testing_are_not_looked_at(tmp_path):
    photographs(tmp_path, lit_from_right=True, split="test")
    with pytest.raises(EmoaugError, match="may be learnt from"):
        Surroundings.from_folder(tmp_path)
