"""Whether a system that recombines faces keeps one face's person and takes the other's expression, for new people.

Holds out people, trains the system on the others, and recombines every two held-out faces of different people. A judge
(a classifier) and an identity embedding, both trained on the others' real faces, say whether the result is nearer to
the face whose person it is asked to be than to the one whose look it is asked to have, and whether it shows the
latter's expression. Beside it stands what the identity face as it is would get. Writes a sheet (rows identity faces,
columns attribute faces) and the numbers as JSON.

    python -m benchmarks.recombination --data aligned/ --out runs/recombination --hold-out 12 --steps 3000

Faces without labels, in the dataset's folder `unlabelled`, are attribute faces in training.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from augment.folders import FaceTable, load_faces, read_faces
from augment.identity import IdentityEmbedding, separation, train_embedding
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.samples import load_floats, to_pictures
from augment.systems import Translator, get_system
from augment.training_data import subjects_of
from benchmarks.held_out import JUDGE_RECIPE, HeldOutOptions, hold_out, trained
from benchmarks.machine import machine
from classifiers.classifier import Classifier
from classifiers.training import ClassifierSettings, train_classifier
from emoaug import EmoaugError


@dataclass(frozen=True)
class Options(HeldOutOptions):
    """What to measure."""

    system: str = "ip-gan"
    """Which system; one that recombines faces."""
    steps: int = 3000
    """The system's training steps."""


def hold_out_of(faces: FaceTable, count: int, seed: int) -> FaceTable:
    """Real faces in the splits `train` and `test`: some people are for the test, unlabelled faces for training."""
    faces = faces.select((~faces.table.is_synthetic).to_numpy(bool))
    known = hold_out(faces.select(faces.table.label.notna().to_numpy()), count, seed).table
    test = faces.table.subject.isin(known.subject[known.split == "test"])
    return replace(faces, table=faces.table.assign(split=np.where(test, "test", "train")))


def recombined(translator: Translator, identity: Tensor, attribute: Tensor) -> Tensor:
    """Recombined faces, in parts that fit into memory."""
    pairs = zip(identity.split(64), attribute.split(64), strict=True)
    with torch.inference_mode():
        return torch.cat([translator.recombine(one, other) for one, other in pairs])


def pairs_of(subjects: Tensor) -> tuple[Tensor, Tensor]:
    """Every ordered pair of faces of two people: rows of identity faces, and of attribute faces, (P,) each."""
    one, other = (subjects[:, None] != subjects[None]).nonzero(as_tuple=True)
    return one, other


def shares(
    made: Tensor, rows: tuple[Tensor, Tensor], faces: Tensor, labels: Tensor, judge: Classifier, who: IdentityEmbedding
) -> dict[str, float]:
    """What judge and embedding say of faces made of pairs of `faces`, as shares.

    Args:
        made: (P, 3, S, S).
        rows: of identity and of attribute faces among `faces`, (P,) each.
        faces: (N, 3, S, S).
        labels: what these show, (N,) int64.
        judge: expressions.
        who: people.
    """
    one, other = rows
    embedded, result = who(faces), who(made)
    kept = (result * embedded[one]).sum(1) > (result * embedded[other]).sum(1)
    taken = judge(made).argmax(1) == labels[other]
    asked = labels[one] != labels[other]
    change = (made - faces[one]).abs().mean((1, 2, 3))

    def share(hits: Tensor) -> float:
        return float(hits.float().mean())

    return {
        "nearer_to_identity_face": share(kept),
        "nearer_where_expressions_differ": share(kept[asked]),
        "takes_expression": share(taken),
        "takes_expression_where_they_differ": share(taken[asked]),
        "mean_change": float(change.mean()),
        "pairs": len(made),
        "pairs_where_expressions_differ": int(asked.sum()),
    }


