"""What a sample looks like depends on (seed, epoch, index), and not on who makes it."""

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.transforms import v2

from augment.augmented_dataset import AugmentedDataset
from emoaug import EmoaugError
from tests.augment.expression_transforms import Faces, always
from tests.augment.tiny_translator import tiny_translator


def pictures_by_index(data, epoch, **loading):
    data.set_epoch(epoch)
    batches = list(DataLoader(data, batch_size=2, **loading))
    return torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])


def seeded_data(system, seed=7):
    transform = v2.Compose([v2.ToImage(), always(system, p=0.7), v2.RandomHorizontalFlip(), v2.RandomRotation(9)])
    return AugmentedDataset(Faces(8), transform, seed=seed)


@pytest.mark.parametrize(
    ("context", "workers"), [("fork", 2), ("fork", 1), pytest.param("spawn", 1, marks=pytest.mark.slow)]
)
def test_workers_make_the_same_pictures_as_none(lssl_folder, context, workers):
    alone = pictures_by_index(seeded_data(lssl_folder), 3)
    data = seeded_data(lssl_folder)
    made = pictures_by_index(data, 3, num_workers=workers, multiprocessing_context=context)
    assert torch.equal(alone[0], made[0])
    assert torch.equal(alone[1], made[1])
    assert not torch.equal(alone[1], torch.tensor([i % 3 for i in range(8)]))


def test_the_number_of_threads_does_not_show():
    # This system's pictures depend on the number of threads, as those of real kernels do in their last bits.
    fickle = tiny_translator(mode="fickle").eval().requires_grad_(False)
    before = torch.get_num_threads()
    one = pictures_by_index(seeded_data(fickle), 0)
    try:
        torch.set_num_threads(3)
        three = pictures_by_index(seeded_data(fickle), 0)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one[0], three[0])


def test_epochs_and_seeds_differ_and_come_back(lssl_folder):
    data = seeded_data(lssl_folder)
    first, second = pictures_by_index(data, 0), pictures_by_index(data, 1)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[0], pictures_by_index(data, 0)[0])
    assert not torch.equal(first[0], pictures_by_index(seeded_data(lssl_folder, 8), 0)[0])


def test_workers_that_persist_hear_of_the_epoch(lssl_folder):
    data = seeded_data(lssl_folder)
    wanted = [pictures_by_index(data, epoch)[0] for epoch in (0, 1)]
    loader = DataLoader(data, batch_size=2, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        data.set_epoch(epoch)
        assert torch.equal(torch.cat([pictures for pictures, _ in loader]), wanted[epoch])


def test_without_a_seed_it_draws_as_torchvision_does(tiny):
    data = AugmentedDataset(Faces(6), v2.Compose([v2.ToImage(), always(tiny)]))
    torch.manual_seed(1)
    one, two = (torch.stack([data[i][0] for i in range(6)]) for _ in range(2))
    torch.manual_seed(1)
    again = torch.stack([data[i][0] for i in range(6)])
    assert torch.equal(one, again)
    assert not torch.equal(one, two)


def test_a_seed_leaves_the_streams_of_others_alone(tiny):
    data = AugmentedDataset(Faces(2), v2.Compose([v2.ToImage(), always(tiny)]), seed=1)
    data.set_epoch(0)
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    data[0]
    assert torch.equal(torch.rand(3), wanted)


def test_a_seed_without_an_epoch_is_refused(tiny):
    with pytest.raises(EmoaugError, match="set_epoch"):
        AugmentedDataset(Faces(2), always(tiny), seed=1)[0]


def test_transforms_that_take_a_picture_alone_are_refused():
    with pytest.raises(EmoaugError, match=r"take torchvision\.transforms\.v2\.Compose"):
        AugmentedDataset(Faces(2), transforms.Compose([transforms.ToTensor()]))
    with pytest.raises(EmoaugError, match=r"take torchvision\.transforms\.v2\.ToTensor"):
        AugmentedDataset(Faces(2), v2.Compose([v2.RandomHorizontalFlip(), v2.Compose([transforms.ToTensor()])]))
    with pytest.raises(EmoaugError, match=r"take torchvision\.transforms\.v2\.TrivialAugmentWide"):
        AugmentedDataset(Faces(2), transforms.TrivialAugmentWide())


def test_a_callable_may_call_anything_of_its_own_transforms():
    def swap(picture, label):
        return picture, label

    swap.transforms = None
    assert AugmentedDataset(Faces(2), swap)[0][1] == Faces(2)[0][1]
