"""A first look: where a photograph changes, where it does not, and what is asked for."""

import cv2
import numpy as np
import pytest
import torch

from augment.landmarker import FaceLandmarker
from augment.pictures import encode_png
from augment.preview import asked_of, read_photograph
from augment.shared_translator import SharedTranslator
from emoaug import EmoaugError
from tests.augment.drawn_face import draw_face, model_path
from tests.augment.expression_transforms import brighter
from tests.augment.tiny_translator import EXPRESSIONS, Mover, TinySettings, tiny_translator


@pytest.fixture
def landmarker(monkeypatch):
    monkeypatch.setenv("EMOAUG_MODELS", str(model_path().parent))
    return FaceLandmarker()


def photograph(tmp_path, picture):
    (tmp_path / "photo.png").write_bytes(encode_png(picture))
    return tmp_path / "photo.png"


def test_only_the_face_of_a_photograph_changes(tmp_path, landmarker):
    picture = np.full((400, 600, 3), 90, np.uint8)
    picture[100:356, 320:576] = draw_face()
    found = read_photograph(photograph(tmp_path, picture), landmarker)
    made = found.changed(SharedTranslator(brighter()), torch.tensor([1.0, 0, 0]))
    rows, columns = np.nonzero(np.abs(made.astype(int) - picture).max(2) > 20)
    # The middle third of the aligned square, around the drawn face's cheeks and nose.
    assert abs(columns.mean() - 448) < 12
    assert abs(rows.mean() - 246) < 20
    outside = np.ones(picture.shape[:2], bool)
    outside[found.rows, found.columns] = False
    assert outside.any()
    assert np.array_equal(made[outside], picture[outside])
    assert found.shown(picture, 100).shape[:2] in {(100, w) for w in range(60, 101)} | {
        (h, 100) for h in range(60, 101)
    }


def test_a_large_photograph_is_reduced_to_what_is_shown(tmp_path, landmarker):
    picture = np.full((400, 600, 3), 90, np.uint8)
    picture[100:356, 320:576] = draw_face()
    path = photograph(tmp_path, picture)
    whole, reduced = read_photograph(path, landmarker), read_photograph(path, landmarker, longest=150)
    assert max(reduced.picture.shape[:2]) == 150
    condition, system = torch.tensor([1.0, 0, 0]), SharedTranslator(brighter())
    shown = [found.shown(found.changed(system, condition), 100).astype(int) for found in (whole, reduced)]
    still = whole.shown(whole.picture, 100).astype(int)
    assert np.abs(shown[0] - still).max() > 40
    assert np.abs(shown[0] - shown[1]).mean() < 2
    assert np.array_equal(
        read_photograph(path, landmarker, longest=5000).picture, whole.picture[whole.rows, whole.columns]
    )


def test_the_whole_face_is_shown_however_the_head_is_tilted(tmp_path, landmarker):
    upright = np.full((500, 500, 3), 90, np.uint8)
    upright[122:378, 122:378] = draw_face()
    for angle in (-30, 0, 30):
        tilted = cv2.warpAffine(
            upright, cv2.getRotationMatrix2D((250, 250), angle, 1), (500, 500), borderValue=(90,) * 3
        )
        found = read_photograph(photograph(tmp_path, tilted), landmarker)
        height, width = found.rows.stop - found.rows.start, found.columns.stop - found.columns.start
        assert abs(height - width) <= 2
        assert np.sqrt(2) * found.frame.side <= height <= 1.6 * found.frame.side
        middle = np.array([found.columns.start + width / 2, found.rows.start + height / 2])
        assert np.linalg.norm(middle - 250) < 40


def test_a_face_at_the_edge_of_a_photograph_is_shown_as_far_as_it_goes(tmp_path, landmarker):
    picture = draw_face()[20:230, 40:216]
    found = read_photograph(photograph(tmp_path, picture), landmarker)
    assert (found.rows, found.columns) == (slice(0, 210), slice(0, 176))
    assert found.changed(SharedTranslator(brighter()), torch.tensor([1.0, 0, 0])).shape == picture.shape


def test_a_photograph_without_a_face_is_none_unless_it_is_taken_for_one(tmp_path, landmarker):
    path = photograph(tmp_path, np.full((24, 40, 3), 90, np.uint8))
    assert read_photograph(path, landmarker) is None
    whole = read_photograph(path, None)
    made = whole.changed(SharedTranslator(brighter()), torch.tensor([1.0, 0, 0]))
    changed = (made != 90).any((0, 2)).nonzero()[0]
    assert changed.tolist() == list(range(16, 24))


def test_what_is_asked_for_by_name():
    system = SharedTranslator(tiny_translator())
    assert list(asked_of(system, (), 1.0)) == list(EXPRESSIONS)
    asked = asked_of(system, ("joy", "happy+sadness"), 0.6)
    torch.testing.assert_close(asked["joy"], torch.tensor([0.6, 0.4, 0.0]))
    torch.testing.assert_close(asked["happy+sadness"], torch.tensor([0.3, 0.4, 0.3]))


@pytest.mark.parametrize(
    ("targets", "strength", "said"),
    [(("bored",), 1.0, "know happy, neutral, sad"), ((), 0.0, "above 0"), ((), 1.5, "at most 1")],
)
def test_what_cannot_be_asked_for(targets, strength, said):
    with pytest.raises(EmoaugError, match=said):
        asked_of(SharedTranslator(tiny_translator()), targets, strength)


def test_a_strength_needs_neutral():
    system = type(tiny_translator())(("happy", "sad"), TinySettings())
    with pytest.raises(EmoaugError, match="mixes with neutral"):
        asked_of(SharedTranslator(system), (), 0.5)


def test_movements_without_names_are_an_error():
    system = Mover(("mouthSmile", "jawOpen"), TinySettings())
    with pytest.raises(EmoaugError, match="no expression by name"):
        asked_of(SharedTranslator(system), (), 1.0)
