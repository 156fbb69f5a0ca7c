import pytest
import torch

from augment.devices import (
    choose_device,
    choose_precision,
    compile_options,
    memory_format,
    seed_from,
    slow_precision,
    upload,
)
from emoaug import EmoaugError


def test_a_forced_precision_is_kept_and_auto_is_one_of_two():
    assert choose_precision("32-true", "cpu") == "32-true"
    assert choose_precision("auto", "cpu") in ("32-true", "bf16-mixed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_an_error_that_says_what_to_do():
    with pytest.raises(EmoaugError, match="use cpu or auto"):
        choose_device("cuda")


def test_seeds_depend_on_every_part_and_on_where_parts_end():
    assert seed_from(1, "a") == seed_from(1, "a")
    assert len({seed_from(1, 23), seed_from(12, 3), seed_from("1", "2", "3"), seed_from(123)}) == 4
    assert 0 <= seed_from("x") < 2**63


def test_small_networks_are_laid_out_channels_last_and_large_ones_on_a_gpu_only(monkeypatch):
    network = torch.nn.Conv2d(3, 8, 3)
    assert memory_format(network, "cpu") == torch.channels_last
    monkeypatch.setattr("augment.devices.MOST_CHANNELS_LAST", 200)  # it has 224
    assert memory_format(network, "cpu") == torch.contiguous_format
    assert memory_format(network, "cuda") == torch.channels_last


def test_a_copy_to_the_cpu_is_no_copy():
    given = torch.rand(3)
    assert upload(given, "cpu") is given


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_copy_to_a_gpu_holds_the_same_numbers_whoever_goes_on():
    given = torch.rand(1000, 1000)
    before = given.clone()
    there = [upload(given, "cuda") for _ in range(5)]
    given.zero_()  # the copies are of pinned memory, and not of this
    assert all(torch.equal(tensor.cpu(), before) for tensor in there)
    assert upload(there[0], "cuda") is there[0]


def test_compiling_without_a_compiler_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(EmoaugError, match="install g"):
        compile_options("cpu")
    assert compile_options("cuda")["mode"] == "reduce-overhead"
    (tmp_path / "g++").touch(0o755)
    assert compile_options("cpu")["mode"] == "default"


@pytest.mark.parametrize("native", [{}, {"avx512_bf16": True}, {"amx_bf16": True}])
def test_bf16_that_is_emulated_is_told_of(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: native)
    told = slow_precision("bf16-mixed", "cpu")
    assert (told is None) == bool(native)
    assert slow_precision("32-true", "cpu") is None
    assert choose_precision("auto", "cpu") == ("bf16-mixed" if native else "32-true")
