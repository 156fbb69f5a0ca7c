"""Expression changes made once and kept on the disk, for machines that are too slow to make them while they train."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
from torch.utils.data import DataLoader
from torchvision.datasets import VisionDataset
from tqdm import tqdm

from augment.augmented_dataset import seeded
from augment.devices import Precision, choose_precision, seed_from
from augment.expression_targets import Targets
from augment.expressions import check_class_name
from augment.folders import write_metadata
from augment.models import cache_folder
from augment.pictures import encode_png, read_picture, write_bytes
from augment.random_expression import RandomExpression
from augment.runs import check_same_run, locked, read_run, remove_temporary_files, write_run
from augment.systems.base import Translator
from emoaug import EmoaugError

KIND = "cached expressions"
CHECKED = 16
"""Pictures of the dataset that are compared with what they were when the copies were made."""


class CachedExpressions(VisionDataset):
    """A dataset and some copies of each of its faces with other expressions.

    First come all samples of the dataset, then the first copy of each, the second, and so on; a face that cannot be
    changed has no copies. The copies are written as `CLASS/INDEX_COPY.png` with a `metadata.csv` beside them. The same
    call again takes up what was stopped, or finds all done; more copies are added to those that are there. What a copy
    looks like depends on (seed, index, copy) and the weights, and not on `workers`.

    Args:
        dataset: gives (PIL image, class number), as `ImageFolder` without a transform does.
        system: a run folder, a checkpoint folder, or a loaded system.
        copies: changed copies of each face, 1 or more.
        folder: where to keep them; by default a folder of its own in the user's cache.
        targets: as for `RandomExpression`; so are `strength`, `keep_label`, `find_face` and `precision`.
        classes: the name of each class number; by default `dataset.classes`.
        seed: decides every draw; 0 or more.
        workers: processes that make copies; 0 makes them in this one.
        transforms: applied to picture and label when they are read.
        transform: applied to the picture when it is read.
        target_transform: applied to the label when it is read.

    Raises:
        EmoaugError: the folder holds something else or cannot be written to, the dataset is of another kind or has
            changed, or the settings do not fit the system.
    """

    def __init__(
        self,
        dataset: Any,
        system: Path | str | Translator,
        copies: int = 4,
        folder: Path | str | None = None,
        targets: Targets = "others",
        strength: tuple[float, float] = (0.5, 1.0),
        keep_label: bool = False,
        classes: Sequence[str | None] | None = None,
        find_face: bool = False,
        seed: int = 0,
        workers: int = 0,
        precision: Precision = "auto",
        transforms: Callable[..., Any] | None = None,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
    ) -> None:
        if not all(isinstance(number, int) for number in (copies, seed)) or copies < 1 or seed < 0:
            raise EmoaugError(f"copies is {copies} and seed {seed}; whole numbers, copies from 1 and seeds from 0 on")
        named = classes if classes is not None else getattr(dataset, "classes", None)
        if named is None:
            raise EmoaugError("the dataset does not say what its class numbers mean; give classes=[...]")
        for name in named:
            if name is not None:
                check_class_name(name)
        change = RandomExpression(
            system, 1.0, targets, strength, keep_label, named, find_face=find_face, precision=precision
        )
        identity = {
            "weights": change._system.sha256,
            "dataset": _dataset_sha256(dataset),
            "classes": list(named),
            "settings": {
                "targets": dict(targets) if isinstance(targets, Mapping) else targets,
                "strength": list(strength),
                "keep_label": keep_label,
                "find_face": find_face,
                "precision": choose_precision(precision, "cpu"),
            },
            "seed": seed,
        }
        # As JSON has it, so that what is read back compares equal.
        identity = json.loads(json.dumps(identity, default=list))
        if folder is None:
            mark = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
            folder = cache_folder() / "expressions" / mark[:20]
        super().__init__(str(folder), transforms, transform, target_transform)
        self.dataset, self.classes, self.copies, self.folder = dataset, list(named), copies, Path(folder)
        work = _Work(dataset, change, self.folder, list(named), copies, seed)
        if not _finished(self.folder, identity, copies):
            _make(work, identity, workers)
        table = _rows(self.folder, copies)
        self._files = [self.folder / name for name in table["file_name"]]
        self._labels = [list(named).index(label) for label in table["label"]]
        self.sources = table["source_index"].tolist()
        """Of each copy, the number of the sample that it was made from."""
        work.check_sources(read_run(self.folder, KIND) or {})

    def __len__(self) -> int:
        return len(self.dataset) + len(self._files)

    def __getitem__(self, index: int) -> Any:
        """Give (picture, class number), after the transforms."""
        index = range(len(self))[index]
        real = len(self.dataset)
        if index < real:
            picture, label = _sample(self.dataset, index)
        else:
            picture = PIL.Image.fromarray(read_picture(self._files[index - real]))
            label = self._labels[index - real]
        return (picture, label) if self.transforms is None else self.transforms(picture, label)


class _Work:
    """Makes all copies of a sample; a dataset, so that a DataLoader's workers can share it."""

    def __init__(
        self,
        dataset: Any,
        change: RandomExpression,
        folder: Path,
        classes: list[str | None],
        copies: int,
        seed: int,
    ) -> None:
        self.dataset, self.change, self.folder, self.classes = dataset, change, folder, classes
        self.copies, self.seed = copies, seed
        self.known: dict[str, str] = {}

    def find_known(self) -> None:
        """See which copies are there already; a picture has its name only when it is complete."""
        self.known = {path.name: path.parent.name for path in self.folder.glob("*/*.png")}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        rows = []
        sample: tuple[PIL.Image.Image, int] | None = None
        for copy in range(self.copies):
            name = f"{index:06d}_{copy}.png"
            label = self.known.get(name)
            if label is None:
                sample = sample or _sample(self.dataset, index)
                with seeded(seed_from(self.seed, copy, index)):
                    made = self.change(*sample)
                if made is sample or made[0] is sample[0]:
                    continue
                label = self.classes[made[1]] or ""
                write_bytes(self.folder / label / name, encode_png(np.asarray(made[0])))
            rows.append({"file_name": f"{label}/{name}", "label": label, "source_index": index, "copy": copy})
        return rows

    def sources(self) -> Iterator[tuple[str, str]]:
        """Numbers and hashes of some samples, evenly spaced; and one of the sizes of all files, where they are told."""
        count = len(self.dataset)
        for index in sorted({round(place) for place in np.linspace(0, count - 1, min(CHECKED, count))}):
            picture, label = _sample(self.dataset, index)
            yield str(index), hashlib.sha256(np.asarray(picture).tobytes() + str(label).encode()).hexdigest()
        with suppress(OSError, TypeError):
            sizes = [Path(entry[0]).stat().st_size for entry in getattr(self.dataset, "samples", [])]
            yield "sizes", hashlib.sha256(json.dumps(sizes).encode()).hexdigest()

    def check_sources(self, run: dict[str, Any]) -> None:
        """Raise EmoaugError if the dataset's pictures are not those that the copies were made from."""
        before = run.get("sources", {})
        for index, digest in self.sources():
            if before.get(index) != digest:
                which = "some file" if index == "sizes" else f"sample {index}"
                raise EmoaugError(
                    f"{which} of the dataset is not the one that {self.folder} was made from; "
                    "give another folder, or remove this one to begin anew"
                )


