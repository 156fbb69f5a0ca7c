"""`emoaug simulate`: make a dataset of rendered faces."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from augment.expressions import SEVEN
from augment.simulation.behaviour import ExpressionSource
from augment.simulation.measured import MeasuredExpressions
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import simulate
from augment.simulation.simulation_work import SimulateSettings
from augment.simulation.surroundings import Surroundings
from emoaug import EmoaugError, words


@dataclass(frozen=True)
class Options:
    """Render faces of people who do not exist, whose labels are exact; a stopped run goes on."""

    out: Path
    """Folder to write."""
    measured: Path | None = None
    """Folder of aligned faces: draw the expressions from what was measured on its labelled training faces, and by
    default show the expressions that it has. Otherwise they are drawn from published action units."""
    like: Path | None = None
    """Folder of aligned faces: hold heads, and choose backdrops, light, contrast, sharpness and greyness, as on its
    training photographs. Otherwise they vary as the settings say. Best before refining."""
    settings: Annotated[SimulateSettings, tyro.conf.arg(name="")] = field(default_factory=SimulateSettings)
    scenes: Annotated[SceneSettings, tyro.conf.arg(name="")] = field(default_factory=SceneSettings)


def run(options: Options) -> None:
    """Simulate and say where the result is."""
    taken = [(options.like, "--like", name) for name in ("yaw", "pitch", "roll", "grey")]
    taken += [(options.measured, "--measured", name) for name in ("intensity", "typical")]
    for folder, option, name in taken:
        if folder is not None and getattr(options.scenes, name) != getattr(SceneSettings(), name):
            raise EmoaugError(f"--{name} has no effect with {option}, which takes it from the faces; leave one out")
    source: ExpressionSource | None = None
    expressions = words(options.scenes.expressions)
    if options.measured is not None:
        source = MeasuredExpressions.from_folder(options.measured)
        if tuple(expressions) == SEVEN:
            expressions = list(source.labels)
    scenes = replace(options.scenes, expressions=tuple(expressions))
    surroundings = None if options.like is None else Surroundings.from_folder(options.like)
    print(simulate(options.out, scenes, options.settings, source, surroundings))
