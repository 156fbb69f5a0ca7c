"""Look through a dataset before anything is built on it: counts, unreadable files, duplicates, contradictions."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from augment.duplicates import collect, duplicate_groups, exact_groups, fingerprint, near_pairs
from augment.folders import FaceTable
from augment.listings import UNLABELLED
from augment.pictures import is_grey
from augment.workers import cores
from emoaug import EmoaugError, bar_hidden

EXAMPLES = 10
"""How many examples of each finding are listed."""


@dataclass(frozen=True)
class Finding:
    """One kind of trouble: how often, and a few examples."""

    count: int
    """How many groups, pairs or files."""
    pictures: int
    """How many pictures take part."""
    examples: tuple[tuple[str, ...], ...]
    """At most `EXAMPLES`; each is the file names of a group or pair, or a file name and a reason."""


@dataclass(frozen=True)
class Audit:
    """What `audit` found."""

    root: str
    """The dataset's folder."""
    pictures: int
    """Pictures that can be read."""
    synthetic: int
    """How many of them the table calls synthetic."""
    by_class: dict[str, int]
    """Pictures of each class, in the vocabulary's order, and those without a label, if there are any."""
    by_split: dict[str, dict[str, int]]
    """Pictures of each class in each split; "none" where the dataset has no split."""
    subjects: int
    """Known people."""
    without_subject: int
    """Pictures whose person is not known."""
    pictures_per_subject: tuple[int, int, int] | None
    """Least, median, most; None if no subject is known."""
    subjects_across_splits: Finding
    """People with pictures in several splits; each example is the person and the splits."""
    grey: int
    """Pictures with three equal channels."""
    sizes: dict[str, int]
    """Pictures by "WIDTHxHEIGHT", the most frequent first, at most `EXAMPLES`."""
    different_sizes: int
    """How many sizes occur."""
    rejected: Finding
    """Files and rows that cannot be used, with reasons."""
    exact_duplicates: Finding
    """Groups of pictures with the same pixels."""
    superfluous_copies: int
    """Pictures that could go without losing one: members of those groups beyond the first of each."""
    near_duplicates: Finding
    """Pairs of pictures that are nearly the same and not of one known person."""
    near_duplicates_of_one_subject: Finding
    """The same, of one known person: two moments of one sitting look alike."""
    exact_across_splits: Finding
    """Groups of equal pictures that several splits share."""
    near_across_splits: Finding
    """Pairs of nearly equal pictures in two splits, one person's or not."""
    contradicting_labels: Finding
    """Groups of equal pictures with different labels; each example is the file names."""
    near_contradicting_labels: Finding
    """Pairs of nearly equal pictures, not of one known person, with different labels."""
    duplicate_groups: int
    """Groups that remain when every duplicate, exact or near, is in one group with its like."""
    notes: tuple[str, ...]
    """Remarks from reading the dataset."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists, texts and numbers."""
        return asdict(self)


def audit(faces: FaceTable, progress: bool = True) -> Audit:
    """Read and compare every picture of a dataset.

    Args:
        faces: the dataset.
        progress: show a bar while decoding.
    """

    def look(i: int) -> tuple[tuple[int, int], bool, tuple[bytes, int, np.ndarray]] | str:
        try:
            picture = faces.picture(i)
        except EmoaugError as error:
            return str(error).removeprefix(f"{faces.path(i)}: ")
        return (picture.shape[1], picture.shape[0]), is_grey(picture), fingerprint(picture)

    with ThreadPoolExecutor(cores()) as pool:
        bar = tqdm(pool.map(look, range(len(faces))), "reading", len(faces), unit="pic", disable=bar_hidden(progress))
        looks = list(bar)
    good = [i for i, result in enumerate(looks) if not isinstance(result, str)]
    unreadable = [(str(faces.table["file_name"].iat[i]), r) for i, r in enumerate(looks) if isinstance(r, str)]
    seen = [result for result in looks if not isinstance(result, str)]
    rejected = [(str(name), str(reason)) for name, reason in faces.rejected[["file_name", "reason"]].to_numpy()]
    rejected += unreadable

    table = faces.table.iloc[good].reset_index(drop=True)
    names, labels = table["file_name"].tolist(), table["label"].tolist()
    splits = [split or "none" for split in table["split"]]
    subjects = table["subject"].tolist()
    sizes = Counter(f"{width}x{height}" for (width, height), _, _ in seen)

    prints = collect(part for _, _, part in seen)
    pairs = near_pairs(prints)
    groups = _members(exact_groups(prints))
    same_person = [subjects[a] is not None and subjects[a] == subjects[b] for a, b in pairs]
    strangers = [pair for pair, same in zip(pairs.tolist(), same_person, strict=True) if not same]
    sitting = [pair for pair, same in zip(pairs.tolist(), same_person, strict=True) if same]

    def finding(found: Sequence[Sequence[int]]) -> Finding:
        taking_part = {i for members in found for i in members}
        examples = tuple(tuple(names[i] for i in members[:EXAMPLES]) for members in found[:EXAMPLES])
        return Finding(len(found), len(taking_part), examples)

    def differ(found: Sequence[Sequence[int]], words: Sequence[str | None]) -> list[Sequence[int]]:
        return [members for members in found if len({words[i] for i in members} - {None}) > 1]

    people = Counter(subject for subject in subjects if subject is not None)
    homes: dict[str, set[str]] = {}
    for subject, split in zip(subjects, splits, strict=True):
        if subject is not None:
            homes.setdefault(subject, set()).add(split)
    travellers = sorted(subject for subject, visited in homes.items() if len(visited) > 1)
    return Audit(
        root=str(faces.root),
        pictures=len(names),
        synthetic=int(table["is_synthetic"].sum()),
        by_class=_count(labels, faces.vocabulary),
        by_split={
            split: _count([a for a, b in zip(labels, splits, strict=True) if b == split], faces.vocabulary)
            for split in ("train", "val", "test", "none")
            if split in splits
        },
        subjects=len(people),
        without_subject=subjects.count(None),
        pictures_per_subject=(
            (min(people.values()), int(np.median(list(people.values()))), max(people.values())) if people else None
        ),
        subjects_across_splits=Finding(
            len(travellers),
            sum(people[subject] for subject in travellers),
            tuple((subject, ", ".join(sorted(homes[subject]))) for subject in travellers[:EXAMPLES]),
        ),
        grey=sum(grey for _, grey, _ in seen),
        sizes=dict(sizes.most_common(EXAMPLES)),
        different_sizes=len(sizes),
        rejected=Finding(len(rejected), len(rejected), tuple(rejected[:EXAMPLES])),
        exact_duplicates=finding(groups),
        superfluous_copies=sum(len(members) - 1 for members in groups),
        near_duplicates=finding(strangers),
        near_duplicates_of_one_subject=finding(sitting),
        exact_across_splits=finding(differ(groups, splits)),
        near_across_splits=finding(differ(pairs.tolist(), splits)),
        contradicting_labels=finding(differ(groups, labels)),
        near_contradicting_labels=finding(differ(strangers, labels)),
        duplicate_groups=len(set(duplicate_groups(prints, pairs=pairs).tolist())),
        notes=faces.notes,
    )


