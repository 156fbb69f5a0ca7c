"""A trained system that travels: a path until it is used, and one copy of the weights in each process."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import torch
from torch import Tensor

from augment.checkpoints import (
    checkpoint_folder,
    load_translator,
    named_conditions,
    never_shown,
    read_config,
    settings_from,
    weights_sha256,
    written_by,
)
from augment.devices import Precision, choose_precision
from augment.face_frames import Aligned, Square
from augment.intensities import are_intensities
from augment.systems import get_system
from augment.systems.base import LARGEST_DETAIL, Translator, retouches
from emoaug import EmoaugError

_LOADED: dict[tuple[str, str, torch.device], Translator] = {}
"""By checkpoint folder, hash of the weights and device: all transforms of a process use the same copy."""


class SharedTranslator:
    """What a transform holds of a system.

    Of a checkpoint only the path is pickled, and each process loads it when it makes its first face. A `Translator`
    itself is pickled with its weights, which torch hands to DataLoader workers through shared memory.

    Args:
        system: a checkpoint folder, a run folder that has one, a loaded system, or "default" for the weights that come
            with the package.

    Raises:
        EmoaugError: no checkpoint, or one of an unknown system.
    """

    def __init__(self, system: Path | str | Translator) -> None:
        self._path: Path | None = None
        self._given: dict[torch.device, Translator] = {}
        if isinstance(system, Translator):
            self.name, self.size, self.abilities = system.name, system.size, system.info.abilities
            self.keeps_detail = system.keeps_detail
            self.condition_names, self._named = system.condition_names, dict(system.named_conditions)
            self._never_shown = frozenset[str]()
            if system.training or any(p.requires_grad for p in system.parameters()):
                system = copy.deepcopy(system).eval().requires_grad_(False)
            self._given[_device_of(system)] = system
            if (cpu := torch.device("cpu")) not in self._given:
                # For DataLoader workers: one that was forked cannot fetch anything from a GPU.
                self._given[cpu] = copy.deepcopy(system).to(cpu)
            return
        # Absolute, because a spawned worker may stand in another folder.
        self._path = checkpoint_folder(system).absolute()
        config = read_config(self._path)
        kind = get_system(config["system"])
        settings = settings_from(kind.settings_class, config["settings"], f"{self._path}: settings", written_by(config))
        self.name, self.size, self.abilities = kind.name, int(settings.size), kind.info.abilities
        self.keeps_detail = retouches(settings)
        self.condition_names, self._named = tuple(config["condition_names"]), dict(named_conditions(config))
        self._never_shown = never_shown(config)
        self._sha256: str = config["weights_sha256"]

    def on(self, device: torch.device) -> Translator:
        """The system on a device, ready to make faces."""
        if self._path is None:
            if device not in self._given:
                self._given[device] = copy.deepcopy(next(iter(self._given.values()))).to(device)
            return self._given[device]
        key = (str(self._path), self._sha256, device)
        if key not in _LOADED:
            if read_config(self._path)["weights_sha256"] != self._sha256:
                raise EmoaugError(
                    f"{self._path} has been trained further since this transform was made; make the transform again"
                )
            # Networks draw their first weights when they are built: the caller's stream of random numbers must not
            # depend on whether this process has made a face before.
            with torch.random.fork_rng(devices=[]):
                _LOADED[key] = load_translator(self._path, str(device))
        return _LOADED[key]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights, as a checkpoint has it."""
        return weights_sha256(next(iter(self._given.values()))) if self._path is None else self._sha256

    def expressions(self) -> tuple[tuple[str, ...], Tensor]:
        """The expressions that the system learnt and knows by name, and what to ask it for: (E, K) float32 in [0, 1].

        Raises:
            EmoaugError: its conditions are measured, and it was trained without labels.
        """
        if not are_intensities(self.condition_names):
            learnt = [place for place, name in enumerate(self.condition_names) if name not in self._never_shown]
            return tuple(self.condition_names[place] for place in learnt), torch.eye(len(self.condition_names))[learnt]
        if not self._named:
            raise EmoaugError(
                f"this {self.name} was trained on what was measured on unlabelled faces and knows no expression by "
                "name; emoaug generate can give it the expressions of labelled faces, or train it where faces have "
                "labels"
            )
        return tuple(self._named), torch.tensor(list(self._named.values()), dtype=torch.float32)

    def __getstate__(self) -> dict[str, object]:
        # Workers have no use for copies on another device.
        cpu = torch.device("cpu")
        return self.__dict__ | {"_given": {cpu: self._given[cpu]} if self._given else {}}

    def needs(self, ability: str, for_what: str) -> None:
        """Raise EmoaugError unless the system has an ability."""
        if ability not in self.abilities:
            raise EmoaugError(
                f"{self.name} cannot {ability}, which {for_what} needs; it can {', '.join(self.abilities)}. "
                "Leave that out or take another system"
            )

    def make(self, faces: Tensor, conditions: Tensor, precision: Precision, sample_seed: int | None = None) -> Tensor:
        """Translate faces, or with `sample_seed` make new ones.

        Args:
            faces: (N, 3, size, size) float32 in [0, 1], or larger where it `keeps_detail` and translates.
            conditions: (N, K) float32 in [0, 1].
            precision: numbers that the network computes with.
            sample_seed: where the noise begins that a new person is made from.

        Returns:
            Faces of the same shape, float32 in [0, 1], NaN where the network gave no number; usable by autograd.
        """
        device = faces.device
        translator = self.on(device)
        # Only these two kinds of device have an autocast that was measured here; others compute in float32.
        kind = device.type if device.type in ("cpu", "cuda") else None
        lower = kind is not None and _precision(precision, kind) == "bf16-mixed"
        with torch.inference_mode(), torch.autocast(kind or "cpu", torch.bfloat16, enabled=lower):
            if sample_seed is None:
                made = translator.translate(faces * 2 - 1, conditions)
            else:
                made = translator.sample(conditions, torch.Generator(device).manual_seed(sample_seed))
            if tuple(made.shape) != tuple(faces.shape):
                raise EmoaugError(f"{self.name} gave faces of shape {tuple(made.shape)} for {tuple(faces.shape)}")
        # Out of inference mode, because autograd refuses to keep what was made within.
        with torch.no_grad():
            return (made.float() * 0.5 + 0.5).clamp(0, 1)

    def change(
        self,
        pictures: Tensor,
        frame: Square | Aligned,
        conditions: Tensor,
        precision: Precision = "auto",
        sample_seed: int | None = None,
    ) -> Tensor:
        """Change the faces of pictures, and leave what is around them; see `make`.

        Args:
            pictures: (N, 1 or 3, H, W) float32 in [0, 1].
            frame: where the face is.

        Returns:
            Pictures of the same shape; the network's NaN stay NaN.
        """
        colour = pictures.expand(-1, 3, -1, -1)
        size = self.size
        if self.keeps_detail and sample_seed is None:
            size = max(size, min(frame.side, LARGEST_DETAIL))
        seen = frame.cut(colour, size)
        made = self.make(seen, conditions, precision, sample_seed)
        # A grey picture stays grey, whatever colours a system paints; what undoing a normalisation rounds is no colour.
        grey = ((colour - colour[:, :1]).abs() < 1e-3).flatten(1).all(1).view(-1, 1, 1, 1)
        made = torch.where(grey, made.mean(1, keepdim=True), made)
        return frame.put_back(colour, seen, made)[:, : pictures.shape[1]]


# The processor's abilities are asked for once, not for every face.
_precision = functools.cache(choose_precision)


def _device_of(translator: Translator) -> torch.device:
    return next((tensor.device for tensor in translator.state_dict().values()), torch.device("cpu"))
