"""Reading checkpoint files without executing anything: files, folders, wrappings, key prefixes."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from mvector.config.plain_yaml import parse_plain_yaml
from mvector.errors import CheckpointError, shorten_list
from mvector.models.description import DESCRIPTION
from mvector.models.weight_files import require_weights
from mvector.published.archives import is_tar

State = dict[str, torch.Tensor]
ModelConfig = dict[str, Any]

# Where a file may keep a model's weights beside others', first what comes first.
_USUAL_PLACES = ("state_dict", "model", "model_state_dict", "net", "speaker_encoder", "backbone")
_DEEPEST = 3
# What a .nemo file holds; configurations of speaker models have some kilobytes.
_NEMO_WEIGHTS, _NEMO_CONFIG = "model_weights.ckpt", "model_config.yaml"
_LARGEST_CONFIG = 1 << 20
_MOST_MEMBERS = 100


def find_checkpoint_file(path: Path, names: tuple[str, ...]) -> Path:
    """The checkpoint that a path means: the file itself, or in a folder the first that fits a name.

    Raises:
        CheckpointError: there is none, or more than one.
    """
    if not path.exists():
        raise CheckpointError(f"'{path}' does not exist; give the checkpoint's file or folder.")
    if not path.is_dir():
        return path
    if (path / DESCRIPTION).is_file():
        raise CheckpointError(
            f"'{path}' is a model folder of mvector already; give it as it is, as --model_path."
        )
    for name in names:
        found = sorted(file for file in path.glob(name) if file.is_file())
        if len(found) > 1:
            names_found = ", ".join(file.name for file in found)
            raise CheckpointError(
                f"'{path}' holds several checkpoints; name one of: {names_found}."
            )
        if found:
            return found[0]
    raise CheckpointError(f"'{path}' holds no checkpoint, looked for: {', '.join(names)}.")


def read_checkpoint(file: Path) -> tuple[State, ModelConfig | None]:
    """The tensors of a file, mapped from disk where that is possible, and its ``model_config``.

    Raises:
        CheckpointError: the file cannot be read, would have to execute code, or holds no weights.
    """
    if is_tar(file):
        return read_nemo_archive(file)
    reader = require_weights(file)
    content = _load_safetensors(file) if reader == "safetensors" else _load_torch(file)
    return extract_state_dict(content, str(file)), extract_model_config(content)


def read_nemo_archive(file: Path) -> tuple[State, ModelConfig | None]:
    """Weights and configuration of a ``.nemo`` file, of which nothing is unpacked to the disk.

    Raises:
        CheckpointError: it is no such file, is damaged, or would have to execute code.
    """
    try:
        with tarfile.open(file) as archive:
            parts = {Path(member.name).name: member for member in islice(archive, _MOST_MEMBERS)}
            weights = _read_part(archive, parts.get(_NEMO_WEIGHTS), 4 * file.stat().st_size)
            config = _read_part(archive, parts.get(_NEMO_CONFIG), _LARGEST_CONFIG)
        model_config = parse_plain_yaml(config.decode())
    except (
        *(tarfile.TarError, OSError, EOFError, zlib.error),
        *(yaml.YAMLError, UnicodeDecodeError),
    ) as error:
        raise _damaged_file_error(file, error) from error
    if not weights:
        raise CheckpointError(
            f"'{file}' is an archive without {_NEMO_WEIGHTS}; unpack it and give the checkpoint in "
            "it.",
            code="checkpoint-damaged",
        )
    state = extract_state_dict(_load_torch(file, io.BytesIO(weights)), str(file))
    return state, model_config if isinstance(model_config, dict) else None


def _read_part(archive: tarfile.TarFile, member: tarfile.TarInfo | None, largest: int) -> bytes:
    """A file of an archive; nothing if it is not there.

    Raises:
        tarfile.TarError: it is larger than what was compressed honestly can be.
    """
    stream = None if member is None else archive.extractfile(member)
    if member is None or stream is None:
        return b""
    if member.size > largest:
        raise tarfile.TarError(f"{member.name} would have {member.size} bytes")
    return stream.read()


def extract_model_config(content: Any) -> ModelConfig | None:
    """What some toolkits put beside the weights, about the network; ``None`` if it is not there."""
    config = content.get("model_config") if isinstance(content, Mapping) else None
    return dict(config) if isinstance(config, Mapping) else None


def extract_state_dict(content: Any, name: str) -> State:
    """The state dict that a file holds, or that lies in the dicts that it holds.

    Raises:
        CheckpointError: there is none, or it is not clear which one is meant.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"'{name}' holds a {type(content).__name__} and no state dict; save the model's "
            "state_dict() into it."
        )
    if not content:
        raise CheckpointError(
            f"'{name}' holds no weights: it is empty; save the model's state_dict() into it."
        )
    if isinstance(content.get("teacher"), Mapping):
        raise CheckpointError(
            f"'{name}' is a self-supervised model (its weights are under 'teacher'), whose front "
            "end mvector does not have; choose a supervised model."
        )
    if {"network", "num_batches", "config"} <= {*content}:
        raise CheckpointError(
            f"'{name}' is a checkpoint of a training run of mvector; give the model folders "
            "last_model or best_model of that run, or go on with it: train.py --resume_model."
        )
    found = dict(_state_dicts_in(content))
    usual = [place for place in _USUAL_PLACES if place in found]
    if len(found) > 1 and not usual:
        raise CheckpointError(
            f"'{name}' holds several state dicts ({shorten_list(list(found))}); save that of the "
            "model alone."
        )
    if found:
        return found[usual[0] if usual else next(iter(found))]
    for place in _USUAL_PLACES:
        if isinstance(content.get(place), Mapping) and not content[place]:
            raise CheckpointError(
                f"'{name}' holds no weights: its '{place}' is empty; save the model's state_dict() "
                "there."
            )
    strange = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    raise CheckpointError(
        f"'{name}' is no state dict: {shorten_list(strange)} hold no tensors; save the model's "
        "state_dict() alone, or under the key 'state_dict'."
    )


