"""RandomExpression: one sample at a time, wherever transforms of torchvision stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import is_pure_tensor, pil_to_tensor, to_pil_image

from augment.checkpoints import DEFAULT
from augment.devices import Precision, one_thread
from augment.expression_targets import Change, Targets
from augment.expression_transform import ExpressionTransform
from augment.expressions import known_as
from augment.face_frames import Aligned, Square, find_face, middle_square
from augment.label_entries import LabelsGetter, find_label
from augment.systems.base import Translator
from emoaug import EmoaugError


class RandomExpression(ExpressionTransform):
    """Give a face another expression, and its sample the label that goes with it.

    Takes a sample as v2 transforms do, `(picture, label)` or any structure of tuples, lists and dictionaries: PIL
    images (RGB or L), uint8 or float tensors (1 or 3, H, W) and `tv_tensors.Image` of any size, floats in [0, 1]; so it
    stands before `Normalize`. Several pictures of a sample get the same change. The label is an integer, an integer
    tensor or a class name. `ImageFolder(transform=...)` shows a transform the picture without its label:
    `AugmentedDataset` shows it both.

    A system that retouches faces, as those of this package do by default, changes the face as large as it is, up to
    2048 pixels, with all its detail. For another one, and above, it is resized and put back, and keeps its detail where
    it does not change. In a DataLoader worker it computes on one thread.

    Args:
        system: a run folder, a checkpoint folder, a loaded system, or "default" for the weights of the package.
        p: probability of a change.
        targets: what a face may become: "others" (any other class), a list of classes, or a mapping from a class to the
            class or classes it may become, in which classes that are left out stay as they are.
        strength: lowest and highest strength of the new expression, in (0, 1]; the rest stays with what the face shows.
        keep_label: keep the label and vary the intensity: the face's own expression keeps the share `strength`, the
            rest goes to `targets`, by default to neutral.
        classes: the name of each label, such as `ImageFolder.classes`; None in a place leaves that class as it is.
            Labels that are numbers mean nothing without it.
        labels: where the label is: "default" as v2.MixUp finds it (the second entry of a tuple, or the entry of a
            dictionary whose name has "label" in it), or a function from the sample to its entry.
        find_face: search the picture for its largest face and change that, upright, as `emoaug align` cuts it out; a
            picture without a face stays as it is. Otherwise the largest square in the middle is the face.
        new_person: draw a new person of that expression, with systems that sample.
        precision: numbers that the network computes with; "auto" is bf16 where that is quick.

    Raises:
        EmoaugError: settings that do not fit the system or the sample; says what to do.
    """

    # Boxes, masks and key points are tensors too, and an expression leaves them where they are.
    _transformed_types = (is_pure_tensor, tv_tensors.Image, PIL.Image.Image)

    def __init__(
        self,
        system: Path | str | Translator = DEFAULT,
        p: float = 0.5,
        targets: Targets = "others",
        strength: tuple[float, float] = (0.5, 1.0),
        keep_label: bool = False,
        classes: Sequence[str | None] | None = None,
        labels: LabelsGetter = "default",
        find_face: bool = False,
        new_person: bool = False,
        precision: Precision = "auto",
    ) -> None:
        super().__init__(system, p, targets, strength, keep_label, classes, new_person, precision)
        self._labels, self.find_face = labels, find_face

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse what cannot be a single face picture."""
        for entry in flat_inputs:
            if isinstance(entry, tv_tensors.Video):
                raise EmoaugError("RandomExpression takes pictures, not videos; give it one frame at a time")
            if isinstance(entry, PIL.Image.Image) and entry.mode not in ("RGB", "L"):
                raise EmoaugError(f'the picture has mode {entry.mode}; put v2.RGB() first, or picture.convert("RGB")')

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw: three numbers in [0, 1), for whether, what and how strong, and the seed of a new person."""
        # Always the same number of draws, so that a sample's later transforms see the same stream either way.
        return {
            "uniform": torch.rand(3, device="cpu"),
            "sample_seed": int(torch.randint(2**31, (), device="cpu")) if self.new_person else None,
        }

    def forward(self, *inputs: Any) -> Any:
        """Change a sample."""
        # Overridden as in v2.MixUp, because the label decides what the picture may become.
        sample = inputs if len(inputs) > 1 else inputs[0]
        entries, structure = tree_flatten(sample)
        place = find_label(entries, structure, self._labels)
        others = [None if i == place else entry for i, entry in enumerate(entries)]
        self.check_inputs(others)
        pictures = [i for i, needed in enumerate(self._needs_transform_list(others)) if needed]
        if not pictures:
            raise EmoaugError(
                "the sample has no picture; RandomExpression takes PIL images, tensors and tv_tensors.Image"
            )
        params = self.make_params([entries[i] for i in pictures])
        change = self._change(entries[place], params["uniform"])
        if change is None:
            return sample
        params["conditions"] = change.conditions
        made = [self.transform(entries[i], params) for i in pictures]
        if any(picture is None for picture in made):
            return sample
        for i, picture in zip(pictures, made, strict=True):
            entries[i] = picture
        if int(change.labels) != self._number(entries[place]):
            entries[place] = self._relabelled(entries[place], int(change.labels))
        return tree_unflatten(entries, structure)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The changed picture, or None where no face was found."""
        with one_thread(), torch.no_grad():
            picture = _unit(inpt)
            frame: Square | Aligned | None = middle_square(*picture.shape[-2:])
            if self.find_face:
                frame = find_face(picture.expand(-1, 3, -1, -1))
            if frame is None:
                return None
            conditions = params["conditions"].to(picture.device)
            made = self._system.change(picture, frame, conditions, self.precision, params["sample_seed"])
            if not bool(made.isfinite().all()):
                raise EmoaugError(
                    f"{self._system.name} made a picture with undefined values; "
                    'give precision="32-true", or train the system again'
                )
            return _as_before(made, inpt)

    def _change(self, label: Any, uniform: Tensor) -> Change | None:
        number = self._number(label)
        if float(uniform[0]) >= self.p:
            return None
        change = self._targets.draw(torch.tensor([number], device="cpu"), uniform[None, 1:])
        return change if bool(change.changed) else None

    def _number(self, label: Any) -> int:
        known = self._targets.classes
        if isinstance(label, str):
            name = known_as(label, [each for each in known if each is not None])
            if name is None:
                raise EmoaugError(f'unknown label "{label}"; known are {", ".join(map(str, known))}. See classes=[...]')
            return known.index(name)
        if self.classes is None:
            raise EmoaugError(
                f"the label is the number {int(label)}, and numbers mean something else in every dataset; give the "
                "names in order, such as RandomExpression(..., classes=dataset.classes)"
            )
        if not 0 <= int(label) < len(known):
            raise EmoaugError(f"the label is {int(label)}; the {len(known)} classes have the numbers from 0 on")
        return int(label)

    def _relabelled(self, label: Any, number: int) -> Any:
        if isinstance(label, str):
            return self._targets.classes[number]
        return torch.full_like(label, number) if isinstance(label, Tensor) else type(label)(number)


