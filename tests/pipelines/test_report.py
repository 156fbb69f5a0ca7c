"""The report of a gain trial."""

import base64
import itertools
import json
import os
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pandas as pd
import pytest

from augment.folders import read_faces
from augment.pictures import decode_picture, encode_png, write_bytes
from classifiers import comparison
from classifiers.evaluation import evaluate
from classifiers.training import ClassifierSettings
from emoaug import EmoaugError
from pipelines.gain import run_gain, trial_table
from pipelines.report import write_report
from pipelines.trials import GainSettings

EVIL = "&lt;b&gt;&amp;'"
"""A class whose name would be markup if it were not escaped."""
VOID = {"meta", "img", "br", "link", "hr", "input"}
SETTINGS = GainSettings(
    arms=("real", "classical"),
    folds=2,
    seeds=1,
    size=32,
    workers=1,
    classifier=ClassifierSettings(steps=3, batch_size=8),
)


def draw_face(happy, generator, side=32):
    """A head, two eyes and a mouth that bends up or down, before a background of its own, uint8 RGB (side, side, 3)."""
    picture = generator.integers(0, 255, (side, side, 3), dtype=np.uint8)
    centre = (side // 2 + int(generator.integers(-2, 3)), side // 2)
    skin = tuple(int(value) for value in generator.integers(90, 170, 3))
    cv2.ellipse(picture, centre, (11, 14), 0, 0, 360, skin, -1)
    for x in (-5, 5):
        cv2.circle(picture, (centre[0] + x, centre[1] - 4), 1, (20, 20, 20), -1)
    angles = (0, 180) if happy else (180, 360)
    cv2.ellipse(picture, (centre[0], centre[1] + (5 if happy else 9)), (6, 3), 0, *angles, (20, 20, 20), 1)
    return picture


def draw_dataset(folder, label="sad", count=40, side=32):
    """Two classes of faces, four of each person."""
    generator, rows = np.random.default_rng(0), []
    for i in range(count):
        happy = i % 2 == 0
        name = f"faces/{i:03}.png"
        write_bytes(folder / name, encode_png(draw_face(happy, generator, side)))
        rows.append({"file_name": name, "label": "happy" if happy else label, "subject": f"person {i // 4}"})
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    return read_faces(folder, vocabulary=("happy", label))


def write_run(out, faces, arms=("real", "classical", "lssl"), folds=2, seeds=2, lost_source=False, labels=("all",)):
    """A run's folder as the trials leave it: lssl is 20 points better than classical in every trial, give or take."""
    generator, rows, truth = np.random.default_rng(1), [], faces.label_indices()
    people = np.unique(faces.table.subject, return_inverse=True)[1]
    for count, seed, fold, arm in itertools.product(labels, range(seeds), range(folds), arms):
        right = {"real": 25, "classical": 28, "lssl": 36}[arm] + (fold + seed) % 2 * (arm == "lssl")
        # Everybody's first faces are right, then everybody's second ones, and so on.
        predicted = np.where(np.arange(len(truth)) % 4 * 10 + np.arange(len(truth)) // 4 < right, truth, 1 - truth)
        row = {"arm": arm, "labels": count, "fold": fold, "seed": seed, "train_faces": 20, "seconds": 60.0}
        row |= {"system_seconds": 120.0 * (arm == "lssl"), "tuning_seconds": 0.0}
        row |= {"synthetic_faces": 4 * (arm == "lssl"), "choice": {"settings": {"learning_rate": 0.002}}}
        row |= {"scores": evaluate(np.eye(2)[predicted], truth, 2).to_dict()}
        name = f"fold{fold}-seed{seed}-{count}-{arm}"
        write_bytes(out / "trials" / f"{name}.json", json.dumps(row).encode())
        np.savez(out / "trials" / f"{name}.npz", probabilities=np.eye(2)[predicted], labels=truth, units=people)
        rows.append(row)
        if arm == "lssl":
            write_synthetic(out / "synthetic" / name, faces, generator, lost_source)
    finding = {"count": 1, "pictures": 2, "examples": [["faces/<i>.png", "faces/001.png"]]}
    audit = {"pictures": len(faces), "by_class": {"happy": 20}, "exact_duplicates": finding, "notes": []}
    write_bytes(out / "audit.json", json.dumps(audit).encode())
    run = {
        "folds": [{"number": i, "seed": 0, "train": 20, "test": 20, "sha256": f"{i}" * 64} for i in range(folds)],
        "versions": {"emoaug": "9.8.7"},
        "units": "people",
        "caveats": ["Who is shown is unknown."],
        "notes": ["3 training faces are left out."],
    }
    write_bytes(out / "run.json", json.dumps(run).encode())
    return trial_table(rows, faces.vocabulary)


def write_synthetic(folder, faces, generator, lost_source):
    """Four synthetic faces of sources that have the other expression."""
    rows = []
    for i in range(4):
        happy = i % 2 == 0
        name = f"{i}.png"
        write_bytes(folder / name, encode_png(draw_face(happy, generator)))
        # A source is named as in its dataset, or by the way from the synthetic folder to it.
        source = faces.table.file_name[i + 1] if i < 2 else os.path.relpath(faces.path(i + 1), folder)
        rows.append(
            {
                "file_name": name,
                "label": faces.vocabulary[i % 2],
                "is_synthetic": True,
                "source_file": "../../nowhere.png" if lost_source else source,
                "source_label": faces.vocabulary[1 - i % 2],
            }
        )
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "REPEATS", 300)
        yield


class Page(HTMLParser):
    """A page's tags, attributes and text; fails where tags do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text.append(" " if tag in ("td", "th", "p", "h2", "caption") else "")

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def words(self):
        return " ".join("".join(self.text).split())

    def pictures(self):
        """Decoded pictures with their alternative texts."""
        kept = [image for image in self.all("img") if image["src"].startswith("data:image/png;base64,")]
        return [(decode_picture(base64.b64decode(i["src"].split(",")[1])), i["alt"]) for i in kept]

    def plots(self):
        """SVG documents."""
        sources = [image["src"] for image in self.all("img")]
        return [
            base64.b64decode(s.split(",")[1]).decode() for s in sources if s.startswith("data:image/svg+xml;base64,")
        ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report on two plain arms and one system, with a class whose name is markup."""
    folder = tmp_path_factory.mktemp("run")
    faces = draw_dataset(folder / "data", EVIL)
    trials = write_run(folder / "out", faces)
    text = write_report(faces, trials, folder / "out", GainSettings())
    return faces, trials, folder / "out", text, (folder / "out" / "report" / "index.html").read_text(encoding="utf-8")


def test_the_terminal_gets_the_verdict_the_arms_and_where_the_report_is(written):
    _, _, out, text, _ = written
    assert text.startswith("With all labels lssl changes macro F1 by +")
    assert "4 paired trials): helps." in text.splitlines()[0]
    table = [line.split() for line in text.splitlines()[2:]]
    assert {"real", "classical", "lssl"} <= {cells[1] for cells in table if len(cells) > 1}
    assert text.endswith(str(out / "report" / "index.html"))


def test_the_page_is_whole_and_begins_with_the_verdict(written):
    *_, text, html = written
    page = Page(html)
    sentence = text.splitlines()[0]
    assert sentence in page.words()
    assert page.words().index(sentence) < page.words().index("Who is shown is unknown.")
    assert page.words().index("Who is shown is unknown.") < page.words().index("Scores")
    for heading in ("Differences", "Which expressions gain", "What is taken for what", "Samples", "Data", "Settings"):
        assert heading in page.words()


def test_the_page_asks_for_nothing_from_elsewhere(written):
    page, html = Page(written[-1]), written[-1]
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert not page.all("script")
    assert not page.all("link")
    assert "@import" not in html
    assert "url(" not in html
    for plot in page.plots():
        assert not re.search(r'(src|href)="(?!#)', plot)
        assert not re.search(r"url\((?!#)", plot)


def test_what_comes_from_the_data_is_text_and_never_markup(written):
    html = written[-1]
    page = Page(html)
    assert EVIL in page.words()
    assert "faces/<i>.png" in page.words()
    assert not page.all("b")
    assert not page.all("i")
    assert EVIL not in html


def test_every_picture_has_an_alternative_text_and_every_table_a_caption(written):
    page = Page(written[-1])
    assert all(image["alt"].strip() for image in page.all("img"))
    assert len(page.all("table")) == len(page.all("caption")) > 5
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))


