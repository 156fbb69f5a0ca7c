"""Checkpoints: what is saved is what is loaded, and whatever is wrong with a folder is said on one line."""

import hashlib
import json
import shutil
from dataclasses import dataclass

import pytest
import safetensors.torch
import torch

from augment.checkpoints import (
    DEFAULT,
    checkpoint_folder,
    checkpoint_sha256,
    load_translator,
    read_config,
    save_checkpoint,
    settings_from,
    weights_sha256,
)
from emoaug import EmoaugError, __version__
from tests.augment.tiny_translator import EXPRESSIONS, TinySettings, TinyTranslator, tiny_translator

SYSTEMS = {"tiny": TinyTranslator}


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "checkpoint", tiny_translator(seed=4, channels=6, clip=2.5), {"steps": 7})
    return tmp_path / "checkpoint"


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def replace_weights(folder, data):
    (folder / "weights.safetensors").write_bytes(data)
    edit(folder, weights_sha256=hashlib.sha256(data).hexdigest())


def test_a_loaded_system_makes_the_same_faces(folder):
    saved, loaded = tiny_translator(seed=4, channels=6, clip=2.5).eval(), load_translator(folder, systems=SYSTEMS)
    faces, condition = torch.rand(2, 3, 24, 24) * 2 - 1, torch.eye(3)[:2]
    assert torch.equal(saved.translate(faces, condition), loaded.translate(faces, condition))
    assert loaded.settings == TinySettings(channels=6, clip=2.5)
    assert loaded.condition_names == EXPRESSIONS
    assert not loaded.training


def test_the_folder_says_what_it_is(folder):
    config = read_config(folder)
    assert {p.name for p in folder.iterdir()} == {"weights.safetensors", "config.json"}
    assert (config["system"], config["emoaug"], config["extra"]) == ("tiny", __version__, {"steps": 7})
    assert config["settings"]["taps"] == [3, 3]


def test_the_hash_is_that_of_the_file_and_depends_on_the_weights(folder, tmp_path):
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert checkpoint_sha256(folder) == checkpoint_sha256(tmp_path) == digest
    assert weights_sha256(load_translator(folder, systems=SYSTEMS)) == digest
    assert save_checkpoint(tmp_path / "same", tiny_translator(seed=4, channels=6), {}) == digest
    assert save_checkpoint(tmp_path / "other", tiny_translator(seed=5, channels=6), {}) != digest


def test_a_run_folder_is_taken_for_its_checkpoint(folder, tmp_path):
    assert folder == tmp_path / "checkpoint"
    assert load_translator(tmp_path, systems=SYSTEMS).settings.channels == 6


