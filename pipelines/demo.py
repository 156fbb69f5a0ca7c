"""The whole way on a small world of rendered people: no data, no download, a few minutes.

Both sides are rendered. The side that stands in for real photographs has other people, who vary more, before a camera
that roams wider and is noisier, half of them as still as in a studio; nothing of what the demo measures says how well
emoaug does on real faces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from augment.checkpoints import DEFAULT, load_translator
from augment.folders import read_faces
from augment.generation import GenerateSettings, generate
from augment.plans import PlanSettings, build_plan
from augment.runs import locked
from augment.simulation.behaviour import INTENSITY
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import SimulateSettings, simulate
from augment.systems import get_system
from augment.training import TrainingSettings
from augment.training_run import train
from augment.verification import verify
from classifiers.training import ClassifierSettings
from pipelines.audit import audit, format_audit
from pipelines.gain import run_gain
from pipelines.report import write_report
from pipelines.trials import GainSettings

REAL_SIDE = SceneSettings(
    expressions=("neutral", "happy", "surprise", "sad"),
    per_subject=4,
    yaw=35,
    jitter=1.5,
    spread=1.3,
    still=0.5,
    seed=7,
)
"""The world that stands in for real photographs; the package's weights saw people of other seeds."""


@dataclass(frozen=True)
class DemoSettings:
    """How big the world is, and how long to train."""

    people: int = 60
    """People on the side that stands in for real photographs, four pictures each."""
    size: int = 64
    """Side of the pictures, pixels."""
    steps: int = 150
    """Training steps of LSSL, which begins with the package's weights."""
    trial_steps: int = 70
    """Training steps of each system in the gain trials."""
    classifier_steps: int = 120
    """Training steps of each classifier in the gain trials."""
    simulated_per_class: int = 100
    """Rendered faces of each class in the arm simulated."""
    workers: int = 0
    """Processes; 0 for one a core."""
    arms: tuple[str, ...] = ("real", "classical", "simulated", "lssl")
    """What to compare."""


def run_demo(out: Path, settings: DemoSettings) -> Path:
    """Simulate a world, train, make faces, measure the gain; a stopped demo goes on.

    Returns:
        The report.
    """
    with locked(out):
        return _demo(out, settings)


def _demo(out: Path, settings: DemoSettings) -> Path:
    """Do what `run_demo` says, in a folder that is held."""
    _say("1 of 5", "a small world of rendered people, standing in for photographs")
    world = SimulateSettings(settings.people * 4, settings.size, as_real=True, workers=settings.workers)
    print(simulate(out / "faces", REAL_SIDE, world))
    faces = read_faces(out / "faces")
    _say("2 of 5", "what is in it")
    print(format_audit(audit(faces)))
    _say("3 of 5", "LSSL learns to change expressions")
    system = replace(get_system("lssl").configurations["compact"], size=settings.size)
    training = TrainingSettings(steps=settings.steps, sample_every=max(1, settings.steps // 3))
    checkpoint = train(faces, out / "lssl", "lssl", system, training, initial=DEFAULT)
    _say("4 of 5", "a dataset of twice the size, each new face with its provenance")
    translator = load_translator(checkpoint)
    plan = build_plan(faces, translator.condition_names, PlanSettings("multiply", factor=1))
    print(generate(faces, translator, plan, out / "bigger", GenerateSettings(), {}))
    problems = verify(out / "bigger").problems
    print(f"{out / 'bigger'}: {len(problems)} problems: {problems[0]}" if problems else "checked: all is well")
    _say("5 of 5", "does a classifier get better?")
    gain = GainSettings(
        arms=settings.arms,
        folds=2,
        seeds=1,
        synthetic_factor=3.0,
        simulated_per_class=settings.simulated_per_class,
        simulated_intensity=INTENSITY,
        workers=settings.workers,
        training=TrainingSettings(steps=settings.trial_steps, sample_every=settings.trial_steps),
        classifier=ClassifierSettings(steps=settings.classifier_steps),
    )
    trials = run_gain(faces, out / "gain", gain)
    print(write_report(faces, trials, out / "gain", gain))
    print(
        "\nEvery face in this demo is rendered, those that stand in for photographs too, and the trainings were cut "
        "short: it shows the way, and says nothing of real faces.\n"
        f"look: {out}/bigger/contact_sheet.png · {out}/lssl/samples · {out}/gain/report/index.html"
    )
    return out / "gain" / "report" / "index.html"


def _say(number: str, what: str) -> None:
    print(f"\n[{number}] {what}", flush=True)
