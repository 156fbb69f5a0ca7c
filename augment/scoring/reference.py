"""Scores of faces against real ones: what a synthetic face was asked to be, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from augment.folders import FaceTable
from augment.landmarker import FaceLandmarker
from augment.scoring.identity import learn_identity
from augment.scoring.likeness import copy_distance, details, nearest, same_pictures
from augment.scoring.movement import measure_blendshapes, movements, typical_blendshapes
from augment.scoring.picture import colour_noise, describe, evenness, sharpness
from emoaug import EmoaugError

SCORES = (
    *("label_probability", "identity", "face_found", "movement", "movement_upper", "movement_lower"),
    *("nearest_real", "nearest_sibling", "sharpness", "colour_noise", "evenness"),
)
"""What every face is scored by; docs/scores.md says what each means."""

Judge = Callable[[Tensor], Tensor]
"""Takes faces (N, 3, H, W) in [-1, 1], gives probabilities (N, K) of the real faces' vocabulary."""


@dataclass(frozen=True, eq=False)
class Jury:
    """Judges, none of which has learned from the faces of its own fold, from a person in it, or from a made face."""

    judges: tuple[Judge, ...]
    """One a fold."""
    folds: np.ndarray
    """For each of the M real faces its fold, (M,) int64 from 0."""
    accuracy: float
    """Mean over the classes of the share of real faces that the judge of their fold gets right."""
    fingerprint: str
    """Changes when a judge changes."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What N faces were asked to be; places are those of the real faces."""

    wanted: np.ndarray
    """Class, (N,) int64; -1 where the real faces have no such class."""
    source: np.ndarray
    """The face it was made from, (N,) int64; -1 where there is none."""
    fold: np.ndarray
    """Whose judge may be asked, (N,) int64; -1 where any may: then the mean of all is taken."""
    strength: np.ndarray
    """How strong the expression was to be, (N,), from 0 to 1."""
    same_person: np.ndarray
    """Whether the source is known to show the person who is meant, (N,) bool."""
    itself: np.ndarray
    """Its own place, where the face is one of the real ones, else -1, (N,) int64."""

    def __len__(self) -> int:
        return len(self.wanted)

    def select(self, rows: np.ndarray) -> Asked:
        """Keep some."""
        return Asked(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


class Reference:
    """The real faces that others are scored against; learns from them what it needs.

    Args:
        real: M real faces that the made ones may have been made from, none of them of `val` or `test`.
        pixels: the same, uint8 RGB, (M, 3, S, S).
        jury: asked for the label.
        landmarker: MediaPipe; None leaves out whether a face is found and how it moved.
        most_measured: real faces in which MediaPipe looks for the classes' typical expressions, and which
            `real_scores` takes, at most.
    """

    def __init__(
        self,
        real: FaceTable,
        pixels: np.ndarray,
        jury: Jury,
        landmarker: FaceLandmarker | None = None,
        most_measured: int = 1000,
    ) -> None:
        if len(real) != len(pixels) or len(real) != len(jury.folds):
            raise EmoaugError(f"{len(real)} real faces, {len(pixels)} pictures, {len(jury.folds)} folds; give as many")
        self.real, self.jury, self.landmarker, self.size = real, jury, landmarker, pixels.shape[-1]
        self.labels = real.label_indices()
        pictures = pictures_of(pixels)
        self.alike = same_pictures(real, pictures)
        subjects = real.table["subject"].tolist()
        groups = zip(subjects, self.alike.tolist(), strict=True)
        names = [f"picture {group}" if subject is None else f"subject {subject}" for subject, group in groups]
        self.people = np.unique(names, return_inverse=True)[1].astype(np.int64)
        self.details = details(pictures)
        self.descriptions = np.stack([describe(picture) for picture in pictures])
        # Of each fold an embedding that was learned on the people of the others.
        self.identity_folds = _folds_of_people(self.people)
        self.embeddings = []
        for fold in range(int(self.identity_folds.max()) + 1):
            others = np.flatnonzero(self.identity_folds != fold)
            self.embeddings.append(learn_identity(self.descriptions[others], [subjects[i] for i in others]))
        self.places = [embedding(self.descriptions) for embedding in self.embeddings]
        shuffled = np.random.default_rng(0).permutation(len(real))
        # One of each picture: the same one twice would look like a copy of itself.
        first = shuffled[np.sort(np.unique(self.alike[shuffled], return_index=True)[1])]
        self.measured = np.sort(first[:most_measured])
        self._pictures = pictures
        self.copy_distance = copy_distance([pictures[row] for row in self.measured[:200]])
        self._blendshapes: dict[int, np.ndarray] = {}
        classes = len(real.vocabulary)
        self.typical = typical_blendshapes(self._measure(self.measured), self.labels[self.measured], classes)

    def stand_ins(self) -> Asked:
        """Treat the real faces in `measured` as if they had been made: of the same person with another expression.

        The source of each is that person's face of another class which looks most like it, as a translated face looks
        like its source. Where there is none, it is anybody's that does.
        """
        rows = self.measured
        sources = np.full(len(rows), -1, np.int64)
        same = np.zeros(len(rows), bool)
        named = self.real.table["subject"].notna().to_numpy()
        for at, row in enumerate(rows):
            other = self.labels != self.labels[row]
            own = np.flatnonzero(other & (self.people == self.people[row])) if named[row] else np.zeros(0, np.int64)
            # Among those in `measured`, since comparing with all takes long where there are many.
            pool = own if len(own) else rows[other[rows]]
            if len(pool):
                apart = ((self.descriptions[pool] - self.descriptions[row]) ** 2).sum(1)
                sources[at], same[at] = pool[apart.argmin()], len(own) > 0
        return Asked(self.labels[rows], sources, self.jury.folds[rows], np.ones(len(rows)), same, rows)

    def real_scores(self) -> pd.DataFrame:
        """Scores of the real faces in `measured`, as of faces made; `file_name` and `label` first.

        `nearest_sibling` is `nearest_real` here: the siblings of real faces are real faces.
        """
        asked = self.stand_ins()
        scores = self.score(self._array(asked.itself), asked)
        scores["nearest_sibling"] = scores["nearest_real"]
        table = self.real.table.iloc[asked.itself][["file_name", "label"]].reset_index(drop=True)
        return pd.concat([table, scores[list(SCORES)]], axis=1)

    def score(self, pixels: np.ndarray, asked: Asked) -> pd.DataFrame:
        """Score faces one by one.

        Args:
            pixels: uint8 RGB, (N, 3, S, S), of the real faces' size.
            asked: what they should be.

        Returns:
            A row a face: the columns of `SCORES`, NaN where there is nothing to compare with, and always in
            `nearest_sibling`, for which see `nearest_siblings`; then `nearest_real_file`.
        """
        pictures = pictures_of(pixels)
        distance, place = self._nearest_real(pictures, asked)
        moved = self._movements(pictures, asked)
        names = self.real.table["file_name"].to_numpy()
        return pd.DataFrame(
            {
                "label_probability": self._label_probability(pixels, asked),
                "identity": self._identity(pictures, asked),
                "face_found": moved[:, 0],
                "movement": moved[:, 1],
                "movement_upper": moved[:, 2],
                "movement_lower": moved[:, 3],
                "nearest_real": distance,
                "nearest_sibling": np.nan,
                "sharpness": [sharpness(picture) for picture in pictures],
                "colour_noise": [colour_noise(picture) for picture in pictures],
                "evenness": [evenness(picture) for picture in pictures],
                "nearest_real_file": np.where(place >= 0, names[place], None),
            }
        )

    def nearest_siblings(
        self, fine: np.ndarray, sources: Sequence[str], conditions: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find for each made face the most similar one before it; of the same picture made twice, the first stays.

        Faces that one source became under different conditions are meant to be alike, and are not compared.

        Args:
            fine: from `details`, (N, 1024), in the dataset's order.
            sources: what each was made from, (N,); empty where there is none.
            conditions: what was asked, (N,).

        Returns:
            As `nearest`, the distance over `copy_distance`.
        """
        source = np.unique(list(sources), return_inverse=True)[1]
        condition = np.unique(list(conditions), return_inverse=True)[1]
        source[[not name for name in sources]] = -1
        order = np.arange(len(fine))

        def barred(rows: np.ndarray) -> np.ndarray:
            one, other = rows[:, None], order[None, :]
            variants = (source[one] == source[other]) & (source[one] >= 0) & (condition[one] != condition[other])
            return (other >= one) | variants

        distance, place = nearest(fine, fine, barred)
        return distance / self.copy_distance, place

    def _label_probability(self, pixels: np.ndarray, asked: Asked) -> np.ndarray:
        """The judge's probability of the wanted class, (N,)."""
        result = np.full(len(asked), np.nan)
        for fold in np.unique(asked.fold):
            rows = np.flatnonzero((asked.fold == fold) & (asked.wanted >= 0))
            if len(rows):
                faces = torch.from_numpy(pixels[rows]).float() / 127.5 - 1
                asked_judges = self.jury.judges if fold < 0 else (self.jury.judges[fold],)
                said = torch.stack([judge(faces) for judge in asked_judges]).mean(0).cpu().numpy()
                result[rows] = said[np.arange(len(rows)), asked.wanted[rows]]
        return result

    def _identity(self, pictures: list[np.ndarray], asked: Asked) -> np.ndarray:
        """Share of other people's real faces that are less like the source than the face made from it is, (N,).

        With another person's face the share is as likely to be high as low, so a threshold of 0.98 finds 98 % of these,
        whatever the embedding is worth; how many good faces it costs depends on that.
        """
        result = np.full(len(asked), np.nan)
        comparable = (asked.source >= 0) & asked.same_person
        folds = np.where(comparable, self.identity_folds[asked.source], -1)
        for fold in range(len(self.embeddings)):
            rows = np.flatnonzero(folds == fold)
            if len(rows):
                embedding, places, source = self.embeddings[fold], self.places[fold], asked.source[rows]
                made = embedding(np.stack([describe(pictures[row]) for row in rows]))
                own = (made * places[source]).sum(1, keepdims=True)
                others = self.people[None, :] != self.people[source][:, None]
                less = (places[source] @ places.T < own) & others
                result[rows] = np.divide(
                    less.sum(1), others.sum(1), out=np.full(len(rows), np.nan), where=others.any(1)
                )
        return result

    def _nearest_real(self, pictures: list[np.ndarray], asked: Asked) -> tuple[np.ndarray, np.ndarray]:
        """Distance, over `copy_distance`, and place of the most similar real face but the source and itself."""

        def barred(rows: np.ndarray) -> np.ndarray:
            own = np.zeros((len(rows), len(self.alike)), bool)
            for places in (asked.source[rows], asked.itself[rows]):
                known = places >= 0
                own[known] |= self.alike[None, :] == self.alike[places[known]][:, None]
            return own

        distance, place = nearest(details(pictures), self.details, barred)
        return distance / self.copy_distance, place

    def _movements(self, pictures: list[np.ndarray], asked: Asked) -> np.ndarray:
        """Whether a face was found (0 or 1), and `movements`, (N, 4)."""
        if self.landmarker is None:
            return np.full((len(asked), 4), np.nan)
        real = asked.itself >= 0
        after = np.full((len(asked), self.typical.shape[1]), np.nan)
        after[real] = self._measure(asked.itself[real])
        after[~real] = measure_blendshapes(self.landmarker, [pictures[i] for i in np.flatnonzero(~real)])
        usable = (asked.source >= 0) & (asked.wanted >= 0)
        moved = np.full((len(asked), 3), np.nan)
        source, wanted = asked.source[usable], asked.wanted[usable]
        change = self.typical[wanted] - self.typical[self.labels[source]]
        moved[usable] = movements(self._measure(source), after[usable], change * asked.strength[usable][:, None])
        return np.concatenate([np.isfinite(after).all(1, keepdims=True).astype(float), moved], axis=1)

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        """MediaPipe's scores of real faces (n, 52), each measured once, at the size that the made faces have."""
        if self.landmarker is None:
            return np.full((len(rows), 52), np.nan)
        for row in rows.tolist():
            if row not in self._blendshapes:
                self._blendshapes[row] = measure_blendshapes(self.landmarker, [self._pictures[row]])[0]
        return np.stack([self._blendshapes[row] for row in rows.tolist()]) if len(rows) else np.zeros((0, 52))

    def _array(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self._pictures[row].transpose(2, 0, 1) for row in rows])


def _folds_of_people(people: np.ndarray) -> np.ndarray:
    """Divide the faces (N,) by person, evenly over the folds; with few people every one counts, so the folds are more.

    Embeddings are learned in seconds, unlike judges, which have folds of their own.
    """
    names, place = np.unique(people, return_inverse=True)
    count = min(len(names), 8 if len(names) < 500 else 3)
    return np.random.default_rng(0).permutation(len(names))[place] % count


def pictures_of(pixels: np.ndarray) -> list[np.ndarray]:
    """Faces (N, 3, H, W) as pictures (H, W, 3)."""
    return [np.ascontiguousarray(face.transpose(1, 2, 0)) for face in pixels]
