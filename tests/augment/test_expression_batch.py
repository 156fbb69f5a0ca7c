"""ExpressionBatch: every sample its own draw, and no waiting for the device."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from augment.augmented_dataset import AugmentedDataset
from augment.transforms import ExpressionBatch
from emoaug import EmoaugError
from tests.augment.expression_transforms import CLASSES, Faces, always, asked, small_lssl, tensor_face
from tests.augment.tiny_translator import tiny_translator


def batch_of(count, size=24):
    pictures = torch.stack([tensor_face(seed=i, size=size) for i in range(count)])
    return pictures, torch.arange(count) % 3


@pytest.mark.parametrize("size", [24, 20, 60])
@pytest.mark.parametrize("kind", ["uint8", "float", "grey"])
def test_a_batch_is_what_single_pictures_are(tiny, size, kind):
    pictures, labels = batch_of(5, size)
    pictures = pictures / 255 if kind == "float" else pictures[:, :1] if kind == "grey" else pictures
    # Every class has one target and one strength, so that there is nothing to draw.
    options = {"targets": {"sad": "happy", "happy": "neutral", "neutral": "sad"}, "strength": (0.8, 0.8)}
    made, after = ExpressionBatch(tiny, p=1.0, classes=CLASSES, precision="32-true", **options)(pictures, labels)
    single = always(tiny, **options)
    wanted = [single(picture, int(label)) for picture, label in zip(pictures, labels, strict=True)]
    assert (made.shape, made.dtype, after.dtype) == (pictures.shape, pictures.dtype, labels.dtype)
    tolerance = 1 if pictures.dtype == torch.uint8 else 1e-4
    assert torch.allclose(made.float(), torch.stack([w[0] for w in wanted]).float(), atol=tolerance)
    assert after.tolist() == [w[1] for w in wanted]


def test_every_sample_of_a_batch_has_its_own_draw(tiny):
    conditions = asked(tiny)
    torch.manual_seed(0)
    pictures, labels = tensor_face().expand(64, -1, -1, -1), torch.zeros(64, dtype=torch.long)
    _, after = ExpressionBatch(tiny, p=1.0, classes=CLASSES)(pictures, labels)
    assert len(conditions[0].unique(dim=0)) == 64
    counts = torch.bincount(after, minlength=3)
    assert counts[0] == 0
    assert counts[1:].min() > 15


def test_the_share_of_a_batch_that_changes_is_p_and_costs_no_more(tiny):
    conditions = asked(tiny)
    torch.manual_seed(0)
    pictures, labels = batch_of(7)
    change, positions = ExpressionBatch(tiny, p=0.5, classes=CLASSES), torch.zeros(7)
    for _ in range(300):
        made, after = change(pictures, labels)
        changed = (made != pictures).flatten(1).any(1)
        assert torch.equal(changed, after != labels)
        positions += changed
    sizes = torch.tensor([float(len(c)) for c in conditions])
    assert set(sizes.tolist()) == {3.0, 4.0}
    assert abs(sizes.mean() - 3.5) < 4 * 0.5 / 300**0.5
    assert ((positions / 300 - 0.5).abs() < 4 * 0.5 / 300**0.5).all()


def test_a_batch_of_images_stays_one(tiny):
    pictures, labels = batch_of(4)
    made, _ = ExpressionBatch(tiny, p=1.0, classes=CLASSES)(tv_tensors.Image(pictures), labels)
    assert type(made) is tv_tensors.Image
    assert not torch.equal(made, pictures)


def test_a_batch_is_not_changed_in_place(tiny):
    pictures, labels = batch_of(6)
    before = pictures.clone(), labels.clone()
    ExpressionBatch(tiny, p=1.0, classes=CLASSES)(pictures, labels)
    assert torch.equal(pictures, before[0])
    assert torch.equal(labels, before[1])


def test_a_batch_after_normalize_is_undone_and_done_again(tiny):
    mean, deviation = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    pictures, labels = batch_of(4)
    unit = pictures / 255
    normalize = v2.Normalize(mean, deviation)
    torch.manual_seed(2)
    plain = ExpressionBatch(tiny, p=1.0, classes=CLASSES, precision="32-true")(unit, labels)
    torch.manual_seed(2)
    change = ExpressionBatch(tiny, p=1.0, classes=CLASSES, precision="32-true", normalized=(mean, deviation))
    made = change(normalize(unit), labels)
    assert torch.allclose(made[0], normalize(plain[0]), atol=1e-4)
    assert torch.equal(made[1], plain[1])


def test_a_grey_batch_stays_grey_also_after_normalize(tiny):
    """What undoing a normalisation rounds differs a little from channel to channel."""
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    pictures, labels = batch_of(4)
    grey = (pictures[:, :1] / 255).expand(-1, 3, -1, -1)
    change = ExpressionBatch(tiny, p=1.0, classes=CLASSES, normalized=(mean, deviation))
    made, _ = change(v2.functional.normalize(grey, mean, deviation), labels)
    made = made * torch.tensor(deviation).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
    assert float((made - grey).abs().max()) > 0.01
    assert float((made - made[:, :1]).abs().max()) < 1e-5


def test_the_network_behind_a_batch_can_learn(tiny):
    pictures, labels = batch_of(4)
    made, _ = ExpressionBatch(tiny, p=1.0, classes=CLASSES)(pictures / 255, labels)
    layer = nn.Conv2d(3, 2, 3)
    layer(made).mean().backward()
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("system", ["tiny", "lssl"])
@pytest.mark.parametrize("size", [32, 60])
def test_a_batch_never_waits_for_its_device(system, size):
    # Tensors on the device "meta" have no values: whatever asks for one, or for a size that depends on one, fails.
    translator = {"tiny": tiny_translator, "lssl": small_lssl}[system]()
    pictures = torch.zeros(6, 3, size, size, device="meta")
    labels = torch.zeros(6, dtype=torch.long, device="meta")
    made, after = ExpressionBatch(translator, p=0.5, classes=CLASSES, precision="32-true")(pictures, labels)
    assert (made.device.type, made.shape, after.shape) == ("meta", pictures.shape, labels.shape)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_batch_on_a_gpu_is_not_waited_for(tiny):
    change = ExpressionBatch(tiny, p=0.5, classes=CLASSES)
    pictures, labels = (tensor.cuda() for tensor in batch_of(8, 40))
    change(pictures, labels)  # the first batch brings the weights over
    torch.cuda.set_sync_debug_mode("error")
    try:
        made, _ = change(pictures, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert made.is_cuda


def test_a_batch_is_made_where_batches_are_collated(lssl_folder):
    change = ExpressionBatch(lssl_folder, p=1.0, classes=CLASSES)
    data = AugmentedDataset(Faces(8), v2.ToImage())
    loader = DataLoader(data, batch_size=4, num_workers=1, collate_fn=lambda samples: change(*default_collate(samples)))
    for pictures, labels in loader:
        assert (pictures.shape, labels.shape) == ((4, 3, 24, 24), (4,))
        assert not labels.is_inference()


@pytest.mark.parametrize(
    ("pictures", "labels", "says"),
    [
        (torch.zeros(3, 8, 8), torch.zeros(3, dtype=torch.long), "collate them first"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int32), torch.zeros(2, dtype=torch.long), "give uint8"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 3), "MixUp, CutMix"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.bool), "whole numbers"),
        (torch.zeros(2, 3, 8, 8), torch.tensor([0, -1]), "labels go from -1 to 0"),
        (torch.zeros(2, 3, 8, 8), torch.tensor([0, 3]), r"names 0 to 2"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.long, device="meta"), "one device"),
    ],
)
def test_batches_that_do_not_fit_are_refused(tiny, pictures, labels, says):
    with pytest.raises(EmoaugError, match=says):
        ExpressionBatch(tiny, classes=CLASSES)(pictures, labels)


@pytest.mark.parametrize("wrong", ["bytes as floats", "from -1 to 1", "normalized"])
def test_floats_that_are_not_within_0_and_1_are_refused(tiny, wrong):
    pictures, labels = batch_of(4, 24)
    unit = pictures.float() / 255
    given = {"bytes as floats": pictures.float(), "from -1 to 1": unit * 2 - 1, "normalized": unit}[wrong]
    normalized = ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)) if wrong == "normalized" else None
    change = ExpressionBatch(tiny, p=1.0, classes=CLASSES, normalized=normalized)
    if wrong == "normalized":
        given = given * 20
    with pytest.raises(EmoaugError, match=r"where floats are in \[0, 1\]"):
        change(given, labels)


@pytest.mark.parametrize("given", [(), (torch.zeros(2, 3, 8, 8),) * 3, ({"image": 0},)])
def test_what_is_no_batch_is_refused(tiny, given):
    with pytest.raises(EmoaugError, match="takes pictures and their labels"):
        ExpressionBatch(tiny, classes=CLASSES)(*given)


def test_grey_pictures_with_statistics_of_three_channels_are_refused(tiny):
    change = ExpressionBatch(tiny, p=1.0, classes=CLASSES, normalized=([0.5] * 3, [0.5] * 3))
    with pytest.raises(EmoaugError, match="pictures are grey"):
        change(torch.zeros(2, 1, 24, 24), torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize("normalized", [([0.5] * 2, [0.2] * 2), ([0.5] * 3, [0.0] * 3), ([0.5] * 3,)])
def test_statistics_that_nothing_was_normalized_with_are_refused(tiny, normalized):
    with pytest.raises(EmoaugError, match="a mean and a standard deviation"):
        ExpressionBatch(tiny, classes=CLASSES, normalized=normalized)


def test_a_batch_needs_the_names_of_its_labels(tiny):
    with pytest.raises(EmoaugError, match=r"classes=dataset\.classes"):
        ExpressionBatch(tiny)
