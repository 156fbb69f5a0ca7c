"""Pictures as bytes, as files and as arrays: decode anything a dataset contains, encode fast, write atomically.

A picture is a uint8 RGB array of shape (H, W, 3) with values in [0, 255]; a grey picture has three equal channels.
"""

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from emoaug import EmoaugError

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
)
"""File name endings, in lower case, that are read as pictures."""

_COMMON_SUFFIXES = PICTURE_SUFFIXES - {".gif", ".jfif"}
"""Those of them that torchvision takes, too."""

LARGEST_PICTURE = 100_000_000
"""Pixels; a header that promises more is refused before anything is decoded."""

LONGEST_SIDE = 1 << 16
"""Pixels; what OpenCV and some formats can hold."""

# A closed list, because some of Pillow's other formats start external programs (EPS) or are not pictures (PDF).
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")

# Faces have few repeats that a longer search would find: with one filter, and looking for runs alone, they take half
# the time that level 1 takes by itself. Paeth's filter saves a tenth of the space, and takes a quarter more time to
# write and half as much again to read, each time that somebody trains on the faces.
_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
)


def decode_picture(data: bytes) -> np.ndarray:
    """Decode a picture file.

    16-bit depth is scaled to 8 bits, transparency is composited on white, the EXIF orientation is applied, CMYK is
    converted as Pillow does, and of an animation the first frame is taken.

    Args:
        data: the whole file.

    Returns:
        uint8 RGB, (H, W, 3).

    Raises:
        EmoaugError: not a picture, truncated or damaged, or more than `LARGEST_PICTURE` pixels.
    """
    if not data:
        raise EmoaugError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError:
        raise EmoaugError(f"the picture has more than {LARGEST_PICTURE:,} pixels; make it smaller") from None
    except UnidentifiedImageError:
        raise EmoaugError(f"not a picture that can be read; known formats: {', '.join(_FORMATS)}") from None
    except Exception as error:  # damaged headers raise anything from ValueError to EOFError, depending on the format
        raise EmoaugError(f"the picture's header is damaged ({error})") from None
    width, height = image.size
    if width * height > LARGEST_PICTURE:
        raise EmoaugError(
            f"the picture has {width}x{height} pixels, more than {LARGEST_PICTURE:,} in all; make it smaller"
        )
    if max(width, height) > LONGEST_SIDE:
        raise EmoaugError(f"the picture has {width}x{height} pixels; a side has at most {LONGEST_SIDE:,}")
    try:
        picture = _decode_with_opencv(data, image)
    except cv2.error as error:
        raise EmoaugError(f"the picture is damaged ({error.err})") from None
    return _decode_with_pillow(image) if picture is None else picture


def others_read_alike(path: Path) -> bool:
    """Whether a picture's file shows others what `read_picture` shows: torchvision's `ImageFolder`, say.

    It does where it is RGB or grey of 8 bits, opaque, stored upright, and its name has an ending that they take.
    """
    if path.suffix.lower() not in _COMMON_SUFFIXES:
        return False
    try:
        with Image.open(path, formats=_FORMATS) as header:
            upright = header.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1)
            return upright and header.mode in ("RGB", "L") and not header.has_transparency_data
    except Exception:  # see decode_picture
        return False


def _decode_with_opencv(data: bytes, header: Image.Image) -> np.ndarray | None:
    """Decode what OpenCV decodes correctly, which is nearly every file and several times faster; None for the rest."""
    # OpenCV fills the missing part of a truncated file with grey and says nothing, so a file without its end marker
    # goes to Pillow, which decodes it only if all of its pixels are there.
    if header.format == "JPEG" and header.mode in ("L", "RGB") and data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    # OpenCV for 16-bit PNG, of which Pillow drops the lower byte; palettes, animations and orientation to Pillow.
    plain_png = header.format == "PNG" and header.mode != "P" and data.endswith(b"IEND\xaeB`\x82")
    if not plain_png or "transparency" in header.info or b"eXIf" in data or b"acTL" in data:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    return _rgb(pixels[..., None] if pixels.ndim == 2 else pixels)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """Turn OpenCV's 1 to 4 channels of 8 or 16 bits, blue first, into uint8 RGB."""
    full = np.iinfo(pixels.dtype).max
    channels = pixels.shape[2]
    if channels == 4:
        alpha = pixels[..., 3:].astype(np.float64) / full
        blended = pixels[..., :3] * alpha + full * (1 - alpha)
        return np.rint(blended[..., ::-1] * (255 / full)).astype(np.uint8)
    if full == 65535:
        pixels = _eight_bits(pixels)
    # OpenCV turns channels round ten times as fast as NumPy copies them in another order.
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if channels == 1 else cv2.COLOR_BGR2RGB)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Scale [0, 65535] to [0, 255], rounded to the nearest: 65535 = 255 * 257.

    Cameras of 12 bits write [0, 4095] into such files, and what has no value above that is one of theirs, not black.
    """
    if pixels.max(initial=0) <= 4095:
        return ((pixels.astype(np.uint32) * 255 + 2047) // 4095).astype(np.uint8)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _decode_with_pillow(image: Image.Image) -> np.ndarray:
    """Decode the rest: CMYK, palettes, GIF, TIFF, WebP, and files whose end is missing."""
    try:
        image.seek(0)
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16") or image.mode == "I":
            deep = np.asarray(image).clip(0, 65535)
            return np.repeat(_eight_bits(deep)[..., None], 3, axis=2)
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        if image.mode == "F":
            raise EmoaugError("floating point pixels have no agreed range; save the picture with 8 or 16 bits")
        return np.array(image.convert("RGB"))
    except EmoaugError:
        raise
    except Exception as error:  # see decode_picture
        raise EmoaugError(f"the picture is truncated or damaged ({error})") from None


def read_picture(path: Path | str) -> np.ndarray:
    """Read and decode one picture file.

    Args:
        path: the file.

    Returns:
        uint8 RGB, (H, W, 3).

    Raises:
        EmoaugError: the file is missing or unreadable, or `decode_picture` refuses it; the message names the file.
    """
    return read_file(path)[0]


def read_file(path: Path | str) -> tuple[np.ndarray, bytes]:
    """Read one picture file as `read_picture` does; gives the picture and the file's bytes."""
    try:
        data = Path(path).read_bytes()
        return decode_picture(data), data
    except OSError as error:
        raise EmoaugError(f"{path}: cannot be read ({error.strerror})") from None
    except EmoaugError as error:
        raise EmoaugError(f"{path}: {error}") from None


