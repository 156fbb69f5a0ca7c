"""Does it matter who is shown? How a checkpoint fares with people of different skin tone, gender or age.

Asks faces of people from whom nothing here has learnt for every other expression, and averages by group what others see
in the results: a judge and an identity embedding that learnt from other people, and MediaPipe. Beside each figure
stands, in brackets, what the same people's own pictures of that expression get: witnesses may see less in one group
than in another, and more than they see there cannot be asked. Prints Markdown, writes all figures as JSON.

Rendered people say who they are in the column `description` of their metadata, others in columns of their own. For the
package's own weights, which learnt from the seeds 0 to 2:

    emoaug simulate --out people --count 2940 --seed 11
    emoaug simulate --out others --count 1400 --seed 12
    python -m benchmarks.groups --people people --others others --out runs/groups
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro

from augment.checkpoints import DEFAULT, load_translator, read_config, trained_people
from augment.devices import make_fabric
from augment.folders import FaceTable, load_faces, read_faces
from augment.identity import train_embedding
from augment.pictures import write_text
from augment.samples import load_floats
from augment.scoring.movement import movements
from augment.training_data import subjects_of
from benchmarks.grouping import Attribute, GroupFigure, compare_groups
from benchmarks.machine import machine
from classifiers.training import ClassifierSettings, train_classifier
from emoaug import EmoaugError
from pipelines.measures import HeldOutFaces, Witnesses, blendshapes_of, changed_by, directions_of

FIGURES = {
    "hit_rate": "judge sees it, %",
    "movement": "movement",
    "identity": "cosine with the source",
    "found": "found by MediaPipe, %",
}
"""What is measured of each result, and the heads of the columns: whether the judge sees what was asked; how far
MediaPipe's scores moved along the difference between the others' mean blendshapes of the two expressions, 1 being as
far; the cosine of source and result under the embedding; whether MediaPipe finds a face."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    people: Path
    """Folder of aligned faces of the people who are asked; their metadata say what they are grouped by."""
    others: Path
    """Folder of aligned faces of other people, from whom the judge and the embedding learn."""
    out: Path
    """Folder for the numbers."""
    by: tuple[str, ...] = ("monk_tone:4,7", "masculine:0.5")
    """Attributes to group by. After a colon stands the first number of the second group, of the third, and so on;
    without one, each value is a group."""
    weights: Path = Path(DEFAULT)
    """The checkpoint; by default the package's own."""
    source: str = "neutral"
    """Expression of the faces that are asked to change."""
    judge: ClassifierSettings = field(default_factory=ClassifierSettings)
    """How the judge is trained."""
    seed: int = 0
    """Of the judge's and the embedding's training."""


def witnesses_of(others: FaceTable, size: int, asked: tuple[str, ...], options: Options) -> Witnesses:
    """Those who look at the results, having learnt from other people."""
    pixels, names = load_faces(others, size), others.vocabulary
    embedding = train_embedding(pixels, subjects_of(others)[0], options.seed)
    judge = train_classifier(pixels, others.label_indices(), len(names), options.judge, options.seed)
    directions = directions_of(others)
    targets = tuple(name for name in asked if (options.source, name) in directions)
    if not targets:
        raise EmoaugError(
            f"{others.root}: no expressions of which faces were measured, beside {options.source}; take a folder "
            "that emoaug simulate or align wrote"
        )
    return Witnesses(names, targets, judge, embedding, directions)


def look(sources: HeldOutFaces, rows: np.ndarray, results: torch.Tensor, target: str) -> pd.DataFrame:
    """What the witnesses see, one row a result.

    Args:
        sources: all faces that are asked, of one expression.
        rows: which of them the results belong to, (M,).
        results: changed faces, or the same people's own pictures of the expression, (M, 3, S, S) in [-1, 1].
        target: what was asked.

    Returns:
        The columns of `FIGURES`.
    """
    w, place = sources.witnesses, torch.from_numpy(rows)
    embedded = sources.embedded
    assert w.embedding is not None
    assert embedded is not None
    before, after = sources.blendshapes[rows], blendshapes_of(w.landmarker, results, f"measuring {target}")
    asked = np.stack([w.directions[label, target] for label in sources.labels[rows]])
    return pd.DataFrame(
        {
            "hit_rate": (w.judge(results).argmax(1) == w.names.index(target)).numpy().astype(float),
            "movement": movements(before, after, asked)[:, 0],
            "identity": (w.embedding(results) * embedded[place]).sum(1).numpy().astype(float),
            "found": np.isfinite(after).all(1).astype(float),
        }
    )