def measure(faces: FaceTable, translator: Translator, options: Options) -> dict[str, Any]:
    """All figures, and the sheet."""
    labelled = faces.select((faces.table.label.notna() & faces.table.subject.notna()).to_numpy())
    split = labelled.table.split.to_numpy()
    rest, test = labelled.select(split == "train"), labelled.select(split == "test")
    known, people = load_faces(rest, translator.size), subjects_of(rest)[0]
    settings = ClassifierSettings(steps=options.judge_steps, recipe=JUDGE_RECIPE)
    judge = train_classifier(known, rest.label_indices(), len(faces.vocabulary), settings, options.seed)
    who = train_embedding(known, people, options.seed)
    pixels = load_floats(test, translator.size)
    labels, subjects = torch.from_numpy(test.label_indices()), subjects_of(test)[0]
    rows = pairs_of(subjects)
    made = recombined(translator, pixels[rows[0]], pixels[rows[1]])
    apart = separation(who(pixels), subjects, labels)
    write_bytes(options.out / "recombination.png", encode_png(sheet(translator, pixels, labels)))
    return {
        "people": len(subjects.unique()),
        "judge_right_on_real": float((judge(pixels).argmax(1) == labels).float().mean()),
        "people_told_apart": None if apart is None else apart.area,
        "recombined": shares(made, rows, pixels, labels, judge, who),
        "takes_expression_by_direction": by_direction(made, rows, test, judge),
        "identity_face_as_it_is": shares(pixels[rows[0]], rows, pixels, labels, judge, who),
    }


def by_direction(made: Tensor, rows: tuple[Tensor, Tensor], faces: FaceTable, judge: Classifier) -> dict[str, float]:
    """Share of results that show the attribute face's expression, by both faces' expressions, as "happy > neutral"."""
    labels, names = torch.from_numpy(faces.label_indices()), faces.vocabulary
    one, other = labels[rows[0]], labels[rows[1]]
    hits = (judge(made).argmax(1) == other).float()
    asked = {f"{names[a]} > {names[b]}": (one == a) & (other == b) for a in one.unique() for b in other.unique()}
    return {name: float(hits[which].mean()) for name, which in asked.items() if which.any()}


def sheet(translator: Translator, faces: Tensor, labels: Tensor) -> np.ndarray:
    """Rows of identity faces, columns of attribute faces, some of each expression, uint8 RGB (H, W, 3)."""
    each = [(labels == c).nonzero().flatten() for c in labels.unique()]
    count = max(1, 8 // len(each))
    down, across = torch.cat([r[:count] for r in each]), torch.cat([r[-count:] for r in each])
    made = to_pictures(
        recombined(translator, faces[down].repeat_interleave(len(across), 0), faces[across].repeat(len(down), 1, 1, 1))
    )
    real = to_pictures(faces)
    rows = [[np.full_like(real[0], 255), *(real[i] for i in across)]]
    rows += [[real[i], *made[n * len(across) : (n + 1) * len(across)]] for n, i in enumerate(down)]
    return contact_sheet(rows, ["look", *["person"] * len(down)], [])


def main(options: Options) -> None:
    """Train, measure, print."""
    faces = hold_out_of(read_faces(options.data, unlabelled=True), options.hold_out, options.seed)
    abilities = get_system(options.system).info.abilities
    if "recombine" not in abilities:
        raise EmoaugError(f"{options.system} does not recombine faces; it can {', '.join(abilities)}")
    result = measure(faces, trained(faces, options), options) | {"machine": machine()}
    write_text(options.out / "recombination.json", json.dumps(result, indent=1) + "\n")
    print(f"the judge is right on {100 * result['judge_right_on_real']:.1f} % of the real held-out faces")
    for of in ("recombined", "identity_face_as_it_is"):
        line = "  ".join(f"{k} {100 * v:.1f} %" for k, v in result[of].items() if not k.startswith(("pairs", "mean")))
        print(f"{of} ({result[of]['pairs']} pairs): {line}")
    for direction, hit in result["takes_expression_by_direction"].items():
        print(f"{direction}: takes the expression {100 * hit:.1f} %")
    print(f"look: {options.out / 'recombination.png'}")


if __name__ == "__main__":
    main(tyro.cli(Options))
