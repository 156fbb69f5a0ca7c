"""Save and load trained systems: weights as safetensors, everything else as JSON, no pickles and no code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import types
import typing
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from augment.runs import read_json
from augment.systems.base import Translator
from emoaug import EmoaugError, __version__, few

FORMAT = 1
"""Version of the checkpoint folder; raised when an older emoaug could not read a newer folder."""

WEIGHTS = "weights.safetensors"
RUN_FILE = "settings.json"
"""What decides a training, in the run folder above its checkpoint."""
CONFIG = "config.json"

DEFAULT = "default"
"""In place of a checkpoint: the weights that come with the package; see `augment/weights/lssl/README.md`."""

_PACKAGED = Path(__file__).parent / "weights" / "lssl"

_TOLD = ("training_data", "expressions", "conditions")
"""What a checkpoint may tell of itself in `extra`."""


def save_checkpoint(folder: Path, translator: Translator, extra: dict[str, Any]) -> str:
    """Save what `load_translator` needs to make faces again: `weights.safetensors` and `config.json`.

    Both files are complete on the disk before either takes its name; `config.json` comes last.

    Args:
        folder: the checkpoint folder; made if absent, an older checkpoint in it is replaced.
        translator: the system; the modules that `averaged_modules()` gives are saved.
        extra: what else a reader should know (training summary, hash of the data, training subjects), as JSON values.

    Returns:
        SHA-256 of the weights file.
    """
    weights = _weights_bytes(translator)
    digest = hashlib.sha256(weights).hexdigest()
    config = {
        "format": FORMAT,
        "emoaug": __version__,
        "system": translator.name,
        "condition_names": list(translator.condition_names),
        "settings": dataclasses.asdict(translator.settings),
        "weights_sha256": digest,
        "extra": extra,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    written: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in ((WEIGHTS, weights), (CONFIG, text.encode())):
            temporary = folder / f".{uuid.uuid4().hex}.tmp"
            written.append((temporary, folder / name))
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for temporary, final in written:
            temporary.replace(final)
    except OSError as error:
        raise EmoaugError(f"{folder}: cannot save a checkpoint here: {error.strerror or error}") from error
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
    return digest


def load_translator(
    folder: Path | str, device: str = "cpu", systems: Mapping[str, type[Translator]] | None = None
) -> Translator:
    """Load a trained system, ready to make faces (in evaluation mode).

    Args:
        folder: a checkpoint folder, a run folder that has one named `checkpoint`, or `DEFAULT`.
        device: where to put it, such as `cpu` or `cuda`.
        systems: the known systems by name; by default those of `augment.systems`.

    Raises:
        EmoaugError: not a checkpoint, an unknown system, settings that do not fit it, damaged weights, or no such
            device.
    """
    folder = checkpoint_folder(folder)
    config = read_config(folder)
    system = _system(config["system"], systems)
    settings = settings_from(
        system.settings_class, config["settings"], f"{folder / CONFIG}: settings", written_by(config)
    )
    try:
        translator = system(tuple(config["condition_names"]), settings)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise EmoaugError(f"{folder / CONFIG}: no {system.name} can be built with these settings: {error}") from error
    data = _read(folder / WEIGHTS)
    if hashlib.sha256(data).hexdigest() != config["weights_sha256"]:
        raise EmoaugError(
            f"{folder / WEIGHTS} is not the file that {CONFIG} describes: damaged, exchanged, or a save was "
            "interrupted. Copy both files again, or resume the training run, which saves them anew"
        )
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise EmoaugError(f"{folder / WEIGHTS} is no readable safetensors file: {error}") from error
    _fill(translator, tensors, folder / WEIGHTS)
    translator.named_conditions = named_conditions(config)
    try:
        return translator.eval().requires_grad_(False).to(device)
    except (RuntimeError, AssertionError) as error:
        raise EmoaugError(f'device "{device}": {str(error).splitlines()[0]}') from error


def named_conditions(config: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Conditions by the name of an expression, from a `config.json`; empty where these are the entries themselves.

    Raises:
        EmoaugError: one of them is no condition of this system.
    """
    saved = config.get("extra", {}).get("expressions", {})
    length = len(config["condition_names"])
    for name, values in saved.items():
        numbers = isinstance(values, list) and all(isinstance(v, float | int) and 0 <= v <= 1 for v in values)
        if not numbers or len(values) != length:
            raise EmoaugError(f'the checkpoint\'s "{name}" is no list of {length} numbers from 0 to 1; copy it again')
    return {name: tuple(map(float, values)) for name, values in saved.items()}


