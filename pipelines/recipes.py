"""Which training recipe suits a classifier of which faces."""

from __future__ import annotations

from dataclasses import replace

from augment.faces import FaceMeasures, lie_aligned, read_measures
from augment.folders import FaceTable
from classifiers.training import ClassifierSettings


def suited_recipe(recipe: str, aligned: bool) -> str:
    """The recipe that a classifier takes where `recipe` is asked for.

    `classical` moves faces as far as aligned ones differ; others differ more, and are moved further. Other recipes are
    the published ones, and stay as they are.

    Args:
        recipe: a name in `classifiers.augmentation.RECIPES`.
        aligned: whether the faces that it learns from are, as `are_aligned` says.
    """
    return "classical-wide" if recipe == "classical" and not aligned else recipe


def are_aligned(measures: FaceMeasures | None) -> bool:
    """Whether faces lie where `emoaug align` puts them, by what was measured on them; without that, they do not."""
    return measures is not None and lie_aligned(measures.landmarks)


def suited_settings(settings: ClassifierSettings, faces: FaceTable) -> ClassifierSettings:
    """Settings of a classifier, with the recipe that suits the faces that it learns from."""
    measures = read_measures(faces.root, list(faces.table.file_name))
    return replace(settings, recipe=suited_recipe(settings.recipe, are_aligned(measures)))
