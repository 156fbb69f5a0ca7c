"""The work of a simulation: chunks of pictures, each made in whatever process, noted when it is on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from augment.action_units import BLENDSHAPE_NAMES
from augment.alignment_record import PARTS_FOLDER, Part, still_done
from augment.devices import Device, explained_memory, one_thread
from augment.faces import FaceMeasures
from augment.pictures import encode_png, write_bytes
from augment.runs import Hold
from augment.simulation.behaviour import ExpressionSource
from augment.simulation.morphable import FaceModel, load_face_model
from augment.simulation.scenes import SceneSettings, describe, draw_scene
from augment.simulation.studio import take_pictures
from augment.simulation.surroundings import Surroundings
from augment.workers import cores, do_all
from emoaug import EmoaugError, bar_hidden

_CHUNK = {"cpu": 32, "cuda": 256}
"""Pictures that are rendered together, about: always whole people. The last bits of a picture depend on it."""


@dataclass(frozen=True)
class SimulateSettings:
    """How many faces to make, how big, and with what."""

    count: int = 700
    """Pictures."""
    size: int = 64
    """Side of the pictures, pixels, 16 to 1024."""
    face_model: Path | None = None
    """ICT-FaceKit: its folder, or a converted ict_facekit_light.npz; by default the head that is built in."""
    as_real: bool = False
    """Mark the faces as real ones, for demos and tests in which a simulated world stands in for a real one."""
    device: Device = "auto"
    """Where to render."""
    workers: int = 0
    """Processes; 0 for one a core, or one with a graphics card. The pictures do not depend on it."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 10_000_000:
            raise EmoaugError(f"count is {self.count}; it is the number of pictures, 1 to 10,000,000")
        if not 16 <= self.size <= 1024:
            raise EmoaugError(f"size is {self.size}; it is the side of the pictures in pixels, 16 to 1024")
        if self.workers < 0:
            raise EmoaugError(f"workers is {self.workers}; give 1 or more, or 0 for one a core")


@dataclass(frozen=True)
class SimulationJob:
    """One run, with all that is needed to make any of its chunks in any process."""

    out: Path
    scenes: SceneSettings
    settings: SimulateSettings
    source: ExpressionSource
    surroundings: Surroundings | None
    device: str

    @property
    def chunk(self) -> int:
        """Rows of a chunk: whole people, so that none is painted twice, unless one has too many pictures."""
        each, about = self.scenes.per_subject, _CHUNK[self.device]
        return about if each > about else each * max(1, round(about / each))

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.settings.count // self.chunk)

    def rows(self, number: int) -> range:
        """Rows of a chunk that belong to the run."""
        return range(number * self.chunk, min((number + 1) * self.chunk, self.settings.count))

    def part(self, number: int) -> Path:
        """Where it is noted that a chunk is done."""
        return self.out / PARTS_FOLDER / f"{number:06d}.npz"

    def subject(self, number: int) -> str:
        """A person's name, another one in every simulated world."""
        return f"simulated-{self.scenes.seed}-{number:05d}"

    def make(self, number: int) -> None:
        """Render a chunk, write its pictures and note what is known of them."""
        # The whole chunk also at the end of a run, so that a picture does not depend on the count.
        drawn = [
            draw_scene(self.scenes, row, self.source, self.surroundings)
            for row in range(number * self.chunk, (number + 1) * self.chunk)
        ]
        model = _model_on(self.settings.face_model, self.device)
        with one_thread(), torch.inference_mode():
            taken = take_pictures(model, drawn, self.scenes, self.settings.size, self.device)
            levels = taken.pictures.mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)
        pixels = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        outcomes = []
        for place in range(len(self.rows(number))):
            scene = drawn[place]
            data = encode_png(pixels[place])
            name = f"{scene.label}/{self.subject(scene.subject)}-{scene.row:06d}.png"
            write_bytes(self.out / name, data, parents=False)
            outcomes.append(
                {
                    "file_name": name,
                    "label": scene.label,
                    "subject": self.subject(scene.subject),
                    "condition": scene.expression,
                    "seed": scene.seed,
                    "file_sha256": hashlib.sha256(data).hexdigest(),
                    "pose": list(scene.pose),
                    "description": {**taken.people[place], **describe(scene)},
                }
            )
        count = len(outcomes)
        poses = np.array([scene.pose for scene in drawn[:count]], np.float32)
        measures = FaceMeasures(
            taken.landmarks[:count], taken.blendshapes[:count], np.array(BLENDSHAPE_NAMES), poses.reshape(-1, 3)
        )
        write_bytes(self.part(number), Part(tuple(outcomes), measures).to_bytes(), parents=False)

    def done(self, number: int) -> bool:
        """Whether a chunk needs no more work: it is noted, and its pictures lie there as they were written."""
        return still_done(self.out, self.part(number), len(self.rows(number)))


_models: dict[tuple[Path | None, str], FaceModel] = {}


def _model_on(path: Path | None, device: str) -> FaceModel:
    """The model on a device, once a process: what is computed once a model must find the same object."""
    if (path, device) not in _models:
        _models[path, device] = load_face_model(path).to(device)
    return _models[path, device]


def take_all(job: SimulationJob, hold: Hold) -> None:
    """Make every chunk that is not done yet."""
    todo = [number for number in range(job.chunks) if not job.done(number)]
    waiting = sum(len(job.rows(number)) for number in todo)
    workers = job.settings.workers or (cores() if job.device == "cpu" else 1)
    with (
        tqdm(
            total=job.settings.count,
            initial=job.settings.count - waiting,
            desc="simulated",
            unit="face",
            disable=bar_hidden(),
        ) as bar,
        explained_memory(
            f"on {job.device} for {job.chunk} pictures of {job.settings.size} pixels at a time; "
            "use --device cpu, fewer --workers or a smaller size"
        ),
    ):

        def noted(number: int, _: None) -> None:
            hold.check()
            bar.update(len(job.rows(number)))

        do_all(todo, workers, partial(_maker, job), noted)


def _maker(job: SimulationJob) -> Callable[[int], None]:
    return job.make
