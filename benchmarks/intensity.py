"""Does a system show as much of an expression as it is asked for? On people it never saw, as MediaPipe measures it.

Asks held-out faces for expressions, blends of them (`happy+surprise`) or single movements (`mouthSmile`, `AU12`) at
intensities from 0 to 1, and prints for each the rank correlation between what was asked and what the Face Landmarker
scores on the result, over all results and within each face, and the share of results that are still found as faces.
For measured conditions, faces are also asked for what other faces show, all movements at once: there the score should
follow the exemplar and not the source. MediaPipe had no part in making the faces beyond scoring the training ones.

    python -m benchmarks.intensity --data aligned/ --out intensity/ --system cdaae --ask happy+surprise
    python -m benchmarks.intensity --data aligned/ --out intensity/ --weights runs/measured
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from scipy.stats import spearmanr
from torch import Tensor
from tqdm import tqdm

from augment.checkpoints import load_translator, read_config, trained_people
from augment.folders import HELD_OUT_SPLITS, FaceTable, load_faces, read_faces
from augment.intensities import MOVEMENTS, UNITS, IntensityScale, action_units, movements
from augment.landmarker import FaceLandmarker
from augment.measured_conditions import measured_conditions
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.samples import load_floats, to_pictures
from augment.scoring.movement import measure_blendshapes
from augment.systems import Translator, get_system
from augment.training import TrainingSettings
from augment.training_run import Conditions, train
from benchmarks.held_out import hold_out
from benchmarks.machine import machine
from emoaug import EmoaugError


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data: Path
    """Folder of aligned faces with subjects, or, with weights, with a val or test split."""
    out: Path
    """Folder for the run, the sheets and the numbers."""
    weights: Path | None = None
    """A trained system; by default one is trained here, without some people."""
    ask: tuple[str, ...] = ()
    """What to ask for; by default every entry of the system's conditions but neutral."""
    scores: tuple[str, ...] = ("mouthSmile", "jawOpen", "browInnerUp", "browDown", "mouthFrown")
    """Scores to follow where an expression is asked for; a single movement is followed by its own."""
    faces: int = 30
    """Held-out faces to ask."""
    levels: int = 6
    """Intensities from 0 to 1."""
    hold_out: int = 12
    """People who are not trained on, without weights."""
    system: str = "cdaae"
    """Which system to train, without weights; so are the next three."""
    conditions: Conditions = "labels"
    """What it is conditioned on."""
    steps: int = 5000
    """Its training steps."""
    batch_size: int = 8
    """Its batch."""
    seed: int = 0
    """Every draw."""


@dataclass(frozen=True)
class Scores:
    """What MediaPipe sees in some pictures, by name."""

    columns: Mapping[str, np.ndarray]
    """Each of `MOVEMENTS` and "AU12" etc., (N,) in [0, 1], NaN where no face was found."""

    @classmethod
    def of(cls, landmarker: FaceLandmarker, pictures: list[np.ndarray]) -> Scores:
        """Look at pictures."""
        moved = movements(measure_blendshapes(landmarker, pictures), landmarker.blendshape_names)
        units = {f"AU{unit}": column for unit, column in zip(UNITS, action_units(moved).T, strict=True)}
        return cls(dict(zip(MOVEMENTS, moved.T, strict=True)) | units)

    @property
    def found(self) -> np.ndarray:
        """Where a face was found, (N,) bool."""
        return np.isfinite(self.columns[MOVEMENTS[0]])


def unseen(faces: FaceTable, config: Mapping[str, Any]) -> FaceTable:
    """Real faces that a system has not seen: of the splits val and test, or of people it was not trained on."""
    table, seen = faces.table, trained_people(config)
    held = table["split"].isin(HELD_OUT_SPLITS) | table["subject"].notna()
    chosen = faces.select((held & ~table["subject"].isin(seen) & ~table["is_synthetic"]).to_numpy(dtype=bool))
    if not len(chosen):
        raise EmoaugError(f"{faces.root}: no face that the system has not seen; give one with a val or test split")
    return chosen