def measure(options: Options) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What the witnesses see of everybody, and what is the same for all groups.

    Returns:
        One row for each result (kind `made`) and each own picture of the expression that was asked (kind `real`):
        person, target, kind, the group by each attribute, and the columns of `look`. And some figures by name.
    """
    translator, people, others = (
        load_translator(options.weights),
        read_faces(options.people),
        read_faces(options.others),
    )
    if both := set(people.table.subject.dropna()) & set(others.table.subject.dropna()):
        raise EmoaugError(f"{len(both)} people are in {options.people} and {options.others} too, such as {min(both)}")
    asked = people.select((people.table.label == options.source).to_numpy())
    if not len(asked):
        raise EmoaugError(f"{options.people}: no face is labelled {options.source}; name another --source")
    names = asked.table.subject.fillna(asked.table.file_name).to_numpy()
    about = pd.DataFrame({"person": names} | {a.name: a.of(asked) for a in map(Attribute.parse, options.by)})
    w = witnesses_of(others, translator.size, translator.condition_names, options)
    numbers = np.unique(names, return_inverse=True)[1]
    sources = HeldOutFaces(load_floats(asked, translator.size), asked.table.label.to_numpy(), numbers, numbers, w)
    change, parts = changed_by(translator, make_fabric("cpu", "32-true")), []
    for target in w.targets:
        everybody = np.arange(len(asked))
        made = look(sources, everybody, change(sources.faces, target), target)
        parts.append(about.join(made).assign(target=target, kind="made"))
        own = people.table.index[people.table.label == target]
        places = {person: row for row, person in zip(own, people.table.subject[own], strict=True)}
        rows = np.array([row for row in everybody if names[row] in places], dtype=np.int64)
        if len(rows):
            pictures = load_floats(people.select([places[names[row]] for row in rows]), translator.size)
            real = look(sources, rows, pictures, target)
            parts.append(about.iloc[rows].reset_index(drop=True).join(real).assign(target=target, kind="real"))
    embedded = sources.embedded
    assert embedded is not None
    apart = torch.from_numpy(numbers[:, None] != numbers)
    return pd.concat(parts, ignore_index=True), {
        "people": int(numbers.max()) + 1,
        "trained_on": len(set(names) & learnt_from(read_config(options.weights))),
        "identity_of_others": float((embedded @ embedded.T)[apart].mean()),
    }


def learnt_from(config: Mapping[str, Any]) -> set[str]:
    """Names of the people that a checkpoint was trained on, without the number that a joined dataset puts before it."""
    return {name for subject in trained_people(config) for name in (subject, subject.partition("-")[2])}


def table(figures: list[GroupFigure]) -> str:
    """A row for each group, in Markdown: means and what their 95 % intervals reach; of own pictures in brackets."""
    lines = [f"| group | people | {' | '.join(FIGURES.values())} |", "|---|---|" + "---|" * len(FIGURES)]
    for attribute, group in dict.fromkeys((f.attribute, f.group) for f in figures):
        own = {f.figure: f for f in figures if (f.attribute, f.group) == (attribute, group)}
        cells = []
        for name in FIGURES:
            made, real = own[name].made, own[name].real
            reach = made.high - made.estimate
            about = f" ± {number(reach, name)}" if np.isfinite(reach) else ""
            cells.append(f"{number(made.estimate, name)}{about} ({number(real.estimate, name)})")
        lines.append(f"| {attribute} {group} | {next(iter(own.values())).people} | {' | '.join(cells)} |")
    return "\n".join(lines)


def targets_table(seen: pd.DataFrame, attributes: list[str], figure: str) -> str:
    """Means of one figure for each group and expression, in Markdown; of own pictures in brackets."""
    targets = list(dict.fromkeys(seen.target))
    lines = [f"| {FIGURES[figure]} | {' | '.join(targets)} |", "|---|" + "---|" * len(targets)]
    for name in attributes:
        means = seen.groupby([name, "target", "kind"], observed=True)[figure].mean()
        for group in means.index.unique(name):
            pairs = [[means.get((group, target, kind), np.nan) for kind in ("made", "real")] for target in targets]
            cells = [f"{number(made, figure)} ({number(real, figure)})" for made, real in pairs]
            lines.append(f"| {name} {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


def number(value: float, figure: str) -> str:
    """A figure, or a difference of figures, as text."""
    if not np.isfinite(value):
        return "-"
    return {"hit_rate": f"{100 * value:.0f}", "found": f"{100 * value:.1f}"}.get(figure, f"{value:.2f}")


def sentences(figures: list[GroupFigure]) -> str:
    """Which groups fare worse than all other people beyond chance, and whether their own pictures do too."""
    lines = []
    for f in figures:
        if f.made_apart.high < 0:
            ends = [number(end, f.figure) for end in (f.made_apart.estimate, f.made_apart.low, f.made_apart.high)]
            own = [number(end, f.figure) for end in (f.real_apart.estimate, f.real_apart.low, f.real_apart.high)]
            lines.append(
                f"{f.attribute} {f.group} against all others, {FIGURES[f.figure]}: {ends[0]} ({ends[1]} to {ends[2]}); "
                f"their own pictures: {own[0]} ({own[1]} to {own[2]})"
            )
    return "\n".join(lines) or "no group fares worse than all others beyond chance"


def main(options: Options) -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    attributes = [Attribute.parse(text).name for text in options.by]
    seen, common = measure(options)
    figures = compare_groups(seen, attributes, list(FIGURES))
    result = {**common, "figures": [figure.to_dict() for figure in figures], "machine": machine()}
    write_text(options.out / "groups.json", json.dumps(result, indent=1) + "\n")
    write_text(options.out / "pictures.csv", seen.to_csv(index=False))
    print(
        f"{common['people']} people, of whom {common['trained_on']} were trained on; in brackets their own pictures\n"
    )
    print(table(figures) + "\n")
    for figure in ("hit_rate", "movement"):
        print(targets_table(seen, attributes, figure) + "\n")
    print(f"cosine of two different people: {common['identity_of_others']:.2f}\n")
    print(sentences(figures))


if __name__ == "__main__":
    main(tyro.cli(Options))
