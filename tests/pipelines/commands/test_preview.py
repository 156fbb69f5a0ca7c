"""`emoaug preview` on drawn photographs, with the weights of the package."""

import cv2
import numpy as np
import pytest

from augment.pictures import encode_png, read_picture
from pipelines.cli import main
from tests.augment.drawn_face import draw_face, model_path


@pytest.fixture
def album(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOAUG_MODELS", str(model_path().parent))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album").mkdir()
    for number in range(3):
        picture = np.full((300, 420, 3), 90, np.uint8)
        picture[30:286, 100:356] = draw_face(skin=150 + 30 * number)
        (tmp_path / "album" / f"{number}.png").write_bytes(encode_png(picture))
    return tmp_path / "album"


def test_a_sheet_and_the_photographs(album, capsys):
    (album / "wall.png").write_bytes(encode_png(np.full((80, 80, 3), 90, np.uint8)))
    (album / "broken.png").write_bytes(b"no picture")
    command = ["preview", str(album), "--targets", "happy,surprise", "--side", "128", "--pictures", "changed"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "left out: " in said
    assert "wall.png: no face found" in said
    assert "broken.png: " in said
    sheet = read_picture(album.parent / "preview.png")
    assert 3 * 128 < sheet.shape[0] < 3 * 128 + 60
    assert 3 * 128 < sheet.shape[1] < 3 * 128 + 120
    made = {path.name for path in (album.parent / "changed").iterdir()}
    assert made == {f"{number}-{name}.png" for number in range(3) for name in ("happy", "surprise")}
    source, smiling = read_picture(album / "1.png"), read_picture(album.parent / "changed" / "1-happy.png")
    assert smiling.shape == source.shape
    assert np.array_equal(smiling[:, :40], source[:, :40])
    assert (cv2.absdiff(smiling, source) > 20).any()


def test_photographs_of_one_name_do_not_write_over_each_other(album, capsys):
    (album.parent / "other").mkdir()
    for name in ("1.png", "1-2.PNG"):
        (album.parent / "other" / name).write_bytes((album / "1.png").read_bytes())
    command = ["preview", "album/1.png", "other/1-2.PNG", "other/1.png", "--targets", "sad", "--pictures", "changed"]
    # The same command again writes the same again.
    for _ in range(2):
        assert main(command) == 0
        made = {path.name: path.read_bytes() for path in (album.parent / "changed").iterdir()}
        assert sorted(made) == ["1-2-sad.png", "1-3-sad.png", "1-sad.png"]
        assert len(set(made.values())) == 1


def test_no_photograph_is_written_over(album, capsys):
    before = {path: path.read_bytes() for path in album.iterdir()}
    (album / "0-sad.png").write_bytes(before[album / "0.png"])
    for more in (["--out", "album/1.png"], ["--pictures", "album"]):
        command = ["preview", "album/0.png", "album/1.png", "album/0-sad.png", "--targets", "sad"]
        assert main([*command, *more]) == 2
        assert "would be written over" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_a_sheet_among_the_photographs_is_none_of_them(album, capsys, monkeypatch):
    monkeypatch.chdir(album)
    heights = []
    for _ in range(2):
        assert main(["preview", ".", "--targets", "sad", "--pictures", "changed"]) == 0
        heights.append(read_picture(album / "preview.png").shape[0])
    assert heights[0] == heights[1]


def test_of_a_large_folder_some_are_drawn_always_the_same(album, capsys):
    sheets = []
    for count in (1, 1, 3):
        assert main(["preview", str(album), "--count", str(count), "--targets", "sad"]) == 0
        sheets.append(read_picture(album.parent / "preview.png"))
    assert np.array_equal(sheets[0], sheets[1])
    assert sheets[2].shape[0] > 2 * sheets[0].shape[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.jpg"], "does not exist"),
        (["wall.png"], "say --no-find-face"),
        (["empty"], "has no pictures"),
        (["wall.png", "--out", "sheet.jpg"], "the sheet is a PNG"),
        (["wall.png", "--count", "0"], "count is 0"),
        (["wall.png", "--targets", "bored"], "they know neutral, happy"),
        (["wall.png", "--weights", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(arguments, said, album, capsys):
    (album.parent / "wall.png").write_bytes(encode_png(np.full((80, 80, 3), 90, np.uint8)))
    (album.parent / "empty").mkdir()
    assert main(["preview", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]
    assert lines[-1].startswith("emoaug: ")
