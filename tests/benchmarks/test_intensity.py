"""What the benchmark of intensities asks for, whom it asks, and how it counts."""

import numpy as np
import pytest
import torch

from augment.action_units import BLENDSHAPE_NAMES
from augment.folders import read_faces
from augment.landmarker import FaceLandmarker
from benchmarks.intensity import Scores, ask_for, rank_correlation, table, unseen
from emoaug import EmoaugError
from tests.augment.drawn_face import draw_face, model_path
from tests.augment.tiny_translator import Mover, TinySettings, tiny_translator
from tests.drawn_dataset import draw_dataset


def test_an_expression_grows_out_of_what_the_face_shows():
    tiny = tiny_translator()
    own = tiny.condition(["neutral", "sad"])
    torch.testing.assert_close(ask_for(tiny, own, "happy", 0.25), torch.tensor([[0.25, 0.75, 0.0], [0.25, 0.0, 0.75]]))
    blend = ask_for(tiny, own, "happy+sad", 1.0)
    torch.testing.assert_close(blend, torch.tensor([[0.5, 0.0, 0.5]] * 2))


def test_a_movement_changes_alone_and_a_named_expression_as_a_whole():
    mover = Mover(("jawOpen", "mouthSmile"), TinySettings())
    mover.named_conditions = {"happy": (0.2, 0.8)}
    own = torch.tensor([[0.4, 0.1], [0.0, 0.3]])
    torch.testing.assert_close(ask_for(mover, own, "mouthSmile", 0.6), torch.tensor([[0.4, 0.6], [0.0, 0.6]]))
    torch.testing.assert_close(ask_for(mover, own, "happy", 0.5), torch.tensor([[0.3, 0.45], [0.1, 0.55]]))
    assert own[0, 1] == 0.1


def test_only_people_and_splits_that_the_system_has_not_seen_are_asked(tmp_path):
    draw_dataset(tmp_path, subjects=4)
    faces = read_faces(tmp_path)
    config = {"extra": {"training_data": {"subjects": ["person00", "person02"]}}}
    assert set(unseen(faces, config).table.subject) == {"person01", "person03"}
    faces.table["subject"] = None
    with pytest.raises(EmoaugError, match="has not seen"):
        unseen(faces, config)
    faces.table.loc[:1, "split"] = "test"
    assert len(unseen(faces, config)) == 2


def test_rank_correlation_counts_faces_that_were_found():
    asked, shown = np.array([0.0, 0.2, 0.4, 0.6, 1.0]), np.array([0.1, np.nan, 0.2, 0.25, 0.9])
    assert rank_correlation(asked, shown) == 1
    assert rank_correlation(asked, np.full(5, np.nan)) is None
    assert rank_correlation(asked, np.zeros(5)) is None


def test_scores_are_what_the_landmarker_sees_and_missing_without_a_face():
    landmarker = FaceLandmarker(model_path())
    pictures = [np.full((96, 96, 3), 128, np.uint8), draw_face(256, smile=1.0)]
    scores, seen = Scores.of(landmarker, pictures), landmarker.detect(pictures[1])
    assert scores.found.tolist() == [False, True]
    smile = [seen.blendshapes[BLENDSHAPE_NAMES.index(f"mouthSmile{side}")] for side in ("Left", "Right")]
    assert scores.columns["mouthSmile"][1] == pytest.approx(np.mean(smile))
    assert scores.columns["AU12"][1] == pytest.approx(scores.columns["mouthSmile"][1], abs=1e-6)


def test_the_table_shows_what_is_unknown_as_a_dash():
    row = {"asked": "happy", "score": "jawOpen", "spearman": None, "spearman_in_a_face": 0.5, "found": 0.25}
    result = {"system": "lssl", "faces": 3, "sources_found": 1.0, "ramps": [row | {"mean_score": [0.1, None]}]}
    exemplars = {"found": 0.9, "spearman": {"jawOpen": {"asked": 0.7, "source": None}}}
    text = table(result | {"exemplars": exemplars})
    assert [line.split() for line in text.splitlines()[2:3]] == [["happy", "jawOpen", "-", "0.50", "25%", "0.10", "-"]]
    assert text.splitlines()[-1].split() == ["jawOpen", "0.70", "-"]
