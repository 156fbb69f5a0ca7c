"""Pictures, and the measures beside them."""

import io
import os
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from augment.faces import FaceMeasures, read_measures, write_measures
from augment.pictures import decode_picture
from emoaug import EmoaugError
from tests.augment.tiny_translator import draw_face
from tests.hostile.inputs import cases


def _encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_face("happy", 3)).save(file, kind)
    return file.getvalue()


PICTURES = [_encoded(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")]


@cases(500)
@given(
    data=st.sampled_from(PICTURES),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    near=st.booleans(),
)
def test_damaged_pictures_decode_or_are_an_error(data, cut, flips, near):
    damaged = bytearray(data)
    for place, value in flips:
        # Half of the damage to the header, where it does most.
        damaged[int(place * (64 if near else len(damaged)))] = value
    if cut < 0.3:
        del damaged[int(cut / 0.3 * len(damaged)) :]
    try:
        picture = decode_picture(bytes(damaged))
    except EmoaugError:
        return
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3


def bomb(kind: str, width: int, height: int) -> bytes:
    """A tiny file whose header promises a huge picture."""
    if kind == "PPM":
        return f"P6 {width} {height} 255\n".encode()
    if kind == "GIF":
        return b"GIF89a" + struct.pack("<HHBBB", width % 65536, height % 65536, 0, 0, 0) + b";"
    if kind == "BMP":
        head = struct.pack("<IiiHHIIiiII", 40, width % 2**31, height % 2**31, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@cases(250)
@given(
    kind=st.sampled_from(["PNG", "GIF", "BMP", "PPM"]),
    side=st.integers(10_001, 2**31 - 1),
    other=st.integers(10_001, 2**31 - 1),
)
def test_a_picture_that_promises_to_be_huge_is_refused(kind, side, other):
    with pytest.raises(EmoaugError):
        decode_picture(bomb(kind, side, other))


def test_a_picture_longer_than_opencv_can_hold_is_refused():
    with pytest.raises(EmoaugError, match="2000000x1"):
        decode_picture(bomb("PNG", 2_000_000, 1))


@cases(250)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 6), cut=st.floats(0, 1))
def test_damaged_measures_are_read_or_an_error(folder, seed, count, cut):
    names = np.array([f"shape{i}" for i in range(52)])
    measures = FaceMeasures(
        np.zeros((2, 478, 3), np.float32), np.zeros((2, 52), np.float32), names, np.zeros((2, 3), np.float32)
    )
    write_measures(folder, ["a.png", "b.png"], measures)
    data, chance = bytearray((folder / "faces.npz").read_bytes()), random.Random(seed)
    for _ in range(count):
        # At the ends of the file, where the zip's own tables are, and in the arrays' headers.
        data[chance.choice([chance.randrange(200), -1 - chance.randrange(400), chance.randrange(len(data))])] = (
            chance.randrange(256)
        )
    if cut < 0.3:
        del data[int(cut / 0.3 * len(data)) :]
    (folder / "faces.npz").write_bytes(data)
    try:
        read = read_measures(folder, ["a.png", "c.png"])
    except EmoaugError:
        return
    assert read is not None
    assert read.landmarks.shape == (2, 478, 3)


class _Owned:
    def __reduce__(self):
        return (os.system, ("touch owned",))


def test_measures_with_a_pickle_inside_are_refused(folder):
    np.savez(folder / "faces.npz", file_name=np.array([_Owned()], dtype=object))
    with pytest.raises(EmoaugError, match="not readable"):
        read_measures(folder, ["a.png"])