def checkpoint_sha256(folder: Path | str) -> str:
    """SHA-256 of a checkpoint's weights file; takes a run folder too."""
    return hashlib.sha256(_read(checkpoint_folder(folder) / WEIGHTS)).hexdigest()


def weights_sha256(translator: Translator) -> str:
    """SHA-256 that the weights file would have if this system were saved now."""
    return hashlib.sha256(_weights_bytes(translator)).hexdigest()


def read_config(folder: Path | str) -> dict[str, Any]:
    """The contents of `config.json`, checked for the entries that loading needs; takes a run folder too."""
    path = checkpoint_folder(folder) / CONFIG
    try:
        config = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise EmoaugError(f"{path} is not JSON ({error}); copy the checkpoint again") from error
    if not isinstance(config, dict):
        raise EmoaugError(f"{path} holds no JSON object; copy the checkpoint again")
    needed: dict[str, type] = {
        "format": int,
        "system": str,
        "condition_names": list,
        "settings": dict,
        "weights_sha256": str,
    }
    for name, kind in needed.items():
        if not isinstance(config.get(name), kind):
            raise EmoaugError(f'{path} has no usable "{name}" (a {kind.__name__} is needed); copy the checkpoint again')
    if config["format"] != FORMAT:
        raise EmoaugError(f"{path} has format {config['format']}; this emoaug reads {FORMAT}. Update emoaug")
    names = config["condition_names"]
    if not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
        raise EmoaugError(f'{path}: "condition_names" must be different texts, got {names}')
    extra = config.setdefault("extra", {})
    told = [extra, *(extra.get(name, {}) for name in _TOLD)] if isinstance(extra, dict) else [extra]
    if not all(isinstance(part, dict) for part in told):
        raise EmoaugError(f'{path}: "extra" must be an object, and {", ".join(_TOLD)} in it; copy the checkpoint again')
    return config


def checkpoint_folder(folder: Path | str) -> Path:
    """Find the folder that holds a checkpoint's files.

    Args:
        folder: that folder, a run folder above it, or `DEFAULT` for the weights that come with the package.

    Raises:
        EmoaugError: there is none.
    """
    if str(folder) == DEFAULT:
        return _PACKAGED
    folder = Path(folder).expanduser()
    for candidate in (folder, folder / "checkpoint"):
        if (candidate / CONFIG).is_file():
            return candidate
    if (folder / WEIGHTS).is_file() or (folder / "checkpoint" / WEIGHTS).is_file():
        raise EmoaugError(f"{folder}: the checkpoint has no {CONFIG}; copy it again or resume the training run")
    what = "has no checkpoint" if folder.is_dir() else "is no folder"
    raise EmoaugError(f"{folder} {what}; give a folder with {CONFIG} and {WEIGHTS}, or the run folder above it")


def is_finished(folder: Path | str) -> bool:
    """Whether the training that wrote a checkpoint has come to its end, as far as its run folder is there to tell."""
    place = checkpoint_folder(folder)
    try:
        run = read_json(place.parent / RUN_FILE)
    except (OSError, EmoaugError):
        return True
    return not isinstance(run, dict) or run.get("finished") is not False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EmoaugError(f"{path} cannot be read: {error.strerror or error}") from error


def _system(name: str, systems: Mapping[str, type[Translator]] | None) -> type[Translator]:
    if systems is None:
        from augment.systems import get_system

        return get_system(name)
    if name not in systems:
        raise EmoaugError(f'unknown system "{name}"; known here: {", ".join(sorted(systems))}')
    return systems[name]


