"""The report of a gain trial: one HTML file that needs nothing beside it, a table of the results, the verdict."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from augment.folders import FaceTable, read_faces
from augment.pictures import encode_png, write_text
from emoaug import EmoaugError
from pipelines.arms import REFINED, SIMULATED, get_arm
from pipelines.outcomes import file_name, keys_of, read_tallies
from pipelines.plots import class_plot, curve_plot, difference_plot, score_plot
from pipelines.trials import trial_name
from pipelines.verdict import Verdict, arm_rows, arm_table, percent, points, verdict

if TYPE_CHECKING:
    from pipelines.trials import GainSettings

SAMPLES = 12
"""Real faces, and pairs of each kind of synthetic faces, on the sample sheets."""
SAMPLE_SIDE = 128
"""Longest side of a sample, pixels; larger pictures are scaled down to it."""
SAMPLE_SEED = 0
"""Seed of the draw of the samples."""


@dataclass(frozen=True)
class Sample:
    """A picture on a sample sheet."""

    source: str
    """The picture as a data URI, or the reason why there is none."""
    caption: str
    """What is shown."""

    @property
    def shown(self) -> bool:
        """Whether there is a picture."""
        return self.source.startswith("data:")


def write_report(faces: FaceTable, trials: pd.DataFrame, out: Path, settings: GainSettings) -> str:
    """Write `report/index.html`, `results.csv` and `verdict.json`.

    Args:
        faces: the dataset.
        trials: what `pipelines.gain.run_gain` returned.
        out: the run's folder; its trials, synthetic faces, `run.json` and `audit.json` are read where they are there.
        settings: of the run.

    Returns:
        What to print: the verdict, a table of the arms, where the report is.

    Raises:
        EmoaugError: no trials, or a file of the run that is damaged.
    """
    run = _read_json(out / "run.json")
    tallies = read_tallies(out, trials, len(faces.vocabulary))
    found = verdict(trials, tallies, faces.vocabulary, str(run.get("units", "people")))
    write_text(out / "results.csv", trials.to_csv(index=False, lineterminator="\n"))
    write_text(out / "verdict.json", json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    page = out / "report" / "index.html"
    write_text(page, _page(faces, trials, out, settings, found, run))
    return "\n".join([*found.sentences, "", arm_table(found, trials), "", f"look: {page}"])


def _page(
    faces: FaceTable, trials: pd.DataFrame, out: Path, settings: GainSettings, found: Verdict, run: dict[str, Any]
) -> str:
    """Fill the template."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"points": points, "interval": _interval, "percent": percent}
    template = environment.from_string(files("pipelines").joinpath("report.html").read_text(encoding="utf-8"))
    rows, labels = arm_rows(found, trials), list(dict.fromkeys(arm.labels for arm in found.arms))
    best = found.synthetic or found.plain
    by_labels = [[c for c in best if c.labels == name] for name in labels]
    sources = dict.fromkeys(source for arm in found.arms for source in get_arm(arm.arm).sources)
    return template.render(
        verdict=found,
        arms=rows,
        several=len(labels) > 1,
        tuned=settings.tuning != "none",
        minutes=sum(row["minutes"] for row in rows),
        curve_plot=_svg(curve_plot(found.arms)) if len(labels) > 1 else None,
        score_plots={name: _svg(score_plot([a for a in found.arms if a.labels == name])) for name in labels},
        difference_plot=_svg(difference_plot(found.comparisons)) if found.comparisons else None,
        by_class=[{"comparisons": own, "plot": _svg(class_plot(own))} for own in by_labels if own],
        vocabulary=faces.vocabulary,
        confusions=list(_confusions(trials, out, len(faces.vocabulary))),
        real_samples=_real_samples(faces),
        synthetic_samples={source: _pairs(faces, trials, out, source) for source in sources},
        caveats=run.get("caveats", []),
        notes=run.get("notes", []),
        settings=list(_flat(asdict(settings))),
        versions=run.get("versions", {}),
        folds=run.get("folds", []),
        audit=list(_findings(_read_json(out / "audit.json"))),
        faces=len(faces),
        root=faces.root,
        sample_seed=SAMPLE_SEED,
    )


def _interval(interval: Any) -> str:
    """Write an `Interval` in points as "+1.2 (-0.8 to +3.2)"; "no test faces" for None."""
    if interval is None:
        return "no test faces"
    return f"{points(interval.estimate)} ({points(interval.low)} to {points(interval.high)})"


