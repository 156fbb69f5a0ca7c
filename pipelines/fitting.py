"""One classifier of a gain trial: an arm, some training faces, one choice of settings; and the choice itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from augment.devices import choose_device, seed_from
from classifiers.classifier import Classifier
from classifiers.geometry import GeometrySettings, train_geometry
from classifiers.training import train_classifier
from emoaug import EmoaugError
from pipelines.arms import Arm, get_arm
from pipelines.gain_data import GainData
from pipelines.recipes import suited_recipe
from pipelines.splits import Fold
from pipelines.trials import GainSettings

Candidate = dict[str, float]
"""Settings that an arm may choose: learning_rate, and synthetic_share where it has synthetic faces; or penalty."""

Extra = tuple[np.ndarray, np.ndarray]
"""Synthetic faces, uint8 RGB (n, 3, S, S), and their classes (n,)."""


@dataclass(frozen=True)
class Choice:
    """What an arm chose, and from what."""

    chosen: Candidate
    losses: tuple[float, ...]
    """Validation loss of each candidate; empty where there was nothing to choose."""
    validation_faces: int

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers for JSON."""
        return {"settings": self.chosen, "losses": list(self.losses), "validation_faces": self.validation_faces}


def candidates(arm: Arm, settings: GainSettings) -> tuple[Candidate, ...]:
    """What an arm may choose from: as many candidates for every arm, the first as the settings say."""
    rate, share = settings.classifier.learning_rate, settings.synthetic_share
    found: tuple[Candidate, ...]
    if arm.kind == "reference":
        penalty = GeometrySettings().penalty
        found = tuple({"penalty": factor * penalty} for factor in (1, 0.1, 0.3, 3))
    elif arm.sources:
        pairs = [(r, s) for s in (share, share / 2) for r in (rate, rate / 2)]
        found = tuple({"learning_rate": r, "synthetic_share": s} for r, s in pairs)
    else:
        found = tuple({"learning_rate": factor * rate} for factor in (1, 0.25, 0.5, 2))
    return found if settings.tuning == "small" else found[:1]


def choose(
    arm: Arm,
    data: GainData,
    split: tuple[np.ndarray, np.ndarray] | None,
    extras: Sequence[Extra],
    fold: Fold,
    seed: int,
    settings: GainSettings,
) -> Choice:
    """Train a classifier with each candidate on one part of the training faces, and take the best on the other part.

    The best has the lowest cross-entropy, each class counting alike: it varies less than F1 on a few dozen faces.

    Args:
        arm: the recipe.
        data: the faces.
        split: rows to train on and to choose on; None takes the first candidate.
        extras: synthetic faces that know nothing of those to choose on.
        fold: gives the first weights; its test faces are not looked at.
        seed: of the trial.
        settings: of the run.
    """
    choices = candidates(arm, settings)
    if len(choices) == 1 or split is None:
        return Choice(choices[0], (), 0)
    train, held_out = split
    truth = data.faces.label_indices()[held_out]
    losses = []
    for candidate in choices:
        found = fit(arm, data, train, extras, candidate, fold, seed, settings, validate=held_out)
        loss = -np.log(np.maximum(found[np.arange(len(truth)), truth], 1e-7))
        losses.append(float(np.mean([loss[truth == c].mean() for c in np.unique(truth)])))
    return Choice(choices[int(np.argmin(losses))], tuple(round(loss, 4) for loss in losses), len(held_out))


def seen_as_labelled(made: Extra, data: GainData, rows: np.ndarray, seed: int, settings: GainSettings) -> np.ndarray:
    """Find the synthetic faces that show what they should, as far as some labelled faces tell.

    A classifier knows the faces that it learnt from: what is a copy of one of them, it sees as that one's label.

    Args:
        made: synthetic faces.
        data: the faces.
        rows: labelled faces, with which a classifier is trained in the recipe classical.
        seed: of that classifier.
        settings: of the run.

    Returns:
        Their places among the synthetic faces, (n,), in order.
    """
    labels = data.faces.label_indices()[rows]
    judge = _trained(get_arm("classical"), data, rows, labels, None, {}, seed_from("judge", seed), settings)
    faces, classes = made
    return np.flatnonzero(judge.of_pictures(faces).argmax(1) == classes)


