"""Train one expression classifier in a fixed number of steps; the same seed gives the same classifier on a CPU."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from classifiers.augmentation import augment_batch, check_recipe, mix_batch
from classifiers.classifier import Classifier
from classifiers.networks import ExpressionNetwork, build_network
from emoaug import EmoaugError, bar_hidden

Faces = Tensor | NDArray[np.uint8]
"""Faces in memory: uint8, RGB, (N, 3, H, W)."""
Labels = Tensor | NDArray[np.integer]
"""Index of each face's expression: integer, (N,)."""


@dataclass(frozen=True)
class ClassifierSettings:
    """Which classifier, and how it is trained."""

    network: str = "compact"
    """"compact", or a torchvision classification model by name."""
    weights: str | None = None
    """torchvision's name of pretrained weights; None starts at random."""
    input_size: int | None = None
    """Edge to which a torchvision model resizes its faces, pixels; None keeps theirs."""
    steps: int = 1000
    """Updates."""
    batch_size: int = 64
    """Faces per update, synthetic ones included."""
    learning_rate: float = 4e-3
    """AdamW's largest step size."""
    weight_decay: float = 0.05
    """AdamW's decoupled weight decay; biases and batch norms are spared."""
    schedule: Literal["one-cycle", "cosine"] = "one-cycle"
    """Step size over time: "one-cycle" climbs for a quarter of the steps and falls to 0, "cosine" only falls."""
    label_smoothing: float = 0.1
    """Probability mass spread evenly over all classes."""
    class_balanced: bool = True
    """Draw every class equally often, instead of every face."""
    recipe: str = "classical"
    """Picture augmentation; a name in `classifiers.augmentation.RECIPES`."""
    mixing: str = "none"
    """Mixing of the faces of a batch with one another; a name in `classifiers.augmentation.MIXINGS`."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Number format of the convolutions. bf16 is faster where the processor has it, and a little less exact."""

    def __post_init__(self) -> None:
        check_recipe(self.recipe, self.mixing)
        for name, allowed in (("schedule", ("one-cycle", "cosine")), ("precision", ("32-true", "bf16-mixed"))):
            if getattr(self, name) not in allowed:
                raise EmoaugError(f"unknown {name} '{getattr(self, name)}'. Known: {', '.join(allowed)}")
        if self.steps < 1:
            raise EmoaugError(f"steps is {self.steps}; a classifier needs at least 1")
        if self.batch_size < 2:
            raise EmoaugError(f"batch_size is {self.batch_size}; batch normalisation needs at least 2 faces")
        if not 0 <= self.label_smoothing < 1:
            raise EmoaugError(f"label_smoothing is {self.label_smoothing}; it must be at least 0 and below 1")
        for name in ("learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise EmoaugError(f"{name} is {getattr(self, name)}; it must be a finite number, at least 0")


def train_classifier(
    faces: Faces,
    labels: Labels,
    classes: int,
    settings: ClassifierSettings | None = None,
    seed: int = 0,
    extra: tuple[Faces, Labels] | None = None,
    extra_share: float = 0.2,
    extra_first: float = 0.5,
    device: str = "cpu",
    progress: bool = True,
) -> Classifier:
    """Train a classifier.

    Deterministic on the CPU for a seed (and a number of threads); the global random state is left as it was.

    Args:
        faces: real faces, uint8 RGB, (N, 3, H, W).
        labels: their classes, integers in [0, classes), (N,).
        classes: number of expressions.
        settings: network and schedule; None takes the defaults.
        seed: of the first weights, the batches, the augmentation and the dropout.
        extra: synthetic faces of the same size and their labels. The number and the size of the updates stay.
        extra_share: share of a batch that comes from ``extra``, in [0, 1].
        extra_first: share of the updates, at the beginning, whose faces all come from ``extra``, in [0, 1].
        device: "cpu", "auto" (a GPU if there is one), or a device of torch.
        progress: show a progress bar.

    Raises:
        EmoaugError: for settings, faces or labels that do not fit, or when the loss is no longer a finite number.
    """
    settings = ClassifierSettings() if settings is None else settings
    for name, share in (("extra_share", extra_share), ("extra_first", extra_first)):
        if not 0 <= share <= 1:
            raise EmoaugError(f"{name} is {share}; it must lie in [0, 1]")
    sources = [_check_faces(faces, labels, classes, "faces")]
    if extra is not None:
        sources.append(_check_faces(*extra, classes, "extra faces"))
        if sources[0][0].shape[1:] != sources[1][0].shape[1:]:
            shapes = " and ".join("x".join(map(str, source.shape[2:])) for source, _ in sources)
            raise EmoaugError(f"real and synthetic faces differ in size ({shapes} pixels); resize one to the other")
    target = resolve_device(device)
    with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []):
        # First weights and dropout draw from the global generators, which fork_rng puts back.
        torch.random.default_generator.manual_seed(seed)
        if target.type == "cuda":
            with torch.cuda.device(target):
                torch.cuda.manual_seed(seed)
        network = build_network(settings.network, classes, settings.weights, settings.input_size).to(target)
        alone = round(settings.steps * extra_first)
        made = [settings.batch_size] * alone
        made += [round(settings.batch_size * extra_share)] * (settings.steps - alone)
        _fit(network, sources, classes, settings, seed, made, target, progress)
    return Classifier(
        network, classes, settings.network, settings.input_size, training=asdict(settings) | {"seed": seed}
    )


