"""`emoaug preview`: a first look at what weights make of photographs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from augment.landmarker import FaceLandmarker
from augment.listings import find_pictures
from augment.pictures import contact_sheet, encode_png, write_bytes
from augment.preview import asked_of, read_photograph
from augment.shared_translator import SharedTranslator
from emoaug import EmoaugError, check_least, words


@dataclass(frozen=True)
class Options:
    """Show photographs beside what a trained system, or the weights of the package, make of them.

    Takes photographs as they are: the largest face of each is found, changed and put back.
    """

    photographs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures."""
    out: Path = Path("preview.png")
    """Sheet to write, a PNG: a row a photograph, a column an expression."""
    weights: Path = Path("default")
    """Run folder of `emoaug train`, or its checkpoint; or `default`, the weights that come with the package."""
    targets: tuple[str, ...] = ()
    """Expressions, or blends such as happy+surprise; by default all that the weights know."""
    strength: float = 1.0
    """Share of the expression, above 0 to 1; the rest is neutral."""
    count: int = 8
    """Most pictures of a folder; where it has more, they are drawn at random."""
    find_face: bool = True
    """Search each picture for its largest face. Without, the largest square in the middle is the face, as in a dataset
    of cropped faces."""
    side: int = 224
    """Side of each picture in the sheet, pixels."""
    pictures: Path | None = None
    """Folder in which to write every changed photograph as well, in full size, over files of the same names."""


def run(options: Options) -> None:
    """Change, draw, and say where to look."""
    check_least(options, 1, "count")
    check_least(options, 32, "side")
    if options.out.suffix.lower() != ".png" or options.out.is_dir():
        raise EmoaugError(f"--out {options.out}: the sheet is a PNG; name a file such as preview.png")
    paths = _listed(options)
    system = SharedTranslator(options.weights)
    asked = asked_of(system, words(options.targets), options.strength)
    stems = _stems(paths)
    made_files = [] if options.pictures is None else [options.pictures / f"{s}-{t}.png" for s in stems for t in asked]
    over = {path.resolve() for path in paths} & {path.resolve() for path in (options.out, *made_files)}
    if over:
        raise EmoaugError(f"{min(over)} would be written over, and is one of the photographs; choose another place")
    landmarker = FaceLandmarker() if options.find_face else None
    rows, names, without = [], [], []
    so_named = Counter(path.name for path in paths)
    for path, stem in zip(tqdm(paths, desc="photographs", unit="picture"), stems, strict=True):
        try:
            # Twice what is shown leaves nothing to be seen of it.
            longest = None if options.pictures is not None else 2 * options.side
            photograph = read_photograph(path, landmarker, longest)
        except EmoaugError as error:
            without.append(str(error))
            continue
        if photograph is None:
            without.append(f"{path}: no face found")
            continue
        rows.append([photograph.shown(photograph.picture, options.side)])
        names.append(path.name if so_named[path.name] == 1 else str(Path(path.parent.name, path.name)))
        for target, condition in asked.items():
            made = photograph.changed(system, condition)
            rows[-1].append(photograph.shown(made, options.side))
            if options.pictures is not None:
                write_bytes(options.pictures / f"{stem}-{target}.png", encode_png(made))
    for reason in without:
        print(f"left out: {reason}")
    if not rows:
        hint = "; where they are cropped faces already, say --no-find-face" if options.find_face else ""
        raise EmoaugError(f"no photograph can be shown{hint}")
    write_bytes(options.out, encode_png(contact_sheet(rows, names, ["source", *asked])))
    print(f"look: {options.out}")


def _listed(options: Options) -> list[Path]:
    """The pictures that were named, and some of each folder that was."""
    paths: list[Path] = []
    for given in options.photographs:
        if not given.exists():
            raise EmoaugError(f"{given} does not exist; name pictures, or folders of pictures")
        if not given.is_dir():
            paths.append(given)
            continue
        # Not what an earlier look wrote among them.
        own = {options.out.resolve()} | ({options.pictures.resolve()} if options.pictures else set())
        every = [(name, (given / name).resolve()) for name in find_pictures(given).names]
        found = [name for name, path in every if own.isdisjoint({path, *path.parents})]
        if not found:
            raise EmoaugError(f"{given} has no pictures{' but those of an earlier look' * bool(every)}")
        some = np.random.default_rng(0).permutation(len(found))[: options.count]
        paths += [given / found[i] for i in sorted(some)]
    if not paths:
        raise EmoaugError("name a photograph, several, or a folder of them: emoaug preview anna.jpg")
    return paths


def _stems(paths: list[Path]) -> list[str]:
    """What files made of each picture begin with: its name, and a number where another has the same, in any case."""
    stems: list[str] = []
    taken: set[str] = set()
    for path in paths:
        names = (path.stem if number == 1 else f"{path.stem}-{number}" for number in count(1))
        stems.append(next(name for name in names if name.casefold() not in taken))
        taken.add(stems[-1].casefold())
    return stems
