"""Write a dataset of simulated faces: labels, blendshapes, landmarks and poses exact, stoppable at any moment."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd
import torch

from augment.action_units import BLENDSHAPE_NAMES
from augment.alignment_record import PARTS_FOLDER, Part
from augment.devices import choose_device
from augment.expressions import check_class_name
from augment.faces import FaceMeasures, write_measures
from augment.folders import COLUMNS, write_metadata
from augment.pictures import contact_sheet, encode_png, read_picture, write_bytes
from augment.runs import Hold, clear_up, finished_result, locked, remove_temporary_files, write_run
from augment.simulation.behaviour import ExpressionSource, Prototypes, known_labels
from augment.simulation.morphable import FaceModel, load_face_model
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulation_work import SimulateSettings, SimulationJob, take_all
from augment.simulation.surroundings import Surroundings
from emoaug import __version__

KIND = "emoaug simulate"
RENDERER = 4
"""Raised whenever the same scenes give other pictures, so that no folder holds pictures of two kinds."""
SHEET = "contact_sheet.png"
_SHEET_COLUMNS = 8


@dataclass(frozen=True)
class SimulateSummary:
    """What a simulation did."""

    out: Path
    """The dataset folder."""
    people: int
    """Subjects."""
    per_class: dict[str, int]
    """Pictures by class."""
    landmarks: bool
    """Whether the face model knows where MediaPipe's landmarks are, so that faces.npz has them."""
    already_done: bool = False
    """The folder was finished before; nothing was done."""

    def __str__(self) -> str:
        first = f"simulated {sum(self.per_class.values()):,} faces of {self.people:,} people"
        classes = " · ".join(f"{name} {count:,}" for name, count in self.per_class.items())
        check = f"emoaug verify {quote(f'{self.out}/')}"
        lines = [
            f"{self.out}/ was finished before, nothing to do: {first}" if self.already_done else first,
            f"{self.out}/  {classes}        look: {self.out}/{SHEET}   check: {check}",
        ]
        if not self.landmarks:
            lines.append(
                "the face model does not know MediaPipe's landmarks, which systems train with; "
                f"emoaug align {quote(str(self.out))}/ ALIGNED --crop none adds them"
            )
        return "\n".join(lines)


def simulate(
    out: Path,
    scenes: SceneSettings | None = None,
    settings: SimulateSettings | None = None,
    source: ExpressionSource | None = None,
    surroundings: Surroundings | None = None,
) -> SimulateSummary:
    """Simulate faces and write them as a dataset folder, framed as `emoaug align` frames.

    Writes `CLASS/NAME.png`, `metadata.csv` (with the exact blendshapes in `condition`, the pose in degrees and a
    description of person, camera and light), `faces.npz` (see `augment.faces.FaceMeasures`; exact, not measured),
    `contact_sheet.png` and `run.json`. The same call again takes up a run that was stopped, and does nothing in a
    finished folder. A picture depends on the scene settings, the source, the face model, the size, the kind of device
    and its row, and not on the count, the workers or restarts. With more than one worker, a script must call this
    under `if __name__ == "__main__":`, as always with Python's processes.

    Args:
        out: the folder to write; absent, empty, or one that this same call began.
        scenes: what to show; defaults to `SceneSettings()`. Its expressions may be written in any known spelling.
        settings: defaults to `SimulateSettings()`.
        source: where expressions come from; by default their action-unit prototypes.
        surroundings: photographs that give poses, backdrops and light; by default the scene settings do.

    Raises:
        EmoaugError: an expression that the source does not know, no such face model, or the folder holds something
            else, is in use or cannot be written to.
    """
    settings, scenes = settings or SimulateSettings(), scenes or SceneSettings()
    source = source or Prototypes(scenes.intensity, scenes.typical)
    scenes = replace(scenes, expressions=known_labels(scenes.expressions, source))
    for name in scenes.expressions:
        check_class_name(name)
    device = choose_device(settings.device)
    model = load_face_model(settings.face_model)
    out = Path(out)
    identity = _identity(scenes, settings, source, surroundings, model, device)
    finished = _finished(out, identity)
    if finished is not None:
        clear_up(out, PARTS_FOLDER)
        return finished
    with locked(out) as hold:
        # Asked again, because another process may have begun or finished between the first look and the lock.
        finished = _finished(out, identity)
        if finished is not None:
            return finished
        run = {
            "finished": False,
            "identity": identity,
            "settings": {**asdict(scenes), **asdict(settings), "face_model": model.name, "device": device},
            "vocabulary": list(scenes.expressions),
            "versions": {"emoaug": __version__, "torch": torch.__version__},
        }
        write_run(out, KIND, run)
        remove_temporary_files(out)
        job = SimulationJob(out, scenes, settings, source, surroundings, device)
        take_all(job, hold)
        summary = _write_tables(job, hold)
        result = {name: value for name, value in asdict(summary).items() if name not in ("out", "already_done")}
        write_run(out, KIND, run | {"finished": True, "result": result})
    clear_up(out, PARTS_FOLDER)
    return summary


def _write_tables(job: SimulationJob, hold: Hold) -> SimulateSummary:
    """Write what describes the pictures: metadata.csv, faces.npz, contact_sheet.png."""
    parts = [Part.from_file(job.part(number)) for number in range(job.chunks)]
    table = pd.DataFrame([outcome for part in parts for outcome in part.outcomes])
    names = table["file_name"].tolist()
    hold.check(names)
    landmarks, blendshapes, pose = (
        np.concatenate([getattr(part.measures, name) for part in parts])
        for name in ("landmarks", "blendshapes", "pose")
    )
    write_measures(job.out, names, FaceMeasures(landmarks, blendshapes, np.array(BLENDSHAPE_NAMES), pose))
    sheet = [
        [read_picture(job.out / name) for name in table["file_name"][table["label"] == label][:_SHEET_COLUMNS]]
        for label in job.scenes.expressions
    ]
    write_bytes(job.out / SHEET, encode_png(contact_sheet(sheet, job.scenes.expressions, [])))
    # The pictures of a world that stands in for a real one are that world's photographs.
    table = table.assign(is_synthetic=not job.settings.as_real, system="simulation", accepted=True)
    write_metadata(job.out, table.reindex(columns=[*COLUMNS, "file_sha256", "pose", "description"]))
    counts = Counter(table["label"])
    return SimulateSummary(
        out=job.out,
        people=int(table["subject"].nunique()),
        per_class={name: counts[name] for name in job.scenes.expressions if counts[name]},
        landmarks=bool(np.isfinite(landmarks).any()),
    )


def _identity(
    scenes: SceneSettings,
    settings: SimulateSettings,
    source: ExpressionSource,
    surroundings: Surroundings | None,
    model: FaceModel,
    device: str,
) -> dict[str, Any]:
    """Everything that decides what the files of a run are, as JSON values."""
    digest = hashlib.sha256()
    for tensor in (model.vertices, model.triangles, model.identity, model.expression):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    identity = {
        **asdict(scenes),
        "count": settings.count,
        "size": settings.size,
        "as_real": settings.as_real,
        "device": device,
        "face_model": digest.hexdigest(),
        "expression_source": source.fingerprint(),
        "surroundings": surroundings.fingerprint() if surroundings else None,
        "renderer": RENDERER,
    }
    return dict(json.loads(json.dumps(identity)))


def _finished(out: Path, identity: dict[str, Any]) -> SimulateSummary | None:
    """The summary of a folder in which this very run is finished; None if there is work to do."""
    return finished_result(out, KIND, identity, lambda result: SimulateSummary(**result, out=out, already_done=True))
