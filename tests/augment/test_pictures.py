import io
import os
import stat
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from augment.pictures import (
    contact_sheet,
    decode_picture,
    encode_png,
    is_grey,
    read_picture,
    write_bytes,
    write_text,
)
from emoaug import EmoaugError


@pytest.fixture
def scene() -> np.ndarray:
    """A smooth colour picture, 40 x 32, so that JPEG keeps it nearly as it is."""
    y, x = np.mgrid[0:32, 0:40]
    return np.stack([x * 6, y * 7, 255 - 3 * (x + y)], axis=2).astype(np.uint8)


def encoded(image: Image.Image, picture_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("picture_format", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_every_format_gives_the_pixels_that_went_in(scene, picture_format):
    few_colours = scene // 128 * 255
    options = {"lossless": True} if picture_format == "WEBP" else {}
    data = encoded(Image.fromarray(few_colours), picture_format, **options)
    np.testing.assert_array_equal(decode_picture(data), few_colours)


def test_jpeg_keeps_colours_in_rgb_order(scene):
    picture = decode_picture(encoded(Image.fromarray(scene), "JPEG", quality=98))
    assert picture.shape == scene.shape
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - scene).mean() < 3


def test_text_file_named_jpg_is_refused_with_its_name(tmp_path):
    path = tmp_path / "face.jpg"
    path.write_text("this is no picture")
    with pytest.raises(EmoaugError, match=r"face\.jpg.*not a picture"):
        read_picture(path)


def test_missing_file_and_empty_file_are_named(tmp_path):
    with pytest.raises(EmoaugError, match=r"gone\.png.*cannot be read"):
        read_picture(tmp_path / "gone.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(EmoaugError, match=r"empty\.png.*empty"):
        read_picture(tmp_path / "empty.png")


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_file_is_an_error_and_never_a_half_grey_picture(picture_format, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), picture_format)
    with pytest.raises(EmoaugError):
        decode_picture(data[: int(kept * len(data))])


def test_damaged_png_is_an_error(scene):
    data = bytearray(encode_png(scene))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(EmoaugError, match="damaged"):
        decode_picture(bytes(data))


def test_jpeg_without_its_end_marker_still_decodes_when_all_pixels_are_there(scene):
    data = encoded(Image.fromarray(scene), "JPEG")
    padded = data + b"\0" * 7
    np.testing.assert_array_equal(decode_picture(padded), decode_picture(data))


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_is_scaled_to_8_bits_and_rounded(channels):
    deep = np.random.default_rng(1).integers(0, 65536, (9, 8, channels), np.uint16)
    deep[0, 0], deep[0, 1] = 0, 65535
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    expected = np.rint(deep / 65535 * 255).astype(np.uint8)
    np.testing.assert_array_equal(decode_picture(data), np.broadcast_to(expected, (9, 8, 3)))


def test_12_bits_in_a_16_bit_file_are_not_black():
    deep = np.array([[0, 16, 2048, 4095]], np.uint16)
    expected = np.rint(deep / 4095 * 255).astype(np.uint8)
    assert np.array_equal(decode_picture(cv2.imencode(".png", deep)[1].tobytes())[..., 0], expected)


def test_16_bit_png_with_alpha_is_composited_on_white():
    deep = np.random.default_rng(2).integers(0, 65536, (9, 8, 4), np.uint16)
    data = cv2.imencode(".png", deep)[1].tobytes()
    alpha = deep[..., 3:] / 65535
    expected = np.rint(255 * (deep[..., 2::-1] / 65535 * alpha + 1 - alpha))
    assert np.abs(decode_picture(data) - expected).max() <= 1


def test_16_bit_grey_tiff_is_scaled():
    deep = np.array([[0, 257, 25700, 65535]], np.uint16)
    np.testing.assert_array_equal(decode_picture(encoded(Image.fromarray(deep), "TIFF"))[0, :, 0], [0, 1, 100, 255])


def test_cmyk_jpeg_has_the_colours_that_pillow_converts_to(scene):
    data = encoded(Image.fromarray(scene).convert("CMYK"), "JPEG", quality=98)
    picture = decode_picture(data)
    np.testing.assert_array_equal(picture, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.abs(picture.astype(int) - scene).mean() < 6


def test_first_frame_of_an_animated_gif(scene):
    first, second = Image.fromarray(scene // 128 * 255), Image.new("RGB", (40, 32), "red")
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(decode_picture(data), np.asarray(first))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_white(mode):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (12, 10, 4 if mode == "RGBA" else 2), np.uint8)
    pixels[0, 0, -1], pixels[0, 1, -1] = 0, 255
    picture = decode_picture(encoded(Image.fromarray(pixels), "PNG"))
    alpha = pixels[..., -1:] / 255
    expected = np.broadcast_to(pixels[..., :-1] * alpha + 255 * (1 - alpha), (12, 10, 3))
    assert np.abs(picture - expected).max() <= 1
    np.testing.assert_array_equal(picture[0, 0], [255, 255, 255])


def test_palette_png_and_its_transparent_colour(scene):
    palette = Image.fromarray(scene).quantize(16)
    np.testing.assert_array_equal(decode_picture(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))
    picture = decode_picture(encoded(palette, "PNG", transparency=3))
    hidden = np.asarray(palette) == 3
    assert hidden.any()
    assert (picture[hidden] == 255).all()


def test_one_bit_png():
    bits = np.array([[0, 255], [255, 0]], np.uint8)
    data = encoded(Image.fromarray(bits).convert("1"), "PNG")
    np.testing.assert_array_equal(decode_picture(data)[..., 0], bits)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG"])
def test_one_pixel(picture_format):
    assert decode_picture(encoded(Image.new("L", (1, 1), 255), picture_format)).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(scene, picture_format, orientation):
    # The stored picture is what a camera held that way would store; turning it by the tag gives the scene back.
    store = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(store(scene)))
    options = {"quality": 98, "subsampling": 0} if picture_format == "JPEG" else {}
    picture = decode_picture(encoded(image, picture_format, exif=exif, **options))
    assert picture.shape == scene.shape
    assert np.abs(picture.astype(int) - scene).mean() < 2


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_001, 20_000, 2_000_000_000])
def test_a_header_that_promises_too_many_pixels_is_refused_before_decoding(side):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(EmoaugError, match=r"100,000,000"):
        decode_picture(data)