def _unit(picture: Any) -> Tensor:
    """One picture as (1, 1 or 3, H, W) float32 in [0, 1]."""
    tensor = pil_to_tensor(picture) if isinstance(picture, PIL.Image.Image) else picture.as_subclass(Tensor)
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        raise EmoaugError(
            f"the picture has shape {tuple(tensor.shape)}; RandomExpression takes one picture (1 or 3, H, W), "
            "ExpressionBatch takes batches"
        )
    if tensor.dtype == torch.uint8:
        return tensor[None].float() / 255
    if not tensor.is_floating_point():
        raise EmoaugError(f"the picture is {tensor.dtype}; give uint8, or floats in [0, 1]")
    low, high = (float(value) for value in tensor.aminmax())
    # Some resizing overshoots a little.
    if not -0.1 <= low <= high <= 1.1:
        raise EmoaugError(
            f"the picture has values from {low:.3g} to {high:.3g}; floats are in [0, 1], so put RandomExpression "
            "before Normalize and after v2.ToDtype(torch.float32, scale=True)"
        )
    return tensor[None].float().clamp(0, 1)


def _as_before(made: Tensor, picture: Any) -> Any:
    """A changed picture (1, C, H, W) in [0, 1] as the kind of picture that it was."""
    if isinstance(picture, PIL.Image.Image):
        return to_pil_image(made[0].mul(255).round().to(torch.uint8))
    result = made[0].mul(255).round() if picture.dtype == torch.uint8 else made[0]
    result = result.to(picture.dtype)
    return tv_tensors.wrap(result, like=picture) if isinstance(picture, tv_tensors.TVTensor) else result
