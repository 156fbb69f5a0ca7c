"""Networks that recognise expressions: one compact network for small faces, and every torchvision backbone by name."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from emoaug import EmoaugError

COMPACT = "compact"

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_FIXED_SIZE = 224
# Their position embeddings or windows are made for one picture size.
_FIXED_SIZE_PREFIXES = ("vit_", "swin", "maxvit")


class ExpressionNetwork(nn.Module):
    """What all networks here share: pooled features, then one linear layer to the class scores.

    Shape:
        - faces: (N, 3, H, W), RGB in [-1, 1].
        - features: (N, ``feature_count``).
        - output: (N, ``classes``), unnormalised log probabilities.
    """

    feature_count: int
    """Length of the pooled features."""

    def __init__(self, feature_count: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.feature_count = feature_count
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(feature_count, classes)

    def features(self, faces: Tensor) -> Tensor:
        """Pooled features, (N, ``feature_count``), of faces (N, 3, H, W) in [-1, 1]."""
        raise NotImplementedError

    def forward(self, faces: Tensor) -> Tensor:
        """Class scores before the softmax, (N, classes), of faces (N, 3, H, W) in [-1, 1]."""
        return self.head(self.dropout(self.features(faces)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is pooled and projected where the shape changes.

    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, fig. 2; the average pooled shortcut
    is variant D of He et al., "Bag of Tricks for Image Classification", CVPR 2019.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                # ceil_mode: a strided 3x3 convolution with padding 1 rounds odd sizes up too.
                nn.AvgPool2d(stride, ceil_mode=True) if stride != 1 else nn.Identity(),
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        return functional.relu(self.body(features) + self.shortcut(features))


class OrientedEnergy(nn.Module):
    """How much edge of each direction and width there is, relative to all edges of that width around: a fixed layer.

    Two Gabor filters in quadrature give an energy that does not depend on where in the filter the edge lies (Adelson &
    Bergen, "Spatiotemporal energy models", JOSA A 1985); dividing by the neighbourhood's energy takes out contrast
    (Heeger, "Normalization of cell responses in cat striate cortex", Visual Neuroscience 1992). Few labels cannot teach
    a network filters like these, see `CompactNetwork`.

    Shape:
        - faces: (N, 3, H, W) in [-1, 1].
        - output: (N, ``channels``, ceil(H / 2), ceil(W / 2)): energies of every width and direction, then the faces.
    """

    filters: Tensor

    def __init__(
        self,
        widths: tuple[tuple[float, float], ...] = ((1.2, 3.5), (2.2, 6.5)),
        directions: int = 8,
        neighbourhood: int = 5,
    ) -> None:
        """Make the filters.

        Args:
            widths: standard deviation and wavelength of each size of filter, pixels.
            directions: of each size, evenly over half a turn.
            neighbourhood: side of the square whose energy an edge is compared with, pixels of the output.
        """
        super().__init__()
        self.widths, self.directions, self.neighbourhood = len(widths), directions, neighbourhood
        self.channels = self.widths * directions + 3
        self.reach = round(2.3 * max(deviation for deviation, _ in widths))
        axis = torch.arange(-self.reach, self.reach + 1.0)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        filters = []
        for deviation, wavelength in widths:
            window = torch.exp(-(x**2 + y**2) / (2 * deviation**2))
            for angle in torch.arange(directions) * (math.pi / directions):
                phase = 2 * math.pi / wavelength * (x * torch.cos(angle) + y * torch.sin(angle))
                for wave in (torch.cos(phase), torch.sin(phase)):
                    # Less its mean, so that brightness alone gives nothing.
                    ripple = window * wave - window * ((window * wave).sum() / window.sum())
                    filters.append(ripple / ripple.norm())
        self.register_buffer("filters", torch.stack(filters)[:, None], persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Energies and faces at half the side."""
        # In float32 whatever the autocast: the quotient of two small energies would be coarse in bf16.
        with torch.autocast(faces.device.type, enabled=False):
            light = functional.pad(faces.float().mean(1, keepdim=True), (self.reach,) * 4, mode="reflect")
            waves = functional.conv2d(light, self.filters, stride=2)
            energy = (waves[:, 0::2].square() + waves[:, 1::2].square() + 1e-4).sqrt()
            sizes = energy.unflatten(1, (self.widths, self.directions))
            around = functional.avg_pool2d(
                sizes.mean(2), self.neighbourhood, 1, self.neighbourhood // 2, count_include_pad=False
            )
            energy = (sizes / (around.unsqueeze(2) + 0.02)).flatten(1, 2)
            small = functional.interpolate(faces.float(), size=energy.shape[-2:], mode="area")
            return torch.cat([energy, small], 1)


