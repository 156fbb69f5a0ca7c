"""Act on the scores: rejected faces leave the class folders, their rows stay with the reason."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from augment.runs import explained_errors, locked
from augment.scoring.folder import FolderScores
from augment.scoring.rows import rejected_folder
from augment.scoring.rules import Rule
from emoaug import EmoaugError


@dataclass(frozen=True)
class Filtered:
    """What a filter did."""

    folder: Path
    table: pd.DataFrame
    """Made faces by class (rows): made, kept, then how many each rule rejected; one face may fail several rules."""
    idle: tuple[str, ...]
    """Rules that could not be applied, with the reason."""
    empty: tuple[str, ...]
    """Classes of which no made face is left."""

    def __str__(self) -> str:
        total = self.table.sum()
        lines = [f"kept {total['kept']:,} of {total['made']:,} made faces; rejected by rule and class:"]
        lines += table_lines(pd.concat([self.table, total.rename("all").to_frame().T]).T)
        lines += [f"note: {text}" for text in self.idle]
        lines += [
            f'WARNING: no made face of "{label}" is left; choose a milder filter, or train longer'
            for label in self.empty
        ]
        if total["kept"] < total["made"]:
            lines.append(f"the rejected pictures lie in {rejected_folder(self.folder)}/")
        return "\n".join(lines)


def filter_folder(found: FolderScores, rules: Sequence[Rule]) -> Filtered:
    """Keep the made faces that pass every rule; the same call again, or another one, begins from all of them.

    A rejected picture moves to the folder FOLDER-rejected, under its name; its row in metadata.csv stays, with
    `accepted` False and the rules that it failed, and the values, in `reject_reason`.

    Args:
        found: from `score_folder`.
        rules: from `read_rules`.

    Raises:
        EmoaugError: a rule needs a score that no face has, or the folder is in use.
    """
    made, labels = found.made, found.made.column("label")
    idle = _idle(found, rules)
    applied = [rule for rule in rules if rule not in idle]
    kept = {rule: rule.kept(found.scores, labels, found.real) for rule in applied}
    passed = np.all(list(kept.values()), axis=0) if applied else np.ones(len(made), bool)
    reasons: list[str | None] = [None] * len(made)
    for i in np.flatnonzero(~passed).tolist():
        failed = [rule for rule in applied if not kept[rule][i]]
        reasons[i] = "; ".join(_reason(rule, found, i, labels[i]) for rule in failed)
    with locked(made.folder), explained_errors(made.folder):
        # Pictures first: if this stops half-way, a row without its picture is read by nobody as a good face.
        for i in range(len(made)):
            target = made.kept_path(i) if passed[i] else made.rejected_path(i)
            if made.path(i) != target:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(made.path(i), target)  # noqa: PTH105 - the one call that is atomic on every system
        made.write(accepted=passed.tolist(), reject_reason=reasons)
        made.refresh()
    columns = {"made": np.ones(len(made), bool), "kept": passed, **{str(rule): ~kept[rule] for rule in applied}}
    classes, own = list(dict.fromkeys(labels)), np.array(labels)
    table = pd.DataFrame([{n: int(v[own == c].sum()) for n, v in columns.items()} for c in classes], index=classes)
    empty = tuple(str(label) for label in table.index[table["kept"] == 0])
    return Filtered(made.folder, table, tuple(idle.values()), empty)


def _idle(found: FolderScores, rules: Sequence[Rule]) -> dict[Rule, str]:
    """Rules that cannot be applied here, and why."""
    idle = {}
    for rule in rules:
        if found.scores[rule.score].isna().all():
            idle[rule] = f'rule "{rule}" was left out: no made face has this score here'
        elif rule.percentile and found.real[rule.score].isna().all():
            idle[rule] = f'rule "{rule}" was left out: no real face has this score, so there is no percentile'
    if rules and len(idle) == len(rules):
        raise EmoaugError(f"no rule of the filter can be applied to {found.made.folder}: {next(iter(idle.values()))}")
    return idle


def _reason(rule: Rule, found: FolderScores, i: int, label: str) -> str:
    """Why a rule rejects a face, such as "sharpness -0.9 (rule: >= -0.51, 0.5% of real faces)"."""
    sign, limit = (">=" if rule.at_least else "<="), rule.threshold(found.real, label)
    percent = f", {rule.number:g}% of real faces" if rule.percentile else ""
    return f"{rule.score} {found.scores[rule.score].iat[i]:.4g} (rule: {sign} {limit:.4g}{percent})"


def table_lines(table: pd.DataFrame) -> list[str]:
    """A table as lines of text."""
    return table.to_string().splitlines()
