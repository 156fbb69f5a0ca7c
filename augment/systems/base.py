"""The one interface of all published systems, and what the trainer and the generator may ask of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from augment.devices import upload
from augment.expressions import called_as, known_as
from augment.intensities import are_intensities
from augment.networks import scaled
from emoaug import EmoaugError

if TYPE_CHECKING:
    from augment.training_data import TrainingFaces

Partners = Literal["none", "same subject", "same subject if any", "anyone"]
"""Which second face a system's training wants beside each: none, another expression of the person, the expression asked
for where there is a picture of the person with it, or any face."""

LARGEST_DETAIL = 2048
"""Largest side of faces that are changed in full detail, pixels: a few of them must go into memory."""


@dataclass(frozen=True)
class Batch:
    """Training faces on the device.

    Shapes: faces (N, 3, H, W) float32 in [-1, 1]; conditions (N, K) float32 in [0, 1], what each face shows;
    targets (N, K) float32 in [0, 1], what each face is asked to show; landmarks (N, L, 2) float32 in [-1, 1], x then
    y, the picture's left and upper edge at -1; attributes (N, A) float32 in [0, 1], what is known of each face besides
    the condition, a row of zeros where nothing is; subjects (N,) int64, who each face is, -1 where unknown.

    A system that asks for partners (`Translator.partners`) also gets partners (N, 3, H, W) float32 in [-1, 1], a second
    face for each; partner_conditions (N, K) float32 in [0, 1], what each shows, a row of zeros where nobody knows;
    partner_subjects (N,) int64; partner_landmarks (N, L, 2) float32; and same_picture (N,) bool, where face and partner
    are one picture.

    all_landmarks says on the host, which need not wait for the device then, that no face is without landmarks; where it
    is False, there may be some.
    """

    faces: Tensor
    conditions: Tensor
    targets: Tensor
    landmarks: Tensor
    attributes: Tensor | None = None
    subjects: Tensor | None = None
    partners: Tensor | None = None
    partner_conditions: Tensor | None = None
    partner_subjects: Tensor | None = None
    partner_landmarks: Tensor | None = None
    same_picture: Tensor | None = None
    all_landmarks: bool = False

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: upload(value, device) for name, value in tensors.items()}
        return replace(self, **moved)


@dataclass(frozen=True)
class Progress:
    """Where a training run stands."""

    step: int
    """Steps done, from 0."""
    steps: int
    """Steps in the whole run."""

    @property
    def share(self) -> float:
        """Share of the run that is done, in [0, 1)."""
        return self.step / max(1, self.steps)


LossFunction = Callable[[Batch, Progress], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class Phase:
    """One optimiser, what it trains, and when it steps."""

    name: str
    modules: list[nn.Module]
    """The parameters that this phase trains."""
    loss: LossFunction
    """Gives the loss to minimise and the terms to log, each a scalar tensor."""
    every: int = 1
    """Runs on every n-th step."""
    learning_rate_factor: float = 1.0
    """Multiplies the run's learning rate."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's running averages."""


@dataclass(frozen=True)
class SystemInfo:
    """What a reader wants to know of a system before choosing it."""

    title: str
    paper: str
    needs: str
    """What the training data must have."""
    abilities: tuple[str, ...] = field(default=("translate",))


class Translator(nn.Module):
    """A published system: networks, objective, and how it changes a face.

    Subclasses set `name`, `info` and `settings_class`, build their networks in the constructor and implement
    `phases()` and `translate()`. Modules listed by `averaged_modules()` are the ones that make faces; the trainer
    keeps an exponential moving average of their weights and checkpoints hold that average.

    Args:
        condition_names: what each entry of a condition asks for, in order; saved with every checkpoint.
        settings: the system's frozen dataclass of options; has at least `size`, the side of its square faces, pixels.
    """

    name: ClassVar[str]
    info: ClassVar[SystemInfo]
    settings_class: ClassVar[type]
    configurations: ClassVar[dict[str, Any]]
    """Named settings, at least `paper` and `compact`."""
    partners: ClassVar[Partners] = "none"
    """The second face that training wants beside each; see `TrainingFaces.batch`."""
    own_share: float = 0.0
    """Of partners that may be anyone, the share that are the person's picture with another expression; half of the rest
    are the same picture."""
    takes_unlabelled: ClassVar[bool] = False
    """Whether training on labels also uses faces without one, as partners."""
    any_frame: ClassVar[bool] = True
    """Whether it also learns from faces that are framed as no aligned ones are; not where each part of a face is looked
    for at its place, where it makes faces from noise, which are to be aligned, or where all that it sees are."""
    initial_alike: ClassVar[tuple[str, ...]] = ()
    """Settings, besides those that shapes follow from, that weights to begin with must have been trained with too."""
    learns_intensities: ClassVar[bool] = False
    """Whether it can be trained on measured intensities in place of classes."""

    def __init__(self, condition_names: tuple[str, ...], settings: Any) -> None:
        super().__init__()
        if len(condition_names) < 2:
            raise EmoaugError(
                f"a system needs at least two expressions, got {list(condition_names)}; add pictures of another"
            )
        self.condition_names = tuple(condition_names)
        self.settings = settings
        self.intensities = are_intensities(self.condition_names)
        """Whether the entries of a condition are intensities, each on its own, and not classes that share a face."""
        if self.intensities and not self.learns_intensities:
            raise EmoaugError(f"{self.name} learns from labels only; {condition_names[0]} is no label")
        self.named_conditions: Mapping[str, Sequence[float]] = {}
        """Conditions by the name of an expression, where these are not the entries themselves."""

    @property
    def size(self) -> int:
        """Side of the square faces that its networks see, pixels."""
        return int(self.settings.size)

    @property
    def keeps_detail(self) -> bool:
        """Whether `translate` and `recombine` take faces larger than `size`, and give them back as sharp as they were.

        So it is where settings say that `output` is `composed`: pixels of the face are moved and painted over, and how
        is decided on the face as the networks see it.
        """
        return retouches(self.settings)

    @property
    def takes_exemplars(self) -> bool:
        """Whether faces are generated by showing it a face of the wanted class (`recombine`), not by a condition."""
        return "recombine" in self.info.abilities

    def remember(self, teacher: Translator) -> None:
        """Keep in mind the trained translator of this system whose weights training begins with; called before it."""

    def fit(self, data: TrainingFaces) -> None:
        """Solve what has a closed form, before the first step; what it finds is part of the saved modules."""

    def phases(self) -> list[Phase]:
        """What the trainer does in each step, in order."""
        raise self._cannot("be trained step by step")

    def after_step(self) -> None:
        """Bring weights back to where they must be; the trainer calls it after every step."""

    def averaged_modules(self) -> dict[str, nn.Module]:
        """The modules that make faces, by name; a checkpoint holds these and no others."""
        raise self._cannot("be saved")

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Change the expression of faces.

        Args:
            faces: (N, 3, size, size) float32 in [-1, 1]; larger squares, too, where the system `keeps_detail`.
            condition: (N, K) float32 in [0, 1], in the order of `condition_names`.

        Returns:
            Faces of the same shape, float32 in [-1, 1].
        """
        raise self._cannot("translate")

    def sample(self, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Make new faces (N, 3, size, size) in [-1, 1] of the expressions asked for by condition (N, K)."""
        raise self._cannot("sample")

    def recombine(self, identity_faces: Tensor, attribute_faces: Tensor) -> Tensor:
        """Give the people of one set of faces the look of another, both of one shape as `translate` takes it."""
        raise self._cannot("recombine")

    def speak(self, vocabulary: Sequence[str]) -> None:
        """Call expressions as a dataset does, where it has other words for them."""
        self.condition_names = called_as(self.condition_names, vocabulary)
        named = called_as(tuple(self.named_conditions), vocabulary)
        self.named_conditions = dict(zip(named, self.named_conditions.values(), strict=True))

    def condition(self, names: list[str]) -> Tensor:
        """Conditions (N, K) for expression names or synonyms: one-hot, or what faces of it showed on average.

        An entry of measured conditions, such as "mouthSmile", is that movement alone at its strongest.
        """
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise EmoaugError(f"names of expressions are {names!r}; give a list with a name for each face")
        known = dict(zip(self.condition_names, torch.eye(len(self.condition_names)), strict=True))
        known |= {name: torch.tensor(values, dtype=torch.float32) for name, values in self.named_conditions.items()}
        called = {name: known_as(name, tuple(known)) for name in dict.fromkeys(names)}
        unknown = sorted(name for name, one in called.items() if one is None)
        if unknown:
            raise EmoaugError(f"this {self.name} was not trained on {', '.join(unknown)}; it knows {', '.join(known)}")
        asked = [known[str(called[name])] for name in names]
        return torch.stack(asked) if asked else torch.zeros(0, len(self.condition_names))

    def seen(self, faces: Tensor) -> Tensor:
        """Faces as the networks see them, (N, 3, size, size)."""
        return scaled(faces, self.size)

    def check_faces(self, faces: Tensor) -> None:
        """Raise EmoaugError unless these are faces that `translate` takes.

        A GPU is not waited for: there values are not looked at.
        """
        if not isinstance(faces, Tensor) or faces.dtype != torch.float32:
            got = faces.dtype if isinstance(faces, Tensor) else type(faces).__name__
            raise EmoaugError(f"faces are {got}; this {self.name} takes tensors of float32 in [-1, 1]")
        side = faces.shape[-1]
        fits = side >= self.size if self.keeps_detail else side == self.size
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, side, side) or not fits or not len(faces):
            wanted = f"(N, 3, {self.size}, {self.size})" + (", or larger squares" if self.keeps_detail else "")
            raise EmoaugError(f"faces have shape {tuple(faces.shape)}; this {self.name} takes {wanted}")
        # Some resizing overshoots; pixels that are no numbers are for who asked.
        if faces.device.type == "cpu" and bool((faces.abs() > 1.5).any()):
            low, high = (float(value) for value in faces.aminmax())
            raise EmoaugError(f"faces have values from {low:.3g} to {high:.3g}; this {self.name} takes [-1, 1]")

    def check(self, faces: Tensor, condition: Tensor) -> None:
        """Raise EmoaugError unless shapes and sizes fit `translate`."""
        self.check_faces(faces)
        if tuple(condition.shape) != (len(faces), len(self.condition_names)):
            raise EmoaugError(
                f"condition has shape {tuple(condition.shape)}; "
                f"{len(faces)} faces of this {self.name} need ({len(faces)}, {len(self.condition_names)})"
            )
        if condition.device.type == "cpu" and not bool(((condition >= -1e-3) & (condition <= 1 + 1e-3)).all()):
            raise EmoaugError(f"a condition of this {self.name} has values outside [0, 1], or that are no numbers")

    def _cannot(self, what: str) -> EmoaugError:
        return EmoaugError(f"{self.name} cannot {what}; it can {', '.join(self.info.abilities)}")


def retouches(settings: Any) -> bool:
    """Whether a system of these settings retouches faces; see `Translator.keeps_detail`."""
    return getattr(settings, "output", None) == "composed"
