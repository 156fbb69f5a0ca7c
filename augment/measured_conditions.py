"""What was measured on the faces of a dataset, as conditions.

Faces that are turned far away count as not measured: on FER2013 the score of a smile tells happy faces from others with
an area under the curve of 0.90 to 0.93 up to 40 degrees of yaw, and of 0.77 beyond.
"""

from __future__ import annotations

from dataclasses import replace
from shlex import quote

import numpy as np

from augment.faces import FaceMeasures, read_measures
from augment.folders import FaceTable
from augment.intensities import IntensityScale, Measure
from emoaug import EmoaugError

TURNED = 40.0
"""Degrees of yaw or pitch beyond which the scores of a face are not believed."""


def fit_scale(faces: FaceTable, measure: Measure) -> IntensityScale:
    """Choose the entries of a condition, and which score counts as 1, by a dataset.

    Args:
        faces: a dataset with blendshape scores beside it: measured ones that `emoaug align` wrote, or the exact ones of
            `emoaug simulate`.
        measure: what the entries are.
    """
    measures = _measures(faces)
    return IntensityScale.fit(measure, measures.blendshapes, measures.blendshape_names.tolist())


def measured_conditions(faces: FaceTable, scale: IntensityScale) -> np.ndarray:
    """Give what was measured on faces: (N, K) float32 in [0, 1], a row of NaN where nothing believable was."""
    measures = _measures(faces)
    return scale.conditions(measures.blendshapes, measures.blendshape_names.tolist())


def are_measured(faces: FaceTable) -> np.ndarray:
    """Say which faces have blendshape scores to be believed, (N,) bool."""
    return np.isfinite(_measures(faces).blendshapes).all(1)


def expression_means(faces: FaceTable, scale: IntensityScale) -> dict[str, list[float]]:
    """Average the conditions (K,) of the faces of each class that has a measured one."""
    conditions, labels = measured_conditions(faces, scale), faces.table.label.to_numpy()
    known = np.isfinite(conditions).all(1)
    means = {name: conditions[known & (labels == name)] for name in faces.vocabulary}
    return {name: [round(float(v), 4) for v in rows.mean(0)] for name, rows in means.items() if len(rows)}


def _measures(faces: FaceTable) -> FaceMeasures:
    measures = read_measures(faces.root, list(faces.table.file_name))
    if measures is None:
        raise EmoaugError(
            f"{faces.root}: no blendshape scores (faces.npz) beside the pictures; "
            f"run: emoaug align {quote(str(faces.root))} OUT"
        )
    turned = (np.abs(measures.pose[:, :2]) > TURNED).any(1)
    return replace(measures, blendshapes=np.where(turned[:, None], np.float32(np.nan), measures.blendshapes))
