"""Run on each of two machines: compares what both compute for a shared batch with what one computes for the whole.

    NODE_RANK=0 MASTER_ADDR=localhost MASTER_PORT=29500 python -m tests.augment.two_ranks FOLDER

The first writes FOLDER/found.json: for every system and phase, by how much terms, gradients and what is remembered
differ. Then it refuses to go on, which the other learns.
"""

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from augment.devices import Machines, make_fabric
from augment.ranks import Share, average_gradients, decided, mean_over_ranks, share_batch_norms, sharing, together
from augment.systems import SYSTEMS, Progress, Translator
from augment.training_data import TrainingFaces
from augment.variation import Variation
from emoaug import EmoaugError
from tests.augment.systems.test_registry import SIZE, build, make_training_faces, smallest

BATCH = 6
SEED = 7
"""Gives faces none of whose pixels seems so near a kink of a loss, such as L1's, that rounding turns its gradient over:
with seed 5 CDAAE's gradients differed by 3e-5, as by one such pixel, where all others are below 4e-6."""


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Largest difference, as a share of the largest value among all."""
    largest = max(float(value.detach().abs().max()) for value in one)
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True)) / max(largest, 1e-6)


def untidy_faces() -> TrainingFaces:
    """Some have no landmarks and some are of nobody known, so that shares of a batch count differently."""
    faces = make_training_faces()
    points = torch.rand(len(faces.faces), 478, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    points[:5] = float("nan")
    subjects = faces.subjects.clone()
    subjects[:5] = -1
    return replace(faces, landmarks=points, subjects=subjects)


def update(translator: Translator, data: TrainingFaces, phase: int, share: Share | None) -> dict[str, list[Tensor]]:
    """Terms, gradients and buffers after one phase."""
    with sharing(share):
        batch = data.batch(torch.Generator().manual_seed(SEED), BATCH, Variation(), translator.partners)
        assert len(batch.faces) == BATCH // (1 if share is None else share.ranks)
        if share is None and translator.partners != "same subject":
            for known in (batch.landmarks.isfinite().all((1, 2)), batch.subjects >= 0):
                one, other = known.chunk(2)
                assert one.sum() != other.sum(), "both shares count the same, so that nothing is tested"
        chosen = translator.phases()[phase]
        parameters = [p for module in chosen.modules for p in module.parameters()]
        translator.zero_grad(set_to_none=True)
        torch.manual_seed(SEED)
        loss, terms = chosen.loss(batch, Progress(500, 1000))
        loss.backward()
        average_gradients(parameters)
        values = [mean_over_ranks(value.detach().float()) for value in (loss, *terms.values())]
    return {
        "terms": values,
        "gradients": [p.grad for p in parameters if p.grad is not None],
        "remembered": [torch.zeros(1), *(b.float() for b in translator.buffers())],
    }


def compared(translator: Translator, data: TrainingFaces, share: Share) -> dict[str, dict[str, float]]:
    """Differences by phase."""
    translator.fit(data)
    found = {}
    with torch.no_grad():  # off the point where some layers are zero
        for parameter in translator.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    for number, phase in enumerate(translator.phases()):
        alone, shared = copy.deepcopy(translator), copy.deepcopy(translator)
        share_batch_norms(shared)
        whole, parts = update(alone, data, number, None), update(shared, data, number, share)
        found[phase.name] = {what: difference(whole[what], parts[what]) for what in whole}
    return found


def batch_norm(share: Share) -> dict[str, float]:
    """torch's batch norm of the whole, against the shared one of parts, twice in a row."""
    torch.manual_seed(0)
    whole = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(4 * 36))
    nn.init.normal_(whole[1].weight)
    parts = copy.deepcopy(whole)
    share_batch_norms(parts)
    x = torch.randn(BATCH, 3, 8, 8)
    mine = x.chunk(share.ranks)[share.rank]
    wanted = x.square().sum((1, 2, 3))
    for _ in range(2):
        (whole(x).square().sum(1) * wanted).mean().backward()
        with sharing(share):
            (parts(mine).square().sum(1) * wanted.chunk(share.ranks)[share.rank]).mean().backward()
    with sharing(share):
        average_gradients(parts.parameters())
    whole.eval()
    with sharing(share):
        same = difference([whole(x)], [parts.eval()(x)])
    gradients = [[p.grad for p in network.parameters()] for network in (whole, parts)]
    return {"gradients": difference(*gradients), "evaluated": same}


def main(folder: Path) -> None:
    """Compare everything."""
    fabric = make_fabric("cpu", "32-true", Machines(nodes=2))
    with together(fabric):
        found = compare_all(Share(fabric.global_rank, fabric.world_size, BATCH // 2))
        if decided(fabric, lambda: True):
            (folder / f"decided{fabric.global_rank}").touch()
        if decided(fabric, lambda: False):
            (folder / "undecided").touch()
        if fabric.is_global_zero:
            (folder / "found.json").write_text(json.dumps(found))
        decided(fabric, refuse)
        (folder / "not refused").touch()


def refuse() -> bool:
    raise EmoaugError("not in this folder")


def compare_all(share: Share) -> dict[str, dict[str, dict[str, float]]]:
    """Differences by system and phase."""
    data = untidy_faces()
    translators = {name: build(name, settings=smallest(name)) for name in sorted(SYSTEMS)}
    published = replace(SYSTEMS["cdaae"].configurations["paper"], size=SIZE, width=8, widest=32, critic_width=8)
    translators["cdaae with batch norms"] = build("cdaae", settings=published)
    found = {name: compared(translator, data, share) for name, translator in translators.items()}
    found["batch norm"] = {"": batch_norm(share)}
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
