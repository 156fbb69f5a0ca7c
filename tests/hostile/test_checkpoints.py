"""Checkpoints."""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from augment.checkpoints import load_translator, save_checkpoint
from augment.runs import read_run
from augment.verification import verify
from emoaug import EmoaugError
from tests.augment.tiny_translator import TinyTranslator, tiny_translator
from tests.hostile.inputs import VALUES, cases


@pytest.fixture
def checkpoint(folder):
    save_checkpoint(folder / "good", tiny_translator(), {})
    return folder / "good"


def load_changed(checkpoint: Path, config: object, weights: bytes | None = None) -> None:
    """Load a checkpoint with another config or other weights: a translator, or an error of one line."""
    changed = checkpoint.parent / "changed"
    shutil.copytree(checkpoint, changed, dirs_exist_ok=True)
    (changed / "config.json").write_text(json.dumps(config))
    if weights is not None:
        (changed / "weights.safetensors").write_bytes(weights)
    with suppress(EmoaugError):
        assert load_translator(changed, systems={"tiny": TinyTranslator}).size


@cases(200)
@given(
    entry=st.sampled_from(
        ["format", "system", "condition_names", "settings", "weights_sha256", "emoaug", "extra", "x"]
    ),
    setting=st.sampled_from(["size", "channels", "mode", "blend", "taps", "clip", "__class__", "x"]),
    value=VALUES,
)
def test_any_config_loads_or_is_an_error(checkpoint, entry, setting, value):
    config = json.loads((checkpoint / "config.json").read_text())
    if entry == "settings":
        config["settings"][setting] = value
    else:
        config[entry] = value
    load_changed(checkpoint, config)


@pytest.mark.parametrize(
    "name", ["os.system", "augment.systems.lssl.LSSL", "../lssl", "__import__('os')", "LSSL\n", ""]
)
def test_a_system_is_a_name_in_the_registry_and_nothing_else(checkpoint, name):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"system": name}))
    with pytest.raises(EmoaugError, match="unknown system"):
        load_translator(checkpoint)


def test_json_that_is_nested_too_deep_is_an_error(checkpoint, folder):
    for path in (checkpoint / "config.json", folder / "run.json"):
        path.write_text("[" * 100_000)
    with pytest.raises(EmoaugError, match="not JSON"):
        load_translator(checkpoint)
    with pytest.raises(EmoaugError, match="not JSON"):
        verify(folder)
    with pytest.raises(EmoaugError, match="holds no run"):
        read_run(folder, "any")


@cases(200)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=5))
def test_damaged_weights_are_an_error_even_with_their_hash_mended(checkpoint, cut, flips):
    weights = bytearray((checkpoint / "weights.safetensors").read_bytes())
    for place, value in flips:
        weights[place] = value
    if cut < 0.5:
        del weights[int(2 * cut * len(weights)) :]
    config = json.loads((checkpoint / "config.json").read_text())
    load_changed(checkpoint, config | {"weights_sha256": hashlib.sha256(weights).hexdigest()}, bytes(weights))


def test_weights_of_other_shapes_are_an_error(checkpoint):
    tensors = safetensors.torch.load_file(checkpoint / "weights.safetensors")
    first = next(iter(tensors))
    data = safetensors.torch.save(tensors | {first: torch.zeros(1, 2)})
    (checkpoint / "weights.safetensors").write_bytes(data)
    config = json.loads((checkpoint / "config.json").read_text())
    config["weights_sha256"] = hashlib.sha256(data).hexdigest()
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(EmoaugError, match="does not fit tiny"):
        load_translator(checkpoint, systems={"tiny": TinyTranslator})