def test_a_home_folder_is_found(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_translator("~/checkpoint", systems=SYSTEMS).settings.channels == 6


def test_a_device_that_is_not_there_is_named(folder):
    with pytest.raises(EmoaugError, match='device "gpu"'):
        load_translator(folder, "gpu", SYSTEMS)


def test_saving_again_replaces_the_old_checkpoint(folder):
    digest = save_checkpoint(folder, tiny_translator(seed=9), {})
    assert weights_sha256(load_translator(folder, systems=SYSTEMS)) == digest
    assert {p.name for p in folder.iterdir()} == {"weights.safetensors", "config.json"}


def test_tied_weights_are_saved_and_loaded(tmp_path):
    translator = tiny_translator()
    translator.averaged_modules = lambda: {"a": translator.generator, "b": translator.generator}
    save_checkpoint(tmp_path, translator, {})
    assert len(safetensors.torch.load_file(tmp_path / "weights.safetensors")) == 20


SPOILED = {
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "cannot be read"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
    "config is binary": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "is not JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "no JSON object"),
    "no settings": (lambda f: edit(f, settings=None), 'no usable "settings"'),
    "newer format": (lambda f: edit(f, format=99), "has format 99"),
    "unknown system": (lambda f: edit(f, system="huge"), 'unknown system "huge"; known here: tiny'),
    "names are numbers": (lambda f: edit(f, condition_names=[1, 2, 3]), "different texts"),
    "a name twice": (lambda f: edit(f, condition_names=["a", "a", "b"]), "different texts"),
    "fewer names": (lambda f: edit(f, condition_names=["a", "b"]), r"its settings ask for \(6, 5, 3, 3\)"),
    "truncated weights": (
        lambda f: (f / "weights.safetensors").write_bytes((f / "weights.safetensors").read_bytes()[:-100]),
        "damaged, exchanged",
    ),
    "truncated weights, hash mended": (
        lambda f: replace_weights(f, (f / "weights.safetensors").read_bytes()[:-100]),
        "no readable safetensors",
    ),
    "a pickle": (
        lambda f: replace_weights(f, b"\x80\x04\x95cposix\nsystem\n(S'false'\ntR."),
        "no readable safetensors",
    ),
    "other names": (
        lambda f: replace_weights(f, safetensors.torch.save({"generator/9.weight": torch.zeros(1)})),
        r"lacks generator/0.bias, generator/0.weight, generator/1.bias and 7 more and has unknown generator/9.weight",
    ),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_checkpoint_is_refused_on_one_line(folder, how):
    spoil, message = SPOILED[how]
    spoil(folder)
    with pytest.raises(EmoaugError, match=message) as caught:
        load_translator(folder, systems=SYSTEMS)
    assert "\n" not in str(caught.value)


def test_other_number_types_are_refused(folder):
    tensors = safetensors.torch.load_file(folder / "weights.safetensors")
    replace_weights(folder, safetensors.torch.save({n: t.half() for n, t in tensors.items()}))
    with pytest.raises(EmoaugError, match=r"torch\.float16"):
        load_translator(folder, systems=SYSTEMS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "24"}, r"settings\.size is '24'; it must be int"),
        ({"size": 24.0}, r"must be int"),
        ({"size": True}, r"must be int"),
        ({"mode": 3}, r"must be str"),
        ({"taps": [3, "x"]}, r"settings\.taps is 'x'; it must be int"),
        ({"taps": 3}, r"must be tuple\[int, \.\.\.\]"),
        ({"clip": "much"}, r"must be float \| None"),
        ({"colour": "red"}, r"unknown colour"),
        ({"channels": -4}, r"no tiny can be built"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, change, message):
    edit(folder, settings={**read_config(folder)["settings"], **change})
    with pytest.raises(EmoaugError, match=message):
        load_translator(folder, systems=SYSTEMS)


def test_a_setting_that_is_newer_than_the_checkpoint_takes_its_default(folder):
    settings = read_config(folder)["settings"]
    del settings["blend"], settings["taps"]
    edit(folder, settings=settings, emoaug="0.0.1")
    loaded = load_translator(folder, systems=SYSTEMS).settings
    assert (loaded.blend, loaded.taps, loaded.channels) == (0.5, (3, 3), 6)


def test_a_setting_that_is_not_known_here_names_the_version_that_wrote_it(folder):
    edit(folder, settings={**read_config(folder)["settings"], "colour": "red"}, emoaug="7.1.0")
    with pytest.raises(EmoaugError, match=r"unknown colour.*written by emoaug 7\.1\.0, this is .*update emoaug"):
        load_translator(folder, systems=SYSTEMS)


@dataclass(frozen=True)
class Needy:
    size: int
    width: int = 3


def test_a_missing_setting_without_a_default_is_named():
    assert settings_from(Needy, {"size": 2}, "here") == Needy(2, 3)
    with pytest.raises(EmoaugError, match="here: size missing"):
        settings_from(Needy, {"width": 2}, "here")


def test_whole_numbers_are_taken_where_a_fraction_is_asked_for(folder):
    edit(folder, settings={**read_config(folder)["settings"], "blend": 1, "clip": None})
    settings = load_translator(folder, systems=SYSTEMS).settings
    assert (settings.blend, type(settings.blend), settings.clip) == (1.0, float, None)


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(EmoaugError, match="has no checkpoint"):
        load_translator(tmp_path)
    with pytest.raises(EmoaugError, match="is no folder"):
        load_translator(tmp_path / "absent")


def test_the_registered_systems_are_the_default(folder):
    with pytest.raises(EmoaugError, match='unknown system "tiny"'):
        load_translator(folder)


def test_a_save_that_fails_leaves_the_old_checkpoint_whole(folder, tmp_path):
    blocked = tmp_path / "blocked"
    shutil.copytree(folder, blocked)
    (blocked / "config.json").unlink()
    (blocked / "config.json").mkdir()
    (blocked / "config.json" / "x").touch()
    with pytest.raises(EmoaugError, match="cannot save a checkpoint here"):
        save_checkpoint(blocked, tiny_translator(), {})
    assert sorted(p.name for p in blocked.iterdir()) == ["config.json", "weights.safetensors"]
    with pytest.raises(TypeError):
        save_checkpoint(folder, tiny_translator(), {"not JSON": object()})
    assert load_translator(folder, systems=SYSTEMS).settings.channels == 6


def test_the_weights_of_the_package_load_and_are_small():
    translator, folder = load_translator(DEFAULT), checkpoint_folder(DEFAULT)
    assert set(translator.condition_names) == {"neutral", "happy", "sad", "surprise", "fear", "disgust", "angry"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000_000
    faces = torch.zeros(1, 3, 64, 64)
    with torch.inference_mode():
        assert translator.translate(faces, translator.condition(["happy"])).isfinite().all()
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ("CC BY 4.0", "DeBruine", "Fails on", "Not for"))
