"""RandomExpression: what it asks the system for, what it takes, and what it gives back."""

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from augment.transforms import ExpressionBatch, RandomExpression
from emoaug import EmoaugError
from tests.augment.expression_transforms import CLASSES, TinySampler, always, asked, face, small_lssl, tensor_face
from tests.augment.tiny_translator import EXPRESSIONS, Mover, TinySettings, draw_face, tiny_translator


def test_the_picture_is_what_the_system_makes_of_the_condition(tiny):
    picture, label = always(tiny, targets=["happy"], strength=(1, 1))(tensor_face(), 2)
    made = tiny.translate(tensor_face()[None].float() / 127.5 - 1, tiny.condition(["happy"]))
    assert label == CLASSES.index("happy")
    assert torch.equal(picture, made[0].mul(127.5).add(127.5).round().to(torch.uint8))


def test_strength_mixes_target_and_source_and_is_drawn_evenly(tiny):
    conditions = asked(tiny)
    transform = always(tiny, targets={"sad": "happy"}, strength=(0.4, 0.8))
    torch.manual_seed(0)
    for _ in range(200):
        transform(tensor_face(), CLASSES.index("sad"))
    values = torch.cat(conditions)
    happy, neutral, sad = values.T
    assert (neutral == 0).all()
    assert torch.allclose(happy + sad, torch.ones(200))
    assert 0.4 <= happy.min() < 0.42 < 0.78 < happy.max() <= 0.8
    assert abs(happy.mean() - 0.6) < 4 * 0.4 / 12**0.5 / 200**0.5


def test_a_share_p_is_changed_and_every_other_class_is_a_target(tiny):
    torch.manual_seed(0)
    transform = RandomExpression(tiny, p=0.25, classes=CLASSES)
    after = [transform(tensor_face(), 0)[1] for _ in range(400)]
    counts = np.bincount(after, minlength=3)
    assert abs(counts[0] / 400 - 0.75) < 4 * (0.25 * 0.75 / 400) ** 0.5
    assert min(counts[1:]) > 25


def test_a_mapping_leaves_other_classes_as_they_are(tiny):
    transform = always(tiny, targets={"sad": ["happy", "neutral"]})
    sample = (tensor_face(), 1)
    assert transform(sample) is sample
    assert {transform(tensor_face(), 0)[1] for _ in range(20)} == {1, 2}


def test_a_class_that_the_system_does_not_know_is_left_alone_when_told_so(tiny):
    transform = always(tiny, classes=["sad", None, "happy"])
    sample = (tensor_face(), 1)
    assert transform(sample) is sample
    assert transform(tensor_face(), 0)[1] == 2


def test_kept_labels_keep_the_share_of_strength(tiny):
    conditions = asked(tiny)
    transform = always(tiny, keep_label=True, strength=(0.7, 0.7))
    picture, label = transform(tensor_face(), CLASSES.index("happy"))
    assert label == CLASSES.index("happy")
    assert not torch.equal(picture, tensor_face())
    assert torch.allclose(conditions[0], torch.tensor([[0.7, 0.3, 0.0]]))
    neutral = (tensor_face(), CLASSES.index("neutral"))
    assert transform(neutral) is neutral


def test_synonyms_name_the_same_class(tiny):
    assert always(tiny, classes=["sadness", "joy", "Neutrality"], targets=["joy"])(tensor_face(), 0)[1] == 1
    assert always(tiny, targets=["happy"])(tensor_face(), "sadness")[1] == "happy"
    # A label that stays, stays as it is called.
    assert always(tiny, keep_label=True)(tensor_face(), "joy")[1] == "joy"
    assert always(tiny, targets=["happy"])(tensor_face(), "joy")[1] == "joy"


def test_a_new_person_is_another_each_time():
    sampler = TinySampler(EXPRESSIONS, tiny_translator().settings).eval()
    transform = always(sampler, new_person=True, targets=["happy"])
    torch.manual_seed(0)
    one, other = transform(tensor_face(), 0)[0], transform(tensor_face(), 0)[0]
    torch.manual_seed(0)
    again = transform(tensor_face(), 0)[0]
    assert not torch.equal(one, other)
    assert torch.equal(one, again)
    batch = ExpressionBatch(sampler, p=1.0, classes=CLASSES, new_person=True)
    pictures, _ = batch(tensor_face().expand(2, -1, -1, -1), torch.zeros(2, dtype=torch.long))
    assert not torch.equal(pictures[0], pictures[1])


