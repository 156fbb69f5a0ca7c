"""Plans and output folders."""

import json
import shutil

import pytest

from augment.generation import GenerateSettings, generate
from augment.plans import PlanSettings, build_plan
from emoaug import EmoaugError
from tests.augment.tiny_translator import EXPRESSIONS, tiny_translator


@pytest.mark.parametrize(
    "condition",
    [
        *('{"happy": NaN}', '{"happy": Infinity}', '{"happy": -0.1}', '{"happy": 1.01}', '{"happy": "1"}'),
        *('{"happy": true}', '{"happy": [1]}', '{"angry": 1}', "[1]", "1", "null", "", "{", "[" * 100_000),
    ],
)
def test_a_condition_that_is_no_share_of_known_expressions_is_refused(faces, folder, condition):
    plan = build_plan(faces, EXPRESSIONS, PlanSettings())
    plan.loc[0, "condition"] = condition
    with pytest.raises(EmoaugError, match="condition"):
        generate(faces, tiny_translator(), plan, folder / "out", GenerateSettings(device="cpu", threads=1), {})
    assert not (folder / "out").exists()


def test_a_link_in_the_output_folder_is_not_written_through(faces, folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plan, out = build_plan(faces, EXPRESSIONS, PlanSettings()), folder / "out"
    arguments = (faces, tiny_translator(), plan, out, GenerateSettings(device="cpu", threads=1), {})
    generate(*arguments)
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(run | {"finished": False}))
    shutil.rmtree(out / "sad")
    (out / "sad").symlink_to(elsewhere)
    with pytest.raises(EmoaugError, match="link that leaves the folder"):
        generate(*arguments)
    assert list(elsewhere.iterdir()) == []


def test_a_lock_that_is_a_link_does_not_empty_another_file(faces, folder):
    (folder / "thesis.txt").write_text("years of work")
    (folder / "out").mkdir()
    (folder / "out" / ".lock").symlink_to(folder / "thesis.txt")
    plan = build_plan(faces, EXPRESSIONS, PlanSettings())
    with pytest.raises(EmoaugError, match="cannot write to"):
        generate(faces, tiny_translator(), plan, folder / "out", GenerateSettings(device="cpu", threads=1), {})
    assert (folder / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("label", ["../owned", "a/b", "..", "a\\b", "nul\0", ".hidden", ""])
def test_labels_that_leave_the_folder_are_refused_by_generate(faces, folder, label):
    plan = build_plan(faces, EXPRESSIONS, PlanSettings())
    plan["target"] = label
    with pytest.raises(EmoaugError):
        generate(faces, tiny_translator(), plan, folder / "out", GenerateSettings(device="cpu", threads=1), {})
    assert sorted(path.name for path in folder.iterdir()) == ["faces"]


def test_the_watch_sees_what_it_is_there_for(folder, tmp_path, watch_seen):
    (tmp_path / "outside.txt").write_text("")
    assert [text.split()[0] for text in watch_seen] == ["wrote"]
    watch_seen.clear()
