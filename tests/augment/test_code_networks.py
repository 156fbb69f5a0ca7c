from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from augment.code_networks import (
    FaceDecoder,
    FaceEncoder,
    FaceJudge,
    FaceRetoucher,
    PublishedClassifier,
    PublishedCritic,
    PublishedDecoder,
    googlenet_features,
    resnet34_features,
)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_faces_become_codes_of_the_said_length_and_codes_become_faces(size):
    encoder, decoder = FaceEncoder(size, 4, 16, 4), FaceDecoder(6, size, 4, 16, 4)
    assert encoder(torch.zeros(2, 3, size, size)).shape == (2, encoder.length)
    faces = decoder(torch.randn(2, 6))
    assert faces.shape == (2, 3, size, size)
    assert faces.abs().max() <= 1


def test_a_decoder_keeps_the_scale_of_what_passes_it_and_paints_neither_black_nor_white_at_first():
    torch.manual_seed(0)
    decoder = FaceDecoder(48, 64, 16, 128, 4)
    with torch.no_grad():
        faces = decoder(torch.randn(64, 48))
        x = decoder.first(torch.randn(64, 48)).view(-1, *decoder.start)
        assert 0.5 < x.std() < 3
        assert 0.5 < decoder.layers(x).square().mean() < 9
    # Far from the ends, where it would hardly learn.
    assert 0.05 < faces.abs().mean() < 0.7


@pytest.mark.parametrize(("size", "depth"), [(32, 4), (48, 2), (64, 4)])
def test_a_retoucher_begins_near_the_source_and_heeds_every_map_and_the_code(size, depth):
    torch.manual_seed(0)
    encoder, retoucher = FaceEncoder(size, 4, 16, depth), FaceRetoucher(6, size, 4, 16, depth)
    faces, code = F.interpolate(torch.rand(2, 3, 4, 4) * 2 - 1, size, mode="bicubic").clamp(-1, 1), torch.randn(2, 6)
    features, maps = encoder.read(faces)
    torch.testing.assert_close(features, encoder(faces))
    result = retoucher(faces, maps, code)
    assert result.flow.abs().max() == 0
    assert result.mask.mean() < 0.3
    # The motion has to leave its beginning to be seen.
    torch.nn.init.normal_(retoucher.retouch.flow.weight)
    result = retoucher(faces, maps, code)
    others = [retoucher(faces, maps, -code)]
    for level in range(depth):
        others.append(retoucher(faces, [m * (i != level) for i, m in enumerate(maps)], code))
    for other in others:
        assert (other.faces - result.faces).abs().max() > 1e-4


@pytest.mark.parametrize("matched", [1, 2, 4])
def test_a_judge_s_features_are_the_outputs_of_its_last_levels(matched):
    torch.manual_seed(0)
    judge = FaceJudge(32, 4, 4, 3, matched)
    faces = torch.randn(2, 3, 32, 32)
    seen, x = [], faces
    for level in judge.levels:
        x = level(x)
        seen.append(x.flatten(1))
    features, logits = judge(faces)
    torch.testing.assert_close(features, torch.cat(seen[4 - matched :], 1))
    torch.testing.assert_close(logits, F.linear(seen[-1], judge.answer.weight, judge.answer.bias))
    assert judge.feature_length == features.shape[1]


def test_published_networks_have_the_published_parameter_counts():
    with torch.device("meta"):
        generator, critic, classifier = PublishedDecoder(256 + 530, 128), PublishedCritic(128), PublishedClassifier(530)
        (googlenet, wide), (resnet, deep) = googlenet_features(), resnet34_features()
    # Two dense layers to 1024, then the transposed convolutions, each of the former with batch norm but the last.
    channels, kernels = (256, 256, 256, 128, 92, 64, 3), (3, 3, 5, 5, 5, 5)
    convolutions = sum(a * b * k * k + b for (a, b), k in zip(pairwise(channels), kernels, strict=True))
    dense = (786 * 1024 + 1024) + (1024 * 1024 + 1024)
    assert count(generator) == dense + convolutions + 2 * (1024 + 1024 + 256 + 256 + 128 + 92 + 64)
    maps = (3, 64, 128, 256, 512)
    convolutions = sum(a * b * 25 + b for a, b in pairwise(maps))
    assert count(critic) == convolutions + 2 * (128 + 256 + 512) + 512 * 64 + 1
    # AlexNet has 61,100,840 parameters, GoogLeNet 6,624,904 and ResNet-34 21,797,672, with 1000 classes each.
    assert count(classifier) == 61_100_840 - 4097 * 1000 + 4097 * 530
    assert (count(googlenet), wide) == (6_624_904 - 1025 * 1000, 1024)
    assert (count(resnet), deep) == (21_797_672 - 513 * 1000, 512)


def test_published_networks_take_and_give_faces_and_say_how_long_their_features_are():
    torch.manual_seed(0)
    generator, critic, classifier = (
        PublishedDecoder(7, 64).eval(),
        PublishedCritic(64).eval(),
        PublishedClassifier(4).eval(),
    )
    faces = generator(torch.randn(2, 7))
    assert faces.shape == (2, 3, 64, 64)
    assert faces.abs().max() <= 1
    for judge, answers in ((critic, 1), (classifier, 4)):
        features, logits = judge(faces)
        assert features.shape == (2, judge.feature_length)
        torch.testing.assert_close(logits, F.linear(features, judge.answer.weight, judge.answer.bias))
        assert logits.shape == (2, answers)