@pytest.mark.parametrize(
    "kind", ["rgb", "grey", "uint8", "grey uint8", "float", "float64", "float16", "image", "float image"]
)
@pytest.mark.parametrize("size", [(24, 24), (20, 20), (60, 60), (50, 30), (30, 50)])
def test_every_kind_and_size_of_picture_comes_back_as_it_was(tiny, kind, size):
    array = np.ascontiguousarray(face(size=64)[: size[0], : size[1]])
    tensor = torch.from_numpy(array).permute(2, 0, 1).contiguous()
    picture = {
        "rgb": PIL.Image.fromarray(array),
        "grey": PIL.Image.fromarray(array).convert("L"),
        "uint8": tensor,
        "grey uint8": tensor[:1],
        "float": tensor / 255,
        "float64": tensor.double() / 255,
        "float16": (tensor / 255).half(),
        "image": tv_tensors.Image(tensor),
        "float image": tv_tensors.Image(tensor / 255),
    }[kind]
    made, label = always(tiny)(picture, 0)
    assert type(made) is type(picture)
    assert label in (1, 2)
    if isinstance(picture, PIL.Image.Image):
        assert (made.mode, made.size) == (picture.mode, picture.size)
        assert np.abs(np.asarray(made, int) - np.asarray(picture, int)).mean() > 5
    else:
        assert (made.shape, made.dtype) == (picture.shape, picture.dtype)
        assert (made.double() - picture.double()).abs().mean() > 5 * (1 if picture.dtype == torch.uint8 else 1 / 255)


def test_above_the_largest_size_in_full_detail_a_face_is_reduced_and_put_back(monkeypatch):
    system, sides = small_lssl(), []
    plain = system.translate
    system.translate = lambda faces, condition: (sides.append(faces.shape[-1]), plain(faces, condition))[1]
    monkeypatch.setattr("augment.shared_translator.LARGEST_DETAIL", 80)
    for size in (24, 64, 80, 120):
        picture, _ = always(system)(tensor_face(size=size), 0)
        assert picture.shape == (3, size, size)
    assert sides == [32, 64, 80, 80]


