"""Which part of a picture changes, and what of it stays."""

import numpy as np
import PIL.Image
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from augment.face_frames import Aligned
from augment.faces import EYES, PHILTRUM
from augment.systems.lssl import LSSL
from augment.transforms import AugmentedDataset
from emoaug import EmoaugError
from tests.augment.drawn_face import draw_face as draw_large_face
from tests.augment.drawn_face import model_path
from tests.augment.expression_transforms import EXPRESSIONS, SMALL_LSSL, Faces, always, brighter


def test_fine_detail_stays_where_the_face_does_not_change():
    stripes = (torch.arange(96) % 2 * 0.2 + 0.3).expand(3, 96, 96).contiguous()
    made, _ = always(brighter())(stripes, 0)
    assert torch.allclose(made[:, :20], stripes[:, :20], atol=1e-6)
    # In the middle the stripes, which the system did not see, have given way to what it made.
    assert torch.allclose(made[:, 44:52, 44:52], torch.tensor(0.6), atol=1e-3)


def test_a_system_that_retouches_keeps_detail_that_its_networks_do_not_see():
    torch.manual_seed(0)
    # Before its first update a system moves nothing, and paints an eighth over.
    system = LSSL(EXPRESSIONS, SMALL_LSSL).eval().requires_grad_(False)
    stripes = (torch.arange(96) % 2 * 0.2 + 0.3).expand(3, 96, 96).contiguous()
    made, _ = always(system)(stripes, 0)
    kept = (made[..., 1::2] - made[..., 0::2]).mean() / 0.2
    assert 0.75 < kept < 1


def test_a_wide_picture_changes_in_its_middle_square_only():
    picture = torch.full((3, 24, 60), 0.3)
    made, _ = always(brighter())(picture, 0)
    changed = (made - picture).abs().amax((0, 1)) > 1e-6
    assert changed.nonzero().flatten().tolist() == list(range(26, 34))
    assert torch.allclose(made[:, 8:16, 26:34], torch.tensor(0.5))


def test_the_face_is_found_and_only_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOAUG_MODELS", str(model_path().parent))
    picture = np.full((300, 420, 3), 90, np.uint8)
    picture[30:286, 150:406] = draw_large_face()
    transform = always(brighter(), find_face=True)
    made, label = transform(PIL.Image.fromarray(picture), 0)
    changed = (np.asarray(made, int) - picture).max(2) > 20
    rows, columns = np.nonzero(changed)
    # The middle third of the aligned square, around the drawn face's cheeks and nose.
    assert label in (1, 2)
    assert abs(columns.mean() - 278) < 12
    assert abs(rows.mean() - 176) < 20
    assert np.array_equal(np.asarray(made)[:, :130], picture[:, :130])
    nobody = (PIL.Image.fromarray(np.full((80, 80, 3), 90, np.uint8)), 0)
    assert transform(nobody) is nobody


def test_what_is_made_of_a_small_face_is_averaged_and_not_skipped():
    """A face of 20 pixels, made at 64: a chequered pattern becomes even."""
    mesh, corner = np.zeros((478, 3)), np.array([40, 40])
    for rows, place in (([33, 133], EYES[0]), ([362, 263], EYES[1]), ([2, 0], PHILTRUM)):
        mesh[rows, :2] = corner + 20 * np.array(place)
    frame, picture = Aligned(mesh), torch.full((1, 3, 100, 100), 0.5)
    assert frame.side == 20
    made = ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 0.8 + 0.1).expand(1, 3, 64, 64)
    middle = frame.put_back(picture, frame.cut(picture, 64), made)[..., 45:55, 45:55]
    assert float((middle - 0.5).abs().max()) < 0.05


def test_a_search_for_faces_before_the_workers_are_forked_is_an_error_and_no_endless_wait(tiny, monkeypatch):
    monkeypatch.setenv("EMOAUG_MODELS", str(model_path().parent))
    data = AugmentedDataset(Faces(2), v2.Compose([v2.ToImage(), always(tiny, find_face=True)]))
    data[0]
    with pytest.raises(EmoaugError, match='multiprocessing_context="spawn"'):
        list(DataLoader(data, num_workers=1, multiprocessing_context="fork"))