def is_grey(picture: np.ndarray) -> bool:
    """Say whether the three channels of a picture, (H, W, 3), are equal everywhere."""
    # One row tells most pictures that are not.
    return all(
        np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 1], part[..., 2])
        for part in (picture[:1], picture)
    )


def fit(picture: np.ndarray, size: int) -> np.ndarray:
    """Scale a picture (H, W, ...) to (size, size, ...): by area means when it shrinks, linearly when it grows."""
    if picture.shape[:2] == (size, size):
        return picture
    shrinks = min(picture.shape[:2]) >= size
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def encode_png(picture: np.ndarray, grey: bool | None = None) -> bytes:
    """Encode a picture as PNG, losslessly and fast.

    Args:
        picture: uint8 RGB, (H, W, 3).
        grey: write one channel (the luma, if the channels differ); by default, if the picture is grey.

    Returns:
        The file's bytes.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a picture is uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
    already_grey = grey is not False and is_grey(picture)
    if already_grey if grey is None else grey:
        pixels = np.ascontiguousarray(picture[..., 0]) if already_grey else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    else:
        pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".png", pixels, _PNG)
    if not done:
        raise ValueError(f"OpenCV could not encode a picture of shape {picture.shape}")
    return encoded.tobytes()


def write_bytes(path: Path | str, data: bytes | Iterable[bytes], parents: bool = True) -> None:
    """Write a file atomically: whoever reads `path` sees the old file or the whole new one.

    Args:
        path: the file; its folder is made if absent.
        data: what the file holds, whole or piece by piece.
        parents: also make the folders above. A run that fills its own folder gives False: someone who removes that
            folder meanwhile finds no new one with half of the files.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    # A leading dot hides the half-written file from every reader of picture folders; the short name fits where a
    # longest-possible file name would not leave room for a suffix. Text, because a Path takes longer than the system.
    temporary = f"{os.path.split(path)[0] or '.'}/.{os.urandom(16).hex()}.tmp"
    try:
        number = _opened(temporary, parents)
        if isinstance(data, bytes):
            # A file object asks the system for twice as much, and each time another thread may take over.
            try:
                while data:
                    data = data[os.write(number, data) :]
            finally:
                os.close(number)
        else:
            with open(number, "wb") as file:
                file.writelines(data)
        os.replace(temporary, path)  # noqa: PTH105 - the one call that is atomic on every system
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _opened(path: str, parents: bool) -> int:
    """Open a new file; its folder is made if absent. Gives its number."""
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, how, 0o666)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=parents, exist_ok=True)
        return os.open(path, how, 0o666)


def write_text(path: Path | str, text: str, parents: bool = True) -> None:
    """Write a UTF-8 text file atomically, with newlines as they are; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"), parents)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]], row_names: Sequence[str], column_names: Sequence[str]
) -> np.ndarray:
    """Lay pictures out in a captioned grid.

    Args:
        rows: pictures, uint8 RGB (H, W, 3), of any sizes; each is enlarged by the smallest whole factor that makes
            both sides at least 96 px. Rows may differ in length.
        row_names: caption at the left of each row.
        column_names: caption above each column.

    Returns:
        The sheet on white, uint8 RGB.
    """
    enlarged = [[_enlarge(picture, 96) for picture in row] for row in rows]
    cells = [picture for row in enlarged for picture in row]
    cell_height = max((cell.shape[0] for cell in cells), default=96)
    cell_width = max((cell.shape[1] for cell in cells), default=96)
    columns = max([len(column_names), *(len(row) for row in rows)], default=0)
    gap, line = 4, 18
    left = 2 * gap + max((_text_width(name) for name in row_names), default=0)
    top = line if column_names else gap
    sheet = np.full((top + len(rows) * (cell_height + gap), left + columns * (cell_width + gap), 3), 255, np.uint8)
    for column, name in enumerate(column_names):
        _write_caption(sheet, name, left + column * (cell_width + gap), line - 5, cell_width)
    for number, row in enumerate(enlarged):
        y = top + number * (cell_height + gap)
        if number < len(row_names):
            _write_caption(sheet, row_names[number], gap, y + cell_height // 2, left - gap)
        for column, cell in enumerate(row):
            x = left + column * (cell_width + gap)
            sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet


def _enlarge(picture: np.ndarray, least: int) -> np.ndarray:
    """Repeat pixels until both sides have at least `least` pixels."""
    factor = max(1, -(-least // min(picture.shape[:2])))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _text_width(text: str) -> int:
    """Width of a caption in pixels."""
    return int(cv2.getTextSize(_line(text), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0][0])


def _line(text: str) -> str:
    """One line that OpenCV takes; what its fonts lack it draws as a question mark."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _write_caption(sheet: np.ndarray, text: str, x: int, y: int, width: int) -> None:
    """Write a caption with its left baseline point at (x, y), shortened to `width` pixels."""
    while text and _text_width(text) > width:
        text = text[:-1]
    cv2.putText(sheet, _line(text), (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
