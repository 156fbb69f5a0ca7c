"""Find pictures that occur twice: bit for bit, or re-encoded, rescaled, brightened, mirrored, slightly cropped.

Aligned faces all look alike, so a perceptual hash alone takes different people for one picture. Here it only proposes
pairs; what decides is the correlation of fine detail, with the wide structure that all faces share filtered out.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 32
"""Pixels a side of a thumbnail."""

HASH_DISTANCE = 12
"""Bits of 64 in which the hashes of a proposed pair may differ."""

LEAST_CORRELATION = 0.85
"""Correlation of fine detail, after the best shift, from which two pictures count as near-duplicates. Pairs of
different people stay below 0.82 in 164 studio portraits aligned at the eyes (13,284 pairs), and below 0.73 in 500
half-body pictures."""

_WORTH_SHIFTING = 0.3  # correlation before shifting; on FER2013 all but 1 % of the near-duplicates have more
_LARGEST_SHIFT = 3  # pixels of the thumbnail
_BLOCK = 512  # rows compared at a time: with 30,000 pictures 120 MB of differences


@dataclass(frozen=True)
class Fingerprints:
    """What is kept of N pictures in order to compare them: about 1.1 kB each."""

    digests: np.ndarray
    """SHA-256 of shape and pixels, (N,) bytes of length 32 as void."""
    hashes: np.ndarray
    """Perceptual hash: signs of the 64 lowest cosine frequencies about their median, (N,) uint64."""
    thumbnails: np.ndarray
    """Grey, uint8, (N, 32, 32)."""

    def __len__(self) -> int:
        return len(self.digests)


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """Reduce one picture, uint8 RGB (H, W, 3), to a grey one, uint8 (32, 32)."""
    return cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def fingerprint(picture: np.ndarray) -> tuple[bytes, int, np.ndarray]:
    """Reduce one picture, uint8 RGB (H, W, 3), to digest, hash and thumbnail as in `Fingerprints`."""
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    small = thumbnail(picture)
    return digest.digest(), _hash(small), small


def _hash(small: np.ndarray) -> int:
    """The perceptual hash of a thumbnail."""
    waves = cv2.dct(small.astype(np.float32))[:8, :8].ravel()
    bits = waves > np.median(waves[1:])  # the first is the mean brightness
    return int(np.packbits(bits).view(np.uint64)[0])


def fingerprints(pictures: Iterable[np.ndarray]) -> Fingerprints:
    """Reduce pictures, uint8 RGB (H, W, 3) of any sizes, to what is compared; they may come one by one."""
    return collect(fingerprint(picture) for picture in pictures)


def collect(parts: Iterable[tuple[bytes, int, np.ndarray]]) -> Fingerprints:
    """Put the results of `fingerprint` together."""
    listed = list(parts)
    return Fingerprints(
        np.frombuffer(b"".join(digest for digest, _, _ in listed), dtype=np.dtype("V32")),
        np.array([bits for _, bits, _ in listed], dtype=np.uint64),
        np.array([thumbnail for _, _, thumbnail in listed], dtype=np.uint8).reshape(-1, SIDE, SIDE),
    )


def exact_groups(prints: Fingerprints) -> np.ndarray:
    """Number the pictures so that those with the same pixels have the same number, in order of first occurrence.

    Returns:
        (N,) int64.
    """
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(digest.tobytes(), len(first)) for digest in prints.digests], dtype=np.int64)


def near_pairs(
    prints: Fingerprints, hash_distance: int = HASH_DISTANCE, least_correlation: float = LEAST_CORRELATION
) -> np.ndarray:
    """Find pairs of pictures that are the same up to encoding, size, brightness, contrast, slight shift and mirroring.

    Every pair of hashes is compared, block by block: seconds for 30,000 pictures. Of pictures with the same pixels
    only the first takes part.

    Args:
        prints: the pictures.
        hash_distance: bits of 64.
        least_correlation: from 0 to 1.

    Returns:
        (P, 2) int64, indices of the two pictures, smaller first, sorted.
    """
    first = np.unique(exact_groups(prints), return_index=True)[1]
    details = fine_detail(prints.thumbnails[first])
    mirrored = np.array([_hash(small[:, ::-1]) for small in prints.thumbnails[first]], dtype=np.uint64)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for theirs, shown in ((prints.hashes[first], details), (mirrored, np.ascontiguousarray(details[:, :, ::-1]))):
        for start in range(0, len(first), _BLOCK):
            block = prints.hashes[first[start : start + _BLOCK]]
            close = np.bitwise_count(block[:, None] ^ theirs[None, start:]) <= hash_distance
            one, other = np.nonzero(np.triu(close, 1))
            for part in np.array_split(np.arange(len(one)), len(one) // 4096 + 1):
                a, b = details[start + one[part]], shown[start + other[part]]
                hopeful = _correlation(a, b) >= _WORTH_SHIFTING
                part, a, b = part[hopeful], a[hopeful], b[hopeful]
                same = _shifted_correlation(a, b) >= least_correlation
                found.append(np.stack([start + one[part[same]], start + other[part[same]]], axis=1))
    return np.unique(first[np.concatenate(found)].astype(np.int64), axis=0)


def duplicate_groups(prints: Fingerprints, pairs: np.ndarray | None = None) -> np.ndarray:
    """Number the pictures so that duplicates, and duplicates of duplicates, share a number.

    The numbers serve as groups for splits that no picture may cross.

    Args:
        prints: the pictures.
        pairs: the result of `near_pairs`, if it is known already.

    Returns:
        (N,) int64, in order of first occurrence, from 0.
    """
    return joined(exact_groups(prints), pairs=near_pairs(prints) if pairs is None else pairs)


def joined(*groups: np.ndarray, pairs: np.ndarray | None = None) -> np.ndarray:
    """Number things so that what belongs together for any reason, and so on from one to the next, shares a number.

    Args:
        groups: integers (N,) each; those of one number belong together, those of a negative one to nobody.
        pairs: further things that belong together, (P, 2).

    Returns:
        (N,) int64, in order of first occurrence, from 0.
    """
    count = len(groups[0])
    edges = np.concatenate([*map(_chains, groups), np.zeros((0, 2), np.int64) if pairs is None else pairs])
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    numbers = connected_components(graph, directed=False)[1]
    order: dict[int, int] = {}
    return np.array([order.setdefault(int(number), len(order)) for number in numbers], dtype=np.int64)


def _chains(groups: np.ndarray) -> np.ndarray:
    """Link each member of a group to the next, (L, 2); negative groups have no members."""
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    linked = groups[order[:-1]] == groups[order[1:]]
    return np.stack([order[:-1][linked], order[1:][linked]], axis=1).astype(np.int64)


def fine_detail(thumbnails: np.ndarray) -> np.ndarray:
    """Subtract from each thumbnail (N, 32, 32) its blur (standard deviation 2 px), float32."""
    details = np.empty(thumbnails.shape, dtype=np.float32)
    for place, small in enumerate(thumbnails.astype(np.float32)):
        details[place] = small - cv2.GaussianBlur(small, (0, 0), 2)
    return details


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlate pairs of detail pictures, (P, h, w) each, to (P,) in [-1, 1]; featureless ones give 0."""
    products = np.einsum("pij,pij->p", a, b)
    # A detail below about 1 grey level is noise of the encoder, on which no likeness can rest.
    energy = np.maximum(
        np.einsum("pij,pij->p", a, a) * np.einsum("pij,pij->p", b, b), (a[0].size if len(a) else 1) ** 2
    )
    return products / np.sqrt(energy)


def _shifted_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the largest correlation over all shifts of up to `_LARGEST_SHIFT` pixels, (P,)."""
    best = np.full(len(a), -1.0, dtype=np.float32)
    shifts = range(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1)
    for dy, dx in ((dy, dx) for dy in shifts for dx in shifts):
        here = a[:, max(0, dy) : SIDE + min(0, dy), max(0, dx) : SIDE + min(0, dx)]
        there = b[:, max(0, -dy) : SIDE + min(0, -dy), max(0, -dx) : SIDE + min(0, -dx)]
        np.maximum(best, _correlation(here, there), out=best)
    return best
