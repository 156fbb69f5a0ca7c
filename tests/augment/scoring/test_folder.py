"""A folder's faces are scored, also in parts, and filtered, also back."""

import json

import numpy as np
import pandas as pd
import pytest

from augment.folders import read_faces, write_metadata
from augment.runs import read_lines
from augment.scoring import folder as folder_module
from augment.scoring.filtering import filter_folder
from augment.scoring.folder import ScoreSettings, score_folder
from augment.scoring.reference import SCORES
from augment.scoring.rules import read_rules
from augment.scoring.summary import SHEET, summary, write_sheet
from augment.verification import verify
from emoaug import EmoaugError
from tests.augment.scoring.made_folder import make_folder, two_judges

NO_LANDMARKS = ScoreSettings(landmarks=False)


@pytest.fixture
def made(tmp_path):
    return make_folder(tmp_path)


def table(folder):
    return pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False)


def test_every_made_face_gets_its_scores_and_nothing_else_changes(made):
    folder, real = made
    before = table(folder)
    found = score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    after = table(folder)
    names = [name for name in before if name not in ("scores", "accepted", "reject_reason")]
    pd.testing.assert_frame_equal(after[names], before[names])
    cells = [json.loads(text) for text in after["scores"][:-1]]
    assert after["scores"].iloc[-1] == ""
    assert all(set(SCORES) <= set(cell) for cell in cells)
    assert cells[0]["movement"] is None
    for cell, row in zip(cells, found.scores.to_dict("records"), strict=True):
        assert cell["sharpness"] == row["sharpness"]


def test_a_face_is_judged_by_the_judge_that_has_not_seen_its_source(made):
    folder, real = made
    found = score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    happy = real.vocabulary.index("happy")
    person = [int(subject.removeprefix("person")) % 2 for subject in found.made.column("subject")]
    expected = [(0.25, 0.75)[fold] if happy == 0 else 1 - (0.25, 0.75)[fold] for fold in person]
    assert found.scores["label_probability"].tolist() == expected


def test_a_face_with_the_look_of_an_exemplar_is_judged_by_the_judge_that_has_not_seen_that(made):
    folder, real = made
    rows = table(folder)
    name, person = real.table[["file_name", "subject"]].iloc[0]
    rows["exemplar_file"] = name
    write_metadata(folder, rows)
    found = score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    fold = int(person.removeprefix("person")) % 2
    happy = real.vocabulary.index("happy")
    expected = (0.25, 0.75)[fold] if happy == 0 else 1 - (0.25, 0.75)[fold]
    assert found.scores["label_probability"].tolist() == [expected] * len(found.made)


def test_blur_repeats_and_halves_are_what_the_scores_show(made):
    folder, real = made
    scores = score_folder(folder, real, two_judges(real), NO_LANDMARKS).scores
    assert scores["sharpness"].idxmin() == len(scores) - 3
    assert scores["nearest_sibling"].idxmin() == len(scores) - 2
    assert scores["nearest_sibling"].iat[-2] < 1e-3
    assert scores["nearest_sibling_file"].iat[-2] == "happy/made02.png"
    assert np.isnan(scores["nearest_sibling"].iat[0])
    assert scores["nearest_sibling"].iat[2] > 2  # the first of the two stays
    assert scores["evenness"].idxmin() == len(scores) - 1
    assert (scores["identity"].iloc[:-3] > 0.8).all()


def test_a_source_with_the_looks_of_two_exemplars_is_not_compared_with_itself(made):
    folder, real = made
    rows = table(folder)
    rows["exemplar_file"] = [f"happy/exemplar{i}.png" for i in range(len(rows))]
    write_metadata(folder, rows)
    scores = score_folder(folder, real, two_judges(real), NO_LANDMARKS).scores
    assert scores["nearest_sibling"].iat[-2] > 1
    assert scores["nearest_sibling_file"].iat[-2] != "happy/made02.png"