def fit(
    arm: Arm,
    data: GainData,
    rows: np.ndarray,
    extras: Sequence[Extra],
    candidate: Candidate,
    fold: Fold,
    seed: int,
    settings: GainSettings,
    validate: np.ndarray | None = None,
) -> np.ndarray:
    """Train a classifier and give its probabilities (n, K) float32 for the test faces, or for validation faces.

    Args:
        arm: the recipe.
        data: the faces.
        rows: labelled training faces.
        extras: sets of synthetic faces, of which each batch takes its share together.
        candidate: the settings in question.
        fold: who tests.
        seed: of the trial.
        settings: of the run.
        validate: rows of training faces to judge in the place of the test faces.
    """
    labels = data.faces.label_indices()[rows]
    classes, tested, judged = len(data.faces.vocabulary), validate is None, fold.test if validate is None else validate
    if arm.kind == "reference":
        ours, theirs = data.blendshapes, data.tested_blendshapes if tested else data.blendshapes
        if ours is None or theirs is None:
            raise EmoaugError(f"{data.faces.root}: no blendshapes (faces.npz) beside the pictures; leave geometry out")
        geometry = GeometrySettings(candidate["penalty"], settings.classifier.class_balanced)
        return train_geometry(ours[rows], labels, classes, geometry)(theirs[judged])
    if arm.kind == "sanity":
        labels = np.random.default_rng(seed_from("shuffled", fold.number, seed)).permutation(labels)
    # Arms of one fold and seed start from the same weights, so that their difference is the faces'.
    start = seed_from("classifier", fold.number, seed)
    classifier = _trained(arm, data, rows, labels, _together(extras), candidate, start, settings)
    return classifier.of_pictures((data.tested_pixels if tested else data.pixels)[judged])


def _trained(
    arm: Arm,
    data: GainData,
    rows: np.ndarray,
    labels: np.ndarray,
    extra: Extra | None,
    candidate: Candidate,
    seed: int,
    settings: GainSettings,
) -> Classifier:
    """A classifier trained in an arm's recipe; once it sees real faces, it sees no synthetic one more often."""
    own = settings.classifier
    part = 0.0 if extra is None else len(extra[1]) / (len(extra[1]) + len(labels))
    return train_classifier(
        data.pixels[rows],
        labels,
        len(data.faces.vocabulary),
        replace(
            own,
            recipe=suited_recipe(arm.recipe, data.aligned),
            mixing=arm.mixing,
            class_balanced=own.class_balanced or arm.oversample,
            learning_rate=candidate.get("learning_rate", own.learning_rate),
        ),
        seed=seed % 2**32,
        extra=extra,
        extra_share=min(candidate.get("synthetic_share", 0.0), part),
        extra_first=0.0 if extra is None else synthetic_first(extra[1], labels, settings),
        device=choose_device(settings.training.device),
        progress=False,
    )


def synthetic_first(made: np.ndarray, real: np.ndarray, settings: GainSettings) -> float:
    """The share of the steps, at the beginning, that see synthetic faces alone.

    It is that of the settings where synthetic faces are as many as real ones and their rarest class is no rarer than
    that of the real ones, else 0: by a few faces, or without a class, a classifier would be led astray.

    Args:
        made, real: classes of the synthetic faces (n,) and of the real ones (m,).
        settings: of the run.
    """
    shown, counts = np.unique(real, return_counts=True)
    rarest = np.bincount(made, minlength=shown[-1] + 1)[shown].min()
    return settings.synthetic_first if len(made) >= len(real) and rarest >= counts.min() else 0.0


def _together(extras: Sequence[Extra]) -> Extra | None:
    """Several sets of synthetic faces as one; None for no face at all."""
    if not sum(len(labels) for _, labels in extras):
        return None
    return np.concatenate([faces for faces, _ in extras]), np.concatenate([labels for _, labels in extras])