def _read_json(path: Path) -> dict[str, Any]:
    """Read an object from a file of the run; empty where the file is absent."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EmoaugError(f"{path} is damaged ({error}); remove it and give the command again") from None
    return content if isinstance(content, dict) else {}


def _confusions(trials: pd.DataFrame, out: Path, classes: int) -> Iterable[dict[str, Any]]:
    """Sum each arm's confusion matrices over its trials.

    Yields:
        labels, arm, trials, rows: for each true class the number of its faces and its shares by predicted class, per
        cent.
    """
    for (labels, arm), own in trials.groupby(["labels", "arm"], sort=False):
        total, count = np.zeros((classes, classes), dtype=np.int64), 0
        for trial in own.itertuples():
            matrix = _read_json(out / "trials" / f"{file_name(trial)}.json").get("scores", {}).get("confusion")
            if matrix is not None:
                total += np.asarray(matrix, dtype=np.int64)
                count += 1
        if count:
            sums = total.sum(axis=1)
            shares = 100 * total / np.maximum(sums, 1)[:, None]
            rows = [{"faces": int(n), "shares": row} for n, row in zip(sums, shares.tolist(), strict=True)]
            yield {"labels": labels, "arm": arm, "trials": count, "rows": rows}


def _real_samples(faces: FaceTable) -> list[Sample]:
    """Draw real faces at random."""
    real = np.flatnonzero(faces.originals())
    drawn = np.random.default_rng(SAMPLE_SEED).permutation(real)[:SAMPLES].tolist()
    return [Sample(_picture(partial(faces.picture, i)), str(faces.table["label"].iat[i])) for i in drawn]


def _pairs(faces: FaceTable, trials: pd.DataFrame, out: Path, kind: str) -> dict[str, Any]:
    """Draw synthetic faces of one kind at random over all trials, each beside its source.

    Returns:
        count: synthetic faces drawn from; kept: those of them that classifiers learnt from, as far as a record says;
        pairs: samples, the source left and the synthetic face right; rendered: whether there are no sources, the
        people being rendered.
    """
    names = [trial_name(key.fold, key.seed, key.labels, kind) for key in keys_of(trials)]
    if kind == SIMULATED:
        # Trials of one seed may share them.
        names = sorted(path.name for path in (out / "synthetic").glob(f"*-{SIMULATED}"))
    tables, kept, rendered = [], [], kind in (SIMULATED, REFINED)
    for folder in (out / "synthetic" / name for name in dict.fromkeys(names)):
        if (folder / "metadata.csv").is_file():
            tables.append(read_faces(folder, vocabulary=faces.vocabulary))
            record = _read_json(folder.with_name(f"{folder.name}.json"))
            kept.append(set(record.get("kept", range(len(tables[-1])))))
    offsets = np.cumsum([0, *(len(table) for table in tables)])
    places = {(faces.root / name).resolve(): i for i, name in enumerate(faces.table["file_name"])}
    pairs = []
    for drawn in np.random.default_rng(SAMPLE_SEED).permutation(offsets[-1])[:SAMPLES].tolist():
        which = int(np.searchsorted(offsets, drawn, side="right")) - 1
        made, row = tables[which], drawn - int(offsets[which])
        label, entry = made.table["label"].iat[row], made.table.iloc[row]
        source = places.get(_source_path(faces, made, str(entry.get("source_file"))))
        origin = "source not in the dataset" if source is None else entry.get("source_label") or "unknown"
        caption = (str(label) if rendered else f"{origin} → {label}") + ("" if row in kept[which] else ", left out")
        pairs.append(Sample(_picture(partial(_side_by_side, faces, source, made, row)), caption))
    return {"count": int(offsets[-1]), "kept": sum(map(len, kept)), "pairs": pairs, "rendered": rendered}


def _source_path(faces: FaceTable, made: FaceTable, written: str) -> Path:
    """Where a source lies: named from the dataset, or, where the name climbs with "..", from the synthetic folder."""
    return ((made.root if ".." in Path(written).parts else faces.root) / written).resolve()


def _side_by_side(faces: FaceTable, source: int | None, made: FaceTable, row: int) -> np.ndarray:
    """The source, scaled to the side of the synthetic face, a white gap and the synthetic face, uint8 (H, W, 3)."""
    picture = made.picture(row)
    if source is None:
        return picture
    side = picture.shape[0]
    gap = np.full((side, max(2, side // 16), 3), 255, dtype=np.uint8)
    return np.hstack([cv2.resize(faces.picture(source), (side, side), interpolation=cv2.INTER_AREA), gap, picture])


def _picture(read: Callable[[], np.ndarray]) -> str:
    """Read a picture and encode it as a data URI, or say why it cannot be read."""
    try:
        picture = read()
    except (EmoaugError, OSError) as error:
        return str(error)
    scale = SAMPLE_SIDE / picture.shape[0]
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), SAMPLE_SIDE)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode()


def _svg(document: str) -> str:
    """An SVG document as a data URI: as a picture of its own, its names cannot collide with another's."""
    return "data:image/svg+xml;base64," + base64.b64encode(document.encode()).decode()


def _flat(values: dict[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    """Name and text of every setting, nested ones as `classifier.steps`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield before + name, text


def _findings(audit: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """What the audit wrote, as rows.

    Yields:
        name, text, and examples (lines; empty where there are none) of each entry that a person can read.
    """
    for key, value in audit.items():
        row: dict[str, Any] = {"name": key.replace("_", " "), "examples": []}
        if isinstance(value, dict) and {"count", "pictures", "examples"} <= set(value):
            row["text"] = f"{value['count']:,} ({value['pictures']:,} pictures)" if value["count"] else "none"
            row["examples"] = [", ".join(map(str, example)) for example in value["examples"]]
        elif isinstance(value, dict):
            row["text"] = " · ".join(
                f"{k}: {', '.join(f'{n} {c}' for n, c in v.items())}" if isinstance(v, dict) else f"{k} {v}"
                for k, v in value.items()
            )
        elif isinstance(value, list):
            row["text"] = ", ".join(map(str, value)) or "none"
        else:
            row["text"] = "none" if value is None else str(value)
        yield row
