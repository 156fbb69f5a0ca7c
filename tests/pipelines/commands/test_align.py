"""`emoaug align` as its user meets it."""

import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from augment.folders import read_faces
from tests.augment.drawn_face import draw_face, model_path
from tests.drawn_dataset import draw_dataset
from tests.pipelines.command_line import mistake, run


def strange_pictures(folder: Path) -> None:
    """One good picture of each kind that decoders stumble over, and some that are no pictures."""
    folder.mkdir(parents=True)
    face = draw_face(256)
    good = cv2.imencode(".jpg", face[..., ::-1])[1].tobytes()
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "truncated.jpg").write_bytes(good[: len(good) // 2])
    cv2.imwrite(str(folder / "deep.png"), face[..., ::-1].astype(np.uint16) * 257)
    Image.fromarray(face).convert("CMYK").save(folder / "cmyk.jpg")
    frames = [Image.fromarray(draw_face(256, smile=s)) for s in (0.0, 1.0)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.dstack([face, np.full(face.shape[:2], 255, np.uint8)])).save(folder / "alpha.png")
    cv2.imwrite(str(folder / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    (folder / "Jörg Müller äöü 1.jpg").write_bytes(good)


def test_an_alignment_without_any_face_is_an_error_that_says_where_the_reasons_are(capsys, tmp_path):
    for name in ("happy", "sad"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "faces" / name / "wall.png"), np.full((32, 32, 3), 99, np.uint8))
    said = mistake(capsys, "align", tmp_path / "faces", tmp_path / "out", "--model", model_path(), "--workers", 1)
    assert "no face was aligned" in said
    assert "rejected.csv" in said
    assert (tmp_path / "out" / "rejected.csv").read_text().count("no face found") == 2


def test_a_result_is_not_aligned_into_the_folder_of_its_own_pictures(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    for out in (tmp_path / "faces" / "aligned", tmp_path / "faces"):
        assert "choose a folder outside it" in mistake(capsys, "align", tmp_path / "faces", out)
    assert not (tmp_path / "faces" / "aligned").exists()


def test_strange_pictures_are_aligned_or_rejected_with_a_reason_and_none_is_lost(capsys, tmp_path):
    os.environ.setdefault("EMOAUG_MODELS", str(model_path().parent))
    strange_pictures(tmp_path / "faces" / "happy")
    (tmp_path / "faces" / "neutral").mkdir()
    cv2.imwrite(str(tmp_path / "faces" / "neutral" / "plain.png"), draw_face(256, skin=200)[..., ::-1])
    code, out, _ = run(capsys, "align", tmp_path / "faces", tmp_path / "out", "--workers", 1)
    assert code == 0
    aligned = read_faces(tmp_path / "out").table.file_name.tolist()
    rejected = (tmp_path / "out" / "rejected.csv").read_text(encoding="utf-8")
    assert len(aligned) == 6
    assert any("Jörg Müller" in name for name in aligned)
    for name in ("text.jpg", "truncated.jpg", "dot.png"):
        assert name in rejected
    assert "3 rejected" in out
    assert sorted(p.name for p in (tmp_path / "faces" / "happy").iterdir()) == sorted(
        [
            "text.jpg",
            "truncated.jpg",
            "deep.png",
            "cmyk.jpg",
            "moving.gif",
            "alpha.png",
            "dot.png",
            "Jörg Müller äöü 1.jpg",
        ]
    )
