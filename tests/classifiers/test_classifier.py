import json

import numpy as np
import pytest
import torch

from classifiers.classifier import Classifier
from classifiers.networks import build_network
from emoaug import EmoaugError


def classifier(name: str = "compact", size: int | None = None) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Classifier(build_network(name, 4, size=size), 4, name, size, {"steps": 7})


def faces(count: int = 6, size: int = 40) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_probabilities_are_positive_and_sum_to_one() -> None:
    probabilities = classifier()(faces())
    assert probabilities.shape == (6, 4)
    assert probabilities.dtype == torch.float32
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6))


def test_the_batch_size_does_not_change_the_probabilities() -> None:
    judge = classifier()
    torch.testing.assert_close(judge(faces(), batch_size=4), judge(faces()), atol=1e-6, rtol=1e-4)


def test_a_face_and_its_mirror_image_get_the_same_probabilities() -> None:
    judge = classifier()
    torch.testing.assert_close(judge(faces()), judge(faces().flip(-1)))
    assert not torch.allclose(judge(faces(), flip=False), judge(faces().flip(-1), flip=False))


@pytest.mark.parametrize("count", [0, 1030])
def test_pictures_are_asked_as_their_floats_are(count) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    wanted = classifier()(torch.from_numpy(pixels) / 255.0 * 2 - 1)
    np.testing.assert_allclose(classifier().of_pictures(pixels), wanted.numpy(), atol=1e-5)


def test_no_faces_give_no_probabilities() -> None:
    assert classifier()(faces(0)).shape == (0, 4)
    assert classifier().features(faces(0)).shape == (0, 128)


def test_probabilities_come_from_the_features() -> None:
    judge = classifier()
    expected = judge.network.head(judge.features(faces())).softmax(dim=1)
    torch.testing.assert_close(judge(faces(), flip=False), expected)


def test_results_can_be_used_where_gradients_are_taken() -> None:
    weight = torch.ones(4, requires_grad=True)
    (classifier()(faces()) * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(("name", "size"), [("compact", None), ("shufflenet_v2_x0_5", 64)])
def test_saved_and_loaded_is_the_same_classifier(tmp_path, name, size) -> None:
    first = classifier(name, size)
    first.save(tmp_path / "judge")
    second = Classifier.load(tmp_path / "judge")
    assert torch.equal(first(faces()), second(faces()))
    assert (second.network_name, second.input_size, second.classes) == (name, size, 4)
    assert second.training == {"steps": 7}


def test_saving_leaves_two_readable_files_and_nothing_else(tmp_path) -> None:
    classifier().save(tmp_path)
    classifier().save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "weights.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text())["network"] == "compact"


def test_a_folder_without_a_classifier_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(EmoaugError, match=r"config\.json is missing"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text("[]"),
        lambda folder: (folder / "config.json").write_text('{"kind": "translator"}'),
        lambda folder: (folder / "config.json").write_text('{"kind": "classifier"}'),
        lambda folder: (folder / "weights.safetensors").write_bytes(b"pickle"),
        lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace('"classes": 4', '"classes": 5')
        ),
    ],
)
def test_a_damaged_folder_is_a_clear_error(tmp_path, spoil) -> None:
    classifier().save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(EmoaugError, match=str(tmp_path)):
        Classifier.load(tmp_path)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 1, 8, 8), torch.zeros(3, 8, 8), torch.zeros(2, 3, 8, 8).byte()])
def test_what_is_no_batch_of_faces_is_refused(wrong) -> None:
    with pytest.raises(EmoaugError, match="N, 3, H, W"):
        classifier()(wrong)
