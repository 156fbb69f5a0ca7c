"""How many real faces are found and how well they are aligned. Needs the pictures, which are not in the repository."""

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from augment.alignment import AlignSettings, align_folder
from augment.faces import EYES, PHILTRUM, align_matrix, align_picture, anchor_points, read_measures
from augment.folders import read_faces
from augment.landmarker import FaceLandmarker
from augment.pictures import decode_picture, read_picture

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("EMOAUG_TEST_DATA", ROOT / "../shared/data"))
MODEL = Path(os.environ.get("EMOAUG_MODELS", ROOT / "../shared/models")) / "face_landmarker.task"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not MODEL.is_file(), reason=f"no {MODEL}; EMOAUG_MODELS names the folder with model files"),
]


def need(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no {DATA / name}; EMOAUG_TEST_DATA names the folder with real pictures")
    return DATA / name


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(MODEL)


@pytest.fixture(scope="module")
def london(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("aligned") / "london"
    align_folder(read_faces(need("london")), out, AlignSettings(size=64, workers=1, model=MODEL))
    return out


def test_every_studio_portrait_is_found(london):
    table = pd.read_csv(london / "metadata.csv")
    assert len(table) == 164
    assert (table["faces_found"] == 1).all()
    assert len(pd.read_csv(london / "rejected.csv")) == 0


def test_eyes_and_mouths_of_all_portraits_are_in_the_same_place_and_brows_and_chins_inside(london):
    names = pd.read_csv(london / "metadata.csv")["file_name"].tolist()
    meshes = (read_measures(london, names).landmarks[..., :2] + 1) / 2
    apart = np.array([anchor_points(mesh) for mesh in meshes]) - [*EYES, PHILTRUM]
    assert np.linalg.norm(apart, axis=2).max() < 0.05
    lips, brows, chins = meshes[:, 13], meshes[:, [105, 334]], meshes[:, 152]
    assert np.abs(lips.mean(0) - [0.5, 0.70]).max() < 0.02
    assert brows.min() > 0.1
    assert (chins[:, 1] < 1).mean() > 0.9


def test_smile_scores_tell_smiling_from_neutral_portraits(london):
    table = pd.read_csv(london / "metadata.csv")
    measures = read_measures(london, table["file_name"].tolist())
    names = measures.blendshape_names.tolist()
    smile = measures.blendshapes[:, [names.index("mouthSmileLeft"), names.index("mouthSmileRight")]].mean(1)
    happy = (table["label"] == "happy").to_numpy()
    larger = (smile[happy][:, None] > smile[~happy]).mean()  # the area under the ROC curve
    assert larger > 0.93  # some of the smiles are faint


def test_landmarks_agree_with_the_pupils_that_the_set_was_cropped_by(landmarker):
    # The pictures were published with pupils 78 px apart at y = 110.
    pictures = [read_picture(path) for path in sorted((need("london") / "neutral").iterdir())]
    pupils = np.array([landmarker.detect(picture).landmarks[[468, 473], :2] for picture in pictures])
    apart = np.linalg.norm(pupils[:, 1] - pupils[:, 0], axis=1)
    assert apart.mean() == pytest.approx(78, abs=2)
    assert np.abs(apart - 78).max() < 10
    assert pupils[..., 1].mean() == pytest.approx(110, abs=2.5)


def test_an_aligned_face_is_found_again_where_alignment_put_it(landmarker):
    for path in sorted((need("london") / "smiling").iterdir())[:20]:
        picture = read_picture(path)
        turn = cv2.getRotationMatrix2D((128, 128), 20, 0.7)
        turned = cv2.warpAffine(picture, turn, (256, 256), borderMode=cv2.BORDER_REPLICATE)
        aligned = align_picture(turned, align_matrix(landmarker.detect(turned).landmarks, 128), 128)
        again = landmarker.detect(aligned)
        places = np.array([*EYES, PHILTRUM]) * 128
        np.testing.assert_allclose(anchor_points(again.landmarks), places, atol=6)
        assert abs(again.pose[2]) < 4


def test_straight_open_eyed_half_body_pictures_are_found_at_the_right_place(landmarker):
    folder = need("cmu_faces")
    table = pd.read_csv(folder / "labels.csv").query("pose == 'straight'")
    finds = {path: landmarker.detect(read_picture(folder / path)) for path in table["path"]}
    is_open = (table["eyes"] == "open").to_numpy()
    found = np.array([find is not None for find in finds.values()])
    assert found[is_open].mean() >= 0.99
    assert found[~is_open].mean() >= 0.95
    # A face is about 35 px wide: cheek to cheek of the mesh, well inside the picture.
    widths = [np.ptp(find.landmarks[:, 0]) for find in finds.values() if find]
    assert min(widths) > 25
    assert max(widths) < 60


def test_turned_heads_without_sunglasses_are_mostly_found(landmarker):
    folder = need("cmu_faces")
    table = pd.read_csv(folder / "labels.csv").query("pose != 'straight' and eyes == 'open'")
    found = [landmarker.detect(read_picture(folder / path)) is not None for path in table["path"]]
    assert np.mean(found) >= 0.7


def test_nine_of_ten_web_faces_of_48_pixels_are_found(landmarker):
    with zipfile.ZipFile(need("fer2013.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        sample = [names[i] for i in np.random.default_rng(0).choice(len(names), 300, replace=False)]
        found = [landmarker.detect(decode_picture(archive.read(name))) is not None for name in sample]
    assert np.mean(found) >= 0.9


def test_scrambled_faces_are_hardly_ever_found(landmarker):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(need("fer2013.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        found = 0
        for i in rng.choice(len(names), 100, replace=False):
            picture = decode_picture(archive.read(names[i]))
            tiles = [picture[y : y + 12, x : x + 12] for y in range(0, 48, 12) for x in range(0, 48, 12)]
            order = rng.permutation(16)
            rows = [np.hstack([tiles[order[4 * row + column]] for column in range(4)]) for row in range(4)]
            found += landmarker.detect(np.vstack(rows)) is not None
    assert found <= 6
