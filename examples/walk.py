"""The walk of walk.sh in Python: align, train, make faces, load them with torchvision.

python examples/walk.py FACES OUT [STEPS]
"""

import sys
from pathlib import Path

import torch
from torchvision.datasets import ImageFolder

from augment.alignment import AlignSettings, align_folder
from augment.checkpoints import load_translator
from augment.folders import read_faces
from augment.generation import GenerateSettings, generate
from augment.pictures import read_picture
from augment.plans import PlanSettings, build_plan
from augment.systems import get_system
from augment.training import TrainingSettings
from augment.training_run import train


def main(source: Path, out: Path, steps: int) -> None:
    """Walk the whole way."""
    print(align_folder(read_faces(source), out / "aligned", AlignSettings(size=64)))
    faces = read_faces(out / "aligned")

    settings = get_system("lssl").configurations["compact"]
    training = TrainingSettings(steps=steps)
    checkpoint = train(faces, out / "lssl", "lssl", settings, training, initial="default")
    translator = load_translator(checkpoint)

    # One face by hand: a condition is a row of wishes, here three quarters of the way to the last expression.
    face = torch.from_numpy(read_picture(faces.path(0))).permute(2, 0, 1)[None].float() / 127.5 - 1
    wish = 0.75 * translator.condition([faces.vocabulary[-1]]) + 0.25 * translator.condition([faces.table.label[0]])
    with torch.inference_mode():
        print("made one face", tuple(translator.translate(face, wish).shape))

    # Many faces, as a dataset folder that every loader of class folders reads.
    plan = build_plan(faces, translator.condition_names, PlanSettings("multiply", factor=1))
    print(generate(faces, translator, plan, out / "bigger", GenerateSettings(), {}))
    print(ImageFolder(str(out / "bigger")))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 5000)