def _named_tensors(translator: Translator) -> dict[str, Tensor]:
    return {
        f"{module_name}/{name}": tensor
        for module_name, module in translator.averaged_modules().items()
        for name, tensor in module.state_dict().items()
    }


def _weights_bytes(translator: Translator) -> bytes:
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    tensors = {n: t.detach().to("cpu", copy=True).contiguous() for n, t in _named_tensors(translator).items()}
    return safetensors.torch.save(tensors)


def _fill(translator: Translator, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy loaded tensors into a new system; names, shapes and types must be the same."""
    own = _named_tensors(translator)
    missing, surplus = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or surplus:
        parts = [f"lacks {few(missing)}" if missing else "", f"has unknown {few(surplus)}" if surplus else ""]
        raise EmoaugError(f"{path} does not fit {translator.name}: it {' and '.join(p for p in parts if p)}")
    for name, tensor in own.items():
        loaded = tensors[name]
        if loaded.shape != tensor.shape or loaded.dtype != tensor.dtype:
            raise EmoaugError(
                f"{path} does not fit {translator.name}: {name} is {tuple(loaded.shape)} {loaded.dtype}, "
                f"its settings ask for {tuple(tensor.shape)} {tensor.dtype}"
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def trained_people(config: Mapping[str, Any]) -> set[str]:
    """Who a checkpoint was trained on, by its `config.json`, and whoever the weights that it began with were."""
    trained, found = config["extra"].get("training_data"), set[str]()
    while trained is not None:
        found |= set(trained.get("subjects", []))
        trained = trained.get("initial")
    return found


def never_shown(config: Mapping[str, Any]) -> frozenset[str]:
    """Classes that no training face of a checkpoint showed, by its `config.json`: it cannot make them."""
    classes = config["extra"].get("training_data", {}).get("classes", {})
    return frozenset(name for name, count in classes.items() if not count)


def written_by(config: Mapping[str, Any]) -> str:
    """Which version of emoaug a `config.json` says that it was written by, in words."""
    return f"written by emoaug {config.get('emoaug', 'of an unknown version')}, this is {__version__}"


def settings_from(kind: type, values: dict[str, Any], where: str, version: str = "") -> Any:
    """Build a settings dataclass from JSON values.

    A field that is missing takes its default, so that checkpoints from before there was such a setting can be read; the
    default of a new setting is what was done before it.

    Args:
        kind: the dataclass.
        values: its fields.
        where: what to call the values in errors.
        version: what wrote them, for the error about a field that is not known here.

    Raises:
        EmoaugError: a field is unknown, of another type or out of range, or one without a default is missing.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
    unknown = sorted(set(values) - set(fields))
    required = [name for name, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if unknown:
        hint = f" ({version}; update emoaug, or train anew)" if version else ""
        raise EmoaugError(f"{where}: unknown {few(unknown)}; {kind.__name__} has {', '.join(fields)}{hint}")
    if missing:
        raise EmoaugError(f"{where}: {few(missing)} missing; {kind.__name__} has {', '.join(fields)}")
    return kind(**{name: _typed(value, hints[name], f"{where}.{name}", version) for name, value in values.items()})


def _typed(value: Any, hint: Any, where: str, version: str) -> Any:
    """A JSON value as the type that a settings field asks for."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    wrong = EmoaugError(f"{where} is {value!r}; it must be {_type_name(hint)}")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise wrong
        return settings_from(hint, value, where, version)
    if origin is typing.Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return value
    elif origin in (typing.Union, types.UnionType):
        for choice in arguments:
            try:
                return _typed(value, choice, where, version)
            except EmoaugError:
                continue
    elif origin is tuple and isinstance(value, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_typed(v, arguments[0], where, version) for v in value)
        if len(arguments) == len(value):
            return tuple(_typed(v, a, where, version) for v, a in zip(value, arguments, strict=True))
    elif hint is float and type(value) in (int, float) and abs(value) < math.inf:
        return float(value)
    elif hint in (int, str, bool, types.NoneType) and type(value) is hint:
        return value
    raise wrong


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