def _make(work: _Work, identity: dict[str, Any], workers: int) -> None:
    """Write what is missing, then the tables."""
    folder = work.folder
    with locked(folder):
        run = read_run(folder, KIND)
        if run is None:
            run = {"identity": identity, "copies": 0, "sources": dict(work.sources())}
            write_run(folder, KIND, run)
        # Another process may have begun one since this one looked.
        check_same_run(folder, run, identity)
        # Before anything is added: copies of two states of a dataset must not mix.
        work.check_sources(run)
        remove_temporary_files(folder)
        work.find_known()
        loader: Any = DataLoader(work, batch_size=None, num_workers=workers, collate_fn=_as_it_is)  # type: ignore[arg-type]
        made = [row for rows in tqdm(loader, desc="expressions", unit="face") for row in rows]
        columns = ["file_name", "label", "source_index", "copy"]
        table = pd.DataFrame(made, columns=columns).sort_values(["copy", "source_index"], ignore_index=True)
        write_metadata(folder, table.assign(is_synthetic=True))
        write_run(folder, KIND, {**run, "copies": work.copies, "faces": len(table)})


def _finished(folder: Path, identity: dict[str, Any], copies: int) -> bool:
    """Whether a folder has all copies; raises EmoaugError if it holds something else."""
    run = read_run(folder, KIND)
    if run is None:
        return False
    check_same_run(folder, run, identity)
    if int(run.get("copies", 0)) < copies:
        return False
    # A copy that somebody removed is made again.
    return all((folder / name).is_file() for name in _rows(folder, copies)["file_name"])


def _rows(folder: Path, copies: int) -> pd.DataFrame:
    """What the table says of the first copies."""
    texts: dict[str, type] = {"file_name": str, "label": str}
    try:
        table = pd.read_csv(folder / "metadata.csv", keep_default_na=False, dtype=texts)
        return table[table["copy"] < copies]
    except (OSError, ValueError, KeyError) as error:
        raise EmoaugError(f"{folder / 'metadata.csv'} is damaged ({error}); remove the folder to begin anew") from error


def _sample(dataset: Any, index: int) -> tuple[PIL.Image.Image, int]:
    sample = dataset[index]
    if not (isinstance(sample, tuple) and len(sample) == 2 and isinstance(sample[0], PIL.Image.Image)):
        raise EmoaugError(
            "CachedExpressions takes datasets of (PIL image, class number); give the dataset without its transform, "
            "and the transform to CachedExpressions"
        )
    return sample[0].convert("RGB"), int(sample[1])


def _dataset_sha256(dataset: Any) -> str:
    """Hash of the dataset's length, and of its labels and file names where it tells them."""
    told = {
        "length": len(dataset),
        "targets": [int(label) for label in getattr(dataset, "targets", [])],
        "files": [Path(entry[0]).name for entry in getattr(dataset, "samples", [])],
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _as_it_is(rows: Any) -> Any:
    return rows