def test_there_are_three_plots_and_no_class_name_is_read_as_a_formula(tmp_path):
    faces = draw_dataset(tmp_path / "data", "sad $^2$")
    trials = write_run(tmp_path / "out", faces)
    write_report(faces, trials, tmp_path / "out", GainSettings())
    page = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8"))
    assert len(page.plots()) == 3
    # matplotlib writes the text that it drew as a comment beside the outlines.
    assert any("<!-- sad $^2$ -->" in plot for plot in page.plots())


def test_confusions_are_summed_over_the_trials_and_shares_of_the_row(written):
    page = Page(written[-1])
    words = page.words()
    # Of everybody's four faces, happy and the other in turn, real gets two right, and of half the people a third.
    start = words.index("real: how the test faces")
    real = words[start : words.index("how the test faces", start + 10)]
    assert "happy 75 25 80" in real
    assert f"{EVIL} 50 50 80" in real


def test_pairs_show_the_source_left_and_the_synthetic_face_right(written):
    faces, _, out, _, html = written
    pairs = [(picture, alt) for picture, alt in Page(html).pictures() if "Source and synthetic" in alt]
    assert len(pairs) == 12
    sources = [faces.picture(i) for i in range(4 + 1)]
    folders = list((out / "synthetic").iterdir())
    made = [read_faces(folder, vocabulary=faces.vocabulary) for folder in folders]
    faces_made = [table.picture(i) for table in made for i in range(4)]
    for picture, alt in pairs:
        left, right = picture[:, :32], picture[:, -32:]
        source = next(i for i, other in enumerate(sources) if np.array_equal(left, other))
        assert any(np.array_equal(right, other) for other in faces_made)
        wanted = faces.table.label[source + 1]
        assert alt.endswith(f"{faces.table.label[source]} → {wanted}")