def test_scoring_goes_on_where_it_stopped_and_does_nothing_when_done(made, monkeypatch):
    folder, real = made
    monkeypatch.setattr(folder_module, "_CHUNK", 4)
    whole = score_folder(folder, real, two_judges(real), NO_LANDMARKS).scores
    (folder / "scores.json").unlink()
    scored = []

    class Stop(Exception):
        pass

    true_score = folder_module.Reference.score

    def score(self, pixels, asked):
        if (asked.itself < 0).any():
            scored.append(len(asked))
            if len(scored) == 2:
                raise Stop
        return true_score(self, pixels, asked)

    monkeypatch.setattr(folder_module.Reference, "score", score)
    with pytest.raises(Stop):
        score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    record = folder / ".scores.jsonl"
    assert len(list(read_lines(record))) == 1
    with record.open("ab") as file:
        file.write(b'\n{"identity": "torn')
    scored[:] = [0, 0]
    again = score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    assert sum(scored) == len(whole) - 4
    pd.testing.assert_frame_equal(again.scores, whole)
    assert not record.exists()
    assert score_folder(folder, real, two_judges(real), NO_LANDMARKS).already_done
    assert sum(scored) == len(whole) - 4


def test_rejected_faces_leave_the_classes_and_come_back_with_another_filter(made):
    folder, real = made
    found = score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    limit = float(np.sort(found.scores["sharpness"])[0])
    rules = read_rules([f"sharpness >= {limit + 1e-4:.5f}", "nearest_sibling >= 1", "movement >= 0.5"])
    filtered = filter_folder(found, rules)
    rejected = ["happy/made09.png", "happy/made10.png"]
    assert verify(folder).problems == ()
    rows = table(folder)
    assert rows.loc[rows["accepted"] == "False", "file_name"].tolist() == rejected
    assert rows.loc[rows["accepted"] == "False", "reject_reason"].str.contains("rule: >=").all()
    kept = read_faces(folder)
    assert not set(rejected) & set(kept.table["file_name"])
    assert sorted(p.name for p in (folder.parent / "made-rejected" / "happy").iterdir()) == ["made09.png", "made10.png"]
    assert filtered.table.loc["happy", ["made", "kept"]].tolist() == [12, 10]
    assert "no made face has this score" in str(filtered)
    again = score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    assert again.already_done
    filter_folder(again, read_rules(["identity >= 0"]))
    assert verify(folder).problems == ()
    assert (table(folder)["accepted"][:12] == "True").all()
    assert not table(folder)["reject_reason"].any()


def test_a_filter_that_leaves_nothing_says_so(made):
    folder, real = made
    found = score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    filtered = filter_folder(found, read_rules(["evenness >= 0.6"]))
    assert filtered.empty == ("happy",)
    assert 'WARNING: no made face of "happy" is left' in str(filtered)
    assert verify(folder).problems == ()


def test_the_summary_names_every_score_and_the_sheet_shows_the_rejected(tmp_path):
    folder, real = make_folder(tmp_path, subjects=16)
    found = score_folder(folder, real, two_judges(real), NO_LANDMARKS)
    filter_folder(found, read_rules(["nearest_sibling >= 1"]))
    write_sheet(found)
    said = summary(found)
    for word in ("happy, made", "neutral, real", "sharpness", "kernel distance", "coverage", "real halves", "50.0%"):
        assert word in said
    assert "movement upper" not in said
    assert (folder / SHEET).stat().st_size > 1000
    assert verify(folder).problems == ()


def test_a_folder_without_made_faces_is_one_line(tmp_path, made):
    _, real = made
    with pytest.raises(EmoaugError, match="no column is_synthetic"):
        score_folder(real.root, real, two_judges(real), NO_LANDMARKS)
    with pytest.raises(EmoaugError, match="emoaug generate wrote"):
        score_folder(tmp_path, real, two_judges(real), NO_LANDMARKS)


def test_a_name_that_leaves_the_folder_is_not_followed(made):
    folder, real = made
    rows = table(folder)
    (folder.parent / "secret.png").write_bytes((folder / "happy" / "made00.png").read_bytes())
    rows.loc[0, "file_name"] = "../secret.png"
    rows.to_csv(folder / "metadata.csv", index=False)
    with pytest.raises(EmoaugError, match="no such picture"):
        score_folder(folder, real, two_judges(real), NO_LANDMARKS)
