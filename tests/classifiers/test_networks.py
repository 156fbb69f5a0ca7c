import pytest
import torch
from torch import nn

from classifiers.networks import COMPACT, CompactNetwork, OrientedEnergy, build_network, network_names
from emoaug import EmoaugError


def multiplications(network: nn.Module, size: int) -> int:
    """Multiply-accumulates of one picture's forward pass, counted at every convolution and linear layer."""
    total = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        total += output[0].numel() * weight[0].numel()

    def count_filters(module: OrientedEnergy, _: object, output: torch.Tensor) -> None:
        nonlocal total
        # Two filters an energy.
        total += 2 * output[0, :-3].numel() * module.filters[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
        if isinstance(module, OrientedEnergy):
            module.register_forward_hook(count_filters)
    network.eval()(torch.zeros(1, 3, size, size))
    return total


def test_the_compact_network_stays_within_its_budget_for_a_cpu() -> None:
    assert multiplications(build_network(), 64) < 26e6


@pytest.mark.parametrize("direction", range(8))
@pytest.mark.parametrize(("width", "wavelength"), [(0, 3.5), (1, 6.5)])
def test_stripes_have_their_energy_in_their_own_direction_and_width(direction, width, wavelength) -> None:
    angle = torch.tensor(torch.pi * direction / 8)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    stripes = 0.5 * torch.sin(2 * torch.pi / wavelength * (x * torch.cos(angle) + y * torch.sin(angle)))
    energy = OrientedEnergy()(stripes.expand(1, 3, 64, 64))[0, :-3, 8:-8, 8:-8].mean((1, 2)).view(2, 8)
    assert energy[width].argmax() == direction


def test_energies_do_not_depend_on_brightness_and_hardly_on_contrast() -> None:
    faces = torch.rand(2, 3, 48, 48) - 0.5
    layer = OrientedEnergy()
    before = layer(faces)[:, :-3]
    torch.testing.assert_close(layer(faces + 0.3)[:, :-3], before, rtol=1e-3, atol=1e-3)
    # A small constant keeps flat skin flat.
    torch.testing.assert_close(layer(1.5 * faces)[:, :-3], before, rtol=0.1, atol=0.02)


def test_flat_skin_has_no_edges() -> None:
    layer = OrientedEnergy()
    flat, noisy = torch.zeros(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    assert layer(flat)[:, :-3].max() < layer(noisy)[:, :-3].mean()


@pytest.mark.parametrize("size", [33, 48, 64, 128])
def test_the_compact_network_takes_faces_of_any_size(size: int) -> None:
    network = build_network(COMPACT, 5)
    faces = torch.rand(2, 3, size, size) * 2 - 1
    assert network(faces).shape == (2, 5)
    assert network.features(faces).shape == (2, network.feature_count)


def test_scores_are_the_linear_head_of_the_features() -> None:
    network = build_network(COMPACT, 4).eval()
    faces = torch.rand(3, 3, 48, 48) * 2 - 1
    torch.testing.assert_close(network(faces), network.head(network.features(faces)))


# One of each way in which torchvision ends a network.
@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121", "googlenet", "vit_b_32"]
)
def test_torchvision_backbones_get_a_new_last_layer(name: str) -> None:
    with torch.device("meta"):
        # Built without memory, so that large networks cost nothing; shapes are still computed.
        network = build_network(name, 7)
    faces = torch.rand(2, 3, 64, 64, device="meta")
    assert network(faces).shape == (2, 7)
    assert network.features(faces).shape == (2, network.feature_count)
    assert 1000 not in {module.out_features for module in network.modules() if isinstance(module, nn.Linear)}


def test_a_backbone_matches_torchvisions_own_features() -> None:
    network = build_network("resnet18", 7).eval()
    faces = torch.rand(2, 3, 64, 64) * 2 - 1
    pixels = (faces + 1) / 2
    normal = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    torch.testing.assert_close(network.features(faces), network.backbone(normal))


def test_a_backbone_enlarges_faces_to_its_size() -> None:
    network = build_network("resnet18", 7, size=96)
    seen = []
    network.backbone.conv1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-2:]))
    network.eval()(torch.zeros(1, 3, 48, 48))
    assert seen == [(96, 96)]


def test_every_name_that_is_offered_is_a_classification_network() -> None:
    names = network_names()
    assert names[0] == COMPACT
    assert {"resnet18", "efficientnet_b0", "convnext_tiny"} <= set(names)
    assert not any("segmentation" in name or name.startswith(("raft", "deeplab", "r3d")) for name in names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet19"}, "resnet18"),
        ({"name": "resnet18", "weights": "FER2013"}, "IMAGENET1K_V1"),
        ({"name": COMPACT, "weights": "DEFAULT"}, "leave them out"),
        ({"name": COMPACT, "size": 64}, "compact"),
        ({"classes": 1}, "at least 2"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_choices(arguments, message) -> None:
    with pytest.raises(EmoaugError, match=message):
        build_network(**arguments)


def test_every_width_is_a_stage() -> None:
    network = CompactNetwork(3, widths=(8, 16))
    assert network.feature_count == 16
    assert len(network.stages) == 2
