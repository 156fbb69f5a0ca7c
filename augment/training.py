"""The one trainer: runs the phases of any system, averages its weights, shows samples, and resumes exactly."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from augment.checkpoints import CONFIG, read_config, save_checkpoint
from augment.devices import Device, Precision, compile_options, memory_format, seed_from
from augment.interruption import interruption_held
from augment.pictures import encode_png, write_bytes
from augment.ranks import Share, average_gradients, mean_over_ranks, share_batch_norms, sharing
from augment.runs import Hold
from augment.samples import sample_sheet
from augment.systems import Batch, Phase, Progress, Translator
from augment.training_data import TrainingFaces
from augment.training_log import doubt
from augment.training_state import load_state, save_state, share_state, trim_log
from augment.variation import Variation
from augment.weight_average import WeightAverage
from emoaug import EmoaugError, bar_hidden, check_least, check_seed

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how to train."""

    steps: int = 5000
    """Steps; every phase counts its own updates in them."""
    batch_size: int = 8
    """Faces per step, over all devices."""
    learning_rate: float = 4e-4
    """Adam's step size, until `cooldown`."""
    cooldown: float = 0.5
    """Share of the steps, the last ones, over which the step size goes down to 0 in a line; as it does, changes get
    cleaner, and smaller."""
    seed: int = 0
    """Everything random follows from it."""
    average_decay: float = 0.998
    """Decay per step of the average of the weights; starts lower."""
    jitter: float = 1.0
    """Strength of the random rotation, scale, shift, brightness and contrast of training faces; 0 is none."""
    cameras: float = 1.0
    """Strength, as a share of jitter, of what other cameras would do: some faces grey, some less sharp, darker, paler
    or harsher; 0 is none."""
    framing: float = 1.0
    """Strength, as a share of jitter, of other frames than aligned faces have: some faces larger, smaller, tilted,
    to a side; 0 is none. Systems for aligned faces alone see none."""
    sample_every: int = 1000
    """Steps between two sample sheets."""
    save_every: int = 500
    """Steps between two saved states; a killed run goes on from the last, one that Ctrl-C stopped from where it was."""
    device: Device = "auto"
    """Where to train."""
    precision: Precision = "auto"
    """bf16 where the device is fast at it, else float32."""

    def __post_init__(self) -> None:
        check_least(self, 1, "steps", "batch_size", "sample_every", "save_every")
        check_seed(self.seed)
        check_least(self, 0, "cameras", "framing")
        if not (
            self.learning_rate > 0 and 0 <= self.cooldown <= 1 and 0 <= self.average_decay < 1 and self.jitter >= 0
        ):
            raise EmoaugError(
                f"learning_rate is {self.learning_rate}, cooldown {self.cooldown}, average_decay {self.average_decay}, "
                f"jitter {self.jitter}; allowed are above 0, 0 to 1, 0 to below 1, and 0 or more"
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
        self.average = WeightAverage(self.translator)
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
        began, first = time.monotonic(), self.step
        bar = tqdm(
            total=s.steps,
            initial=self.step,
            desc=f"training {self.translator.name}",
            unit="step",
            disable=bar_hidden(self.writes),
        )
        file = self.out / "log.jsonl" if self.writes else os.devnull
        # Processes that train together would have to agree on the step after which to stop.
        held: AbstractContextManager[list[int]] = interruption_held() if self.share is None else nullcontext([])
        with bar, open(file, "a", encoding="utf-8") as log, held as stops:
            if self.step == 0:
                torch.manual_seed(seed_from(s.seed, "fit"))
                self.translator.fit(self.data)
                self.average.begin()
                self._save_samples()
            if self.share is not None:
                share_state(self.out, self.step, self.device, self.translator, self.average)
            while self.step < s.steps:
                self._one_step()
                self.step += 1
                stopping = bool(stops)
                saves = self.step % s.save_every == 0 or self.step == s.steps or stopping
                if self.step % 50 == 0 or saves:
                    values = self._checked(self._values())
                    log.write(json.dumps({"step": self.step, **{k: round(v, 5) for k, v in values.items()}}) + "\n")
                    log.flush()
                    telling = ("change", "attribute", "expression")
                    shown: dict[str, object] = {k: f"{values[k]:.3f}" for k in telling if k in values}
                    bar.set_postfix(shown, refresh=False)
                bar.update()
                if self.step % s.sample_every == 0 or self.step == s.steps:
                    self._save_samples()
                if saves:
                    self.extra["seconds_per_step"] = round((time.monotonic() - began) / (self.step - first), 4)
                    self._save()
                if stopping:
                    raise KeyboardInterrupt
            reason = doubt(self.out / "log.jsonl", self.translator.condition_names) if self.writes else None
            if reason is not None:
                self.extra["doubt"] = reason
            if reason is not None and self.step > first:
                bar.write(
                    f"{self.out}: {reason}; look at the samples before using them. A longer training may help",
                    file=sys.stderr,
                )
        self._save_checkpoint()
        if stops:
            # It came too late to stop anything here; whoever wanted more trainings is to stop.
            raise KeyboardInterrupt

    def _one_step(self) -> None:
        s, progress = self.settings, Progress(self.step, self.settings.steps)
        generator = torch.Generator().manual_seed(seed_from(s.seed, "batch", self.step))
        decay = 1.0 if s.cooldown == 0 else min(1.0, (1 - progress.share) / s.cooldown)
        with sharing(self.share):
            variation = Variation(s.jitter, s.cameras, s.framing if self.translator.any_frame else 0.0)
            wanted = self.translator.partners, self.translator.own_share
            batch = self.data.batch(generator, s.batch_size, variation, *wanted).to(self.device)
            for phase in self.phases:
                if self.step % phase.every == 0:
                    self._update(phase, batch, progress, decay)
        self.translator.after_step()
        self.average.update(self.step, s.average_decay)

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
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.terms.update({k: v.detach().clone() for k, v in logged.items()})

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

    def _resume(self) -> None:
        optimizers = list(self.optimizers.values())
        self.step, self.terms = load_state(self.out, self.device, self.translator, self.average, optimizers)
        if self.writes:
            trim_log(self.out / "log.jsonl", self.step)
        if (self.out / "checkpoint" / CONFIG).exists():
            # A run that was killed after its last step takes no more, whose time could be measured.
            pace = read_config(self.out / "checkpoint")["extra"].get("seconds_per_step")
            self.extra |= {} if pace is None else {"seconds_per_step": pace}

    def _save(self) -> None:
        if not self.average.is_finite():
            self._checked({"weights": math.nan})
        if self.hold is None:
            return
        self.hold.check()
        optimizers = list(self.optimizers.values())
        save_state(self.out, self.step, self.translator, self.average, optimizers, self.terms)
        self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        if not self.writes:
            return
        with self.average.applied():
            save_checkpoint(self.out / "checkpoint", self.translator, {**self.extra, "steps": self.step})

    @torch.inference_mode()
    def _save_samples(self) -> None:
        if not self.writes:
            return
        # Compiled code is for a batch's size alone.
        eager = torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        with self.average.applied(), self.fabric.autocast(), eager:
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
