"""Made faces of a folder: how large they are compared."""

import cv2
import numpy as np
import pytest

from augment.pictures import encode_png, read_picture, write_bytes
from augment.scoring.rows import MadeFaces
from tests.augment.scoring.made_folder import make_folder


@pytest.mark.parametrize(("side", "compared"), [(64, 64), (256, 256), (300, 256)])
def test_faces_are_compared_at_their_own_size_up_to_a_limit(tmp_path, side, compared):
    folder, _ = make_folder(tmp_path, subjects=6)
    first = MadeFaces(folder).path(0)
    write_bytes(first, encode_png(cv2.resize(read_picture(first), (side, side))))
    made = MadeFaces(folder)
    assert made.size() == compared
    assert made.pixels(np.array([0]), made.size()).shape == (1, 3, compared, compared)
