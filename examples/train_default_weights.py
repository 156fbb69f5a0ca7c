"""Train the weights that come with the package: LSSL for seven expressions, from rendered faces and the London set.

Real faces give neutral and happy and what people look like; rendered ones, of two kinds of heads and most of them in
the light and before the backdrops of the real ones, give all seven expressions, shown strongly and in one way each:
faint ones teach a system to change little, and of several ways it would learn the mean. Faint and closed smiles are
left out for that. Half of the rendered people hold still, so that their pictures are pairs: without these, open mouths
seldom learnt to close. The step size does not shrink towards the end: as it did, changes did too.

LONDON is a folder of the Face Research Lab London Set's neutral and smiling front views (DeBruine & Jones 2017,
CC BY 4.0) as `emoaug align` wrote it at 64 px; FACE_MODEL the ICT-FaceKit face model (MIT), as `emoaug simulate
--face-model` takes it. Forty minutes of one core that computes in bf16, more of another; every part can be stopped and
goes on when the script is started again.

python examples/train_default_weights.py LONDON FACE_MODEL OUT [STEPS]
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from augment.faces import FaceMeasures, read_measures, write_measures
from augment.folders import FaceTable, read_faces, write_metadata
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import SimulateSettings, simulate
from augment.simulation.surroundings import Surroundings
from augment.systems.lssl import LSSLSettings
from augment.training import TrainingSettings
from augment.training_run import train

SETTINGS = LSSLSettings(
    mirrored=True, critic_augmentation=0.15, mask_smoothness_weight=0.3, pair_weight=1.5, identity_weight=0.05
)
"""As the package's weights were trained. The defaults are for a few hundred faces, which a critic knows by heart; and
heavier, the pairs and the distance to the source keep smiles small."""

LEAST_SMILE = 0.6
"""Of MediaPipe's mouthSmile, mean of both sides, for a face that is to teach what happy is."""

INNER_LIPS = [13, 14]
"""MediaPipe's landmarks in the middle of the lips' inner edges, upper and lower."""

LEAST_GAP = 0.05
"""Between these, the picture being 2 wide, for such a face: teeth show."""


def main(london: Path, face_model: Path, out: Path, steps: int) -> None:
    """Render, join, train."""
    around = Surroundings.from_folder(london)
    rendered = []
    for seed, (surroundings, model, intensity) in enumerate(
        ((None, None, (1.2, 1.6)), (around, None, (1.2, 1.6)), (around, face_model, (1.0, 1.4)))
    ):
        scenes = SceneSettings(intensity=intensity, typical=1.0, still=0.5, seed=seed)
        settings = SimulateSettings(count=70 if steps < 1000 else 1400, face_model=model)
        simulate(out / f"rendered-{seed}", scenes, settings, None, surroundings)
        rendered.append(read_faces(out / f"rendered-{seed}"))
    vocabulary = rendered[0].vocabulary
    join(out / "rendered", rendered)
    training = TrainingSettings(steps=steps, cooldown=0.0, average_decay=0.999)
    beside = read_faces(out / "rendered", vocabulary=vocabulary)
    people = with_wide_smiles(read_faces(london))
    train(people, out / "lssl", "lssl", SETTINGS, training, vocabulary, also=beside)


def with_wide_smiles(faces: FaceTable) -> FaceTable:
    """Leave out happy faces that smile less, or with lips less apart, than the constants say."""
    measures = read_measures(faces.root, list(faces.table.file_name))
    assert measures is not None
    names = list(measures.blendshape_names)
    sides = [names.index(f"mouthSmile{side}") for side in ("Left", "Right")]
    smile = measures.blendshapes[:, sides].mean(1)
    lips = measures.landmarks[:, INNER_LIPS, 1]
    wide = (smile >= LEAST_SMILE) & (lips[:, 1] - lips[:, 0] >= LEAST_GAP)
    return faces.select((faces.table.label != "happy").to_numpy() | wide)


def join(out: Path, parts: list[FaceTable]) -> None:
    """Write one dataset folder with the rendered faces of several; they count as originals, to be learnt from."""
    rows: list[dict[str, object]] = []
    measures: list[FaceMeasures] = []
    for number, part in enumerate(parts):
        names = list(part.table.file_name)
        found = read_measures(part.root, names)
        assert found is not None
        measures.append(found)
        for i, (name, label, subject) in enumerate(zip(names, part.table.label, part.table.subject, strict=True)):
            new = f"{label}/{number}-{Path(name).name}"
            (out / new).parent.mkdir(parents=True, exist_ok=True)
            if not (out / new).exists():
                os.link(part.path(i), out / new)
            rows.append({"file_name": new, "label": label, "subject": subject})
    write_metadata(out, pd.DataFrame(rows))
    joined = [np.concatenate([getattr(m, name) for m in measures]) for name in ("landmarks", "blendshapes")]
    poses = np.concatenate([m.pose for m in measures])
    write_measures(
        out,
        [str(row["file_name"]) for row in rows],
        FaceMeasures(joined[0], joined[1], measures[0].blendshape_names, poses),
    )


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    given = [Path(argument) for argument in sys.argv[1:4]]
    main(given[0], given[1], given[2], int(sys.argv[4]) if len(sys.argv) > 4 else 9000)