def _state_dicts_in(content: Mapping[Any, Any], place: str = "") -> Iterator[tuple[str, State]]:
    """What has nothing but tensors, by the key that it lies under; the outermost ones."""
    is_tensor = [isinstance(value, torch.Tensor) for value in content.values()]
    if is_tensor and all(is_tensor):
        yield place, {str(key): value for key, value in content.items()}
    elif not any(is_tensor) and place.count(".") < _DEEPEST:
        for key, value in content.items():
            if isinstance(value, Mapping) and isinstance(key, str):
                yield from _state_dicts_in(value, f"{place}.{key}" if place else key)


def parse_file(file: Path, parse: Callable[[str], Any], cure: str = "mend it or move it") -> Any:
    """What ``parse`` makes of a text file.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"'{file}' cannot be read: {error}; {cure}.") from error


def section(config: Any, name: str) -> dict[str, Any]:
    """A section of a configuration; empty where there is none."""
    found = config.get(name) if isinstance(config, dict) else None
    return found if isinstance(found, dict) else {}


def _load_safetensors(file: Path) -> State:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"'{file}' cannot be read: {error}; copy it again.") from error


def _load_torch(file: Path, content: io.BytesIO | None = None) -> Any:
    try:
        if content is not None:
            return torch.load(content, map_location="cpu", weights_only=True)
        try:
            return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            # files of before torch 1.6 cannot be mapped
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower().replace("add_safe_globals", ""):
            raise _damaged_file_error(file, error) from error
        raise CheckpointError(
            f"'{file}' holds more than tensors, and loading it could execute code "
            f"({_reason(error)}); if you trust its origin, convert it in an environment that you "
            'can throw away: torch.save(torch.load(FILE, weights_only=False)["state_dict"], NEW), '
            "and import NEW.",
            code="checkpoint-unsafe",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError) as error:
        raise _damaged_file_error(file, error) from error


def _damaged_file_error(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"'{file}' cannot be read as a PyTorch file ({_reason(error)}); it is damaged, or of "
        "another kind; copy it again.",
        code="checkpoint-damaged",
    )


def _reason(error: Exception) -> str:
    """The telling line of an error of torch, without its advice to switch the safety off."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines:
        if "Unsupported" in line or "GLOBAL" in line:
            return line.removeprefix("WeightsUnpickler error: ").split(" was not an allowed")[0]
    return lines[0].rstrip(".") if lines and len(lines) == 1 else type(error).__name__
