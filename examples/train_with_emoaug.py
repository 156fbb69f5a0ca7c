"""Train a ResNet-18 on a folder of faces with one folder a class; train_with_emoaug.py is train_plain.py
and five lines more.

python examples/train_with_emoaug.py FACES [STEPS]    (after: emoaug train --data FACES --out runs/lssl)
"""

import sys
from itertools import chain, islice, repeat

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from augment.transforms import AugmentedDataset, RandomExpression


def main(root: str, steps: int) -> None:
    """Train, and say how well the last batches were told apart."""
    faces = ImageFolder(root)
    transform = v2.Compose(
        [
            RandomExpression("runs/lssl", p=0.5, classes=faces.classes),
            v2.Resize((64, 64)),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]),
        ]
    )
    data = AugmentedDataset(faces, transform)
    loader = DataLoader(data, batch_size=8, shuffle=True, drop_last=True, num_workers=2)
    network = resnet18(num_classes=len(data.classes))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    epochs = chain.from_iterable(repeat(loader))
    for step, (pictures, labels) in enumerate(islice(epochs, steps), start=1):
        logits = network(pictures)
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps:
            accuracy = (logits.argmax(1) == labels).float().mean()
            print(f"step {step}: loss {loss.item():.3f}, accuracy {accuracy.item():.0%}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
