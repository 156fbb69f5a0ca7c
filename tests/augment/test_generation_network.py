"""One chunk through the network: exact on the way in and out, and nothing of it left behind."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch._dynamo
import torch._inductor.config

from augment.generation_network import CHUNK, reproducible
from emoaug import EmoaugError
from tests.augment.tiny_translator import EXPRESSIONS, Recombiner, TinySettings, TinyTranslator, tiny_translator


class Same(TinyTranslator):
    """Gives faces back, and notes what it was given."""

    def translate(self, faces, condition):
        self.given = faces.clone(), condition.clone()
        return faces


def chunk(seed=0, size=24, count=16):
    generator = np.random.default_rng(seed)
    pictures = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return pictures, generator.random((count, 3), dtype=np.float32)


def translated(translator, pictures, asked):
    with reproducible(translator, "cpu") as translate:
        return translate(pictures, asked)


def test_every_value_of_a_pixel_comes_through_unchanged():
    pictures, conditions = chunk()
    assert len(np.unique(pictures)) == 256
    same = Same(EXPRESSIONS, TinySettings())
    made, usable = translated(same, pictures, conditions)
    assert np.array_equal(made, pictures)
    assert usable.all()
    expected = np.moveaxis(pictures, 3, 1).astype(np.float32) / 127.5 - 1
    assert np.array_equal(same.given[0].numpy(), expected)
    assert np.array_equal(same.given[1].numpy(), conditions)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_faces_with_a_value_that_is_no_number_are_not_usable(wrong):
    class Wrong(Same):
        def translate(self, faces, condition):
            faces[3, 1, 5, 7] = wrong
            faces[5] = wrong
            return faces

    _, usable = translated(Wrong(EXPRESSIONS, TinySettings()), *chunk())
    assert np.flatnonzero(~usable).tolist() == [3, 5]


def test_values_beyond_the_range_are_cut_off():
    class Loud(Same):
        def translate(self, faces, condition):
            return faces * 3

    pictures, conditions = chunk()
    made, usable = translated(Loud(EXPRESSIONS, TinySettings()), pictures, conditions)
    assert usable.all()
    assert (made[pictures >= 170] == 255).all()
    assert (made[pictures <= 85] == 0).all()


def test_a_system_that_changes_the_shape_is_named():
    class Smaller(Same):
        def translate(self, faces, condition):
            return faces[:, :, ::2]

    with pytest.raises(EmoaugError, match=r"tiny gave faces of shape \(16, 3, 12, 24\)"):
        translated(Smaller(EXPRESSIONS, TinySettings()), *chunk())


def test_exemplars_are_shown_in_the_place_of_conditions():
    class Shown(Recombiner):
        def recombine(self, identity_faces, attribute_faces):
            return (identity_faces + attribute_faces) / 2

    one, other = chunk(0)[0] // 2 * 2, chunk(1)[0] // 2 * 2
    made, usable = translated(Shown(EXPRESSIONS, TinySettings()), one, other)
    assert np.abs(made - (one / 2 + other / 2)).max() <= 0.01
    assert usable.all()

    class Smaller(Recombiner):
        def recombine(self, identity_faces, attribute_faces):
            return attribute_faces[:, :, ::2]

    with pytest.raises(EmoaugError, match=r"shape \(16, 3, 12, 24\).*its recombine\(\)"):
        translated(Smaller(EXPRESSIONS, TinySettings()), one, other)


def test_torch_and_the_system_are_left_as_they_were():
    translator, before = tiny_translator().train(), torch.get_num_threads()

    def fails():
        with reproducible(translator, "cpu"):
            torch.set_num_threads(before + 1)
            assert not translator.training
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert translator.training
    assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
def test_compiled_code_gives_the_same_pictures_but_for_rounding():
    translator = tiny_translator()
    plain, _ = translated(translator, *chunk())
    torch._dynamo.reset()
    with (
        torch._inductor.config.patch(compile_threads=1),
        reproducible(translator, "cpu", compiled=True) as translate,
        ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        made = [pictures for pictures, _ in pool.map(lambda _: translate(*chunk()), range(3))]
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    assert np.abs(made[0].astype(int) - plain).max() <= 1
    assert all(np.array_equal(pictures, made[0]) for pictures in made)
    # What was compiled is not what is used without.
    assert np.array_equal(translated(translator, *chunk())[0], plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("shown", [False, True], ids=["conditions", "exemplars"])
def test_a_gpu_gives_every_chunk_the_same_bytes_however_many_are_in_work(precision, shown, compiled):
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    translator = tiny_translator(kind=Recombiner, channels=24)
    chunks = [chunk(seed, count=CHUNK["cuda"]) for seed in range(12)]
    if shown:
        chunks = [(one[0], other[0]) for one, other in zip(chunks, chunks[::-1], strict=True)]
    with reproducible(translator, "cuda", precision, compiled) as translate:
        alone = [translate(*one) for one in chunks]
        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(lambda one: translate(*one), chunks))
    for (expected, usable), (made, usable_too) in zip(alone, together, strict=True):
        assert np.array_equal(made, expected)
        assert usable.all()
        assert usable_too.all()
    on_cpu, _ = translated(translator, *chunks[0])
    assert np.abs(alone[0][0].astype(int) - on_cpu).mean() < 3
