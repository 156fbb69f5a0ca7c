"""Rendered faces that a system learns from beside a trial's training faces; see `train`'s `also`."""

from __future__ import annotations

from pathlib import Path

from augment.action_units import PROTOTYPES
from augment.devices import seed_from
from augment.folders import FaceTable, read_faces
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import SimulateSettings, simulate
from augment.simulation.surroundings import Surroundings
from emoaug import EmoaugError


def faces_beside(
    folder: Path, faces: FaceTable, per_class: int, size: int, seed: int, face_model: Path | None = None
) -> FaceTable:
    """Render people who show every expression of the training faces, held, lit and photographed like these.

    Args:
        folder: to render into; new, empty, or of the same call.
        faces: training faces alone, aligned and measured; those without a label are not looked at.
        per_class: faces of each expression.
        size: side of the faces, pixels.
        seed: every draw; the people are others than those of `emoaug simulate` with this seed, who may be the dataset.
        face_model: as for `emoaug simulate`.

    Raises:
        EmoaugError: the faces have not been measured, or show fewer than two expressions of which units are known.
    """
    faces = faces.select(faces.table.label.notna().to_numpy())
    shown = set(faces.table.label) & set(PROTOTYPES)
    names = tuple(name for name in faces.vocabulary if name in shown)
    if len(names) < 2:
        raise EmoaugError(
            f"the training faces show {', '.join(sorted(set(faces.table.label)))}; of these rendered faces know "
            f"{', '.join(names) or 'none'}, and two are needed to learn from them. Leave --rendered-beside out"
        )
    # Strong expressions, all shown in one way, and half of the people keep still, as pairs to learn from.
    own = seed_from("beside", seed) % 2**31
    scenes = SceneSettings(names, (1.0, 1.4), typical=1.0, per_subject=len(names), still=0.5, seed=own)
    # On the CPU whatever the training takes: pixels differ by device, and a run may go on with another.
    rendering = SimulateSettings(per_class * len(names), size, face_model, device="cpu", workers=1)
    simulate(folder, scenes, rendering, None, Surroundings.from_folder(faces.root, faces))
    return read_faces(folder, vocabulary=faces.vocabulary)
