"""A trained classifier: faces in, probabilities out; saved as safetensors and JSON."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from classifiers.networks import ExpressionNetwork, build_network
from emoaug import EmoaugError, __version__

_CONFIG, _WEIGHTS = "config.json", "weights.safetensors"


class Classifier:
    """Turns faces into probabilities of expressions.

    Args:
        network: on the device to compute on; put into evaluation mode.
        classes: number of expressions.
        network_name: the name that `build_network` knows it by.
        input_size: edge to which the network resizes its faces, pixels; None if it does not.
        training: settings it was trained with, kept beside the weights.
    """

    def __init__(
        self,
        network: ExpressionNetwork,
        classes: int,
        network_name: str,
        input_size: int | None = None,
        training: dict[str, Any] | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.classes = classes
        self.network_name = network_name
        self.input_size = input_size
        self.training = training or {}

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> "Classifier":
        """Move to another device; returns itself."""
        self.network.to(device)
        return self

    def __call__(self, faces: Tensor, batch_size: int = 256, flip: bool = True) -> Tensor:
        """Probabilities of every expression.

        Args:
            faces: RGB, float in [-1, 1], (N, 3, H, W), on any device.
            batch_size: faces at a time.
            flip: average over the face and its mirror image, which is a little better and takes twice as long.

        Returns:
            (N, classes), float32, rows sum to 1, on the device of the faces.
        """

        def probabilities(part: Tensor) -> Tensor:
            straight = self.network(part).float().softmax(dim=1)
            return (straight + self.network(part.flip(-1)).float().softmax(dim=1)) / 2 if flip else straight

        return self._in_batches(probabilities, faces, batch_size, self.classes)

    def of_pictures(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What `__call__` says of uint8 RGB faces (N, 3, H, W), a part of which is in memory as floats at a time."""
        parts = np.array_split(pixels, len(pixels) // 1024 + 1)
        return np.concatenate([self(torch.from_numpy(part).float() / 127.5 - 1).cpu().numpy() for part in parts])

    def features(self, faces: Tensor, batch_size: int = 256) -> Tensor:
        """Pooled features before the last layer, (N, ``network.feature_count``), float32, of faces as in `__call__`."""
        return self._in_batches(self.network.features, faces, batch_size, self.network.feature_count)

    def save(self, folder: Path | str) -> None:
        """Write ``weights.safetensors`` and ``config.json`` into the folder, each of them whole or not at all."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        config = {
            "kind": "classifier",
            "network": self.network_name,
            "classes": self.classes,
            "input_size": self.input_size,
            "training": self.training,
            "emoaug": __version__,
        }
        _write(folder / _WEIGHTS, save_tensors(state))
        # The configuration last: a folder that has one is complete.
        _write(folder / _CONFIG, (json.dumps(config, indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> "Classifier":
        """Read what `save` wrote.

        Raises:
            EmoaugError: when the folder holds no classifier, or one whose weights do not fit its configuration.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
            data = (folder / _WEIGHTS).read_bytes()
        except FileNotFoundError as error:
            raise EmoaugError(
                f"{folder} holds no classifier: {Path(error.filename).name} is missing; name the folder that was saved"
            ) from error
        except (OSError, ValueError) as error:
            raise EmoaugError(f"{folder} holds no readable classifier ({error}); save it again") from error
        if not isinstance(config, dict) or config.get("kind") != "classifier":
            raise EmoaugError(f"{folder / _CONFIG} does not describe a classifier; name a folder that one was saved in")
        try:
            network = build_network(config["network"], config["classes"], size=config["input_size"])
            network.load_state_dict(load_tensors(data))
        except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise EmoaugError(f"{folder}: the weights do not fit {_CONFIG} ({reason}); save it again") from error
        return cls(
            network.to(device), config["classes"], config["network"], config["input_size"], config.get("training")
        )

    def _in_batches(self, compute: Callable[[Tensor], Tensor], faces: Tensor, batch_size: int, width: int) -> Tensor:
        """What ``compute`` gives for all faces, (N, width), float32, on their device."""
        if faces.ndim != 4 or faces.shape[1] != 3 or not faces.is_floating_point():
            raise EmoaugError(
                f"faces are {faces.dtype} of shape {tuple(faces.shape)}; float in [-1, 1] of shape (N, 3, H, W) needed"
            )
        parts = [torch.empty(0, width, device=faces.device)]
        if len(faces):
            with torch.inference_mode():
                for part in faces.split(batch_size):
                    parts.append(compute(part.to(self.device, torch.float32)).float().to(faces.device))
        # Outside of inference mode, so that the result may take part in computations with gradients.
        return torch.cat(parts)


def _write(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there, so that a reader never sees half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes files private to their owner; give this one the usual rights.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