def rank_correlation(asked: np.ndarray, shown: np.ndarray) -> float | None:
    """Spearman's, of the places where both are known; None where one does not vary."""
    known = np.isfinite(asked) & np.isfinite(shown)
    if known.sum() < 3 or np.ptp(asked[known]) == 0 or np.ptp(shown[known]) == 0:
        return None
    return round(float(spearmanr(asked[known], shown[known]).statistic), 3)


def ask_for(translator: Translator, own: Tensor, name: str, level: float) -> Tensor:
    """Conditions (N, K) for an intensity of something, the rest staying with what the faces show.

    Args:
        translator: the system.
        own: what the faces show, (N, K).
        name: an entry of a condition, an expression, or several of these with "+", in equal parts.
        level: from 0 to 1.
    """
    if translator.intensities and name in translator.condition_names:
        asked = own.clone()
        asked[:, translator.condition_names.index(name)] = level
        return asked
    wanted = translator.condition(name.split("+")).mean(0)
    return level * wanted + (1 - level) * own


def ramps(
    translator: Translator, pixels: Tensor, own: Tensor, landmarker: FaceLandmarker, options: Options
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Ask for each thing from 0 to 1: one row of figures for each score that is followed, and a sheet.

    Args:
        translator: the system.
        pixels: held-out faces, (N, 3, S, S) in [-1, 1].
        own: what they show, (N, K) in [0, 1].
        landmarker: looks at the results.
        options: what to ask for.
    """
    known = translator.condition_names
    levels = np.linspace(0, 1, options.levels)
    rows, sheet, captions = [], [], []
    for name in tqdm(options.ask or tuple(n for n in known if n != "neutral"), desc="asked"):
        with torch.inference_mode():
            made = [translator.translate(pixels, ask_for(translator, own, name, float(level))) for level in levels]
        pictures = [to_pictures(faces) for faces in made]
        scores = Scores.of(landmarker, [picture for level in pictures for picture in level])
        asked = np.repeat(levels, len(pixels))
        for followed in (name,) if name in scores.columns else options.scores:
            shown = scores.columns[followed]
            each = [rank_correlation(levels, face) for face in shown.reshape(len(levels), -1).T]
            means = [
                float(np.nanmean(level)) if np.isfinite(level).any() else None for level in np.split(shown, len(levels))
            ]
            rows.append(
                {
                    "asked": name,
                    "score": followed,
                    "spearman": rank_correlation(asked, shown),
                    "spearman_in_a_face": _median([value for value in each if value is not None]),
                    "mean_score": [None if mean is None else round(mean, 3) for mean in means],
                    "found": round(float(scores.found.mean()), 3),
                }
            )
        for face in range(min(2, len(pixels))):
            sheet.append([to_pictures(pixels[face : face + 1])[0], *(level[face] for level in pictures)])
            captions.append(name)
    return rows, contact_sheet(sheet, captions, ["source", *(f"{level:.1f}" for level in levels)])


def exemplars(
    translator: Translator, pixels: Tensor, own: Tensor, landmarker: FaceLandmarker, most: int = 4
) -> tuple[dict[str, Any], np.ndarray]:
    """Ask every face for what each of a few others shows: figures of each movement, and a sheet."""
    each = [pixels.roll(step, 0) for step in range(1, min(most, len(pixels) - 1) + 1)]
    asked = torch.cat([own.roll(step, 0) for step in range(1, len(each) + 1)])
    with torch.inference_mode():
        pictures = to_pictures(translator.translate(pixels.repeat(len(each), 1, 1, 1), asked))
    scores = Scores.of(landmarker, pictures)
    figures = {
        name: {
            "asked": rank_correlation(asked[:, entry].numpy(), scores.columns[name]),
            "source": rank_correlation(own.repeat(len(each), 1)[:, entry].numpy(), scores.columns[name]),
        }
        for entry, name in enumerate(translator.condition_names)
    }
    shown = zip(to_pictures(pixels[:24]), to_pictures(each[0][:24]), pictures, strict=False)
    flat = [picture for three in shown for picture in three]
    sheet = contact_sheet(
        [flat[i : i + 9] for i in range(0, len(flat), 9)],
        [""] * -(-len(flat) // 9),
        ["source", "exemplar", "result"] * 3,
    )
    return {"found": round(float(scores.found.mean()), 3), "spearman": figures}, sheet


def _median(values: list[float]) -> float | None:
    return round(float(np.median(values)), 3) if values else None


def main(options: Options) -> None:
    """Train if need be, measure, print."""
    faces = read_faces(options.data, unlabelled=options.weights is not None or options.conditions != "labels")
    checkpoint = options.weights
    if checkpoint is None:
        faces = hold_out(faces, options.hold_out, options.seed)
        size = load_faces(faces.select([0]), None).shape[-1]
        own = replace(get_system(options.system).configurations["compact"], size=size)
        training = TrainingSettings(steps=options.steps, batch_size=options.batch_size, seed=options.seed)
        checkpoint = train(faces, options.out / "run", options.system, own, training, conditions=options.conditions)
    result = measure(faces, checkpoint, options)
    write_text(options.out / "intensity.json", json.dumps(result | {"machine": machine()}, indent=1) + "\n")
    print(table(result))
    print(f"\nlook: {options.out}/ramps.png")


def measure(faces: FaceTable, checkpoint: Path, options: Options) -> dict[str, Any]:
    """Ask, look, write the sheets; gives JSON values."""
    translator, config = load_translator(checkpoint), read_config(checkpoint)
    scale, test = IntensityScale.from_config(config), unseen(faces, config)
    if scale is None:
        parts = {part for name in options.ask for part in name.split("+")}
        labels = test.table["label"]
        # The calm ones, so that what is asked for is not there yet.
        calm = labels == "neutral" if (labels == "neutral").any() else labels.notna() & ~labels.isin(parts)
        test = test.select(calm.to_numpy(dtype=bool))
        conditions = translator.condition(test.table["label"].tolist())
    else:
        conditions = torch.from_numpy(measured_conditions(test, scale))
    known = np.flatnonzero(conditions.isfinite().all(1).numpy())
    chosen = np.sort(np.random.default_rng(options.seed).permutation(known)[: options.faces])
    if len(chosen) < 3:
        raise EmoaugError(f"{faces.root}: {len(chosen)} held-out faces to ask; three are needed")
    test, conditions = test.select(chosen), conditions[chosen]
    pixels = load_floats(test, translator.size)
    landmarker = FaceLandmarker()
    real = Scores.of(landmarker, to_pictures(pixels))
    rows, sheet = ramps(translator, pixels, conditions, landmarker, options)
    write_bytes(options.out / "ramps.png", encode_png(sheet))
    result: dict[str, Any] = {
        "system": translator.name,
        "faces": len(test),
        "sources_found": round(float(real.found.mean()), 3),
        "ramps": rows,
    }
    if scale is not None:
        result["exemplars"], sheet = exemplars(translator, pixels, conditions, landmarker)
        write_bytes(options.out / "exemplars.png", encode_png(sheet))
    return result


def table(result: Mapping[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"{result['system']}, {result['faces']} held-out faces, {100 * result['sources_found']:.0f} % of them found",
        f"{'asked':<22}{'score':<18}{'Spearman':>9}{'in a face':>10}{'found':>7}   mean score from 0 to 1",
    ]
    for row in result["ramps"]:
        means = " ".join("   -" if mean is None else f"{mean:.2f}" for mean in row["mean_score"])
        lines.append(
            f"{row['asked']:<22}{row['score']:<18}{_shown(row['spearman']):>9}{_shown(row['spearman_in_a_face']):>10}"
            f"{100 * row['found']:>6.0f}%   {means}"
        )
    if "exemplars" in result:
        found = result["exemplars"]["found"]
        lines += [
            "",
            f"asked for what another face shows, {100 * found:.0f} % found",
            f"{'score':<22}{'asked':>9}{'source':>9}",
        ]
        for name, values in result["exemplars"]["spearman"].items():
            lines.append(f"{name:<22}{_shown(values['asked']):>9}{_shown(values['source']):>9}")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main(tyro.cli(Options))