def test_faces_that_were_left_out_are_said_to_be(tmp_path):
    faces = draw_dataset(tmp_path / "data")
    trials = write_run(tmp_path / "out", faces, arms=("real", "lssl"))
    folders = sorted((tmp_path / "out" / "synthetic").iterdir())
    for folder in folders:
        write_bytes(folder.with_name(f"{folder.name}.json"), json.dumps({"kept": [1]}).encode())
    write_report(faces, trials, tmp_path / "out", GainSettings())
    page = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8"))
    captions = [alt for _, alt in page.pictures() if "Source and synthetic" in alt]
    assert f"of which {len(folders)} were learnt from" in page.words()
    assert sum("left out" not in caption for caption in captions) <= len(folders)
    assert any("left out" in caption for caption in captions)


def test_real_samples_are_faces_of_the_dataset_with_their_labels(written):
    faces, html = written[0], written[-1]
    shown = [(picture, alt) for picture, alt in Page(html).pictures() if alt.startswith("Real face, ")]
    assert len(shown) == 12
    for picture, alt in shown:
        labels = [faces.table.label[i] for i in range(len(faces)) if np.array_equal(faces.picture(i), picture)]
        assert alt.removeprefix("Real face, ") in labels


def test_large_pictures_are_scaled_down_on_the_sheet(tmp_path):
    faces = draw_dataset(tmp_path / "data", count=8, side=300)
    trials = write_run(tmp_path / "out", faces, arms=("real",))
    write_report(faces, trials, tmp_path / "out", GainSettings())
    pictures = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")).pictures()
    assert {picture.shape for picture, _ in pictures} == {(128, 128, 3)}


def test_a_source_outside_the_dataset_is_not_shown(tmp_path):
    faces = draw_dataset(tmp_path / "data")
    write_bytes(tmp_path / "out" / "nowhere.png", encode_png(np.zeros((32, 32, 3), np.uint8)))
    trials = write_run(tmp_path / "out", faces, lost_source=True)
    write_report(faces, trials, tmp_path / "out", GainSettings())
    page = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8"))
    pairs = [(picture, alt) for picture, alt in page.pictures() if "Source and synthetic" in alt]
    assert all(picture.shape == (32, 32, 3) for picture, _ in pairs)
    assert all("source not in the dataset" in alt for _, alt in pairs)


