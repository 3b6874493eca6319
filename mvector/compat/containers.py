"""Reading checkpoint files without executing anything: files, folders, wrappings, key prefixes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from mvector.errors import CheckpointError

State = dict[str, torch.Tensor]

# What wrappers put in front of every key: DataParallel, torch.compile, pyannote.
WRAPPER_PREFIXES = ("module.", "_orig_mod.", "resnet.")


def find_checkpoint_file(path: Path, names: tuple[str, ...]) -> Path:
    """The checkpoint that a path means: the file itself, or in a folder the first that fits a name.

    Raises:
        CheckpointError: there is none, or more than one.
    """
    if not path.exists():
        raise CheckpointError(f"'{path}' does not exist; give the checkpoint's file or folder.")
    if not path.is_dir():
        return path
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


def read_state_dict(file: Path) -> State:
    """The tensors of a checkpoint file, mapped from disk and not read where that is possible.

    The file is a state dict, or a dict that holds it under ``state_dict``.

    Raises:
        CheckpointError: the file cannot be read, would have to execute code, or holds no weights.
    """
    content = _load_safetensors(file) if file.suffix == ".safetensors" else _load_torch(file)
    return extract_state_dict(content, str(file))


def extract_state_dict(content: Any, name: str) -> State:
    """The state dict in what a file held; a CheckpointError if there is none."""
    if isinstance(content, Mapping) and isinstance(content.get("teacher"), Mapping):
        raise CheckpointError(
            f"'{name}' is a self-supervised model (its weights are under 'teacher'), whose front "
            "end mvector does not have; choose a supervised model."
        )
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"'{name}' holds a {type(content).__name__} and no state dict; save the model's "
            "state_dict() into it."
        )
    strange = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise CheckpointError(
            f"'{name}' is no state dict: {shorten_list(strange)} hold no tensors; save the model's "
            "state_dict() alone, or under the key 'state_dict'."
        )
    return {str(key): value for key, value in content.items()}


def strip_wrapper_prefixes(state: State) -> State:
    """The tensors without the prefixes, in any order, that wrappers put in front of all keys."""
    while True:
        for prefix in WRAPPER_PREFIXES:
            if state and all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
                break
        else:
            return state


def shorten_list(names: list[str], limit: int = 4) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


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


def _load_torch(file: Path) -> Any:
    try:
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
        f"'{file}' cannot be read as a PyTorch file ({_reason(error)}); it is damaged, packed, or "
        "of another kind."
    )


def _reason(error: Exception) -> str:
    """The telling line of an error of torch, without its advice to switch the safety off."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines:
        if "Unsupported" in line or "GLOBAL" in line:
            return line.removeprefix("WeightsUnpickler error: ").split(" was not an allowed")[0]
    return lines[0].rstrip(".") if lines and len(lines) == 1 else type(error).__name__