class CompactNetwork(ExpressionNetwork):
    """A small residual network for faces of about 48 to 128 pixels that trains on one CPU core in a minute.

    It begins with `OrientedEnergy`, because filters learned from few labels are worse: on FER2013's PublicTest
    as published, not aligned (`python -m benchmarks.classifier`, two draws of labels, wider ranges of geometry than the
    recipe classical has now), the accuracy rose over a learned first layer from 31.5 to 35.1 % with 25 labels a class,
    and from 43.3 to 45.5 % with 100. On aligned faces, recipe classical, it is 39.3 and 48.2 %.

    Faces go in as they are: giving every picture the same exposure and contrast first lowered the accuracy on held-out
    FER2013 faces (from 29.5 % to 26.8 % with 25 labels a class, from 41.4 % to 39.6 % with 100; one run each).

    Args:
        classes: number of expressions.
        widths: channels of the stem, which halves the picture and is followed by a block, and of the stages after it,
            each a block that halves the picture again.
        dropout: share of the pooled features dropped while training.
    """

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 32, 64, 128), dropout: float = 0.3) -> None:
        super().__init__(widths[-1], classes, dropout)
        energy = OrientedEnergy()
        self.stem = nn.Sequential(
            energy,
            nn.BatchNorm2d(energy.channels),
            nn.Conv2d(energy.channels, widths[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.Sequential(
            ResidualBlock(widths[0], widths[0], stride=1),
            *(ResidualBlock(before, after, stride=2) for before, after in pairwise(widths)),
        )
        # oneDNN runs these convolutions 1.2 to 1.8 times faster in this layout.
        self.to(memory_format=torch.channels_last)

    def features(self, faces: Tensor) -> Tensor:
        """Mean of the last stage over the picture, (N, ``feature_count``)."""
        return self.stages(self.stem(faces.contiguous(memory_format=torch.channels_last))).mean(dim=(2, 3))


class BackboneNetwork(ExpressionNetwork):
    """A torchvision classifier whose last linear layer is replaced.

    Args:
        name: a classification model of torchvision, for example "resnet18".
        classes: number of expressions.
        weights: torchvision's name of a set of weights, such as "IMAGENET1K_V1" or "DEFAULT"; None starts at random.
        size: edge to which faces are resized first, pixels; None keeps theirs (or 224 where the model has a fixed
            size). A pretrained model sees more in small faces when they are enlarged.
        dropout: share of the features dropped while training, before the new layer.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, name: str, classes: int, weights: str | None = None, size: int | None = None, dropout: float = 0.3
    ) -> None:
        # Here and below, since importing it takes a second and the compact network needs none of it.
        from torchvision.models import get_model

        backbone = get_model(name, weights=weights)
        super().__init__(_drop_last_linear(backbone, name), classes, dropout)
        self.backbone = backbone
        self.size = _FIXED_SIZE if size is None and name.startswith(_FIXED_SIZE_PREFIXES) else size
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_IMAGENET_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def features(self, faces: Tensor) -> Tensor:
        """What the replaced layer used to see, (N, ``feature_count``)."""
        if self.size is not None and faces.shape[-2:] != (self.size, self.size):
            faces = functional.interpolate(
                faces, size=(self.size, self.size), mode="bilinear", align_corners=False, antialias=True
            )
        features = self.backbone(((faces + 1) / 2 - self.mean) / self.deviation)
        # GoogLeNet and Inception return their auxiliary outputs beside the features while they train.
        return features if isinstance(features, Tensor) else features.logits


def _drop_last_linear(backbone: nn.Module, name: str) -> int:
    """Replace the last linear layer (or 1x1 convolution) by the identity; returns how many features it saw."""
    # GoogLeNet and Inception register auxiliary classifiers, which are no part of this network.
    for auxiliary in ("aux1", "aux2", "AuxLogits"):
        if hasattr(backbone, auxiliary):
            setattr(backbone, auxiliary, None)
    if hasattr(backbone, "aux_logits"):
        setattr(backbone, "aux_logits", False)  # noqa: B010
    for path, module in reversed(list(backbone.named_modules())):
        if isinstance(module, nn.Linear):
            parent, _, leaf = path.rpartition(".")
            setattr(backbone.get_submodule(parent), leaf, nn.Identity())
            return module.in_features
    raise EmoaugError(f"network '{name}' has no last linear layer to replace; choose another, for example 'resnet18'")


def network_names() -> tuple[str, ...]:
    """Names that `build_network` knows: "compact", then torchvision's models with a linear last layer."""
    import torchvision.models

    names = torchvision.models.list_models(module=torchvision.models, exclude="squeezenet*")
    return (COMPACT, *names)


def build_network(
    name: str = COMPACT, classes: int = 7, weights: str | None = None, size: int | None = None
) -> ExpressionNetwork:
    """Build a network by name.

    Args:
        name: "compact", or a classification model of torchvision.
        classes: number of expressions, at least 2.
        weights: torchvision's name of a set of pretrained weights (downloaded on first use); None for random ones.
        size: edge to which a torchvision model resizes its faces, pixels; None keeps theirs.

    Raises:
        EmoaugError: for a name, a set of weights or a number of classes that does not exist.
    """
    if classes < 2:
        raise EmoaugError(f"a classifier of {classes} expression(s): at least 2 are needed; add another class of faces")
    if name == COMPACT:
        if weights is not None:
            raise EmoaugError(f"weights '{weights}' do not exist for 'compact', which starts at random; leave them out")
        if size is not None:
            raise EmoaugError(f"size {size} is for torchvision's networks; 'compact' takes faces as they are")
        return CompactNetwork(classes)
    known = network_names()
    if name not in known:
        raise EmoaugError(f"unknown network '{name}'. Known: {', '.join(known)}")
    if weights is not None and weights != "DEFAULT":
        from torchvision.models import get_model_weights

        choices = [choice.name for choice in get_model_weights(name)]
        if weights not in choices:
            raise EmoaugError(f"unknown weights '{weights}' for '{name}'. Known: {', '.join(choices)}, DEFAULT")
    return BackboneNetwork(name, classes, weights, size)
