"""The label is found in every structure that torchvision's transforms take."""

import numpy as np
import pytest
import torch

from emoaug import EmoaugError
from tests.augment.expression_transforms import always, tensor_face

STRUCTURES = {
    "tuple": (lambda p, y: (p, y), lambda s: (s[0], s[1]), "default"),
    "list": (lambda p, y: [p, y], lambda s: (s[0], s[1]), "default"),
    "dictionary": (lambda p, y: {"id": 0, "image": p, "label": y}, lambda s: (s["image"], s["label"]), "default"),
    "label first": (lambda p, y: {"label": y, "image": p}, lambda s: (s["image"], s["label"]), "default"),
    "target dictionary": (lambda p, y: (p, {"age": 0, "labels": y}), lambda s: (s[0], s[1]["labels"]), "default"),
    "pointed at": (
        lambda p, y: (0, {"look": [y, p]}, 0),
        lambda s: (s[1]["look"][1], s[1]["look"][0]),
        lambda s: s[1]["look"][0],
    ),
}


def test_the_label_itself_goes_before_other_names_with_label_in_them(tiny):
    made = always(tiny, targets=["neutral"])({"label_source": "by hand", "image": tensor_face(), "label": 0})
    assert (made["label"], made["label_source"]) == (2, "by hand")


def test_of_two_names_with_label_in_them_none_is_guessed(tiny):
    with pytest.raises(EmoaugError, match="label_id and label_name; point at the label"):
        always(tiny)({"label_id": 0, "label_name": "sad", "image": tensor_face()})


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("label", [0, np.int64(0), torch.tensor(0), torch.tensor([0]), "sad"])
def test_picture_and_label_change_together_in_every_structure(tiny, structure, label):
    build, read, labels = STRUCTURES[structure]
    sample = build(tensor_face(), label)
    made = always(tiny, targets=["neutral"], labels=labels)(sample)
    picture, new = read(made)
    assert type(made) is type(sample)
    assert type(new) is type(label)
    assert new == ("neutral" if label == "sad" else 2)
    assert not torch.equal(picture, tensor_face())
    if isinstance(label, torch.Tensor):
        assert (new.shape, new.dtype) == (label.shape, label.dtype)
        assert int(label) == 0
    for name in ("id", "age"):
        assert (made if isinstance(made, dict) else {}).get(name, 0) == 0
