import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from augment.duplicates import collect, duplicate_groups, exact_groups, fingerprint, fingerprints, joined, near_pairs
from augment.pictures import decode_picture, encode_png


def scenes(count: int, side: int = 48, seed: int = 0) -> list[np.ndarray]:
    """Pictures with structure at every scale, as photographs have, all different."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        layers = sum(
            cv2.resize(rng.normal(0, 1, (n, n)), (side, side), interpolation=cv2.INTER_CUBIC) for n in (3, 6, 12, 24)
        )
        grey = np.clip(128 + 32 * layers, 0, 255).astype(np.uint8)
        pictures.append(np.repeat(grey[..., None], 3, axis=2))
    return pictures


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return decode_picture(buffer.getvalue())


CHANGES = {
    "jpeg": lambda p: jpeg(p, 50),
    "bigger": lambda p: cv2.resize(p, (224, 224), interpolation=cv2.INTER_CUBIC),
    "smaller": lambda p: cv2.resize(p, (40, 40), interpolation=cv2.INTER_AREA),
    "brighter": lambda p: np.clip(p.astype(int) + 20, 0, 255).astype(np.uint8),
    "flatter": lambda p: (p * 0.7 + 30).astype(np.uint8),
    "noisy": lambda p: np.clip(p + np.random.default_rng(9).normal(0, 4, p.shape), 0, 255).astype(np.uint8),
    "mirrored": lambda p: p[:, ::-1],
    "mirrored and brighter": lambda p: jpeg(np.clip(p[:, ::-1].astype(int) + 20, 0, 255).astype(np.uint8), 80),
    "tinted": lambda p: (p * np.array([1.0, 0.95, 0.9])).astype(np.uint8),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_are_found_and_nothing_else(name):
    originals = scenes(60)
    prints = fingerprints([*originals, *(CHANGES[name](picture) for picture in originals[:30])])
    assert near_pairs(prints).tolist() == [[i, 60 + i] for i in range(30)]
    assert duplicate_groups(prints).tolist() == [*range(60), *range(30)]
    assert exact_groups(prints).tolist() == list(range(90))


def test_most_slightly_shifted_copies_are_found_and_nothing_else():
    originals = scenes(60)
    pairs = near_pairs(fingerprints([*originals, *(np.roll(p, (1, -1), (0, 1)) for p in originals)])).tolist()
    assert all(b == a + 60 for a, b in pairs)
    assert len(pairs) >= 48  # the hash, which proposes pairs, misses some


def test_same_pixels_in_another_encoding_are_exact_duplicates():
    one, other = scenes(2)
    buffer = io.BytesIO()
    Image.fromarray(one[..., 0]).save(buffer, "BMP")
    decoded = [decode_picture(data) for data in (encode_png(one, grey=False), encode_png(other), buffer.getvalue())]
    prints = fingerprints(decoded)
    assert exact_groups(prints).tolist() == [0, 1, 0]
    assert duplicate_groups(prints).tolist() == [0, 1, 0]
    assert near_pairs(prints).tolist() == [], "exact copies are no near-duplicates"


def test_same_bytes_in_another_shape_are_different_pictures():
    flat = np.arange(48, dtype=np.uint8)
    assert exact_groups(fingerprints([flat.reshape(4, 4, 3), flat.reshape(2, 8, 3)])).tolist() == [0, 1]


def test_empty_pictures_without_detail_are_not_one_another():
    blank = [np.full((20, 20, 3), value, np.uint8) for value in (0, 100, 255)]
    assert near_pairs(fingerprints(blank)).tolist() == []


def test_chains_join_into_one_group():
    picture = scenes(1)[0]
    chain = [picture, jpeg(picture, 60), picture.copy(), *scenes(2, seed=5)]
    assert duplicate_groups(fingerprints(chain)).tolist() == [0, 0, 0, 1, 2]


def test_reasons_and_pairs_join_and_unknown_ones_do_not():
    assert joined(np.array([0, 1, 2, 3, 0]), np.array([7, 3, 3, -1, -1])).tolist() == [0, 1, 1, 2, 0]
    assert joined(np.array([-1, -1, 5, 5]), pairs=np.array([[0, 3]])).tolist() == [0, 1, 0, 0]


def test_none_and_one():
    for count in (0, 1):
        prints = fingerprints(scenes(count))
        assert near_pairs(prints).shape == (0, 2)
        assert duplicate_groups(prints).tolist() == list(range(count))


def test_blocks_do_not_change_the_result(monkeypatch):
    prints = fingerprints(scenes(40, seed=2) + [jpeg(p, 60) for p in scenes(40, seed=2)])
    whole = near_pairs(prints)
    monkeypatch.setattr("augment.duplicates._BLOCK", 7)
    np.testing.assert_array_equal(near_pairs(prints), whole)
    assert len(whole) == 40


def test_parts_made_apart_are_the_same():
    pictures = scenes(5)
    together, apart = fingerprints(pictures), collect([fingerprint(p) for p in pictures])
    np.testing.assert_array_equal(together.hashes, apart.hashes)
    np.testing.assert_array_equal(together.digests, apart.digests)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), max_size=12), st.data())
def test_groups_are_the_connected_components(copies, data):
    subjects = data.draw(st.lists(st.integers(-1, 3), min_size=len(copies), max_size=len(copies)))
    groups = joined(np.array(copies, dtype=np.int64), np.array(subjects, dtype=np.int64))

    # The slow plain version: relabel until nothing changes.
    plain = list(range(len(copies)))
    for _ in copies:
        for a in range(len(copies)):
            for b in range(len(copies)):
                if copies[a] == copies[b] or (subjects[a] == subjects[b] >= 0):
                    plain[a] = plain[b] = min(plain[a], plain[b])
    order = {}
    assert groups.tolist() == [order.setdefault(group, len(order)) for group in plain]