def test_a_run_whose_synthetic_faces_were_removed_still_has_its_report(tmp_path):
    faces = draw_dataset(tmp_path / "data")
    trials = write_run(tmp_path / "out", faces)
    for path in sorted((tmp_path / "out" / "synthetic").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for name in ("run.json", "audit.json"):
        (tmp_path / "out" / name).unlink()
    write_report(faces, trials, tmp_path / "out", GainSettings())
    page = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8"))
    assert "no longer in the run's folder" in page.words()


def test_a_picture_that_cannot_be_read_is_named_and_stops_nothing(tmp_path):
    faces = draw_dataset(tmp_path / "data", count=8)
    faces.path(3).write_bytes(b"no picture")
    trials = write_run(tmp_path / "out", faces, arms=("real",))
    write_report(faces, trials, tmp_path / "out", GainSettings())
    page = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8"))
    assert "cannot be shown" in page.words()
    assert "003.png" in page.words()


def test_a_damaged_trial_is_an_error_that_says_what_to_do(tmp_path):
    faces = draw_dataset(tmp_path / "data", count=8)
    trials = write_run(tmp_path / "out", faces, arms=("real",))
    (tmp_path / "out" / "trials" / "fold0-seed0-all-real.json").write_text("{")
    with pytest.raises(EmoaugError, match=r"fold0-seed0-all-real\.json is damaged .* remove it"):
        write_report(faces, trials, tmp_path / "out", GainSettings())


def test_settings_versions_folds_audit_and_minutes_are_there(written):
    words = Page(written[-1]).words()
    assert "classifier.steps 1000" in words
    assert "labels_per_class all" in words
    assert "emoaug 9.8.7" in words
    assert "1" * 64 in words
    assert "3 training faces are left out." in words
    assert "What each arm chose" not in words
    assert "exact duplicates 1 (2 pictures)" in words
    # Four trials of three arms of a minute each, and two minutes for the system of each of lssl's.
    assert "20.0 minutes were spent" in words


def test_several_numbers_of_labels_give_a_curve_and_a_verdict_each(tmp_path):
    faces = draw_dataset(tmp_path / "data")
    trials = write_run(tmp_path / "out", faces, labels=("5", "25"))
    text = write_report(faces, trials, tmp_path / "out", GainSettings(labels_per_class=("5", "25"), tuning="small"))
    page = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8"))
    assert [line.split(" lssl")[0] for line in text.splitlines()[:2]] == [
        "With 5 labels a class",
        "With 25 labels a class",
    ]
    # A curve, the scores twice, the differences, the gains of the expressions twice.
    assert len(page.plots()) == 6
    assert any("labelled faces of each class" in plot for plot in page.plots())
    assert "What each arm chose" in page.words()
    assert '{"learning_rate": 0.002}: 4' in page.words()
    assert "lssl, 25 labels a class: how the test faces" in page.words()


def test_results_and_verdict_are_files_that_other_programs_read(written):
    _, trials, out, text, _ = written
    read = pd.read_csv(out / "results.csv")
    pd.testing.assert_frame_equal(read, trials, check_dtype=False)
    saved = json.loads((out / "verdict.json").read_text(encoding="utf-8"))
    assert saved["comparisons"][0]["outcome"] == "helps"
    assert saved["sentences"] == [text.splitlines()[0]]


def test_the_same_run_gives_the_same_report(written):
    faces, trials, out, _, html = written
    write_report(faces, trials, out, GainSettings())
    assert (out / "report" / "index.html").read_text(encoding="utf-8") == html


@pytest.mark.parametrize(("arms", "folds", "seeds"), [(("real",), 1, 1), (("lssl",), 2, 1), (("real", "lssl"), 1, 1)])
def test_a_run_too_small_for_a_verdict_has_a_report_that_says_so(tmp_path, arms, folds, seeds):
    faces = draw_dataset(tmp_path / "data", count=40)
    trials = write_run(tmp_path / "out", faces, arms, folds, seeds)
    text = write_report(faces, trials, tmp_path / "out", GainSettings())
    page = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8"))
    assert "cannot tell" in text
    assert "cannot tell" in page.words()


def test_real_trials_have_a_report(tmp_path):
    faces = draw_dataset(tmp_path / "data")
    trials = run_gain(faces, tmp_path / "out", SETTINGS)
    text = write_report(faces, trials, tmp_path / "out", SETTINGS)
    page = Page((tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8"))
    assert len(trials) == 4
    assert text.startswith("With all labels classical changes macro F1 by ")
    assert "2 paired trials" in text.splitlines()[0]
    assert text.splitlines()[0] in page.words()
    run = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert all(fold["sha256"] in page.words() for fold in run["folds"])
    assert "What the audit found" in page.words()
