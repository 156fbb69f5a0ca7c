"""Plots, as SVG: of a gain trial scores, curves over the labels and differences; of a comparison its figures."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.evaluation import Interval
from pipelines.verdict import ArmScore, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLAIN_COLOURS = {"real": "#595959", "classical": "#0072B2"}
COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that people with any colour vision tell apart: Okabe & Ito, "Color Universal Design", 2008."""
MARKERS = ("D", "o", "s", "^", "v")
"""Shapes that tell comparisons apart where colours cannot."""

STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": "#8c8c8c",
    "axes.labelcolor": "#1a1a1a",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.8,
    "text.color": "#1a1a1a",
    # Names of classes and arms come from the data: a dollar sign in one is no formula.
    "text.parse_math": False,
    "xtick.color": "#8c8c8c",
    "xtick.labelcolor": "#1a1a1a",
    "ytick.left": False,
    "ytick.labelcolor": "#1a1a1a",
    # The same run gives the same bytes.
    "svg.hashsalt": "emoaug",
}
WIDTH = 6.6
"""Width of a plot, inches: its text stays readable when a phone shows it at the width of the screen."""


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """A colour for each arm; those without one of their own take theirs in order."""
    others = [arm for arm in dict.fromkeys(arms) if arm not in PLAIN_COLOURS]
    return PLAIN_COLOURS | {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(others)}


def score_plot(arms: Sequence[ArmScore]) -> str:
    """Plot accuracy and macro F1 of every trial, and each arm's mean with its interval; light lines join pairs.

    Args:
        arms: the arms of one number of labels.

    Returns:
        An SVG document.
    """
    colours = arm_colours([score.arm for score in arms])
    with _plot(1.3 + 0.55 * len(arms), columns=2) as (figure, axes, document):
        for axis, column, title in zip(axes, (3, 2), ("Accuracy", "Macro F1"), strict=True):
            lines: dict[tuple[int, int], list[tuple[float, int]]] = {}
            for row, score in enumerate(arms):
                values = [trial[column] for trial in score.trials]
                for trial in score.trials:
                    lines.setdefault((trial[0], trial[1]), []).append((float(trial[column]), row))
                colour = colours[score.arm]
                axis.plot(values, np.full(len(values), row), "o", color=colour, markersize=4, alpha=0.55, mew=0)
                _draw_interval(axis, score.accuracy if column == 3 else score.macro_f1, row + 0.28, colour)
            for line in lines.values():
                axis.plot(*zip(*line, strict=True), color="#b3b3b3", linewidth=0.6, alpha=0.5, zorder=1)
            axis.set_title(title)
            axis.set_xlabel("per cent")
        _name_rows(axes[0], [score.arm for score in arms])
        axes[1].sharey(axes[0])
        axes[1].tick_params(labelleft=False)
        figure.align_xlabels(axes)
    return document[0]


def curve_plot(arms: Sequence[ArmScore]) -> str:
    """Plot macro F1 over the number of labels, a line an arm, each point with its interval, as an SVG document."""
    names = list(dict.fromkeys(score.arm for score in arms))
    places = {labels: i for i, labels in enumerate(dict.fromkeys(score.labels for score in arms))}
    colours = arm_colours(names)
    with _plot(4.2) as (figure, (axis,), document):
        for i, name in enumerate(names):
            own = [score for score in arms if score.arm == name]
            # Side by side, so that no interval hides another.
            x = [places[score.labels] + 0.5 * ((i + 0.5) / len(names) - 0.5) for score in own]
            marker = MARKERS[i % len(MARKERS)]
            y = [score.macro_f1.estimate for score in own]
            axis.plot(x, y, marker, linestyle="-", color=colours[name], markersize=5, linewidth=1, label=name)
            for at, score in zip(x, own, strict=True):
                if math.isfinite(score.macro_f1.low):
                    ends = [score.macro_f1.low, score.macro_f1.high]
                    axis.plot([at, at], ends, color=colours[name], linewidth=2.2, solid_capstyle="butt", alpha=0.6)
        axis.set_xticks(range(len(places)), list(places))
        axis.set_xlabel("labelled faces of each class")
        axis.set_ylabel("macro F1, per cent")
        axis.grid(axis="y")
        figure.legend(loc="outside upper left", frameon=False, ncols=3)
    return document[0]


