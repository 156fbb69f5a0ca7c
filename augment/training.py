"""The one trainer: runs the phases of any system, averages its weights, shows samples, and resumes exactly."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from augment.checkpoints import save_checkpoint
from augment.devices import (
    Device,
    Machines,
    Precision,
    compile_options,
    explained_memory,
    make_fabric,
    memory_format,
    seed_from,
)
from augment.folders import FaceTable
from augment.measured_conditions import are_measured, expression_means, fit_scale
from augment.pictures import encode_png, write_bytes, write_text
from augment.ranks import (
    Share,
    average_gradients,
    copy_from_first,
    decided,
    mean_over_ranks,
    share_batch_norms,
    sharing,
    together,
)
from augment.runs import Hold, check_same_run, clear_up, locked, read_run, remove_temporary_files, write_run
from augment.samples import sample_sheet
from augment.systems import SYSTEMS, Batch, Phase, Progress, Translator, get_system
from augment.training_data import TrainingFaces, check_partners, load_training_faces
from emoaug import EmoaugError, __version__

if TYPE_CHECKING:
    from lightning_fabric import Fabric

KIND = "emoaug train"
RUN_FILE = "settings.json"

Conditions = Literal["labels", "blendshapes", "action-units"]
"""What a condition asks for: the class that faces are labelled with, or the strength of each movement that was measured
on them, labelled or not."""


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how to train."""

    steps: int = 5000
    """Steps; every phase counts its own updates in them."""
    batch_size: int = 8
    """Faces per step, over all devices."""
    learning_rate: float = 4e-4
    """Adam's step size; constant for the first half, then down to 0 in a line."""
    seed: int = 0
    """Everything random follows from it."""
    average_decay: float = 0.998
    """Decay per step of the average of the weights; starts lower."""
    jitter: float = 1.0
    """Strength of the random rotation, scale, shift, brightness and contrast of training faces; 0 is none."""
    sample_every: int = 1000
    """Steps between two sample sheets."""
    save_every: int = 500
    """Steps between two saved states; a killed run goes on from the last."""
    device: Device = "auto"
    """Where to train."""
    precision: Precision = "auto"
    """bf16 where the device is fast at it, else float32."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "sample_every", "save_every"):
            if getattr(self, name) < 1:
                raise EmoaugError(f"{name} is {getattr(self, name)}; it is 1 or more")
        if not self.learning_rate > 0 or not 0 <= self.average_decay < 1 or not self.jitter >= 0:
            raise EmoaugError(
                f"learning_rate is {self.learning_rate}, average_decay {self.average_decay}, jitter {self.jitter}; "
                "allowed are above 0, 0 to below 1, and 0 or more"
            )


class Trainer:
    """Trains one translator in one run folder.

    The folder holds `settings.json`, `log.jsonl`, `samples/*.png`, `checkpoint/` and `state/`. Every random number of a
    step follows from the seed and the step's number, so a run that was killed ends, on the CPU, with the same weights
    as one that was not. Several processes train the same weights, each on its share of every batch; the first alone
    writes.

    Args:
        translator: freshly built; a saved state replaces its weights.
        data: training faces.
        out: the run folder.
        settings: how to train.
        extra: facts to keep in the checkpoint, such as which subjects were seen.
        fabric: the device, and the processes that train together.
        hold: the lock of the run folder; None in processes that do not write to it.
        compiled: whether `torch.compile` makes code for the networks that make faces.
    """

    def __init__(
        self,
        translator: Translator,
        data: TrainingFaces,
        out: Path,
        settings: TrainingSettings,
        extra: dict[str, Any],
        fabric: Fabric,
        hold: Hold | None,
        compiled: bool = False,
    ) -> None:
        self.settings, self.data, self.out, self.extra, self.hold = settings, data, out, extra, hold
        self.fabric, self.device, self.share = fabric, fabric.device, None
        if fabric.world_size > 1:
            self.share = Share(fabric.global_rank, fabric.world_size, settings.batch_size // fabric.world_size)
            share_batch_norms(translator)
        self.translator = translator.to(self.device)
        self.translator.to(memory_format=memory_format(self.translator, self.device.type))
        self._begin_average()
        self.phases = self.translator.phases()
        self.compiled = compiled
        if compiled:
            self._compile()
        # Phases that train the same modules share an optimiser. With one each, Adam would give a gradient penalty steps
        # as large as the adversarial ones, whatever its weight.
        self.optimizers: dict[tuple[int, ...], torch.optim.Optimizer] = {}
        for phase in self.phases:
            self.optimizers.setdefault(_modules_key(phase), self._optimizer(phase))
        self.step = 0
        self.terms: dict[str, Tensor] = {}
        """The latest value of every term; a phase that runs seldom keeps its last."""

    @property
    def writes(self) -> bool:
        """Whether this process writes to the run folder; one does."""
        return self.hold is not None

    def _begin_average(self) -> None:
        self.average = {
            name: {k: v.detach().clone() for k, v in module.state_dict().items()}
            for name, module in self.translator.averaged_modules().items()
        }

    def _compile(self) -> None:
        """Compile the networks that make faces and that one phase alone trains.

        Others, such as classifiers that judge too, are also asked for gradients of their gradients, which compiled code
        does not give.
        """
        phases = Counter(id(module) for phase in self.phases for module in phase.modules)
        for module in self.translator.averaged_modules().values():
            if phases[id(module)] == 1:
                module.compile(**compile_options(self.device.type))

    def _optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        parameters = [p for module in phase.modules for p in module.parameters()]
        rate = self.settings.learning_rate * phase.learning_rate_factor
        return torch.optim.Adam(parameters, lr=rate, betas=phase.betas, fused=True)

    def run(self) -> None:
        """Train to the end, from the saved state if there is one."""
        s = self.settings
        self._resume()
        self._trim_log()
        began, first = time.monotonic(), self.step
        bar = tqdm(
            total=s.steps,
            initial=self.step,
            desc=f"training {self.translator.name}",
            unit="step",
            mininterval=1.0,
            disable=not self.writes,
        )
        with bar, open(self.out / "log.jsonl" if self.writes else os.devnull, "a", encoding="utf-8") as log:
            if self.step == 0:
                torch.manual_seed(seed_from(s.seed, "fit"))
                self.translator.fit(self.data)
                self._begin_average()
                self._save_samples()
            self._agree()
            while self.step < s.steps:
                self._one_step()
                self.step += 1
                saves = self.step % s.save_every == 0 or self.step == s.steps
                if self.step % 50 == 0 or saves:
                    values = self._checked(self._values())
                    log.write(json.dumps({"step": self.step, **{k: round(v, 5) for k, v in values.items()}}) + "\n")
                    log.flush()
                    shown: dict[str, object] = {k: f"{values[k]:.3f}" for k in ("change", "attribute") if k in values}
                    bar.set_postfix(shown, refresh=False)
                bar.update()
                if self.step % s.sample_every == 0 or self.step == s.steps:
                    self._save_samples()
                if saves:
                    self._save()
            if self.writes and self.step > first and values.get("change", 1.0) < 0.005:
                bar.write(
                    f"{self.out}: the faces hardly change ({values['change']:.4f} on average, of a range of 2); "
                    "look at the samples before using them. More --steps may help",
                    file=sys.stderr,
                )
        if self.step > first:
            self.extra["seconds_per_step"] = round((time.monotonic() - began) / (self.step - first), 4)
        self._save_checkpoint()

    def _one_step(self) -> None:
        s, progress = self.settings, Progress(self.step, self.settings.steps)
        generator = torch.Generator().manual_seed(seed_from(s.seed, "batch", self.step))
        decay = min(1.0, 2 * (1 - progress.share))
        with sharing(self.share):
            batch = self.data.batch(generator, s.batch_size, s.jitter, self.translator.partners).to(self.device)
            for phase in self.phases:
                if self.step % phase.every == 0:
                    self._update(phase, batch, progress, decay)
        self._update_average()

    def _update(self, phase: Phase, batch: Batch, progress: Progress, decay: float) -> None:
        s, optimizer = self.settings, self.optimizers[_modules_key(phase)]
        parameters = [p for module in phase.modules for p in module.parameters()]
        torch.manual_seed(seed_from(s.seed, phase.name, self.step))
        if self.compiled:
            # Graphs may take back the memory of what they gave in the phase before.
            torch.compiler.cudagraph_mark_step_begin()
        for group in optimizer.param_groups:
            group["lr"] = s.learning_rate * phase.learning_rate_factor * decay
        with _Trained(self.translator, phase.modules):
            with self.fabric.autocast():
                loss, logged = phase.loss(batch, progress)
            self.fabric.backward(loss)
        if self.share is not None:
            average_gradients(parameters)
        if phase.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, phase.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.terms.update({k: v.detach().clone() for k, v in logged.items()})

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.settings.average_decay, (1 + self.step) / (10 + self.step))
        for name, module in self.translator.averaged_modules().items():
            kept = self.average[name]
            for key, value in module.state_dict().items():
                if value.is_floating_point():
                    kept[key].lerp_(value, 1 - decay)
                else:
                    kept[key].copy_(value)

    def _values(self) -> dict[str, float]:
        """The latest terms, of the whole batch."""
        if self.share is not None:
            with sharing(self.share):
                means = mean_over_ranks(torch.stack([value.float() for value in self.terms.values()]))
            self.terms = dict(zip(self.terms, means, strict=True))
        return {name: float(value) for name, value in self.terms.items()}

    def _checked(self, values: dict[str, float]) -> dict[str, float]:
        bad = {k: v for k, v in values.items() if not math.isfinite(v) or abs(v) > 1e4}
        if bad and not self.writes:
            sys.exit(2)  # the first process, which finds the same, says so
        if bad:
            name, value = next(iter(bad.items()))
            raise EmoaugError(
                f"training ran away at step {self.step}: {name} is {value:g}. The last good checkpoint is in "
                f"{self.out / 'checkpoint'}; begin anew in another folder with a lower learning rate, or with "
                "precision 32-true"
            )
        return values

    # Saved state

    @property
    def _state_file(self) -> Path:
        return self.out / "state" / "state.pt"

    def _resume(self) -> None:
        if not self._state_file.exists():
            return
        try:
            state = torch.load(self._state_file, map_location=self.device, weights_only=True)
            self.step = int(state["step"])
            self.translator.load_state_dict(state["weights"])
            self.average, self.terms = state["average"], state["terms"]
            for optimizer, saved in zip(self.optimizers.values(), state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
                # A state saved on another device may be laid out in another way, which fused steps do not look at.
                for parameter, kept in optimizer.state.items():
                    for key, value in kept.items():
                        if value.shape == parameter.shape:
                            kept[key] = torch.empty_like(parameter).copy_(value)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, pickle.PickleError) as error:
            raise EmoaugError(
                f"{self._state_file} is damaged, or of another version ({_first_line(error)}); --restart begins anew"
            ) from error

    def _agree(self) -> None:
        """Begin with the same weights in all processes, whatever each has solved or read."""
        if self.share is None:
            return
        step = torch.tensor(self.step, device=self.device)
        copy_from_first([step])
        if int(step) != self.step:
            raise EmoaugError(
                f"{self.out} holds a state of step {self.step} here and of step {int(step)} on the first machine; put "
                "it on a disk that all machines see"
            )
        copy_from_first(self.translator.state_dict().values())
        copy_from_first(value for kept in self.average.values() for value in kept.values())

    def _trim_log(self) -> None:
        """Forget what was logged after the last saved state: these steps are taken again."""
        log = self.out / "log.jsonl"
        if self.writes and log.exists():
            kept = [line for line in _complete_lines(log) if json.loads(line)["step"] <= self.step]
            write_text(log, "".join(line + "\n" for line in kept), parents=False)

    def _save(self) -> None:
        if not all(
            v.isfinite().all() for kept in self.average.values() for v in kept.values() if v.is_floating_point()
        ):
            self._checked({"weights": math.nan})
        if self.hold is None:
            return
        self.hold.check()
        state = {
            "step": self.step,
            "weights": self.translator.state_dict(),
            "average": self.average,
            "terms": self.terms,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers.values()],
        }
        # In memory first: torch reports a full disk as an error of its own, and a half-written file is no state.
        packed = io.BytesIO()
        torch.save(state, packed)
        write_bytes(self._state_file, packed.getvalue(), parents=False)
        self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        if not self.writes:
            return
        with _Averaged(self.translator, self.average):
            save_checkpoint(self.out / "checkpoint", self.translator, {**self.extra, "steps": self.step})

    @torch.inference_mode()
    def _save_samples(self) -> None:
        if not self.writes:
            return
        # Compiled code is for a batch's size alone.
        eager = torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        with _Averaged(self.translator, self.average), self.fabric.autocast(), eager:
            sheet = sample_sheet(self.translator, self.data, self.device)
        write_bytes(self.out / "samples" / f"{self.step:06d}.png", encode_png(sheet), parents=False)


def _modules_key(phase: Phase) -> tuple[int, ...]:
    return tuple(id(module) for module in phase.modules)


class _Trained:
    """Within, only the parameters of these modules take gradients, which saves the backward work for the others."""

    def __init__(self, whole: nn.Module, modules: list[nn.Module]) -> None:
        chosen = {id(p) for module in modules for p in module.parameters()}
        self.others = [p for p in whole.parameters() if id(p) not in chosen and p.requires_grad]

    def __enter__(self) -> None:
        for p in self.others:
            p.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for p in self.others:
            p.requires_grad_(True)


class _Averaged:
    """Within, the face-making modules have their averaged weights."""

    def __init__(self, translator: Translator, average: dict[str, dict[str, Tensor]]) -> None:
        self.translator, self.average = translator, average

    def __enter__(self) -> None:
        modules = self.translator.averaged_modules()
        self.raw = {name: {k: v.clone() for k, v in m.state_dict().items()} for name, m in modules.items()}
        for name, module in modules.items():
            module.load_state_dict(self.average[name])

    def __exit__(self, *_: object) -> None:
        for name, module in self.translator.averaged_modules().items():
            module.load_state_dict(self.raw[name])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _complete_lines(path: Path) -> list[str]:
    """Lines that end in a newline; a killed run may leave half a line at the end."""
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def train(
    faces: FaceTable,
    out: Path,
    system: str,
    system_settings: Any,
    settings: TrainingSettings,
    condition_names: tuple[str, ...] | None = None,
    restart: bool = False,
    conditions: Conditions = "labels",
    machines: Machines | None = None,
    compiled: bool = False,
) -> Path:
    """Train a system on a dataset's training faces, or go on with the run in `out`.

    Args:
        faces: an aligned dataset; `FaceTable.for_training` says which of its faces are used.
        out: run folder; new, empty, or holding the same run.
        system: a name in `augment.systems.SYSTEMS`.
        system_settings: that system's settings.
        settings: how to train.
        condition_names: order of the expressions; the dataset's vocabulary if None. Not for measured conditions, whose
            names are what moves in these faces.
        restart: throw away what `out` holds of an earlier run and begin anew.
        conditions: what the system is conditioned on. Measured ones take every face that has blendshape scores beside
            it, labelled or not; labels only name what the faces of a class showed on average, as
            `Translator.named_conditions`.
        machines: how many devices train together. With more than one the script is started once more for each, and
            those other processes end with this call: what follows it happens once.
        compiled: have `torch.compile` make code for the networks that make faces; the last bits of sums differ.

    Returns:
        The checkpoint folder.

    Raises:
        EmoaugError: the data does not fit, the folder holds another run, or training ran away.
    """
    chosen = faces.select(faces.for_training())
    names, scale = condition_names or faces.vocabulary, None
    if conditions == "labels":
        if not get_system(system).takes_unlabelled:
            chosen = chosen.select(chosen.table.label.notna().to_numpy())
    else:
        if not get_system(system).learns_intensities:
            able = " and ".join(name for name, kind in SYSTEMS.items() if kind.learns_intensities)
            raise EmoaugError(f"{system} learns from labels only; measured conditions are for {able}")
        chosen = chosen.select(are_measured(chosen))
        scale = fit_scale(chosen, conditions)
        names = scale.names
    check_partners(chosen, get_system(system).partners, scale is not None)
    data_sha256 = data_hash(chosen)

    def prepare() -> tuple[Translator, TrainingFaces]:
        data = load_training_faces(chosen, names, system_settings.size, scale)
        return get_system(system)(names, system_settings), data

    identity = {
        "system": system,
        "condition_names": list(names),
        "system_settings": asdict(system_settings),
        "data_sha256": data_sha256,
    }
    subjects = sorted({str(subject) for subject in chosen.table.subject.dropna()})
    classes = {name: int((chosen.table.label == name).sum()) for name in (names if scale is None else faces.vocabulary)}
    seen = {"subjects": subjects, "classes": classes, "faces": len(chosen), "sha256": data_sha256}
    extra: dict[str, Any] = {"training_data": seen}
    if scale is not None:
        identity |= {"conditions": scale.to_json()}
        extra |= {"conditions": scale.to_json(), "expressions": expression_means(chosen, scale)}
    return run_training(out, identity, settings, prepare, extra, restart, machines, compiled)


def run_training(
    out: Path,
    identity: dict[str, Any],
    settings: TrainingSettings,
    prepare: Callable[[], tuple[Translator, TrainingFaces]],
    extra: dict[str, Any],
    restart: bool = False,
    machines: Machines | None = None,
    compiled: bool = False,
) -> Path:
    """Train what `prepare` gives in the run folder `out`, or go on with the run in it.

    Args:
        out: run folder; new, empty, or holding the same run.
        identity: what makes this run this run, besides `settings`; another identity in `out` is an error.
        settings: how to train.
        prepare: builds the translator and reads the data; not called for a finished run.
        extra: facts to keep in the checkpoint.
        restart: throw away what `out` holds of an earlier run and begin anew.
        machines: how many devices train together; see `train`.
        compiled: see `train`.

    Returns:
        The checkpoint folder.
    """
    ranks = 1 if machines is None else machines.ranks
    if settings.batch_size % ranks:
        raise EmoaugError(
            f"a batch of {settings.batch_size} faces cannot be shared by {ranks} devices; make --batch-size a multiple"
        )
    identity = identity | {
        # Where and how often to look and save does not change what is trained.
        "training": {k: v for k, v in asdict(settings).items() if k not in ("sample_every", "save_every", "device")},
    }
    fabric = make_fabric(settings.device, settings.precision, machines)
    holds: list[Hold] = []

    def begin() -> bool:
        """Whether there is something to do; then the folder is held."""
        if restart:
            _discard(out)
        before = read_run(out, KIND, RUN_FILE)
        if before is not None:
            check_same_run(out, before, identity)
            if before.get("finished"):
                clear_up(out)
                tqdm.write(f"{out}: this run is finished, nothing to do", file=sys.stderr)
                return False
        holds.append(stack.enter_context(locked(out)))
        remove_temporary_files(out)
        return True

    with together(fabric), ExitStack() as stack:
        if decided(fabric, begin):
            _train(fabric, out, identity, settings, prepare, extra, holds[0] if holds else None, compiled)
    return out / "checkpoint"


def _train(
    fabric: Fabric,
    out: Path,
    identity: dict[str, Any],
    settings: TrainingSettings,
    prepare: Callable[[], tuple[Translator, TrainingFaces]],
    extra: dict[str, Any],
    hold: Hold | None,
    compiled: bool,
) -> None:
    """Train in a folder that one of the processes holds."""
    torch.manual_seed(seed_from(settings.seed, "weights"))
    translator, data = prepare()
    run = {"finished": False, "identity": identity, "versions": {"emoaug": __version__, "torch": torch.__version__}}
    if hold is not None:
        write_run(out, KIND, run, RUN_FILE)
    with explained_memory(f"for a batch of {settings.batch_size} faces; lower --batch-size"):
        Trainer(translator, data, out, settings, extra | {"training": asdict(settings)}, fabric, hold, compiled).run()
    if hold is not None:
        hold.check()
        write_run(out, KIND, run | {"finished": True}, RUN_FILE)


def data_hash(faces: FaceTable) -> str:
    """A hash of what is trained on: every picture's content with its label."""
    rows = (f"{faces.sha256(i)} {label}" for i, label in enumerate(faces.table.label))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _discard(out: Path) -> None:
    """Remove an earlier training run, and nothing else."""
    if read_run(out, KIND, RUN_FILE) is None:
        return
    with locked(out):
        for name in ("log.jsonl", "samples", "checkpoint", "state", RUN_FILE):
            part = out / name
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