def _count(labels: Sequence[str | None], vocabulary: Sequence[str]) -> dict[str, int]:
    """Count each class, in order, and what has no label, if anything."""
    counts = Counter(labels)
    return {name: counts[name] for name in vocabulary} | ({UNLABELLED: counts[None]} if counts[None] else {})


def _members(groups: np.ndarray) -> list[list[int]]:
    """List the groups that have more than one member."""
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(i)
    return [listed for listed in members.values() if len(listed) > 1]


def format_audit(audit: Audit) -> str:
    """Say what was found, for a person at a terminal: what is wrong comes with examples, what is fine in one line."""
    kinds = f"{audit.grey:,} grey, {audit.pictures - audit.grey:,} colour"
    made = f", {audit.synthetic:,} synthetic" if audit.synthetic else ""
    lines = [
        f"{audit.root}: {audit.pictures:,} pictures ({kinds}{made})",
        "classes    " + _joined(audit.by_class),
    ]
    if list(audit.by_split) != ["none"]:
        lines += [f"{split:<10} " + _joined(counts) for split, counts in audit.by_split.items()]
    more = f" and {audit.different_sizes - len(audit.sizes)} more" if audit.different_sizes > len(audit.sizes) else ""
    lines.append("sizes      " + _joined(audit.sizes) + more)
    if audit.pictures_per_subject:
        least, median, most = audit.pictures_per_subject
        lines.append(f"subjects   {audit.subjects:,}, each {least} to {most} pictures, median {median}")
    if audit.without_subject:
        lines.append(
            f"subjects   unknown for {audit.without_subject:,} pictures: splits can only keep duplicates together, and "
            "two pictures of one person look like near duplicates (--subject-pattern reads people off file names)"
        )
    lines += [f"note       {note}" for note in audit.notes]
    copies = f", {audit.superfluous_copies:,} superfluous copies" if audit.superfluous_copies else ""
    for finding, text in (
        (audit.rejected, "files or rows cannot be used"),
        (audit.subjects_across_splits, "subjects appear in several splits"),
        (audit.exact_duplicates, "groups of pictures with the same pixels" + copies),
        (audit.exact_across_splits, "of these groups are shared by several splits"),
        (audit.contradicting_labels, "of these groups have different labels"),
        (audit.near_duplicates, "pairs of nearly the same picture"),
        (audit.near_duplicates_of_one_subject, "pairs of nearly the same picture of one person"),
        (audit.near_across_splits, "pairs of nearly the same picture in two splits"),
        (audit.near_contradicting_labels, "pairs of nearly the same picture with different labels (one person?)"),
    ):
        if finding.count:
            named = text.replace("pairs", "pair").replace("groups of p", "group of p") if finding.count == 1 else text
            lines.append(f"{finding.count:,} {named} ({finding.pictures:,} pictures)")
            for example in finding.examples:
                rest = f"  ... {len(example) - 4} more" if len(example) > 4 else ""
                lines.append("    " + "  ".join(example[:4]) + rest)
            if finding.count > len(finding.examples):
                lines.append(f"    ... and {finding.count - len(finding.examples):,} more")
    if not audit.exact_duplicates.count and not audit.near_duplicates.count:
        lines.append("no duplicates of unknown or different people")
    return "\n".join(lines)


def _joined(counts: dict[str, int]) -> str:
    """Write "happy 82 · sad 7"."""
    return " · ".join(f"{name} {count:,}" for name, count in counts.items())