def test_all_kinds_get_the_same_pixels(tiny):
    array, transform = face(size=40), always(tiny, targets=["happy"], strength=(1, 1))
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    from_pil = np.asarray(transform(PIL.Image.fromarray(array), 0)[0])
    from_uint8 = transform(tensor, 0)[0].permute(1, 2, 0).numpy()
    from_float = transform(tv_tensors.Image(tensor / 255), 0)[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(from_pil, from_uint8)
    assert np.array_equal(from_pil, from_float)


def test_a_grey_picture_stays_grey(tiny):
    grey = PIL.Image.fromarray(draw_face("sad", 1, 24, grey=True))
    made = np.asarray(always(tiny)(grey, 0)[0])
    assert (made == made[..., :1]).all()


def test_boxes_and_masks_pass_through_and_all_pictures_change(tiny):
    boxes = tv_tensors.BoundingBoxes([[1, 2, 9, 9]], format="XYXY", canvas_size=(24, 24))
    mask = tv_tensors.Mask(torch.ones(1, 24, 24, dtype=torch.uint8))
    image = tv_tensors.Image(tensor_face())
    one, target, other = always(tiny)(image, {"label": 0, "boxes": boxes, "mask": mask}, PIL.Image.fromarray(face()))
    assert target["boxes"] is boxes
    assert target["mask"] is mask
    assert not torch.equal(one, image)
    assert np.array_equal(np.asarray(other), one.permute(1, 2, 0).numpy())


def test_it_stands_in_compose_among_the_others(tiny):
    transform = v2.Compose(
        [
            v2.ToImage(),
            always(tiny),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    picture, label = transform(PIL.Image.fromarray(face()), 0)
    assert picture.shape == (3, 24, 24)
    assert label in (1, 2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"p": 1.5}, "p is 1.5"),
        ({"strength": (0, 1)}, "strength is 0 to 1"),
        ({"strength": (0.9, 0.5)}, "lower one first"),
        ({"strength": 0.5}, "two numbers"),
        ({"precision": "fp16"}, "'fp16'; it is one of auto"),
        ({"targets": ["contempt"]}, '"contempt", which is none of the classes'),
        ({"targets": "happy"}, '"others", a list'),
        ({"targets": {"sad": "fear"}}, '"fear"'),
        ({"targets": {"sad": "sad"}}, "no change"),
        ({"classes": ["sad", "happy", "contempt"]}, 'not trained on the class "contempt"; it knows happy'),
        ({"classes": ["sad", "happy", "joy"]}, "mean happy"),
        ({"classes": ["sad", "happy"], "keep_label": True}, "towards neutral"),
        ({"new_person": True}, "tiny cannot sample"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_once(tiny, options, says):
    with pytest.raises(EmoaugError, match=says):
        always(tiny, **options)


@pytest.mark.parametrize(
    ("sample", "options", "says"),
    [
        ((tensor_face(), 3), {}, "the label is 3; the 3 classes"),
        ((tensor_face(), 1), {"classes": None}, "classes=dataset.classes"),
        ((tensor_face(), "angry"), {}, 'unknown label "angry"'),
        (tensor_face(), {}, "AugmentedDataset"),
        ((tensor_face(), 0.5), {}, "the label is 0.5"),
        ((tensor_face(), torch.zeros(3)), {}, r"a tensor of shape \(3,\)"),
        ((tensor_face(), 0), {"labels": lambda s: s["label"]}, "labels=... failed"),
        ((tensor_face().float(), 0), {}, "before Normalize"),
        ((tensor_face()[None], 0), {}, "ExpressionBatch takes batches"),
        ((tensor_face().int(), 0), {}, "give uint8"),
        ((PIL.Image.new("RGBA", (8, 8)), 0), {}, "mode RGBA"),
        ((tv_tensors.Video(tensor_face()[None]), 0), {}, "not videos"),
        (("no picture", 0), {}, "no picture"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tiny, sample, options, says):
    with pytest.raises(EmoaugError, match=says):
        always(tiny, **options)(sample)


def test_undefined_values_are_an_error_for_one_and_left_out_of_a_batch():
    broken = tiny_translator(mode="broken").eval()
    white = tensor_face()
    white[:, 0, 0] = 255
    with pytest.raises(EmoaugError, match="undefined values"):
        always(broken)(white, 0)
    pictures, labels = torch.stack([white, tensor_face()]), torch.zeros(2, dtype=torch.long)
    made, after = ExpressionBatch(broken, p=1.0, classes=CLASSES)(pictures, labels)
    assert torch.equal(made[0], white)
    assert after[0] == 0
    assert not torch.equal(made[1], pictures[1])
    assert after[1] != 0


def test_a_system_of_movements_is_asked_for_what_faces_of_the_class_showed():
    mover = Mover(("jawOpen", "mouthSmile"), TinySettings()).eval().requires_grad_(False)
    mover.named_conditions = {"happy": (0.2, 0.8), "sad": (0.0, 0.1)}
    conditions = asked(mover)
    transform = always(mover, classes=["sad", None, "happy"], targets={"sad": "happy"}, strength=(0.5, 0.5))
    assert transform(tensor_face(), 0)[1] == 2
    torch.testing.assert_close(conditions[0], torch.tensor([[0.1, 0.45]]))


def test_a_system_of_movements_that_saw_no_label_says_so():
    with pytest.raises(EmoaugError, match="knows no expression by name"):
        always(Mover(("jawOpen", "mouthSmile"), TinySettings()))


def test_without_a_system_the_weights_of_the_package_are_taken():
    change = RandomExpression(p=1.0, targets=["happy"], classes=["neutral", "happy"])
    picture = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    made, label = change(picture, 0)
    assert label == 1
    assert made.shape == picture.shape


def test_targets_may_be_synonyms(tiny):
    assert always(tiny, targets=["Joyful"])(tensor_face(), CLASSES.index("sad"))[1] == CLASSES.index("happy")