def resolve_device(device: str) -> torch.device:
    """The device that a name stands for; "auto" is a GPU if there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise EmoaugError(f"unknown device '{device}'; take 'auto', 'cpu', or a GPU such as 'cuda:0'") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise EmoaugError(f"device '{device}' is not here: torch sees no GPU; take 'auto' or 'cpu'")
    return torch.device("cuda", torch.cuda.current_device()) if device == "cuda" else target


def draw_batches(labels: Tensor, sizes: Iterable[int], class_balanced: bool, generator: Generator) -> Iterator[Tensor]:
    """Batches of face indices, (size,) int64 for each of the sizes, 0 or more.

    Every face comes once before any comes twice, within its class if balanced. In a balanced batch the classes differ
    by at most two faces, and which are ahead changes from batch to batch.
    """
    drawn: Iterator[int] = _deal(torch.arange(len(labels)), generator)
    if class_balanced:
        present = labels.unique()
        decks = [_deal((labels == label).nonzero().flatten(), generator) for label in present]
        turns = _deal(torch.arange(len(present)), generator)
        drawn = (next(decks[turn]) for turn in turns)
    for size in sizes:
        yield torch.tensor([next(drawn) for _ in range(size)], dtype=torch.int64)


def _deal(cards: Tensor, generator: Generator) -> Iterator[int]:
    """The cards in random order, shuffled anew each time they run out."""
    while True:
        yield from cards[torch.randperm(len(cards), generator=generator)].tolist()


def _fit(
    network: ExpressionNetwork,
    sources: list[tuple[Tensor, Tensor]],
    classes: int,
    settings: ClassifierSettings,
    seed: int,
    made: list[int],
    device: torch.device,
    progress: bool,
) -> None:
    """Run the updates, with as many synthetic faces in each as `made` says; the network is trained in place."""
    sizes = [[settings.batch_size] * settings.steps]
    if len(sources) == 2:
        sizes = [[settings.batch_size - count for count in made], made]
    batches = [
        draw_batches(labels, counts, settings.class_balanced, Generator().manual_seed(seed + 1000003 * place))
        for place, ((_, labels), counts) in enumerate(zip(sources, sizes, strict=True))
    ]
    draws = Generator(device).manual_seed(seed)
    optimizer = torch.optim.AdamW(_parameter_groups(network, settings.weight_decay), lr=settings.learning_rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / settings.steps, settings))
    network.train()
    with tqdm(total=settings.steps, desc="classifier", disable=bar_hidden(progress), leave=False) as bar:
        for step in range(settings.steps):
            picked = [next(batch) for batch in batches]
            chosen = [(x[index], y[index]) for (x, y), index in zip(sources, picked, strict=True)]
            batch_faces = _upload(torch.cat([x for x, _ in chosen]), device)
            batch_labels = _upload(torch.cat([y for _, y in chosen]), device)
            batch_faces = augment_batch(batch_faces.float() / 127.5 - 1, settings.recipe, draws)
            batch_faces, truth = mix_batch(batch_faces, batch_labels, classes, settings.mixing, draws)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
                scores = network(batch_faces)
            loss = functional.cross_entropy(scores.float(), truth, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            bar.update()
            if step % 20 == 0 or step == settings.steps - 1:
                value = loss.item()
                if not math.isfinite(value):
                    raise EmoaugError(
                        f"the classifier's loss is {value} at step {step + 1} of {settings.steps}; "
                        f"take a learning rate smaller than {settings.learning_rate:g}"
                    )
                bar.set_postfix(loss=f"{value:.3f}")


def _upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device. CUDA fetches it by itself, from pinned memory, while this thread goes on."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def _rate(progress: float, settings: ClassifierSettings) -> float:
    """Share of the largest step size at a share of the steps, both in [0, 1]."""
    climb = 0.25 if settings.schedule == "one-cycle" else 0.0
    if progress < climb:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / climb)) / 2
    return (1 + math.cos(math.pi * (progress - climb) / (1 - climb))) / 2


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices and filters with weight decay, vectors (biases, norms) without."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _check_faces(faces: Faces, labels: Labels, classes: int, what: str) -> tuple[Tensor, Tensor]:
    """Faces and labels as tensors, after a look at their types, shapes and values."""
    faces, labels = torch.as_tensor(faces), torch.as_tensor(labels)
    if faces.dtype != torch.uint8 or faces.ndim != 4 or faces.shape[1] != 3:
        raise EmoaugError(f"{what} are {faces.dtype} of shape {tuple(faces.shape)}; uint8 of shape (N, 3, H, W) needed")
    if labels.shape != (len(faces),) or labels.is_floating_point():
        raise EmoaugError(
            f"labels of the {what} are {labels.dtype} of shape {tuple(labels.shape)}; integers ({len(faces)},) needed"
        )
    if len(faces) == 0:
        raise EmoaugError(f"there are no {what} to train on")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise EmoaugError(f"labels of the {what} run from {low} to {high}; with {classes} classes, 0 to {classes - 1}")
    return faces, labels.long()
