import os
import time
import zipfile
from pathlib import Path

import pytest

from augment.folders import read_faces
from pipelines.audit import audit

DATA = Path(os.environ.get("EMOAUG_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real pictures in {DATA}; set EMOAUG_TEST_DATA"),
]


def test_london_reads_as_82_people_with_two_faces_each():
    faces = read_faces(DATA / "london")
    assert len(faces) == 164
    assert faces.vocabulary == ("neutral", "happy")
    assert faces.notes == ("82 'smiling' read as happy",)
    assert len(faces.rejected) == 0
    found = audit(faces, progress=False)
    assert (found.subjects, found.pictures_per_subject) == (82, (2, 2, 2))
    assert found.sizes == {"256x256": 164}
    # Aligned studio portraits are the hard case: no two people may pass for one picture.
    assert found.near_duplicates.count == found.exact_duplicates.count == 0


def test_cmu_faces_reads_as_16_people_in_grey():
    faces = read_faces(DATA / "cmu_faces")
    assert set(faces.table["pose"]) == {"left", "right", "straight", "up"}
    found = audit(faces, progress=False)
    assert found.by_class == {"neutral": 127, "happy": 124, "sad": 124, "angry": 125}
    assert (found.pictures, found.subjects, found.grey) == (500, 16, 500)
    assert found.near_duplicates.count == found.exact_duplicates.count == 0


def unpack(target: Path, part: str) -> Path:
    with zipfile.ZipFile(DATA / "fer2013.zip") as archive:
        archive.extractall(target, [name for name in archive.namelist() if part in name])
    return target


def test_fer2013_disgust_has_duplicates_across_its_splits(tmp_path):
    found = audit(read_faces(unpack(tmp_path, "/disgust/")), progress=False)
    assert found.by_split == {"train": {"disgust": 436}, "test": {"disgust": 56}}
    assert found.exact_duplicates.count > 20
    assert 0 < found.exact_across_splits.count <= found.exact_duplicates.count


@pytest.mark.slow
def test_fer2013_has_its_known_faults(tmp_path):
    unpack(tmp_path, "")
    start = time.perf_counter()
    faces = read_faces(tmp_path)
    assert time.perf_counter() - start < 5
    found = audit(faces, progress=False)
    assert found.pictures == 32_298
    assert found.by_split["train"] == {
        **{"neutral": 4965, "happy": 7215, "sad": 4830, "surprise": 3171},
        **{"fear": 4097, "disgust": 436, "angry": 3995},
    }
    assert (found.exact_duplicates.count, found.superfluous_copies) == (1273, 1532)
    assert found.exact_across_splits.count == 270
    assert found.contradicting_labels.count == 47
    assert 1_500 < found.near_duplicates.count < 2_000