def test_png_round_trip_and_grey_is_written_as_one_channel(scene):
    np.testing.assert_array_equal(decode_picture(encode_png(scene)), scene)
    assert Image.open(io.BytesIO(encode_png(scene))).mode == "RGB"
    grey = np.repeat(scene[..., :1], 3, axis=2)
    assert is_grey(grey)
    assert not is_grey(scene)
    assert Image.open(io.BytesIO(encode_png(grey))).mode == "L"
    np.testing.assert_array_equal(decode_picture(encode_png(grey)), grey)
    assert Image.open(io.BytesIO(encode_png(grey, grey=False))).mode == "RGB"
    luma = decode_picture(encode_png(scene, grey=True))[..., 0]
    np.testing.assert_allclose(luma, scene @ [0.299, 0.587, 0.114], atol=1)


def test_encode_refuses_what_is_no_picture():
    with pytest.raises(ValueError, match="float64"):
        encode_png(np.zeros((4, 4, 3)))


def test_writing_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "name.txt"
    write_text(path, "long old text")
    write_text(path, "ö\n")
    assert path.read_bytes() == "ö\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["name.txt"]


def test_failed_write_keeps_the_old_file(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        write_bytes(tmp_path / "taken", b"x")
    assert [p.name for p in Path(tmp_path).iterdir()] == ["taken"]


def test_contact_sheet_shows_every_picture_enlarged_by_a_whole_factor(scene):
    other = 255 - scene
    sheet = contact_sheet([[scene, other], [other]], ["happy", "sad"], ["source", "new"])
    assert sheet.dtype == np.uint8
    for picture, times in ((scene, 1), (other, 2)):
        big = picture.repeat(3, axis=0).repeat(3, axis=1)  # 32 px high: 3 is the least factor that reaches 96
        windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], big.shape[:2])
        corners = np.argwhere((windows[..., 0, 0] == big[0, 0, 0]) & (windows[..., -1, -1] == big[-1, -1, 0]))
        assert sum(np.array_equal(windows[y, x], big[..., 0]) for y, x in corners) == times
    assert (sheet[:18] < 128).any(), "column names are drawn"


def test_captions_are_one_line_whatever_a_name_is(scene):
    def written(name):
        return contact_sheet([[scene]], [name], [])

    assert (written("Zoë\nMüller") == written("Zoë Müller")).all()
    # Bytes of a file's name that are no text.
    assert (written("a\udce4b") == written("a?b")).all()
    if int(cv2.__version__.partition(".")[0]) >= 5:
        assert (written("счастье").shape, written("ñ").shape) != (written("???????").shape, written("?").shape)


def test_contact_sheet_of_nothing_is_still_a_picture():
    assert contact_sheet([], [], []).ndim == 3


def test_a_file_is_whole_also_when_the_system_takes_it_in_parts(tmp_path, monkeypatch):
    whole, data = os.write, bytes(range(256)) * 3
    monkeypatch.setattr(os, "write", lambda number, part: whole(number, part[:100]))
    write_bytes(tmp_path / "new" / "a", data)
    assert (tmp_path / "new" / "a").read_bytes() == data


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def full(number: int, part: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_may_be_read_by_all_whom_the_users_mask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
