"""The saved state of a training run: what a stopped run needs to go on as if it had not been stopped."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from augment.pictures import write_bytes, write_text
from augment.ranks import copy_from_first
from augment.systems import Translator
from augment.weight_average import WeightAverage
from emoaug import EmoaugError

Optimizers = Sequence[torch.optim.Optimizer]


def state_file(out: Path) -> Path:
    """Where a run folder keeps the state."""
    return out / "state" / "state.pt"


def save_state(
    out: Path,
    step: int,
    translator: Translator,
    average: WeightAverage,
    optimizers: Optimizers,
    terms: dict[str, Tensor],
) -> None:
    """Write the state of a run after some steps.

    Args:
        out: the run folder.
        step: how many steps were taken.
        translator: whose weights are kept, all of them.
        average: of these.
        optimizers: in an order that is the same for every run of the system.
        terms: the latest value of each term of the loss.
    """
    state = {
        "step": step,
        "weights": translator.state_dict(),
        "average": average.weights,
        "terms": terms,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    # In memory first: torch reports a full disk as an error of its own, and a half-written file is no state.
    packed = io.BytesIO()
    torch.save(state, packed)
    write_bytes(state_file(out), packed.getvalue(), parents=False)


def load_state(
    out: Path, device: torch.device, translator: Translator, average: WeightAverage, optimizers: Optimizers
) -> tuple[int, dict[str, Tensor]]:
    """Put what `save_state` wrote into a translator, its average and its optimisers, which are on a device.

    Returns:
        The step, and the terms; 0 and none where nothing is saved.

    Raises:
        EmoaugError: the file is damaged, or does not fit.
    """
    path = state_file(out)
    if not path.exists():
        return 0, {}
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        step = int(state["step"])
        translator.load_state_dict(state["weights"])
        average.weights, terms = state["average"], state["terms"]
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            # A state saved on another device may be laid out in another way, which fused steps do not look at.
            for parameter, kept in optimizer.state.items():
                for key, value in kept.items():
                    if value.shape == parameter.shape:
                        kept[key] = torch.empty_like(parameter).copy_(value)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, pickle.PickleError) as error:
        raise EmoaugError(
            f"{path} is damaged, or of another version ({_first_line(error)}); --restart begins anew"
        ) from error
    return step, terms


def share_state(out: Path, step: int, device: torch.device, translator: Translator, average: WeightAverage) -> None:
    """Begin with the same weights in all processes, whatever each has solved or read.

    Raises:
        EmoaugError: what they read was of different steps.
    """
    first = torch.tensor(step, device=device)
    copy_from_first([first])
    if int(first) != step:
        raise EmoaugError(
            f"{out} holds a state of step {step} here and of step {int(first)} on the first machine; put it on a disk "
            "that all machines see"
        )
    copy_from_first(translator.state_dict().values())
    copy_from_first(average.tensors())


def trim_log(log: Path, step: int) -> None:
    """Forget what was logged after the last saved state: these steps are taken again."""
    if log.exists():
        kept = [line for line in _complete_lines(log) if json.loads(line)["step"] <= step]
        write_text(log, "".join(line + "\n" for line in kept), parents=False)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _complete_lines(path: Path) -> list[str]:
    """Lines that end in a newline; a killed run may leave half a line at the end."""
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