def difference_plot(comparisons: Sequence[Comparison]) -> str:
    """Plot the paired differences in macro F1, one dot a pair, each with its mean and interval, as an SVG document."""
    colours = arm_colours([comparison.arm for comparison in comparisons])
    several = len({comparison.labels for comparison in comparisons}) > 1
    names = [f"{c.arm}" + (f", {c.labels} labels" if several else "") + f"\nagainst {c.against}" for c in comparisons]
    with _plot(1.2 + 0.65 * len(names)) as (_, (axis,), document):
        axis.axvline(0, color="#1a1a1a", linewidth=1)
        for row, comparison in enumerate(comparisons):
            values = [f1 for _, _, f1, _ in comparison.pairs]
            colour = colours[comparison.arm]
            axis.plot(values, [row] * len(values), "o", color=colour, markersize=5, alpha=0.55, mew=0)
            _draw_interval(axis, comparison.macro_f1, row + 0.28, colour)
        _name_rows(axis, names)
        axis.set_xlabel("difference in macro F1, points    (worse ←  → better)")
    return document[0]


def class_plot(comparisons: Sequence[Comparison]) -> str:
    """Plot how each class's F1 changes in each comparison, with intervals, as an SVG document."""
    classes = list(comparisons[0].f1)
    colours = arm_colours([comparison.arm for comparison in comparisons])
    step = 0.7 / len(comparisons)
    with _plot(1.5 + len(classes) * (0.15 + 0.17 * len(comparisons))) as (figure, (axis,), document):
        axis.axvline(0, color="#1a1a1a", linewidth=1)
        for place, comparison in enumerate(comparisons):
            label: str | None = f"{comparison.arm} against {comparison.against}"
            for row, name in enumerate(classes):
                gain = comparison.f1[name]
                if gain is not None:
                    height = row + (place - (len(comparisons) - 1) / 2) * step
                    _draw_interval(axis, gain, height, colours[comparison.arm], MARKERS[place % len(MARKERS)], label)
                    label = None
        _name_rows(axis, classes)
        axis.set_xlabel("difference in F1, points    (worse ←  → better)")
        figure.legend(loc="outside upper left", frameon=False, ncols=2)
    return document[0]


def figures_plot(rows: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """Plot figures of several systems side by side, as an SVG document.

    Args:
        rows: by name, figures by key, each a number or None; those of `titles` are shown.
        titles: name of each figure's panel, by key.
    """
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(rows))]
    with _plot(1.0 + 0.3 * len(rows), columns=len(titles), width=2.2 * len(titles)) as (_, axes, document):
        for axis, (key, title) in zip(axes, titles.items(), strict=True):
            for row, (figures, colour) in enumerate(zip(rows.values(), colours, strict=True)):
                if figures.get(key) is not None:
                    axis.plot([figures[key]], [row], "o", color=colour, markersize=7)
                    axis.annotate(
                        f"{figures[key]:.2f}", (figures[key], row), (0, 6), textcoords="offset points", size=8
                    )
            axis.set_title(title)
            axis.tick_params(labelleft=axis is axes[0])
            axis.set_yticks(range(len(rows)), list(rows))
            axis.set_ylim(len(rows) - 0.5, -0.7)
            axis.margins(x=0.25)
    return document[0]


@contextmanager
def _plot(height: float, columns: int = 1, width: float = WIDTH) -> Iterator[tuple[Figure, Sequence[Axes], list[str]]]:
    """Give a figure and its axes; afterwards the list holds the SVG document."""
    import matplotlib
    from matplotlib.figure import Figure

    document: list[str] = []
    with matplotlib.rc_context():
        # A reader's own matplotlibrc must not change the report.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
        yield figure, axes, document
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        document.append(buffer.getvalue())


def _draw_interval(
    axis: Axes, interval: Interval, height: float, colour: str, marker: str = "D", label: str | None = None
) -> None:
    """Draw a mean as a marker and its interval, if it has ends, as a bar."""
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        axis.plot([interval.low, interval.high], [height, height], color=colour, linewidth=2.2, solid_capstyle="butt")
    axis.plot([interval.estimate], [height], marker, color=colour, markersize=6, markeredgecolor="white", label=label)


def _name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Name the rows, the first at the top."""
    axis.set_yticks(range(len(names)), [_short(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.margins(x=0.06)


def _short(name: str, longest: int = 28) -> str:
    """Cut each line of a name to a length."""
    lines = name.split("\n")
    return "\n".join(line if len(line) <= longest else line[: longest - 1] + "…" for line in lines)
