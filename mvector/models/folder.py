"""The model folder: all that inference needs, in two files.

``model.safetensors`` holds the backbone's weights; ``model.yml`` says what they are: front end,
backbone, embedding size, provenance, metrics, calibration, how much of clips was heard for it, and
the model's fingerprint. ``config.yml`` beside them is the training configuration, for those who
train again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mvector.errors import CheckpointError
from mvector.files import replacing_folder, write_errors_as
from mvector.models.description import (
    DESCRIPTION,
    FORMAT_VERSION,
    TRAINING_CONFIG,
    WEIGHTS,
    ModelInfo,
    description_errors,
    front_end_of,
    info_of,
    read_description,
    write_yaml,
)
from mvector.models.named import model_folder
from mvector.models.speaker_model import SpeakerModel


def save_model_folder(
    path: str | Path,
    model: SpeakerModel,
    *,
    provenance: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    calibration: dict[str, Any] | None = None,
    listening: dict[str, Any] | None = None,
    training_config: dict[str, Any] | None = None,
    half_precision: bool = False,
) -> str:
    """Write a model folder; it replaces an older one in one step.

    Args:
        path: folder to write.
        model: what to write.
        provenance, metrics, calibration, listening: see :class:`ModelInfo`.
        training_config: for those who train again.
        half_precision: store matrices and filters as float16, in half the space. They are rounded
            in ``model`` too, so that what is used and what is stored stay one model; vectors
            (biases, norms and their statistics) stay as they are.

    Returns:
        The model's fingerprint.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    folder = Path(path)
    weights = _round_to_half_precision(model) if half_precision else _weights_of(model)
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": model.name,
        "front_end": model.front_end.to_dict(),
        "backbone": {"name": model.backbone_name, "options": model.backbone_options},
        "embd_dim": model.embd_dim,
        "fingerprint": fingerprint_of(model),
        "provenance": provenance or {},
        "metrics": metrics or {},
        "listening": listening,
        "calibration": calibration,
    }
    what = f"the model folder '{folder}'"
    with (
        write_errors_as(CheckpointError, what, also=(SafetensorError,)),
        replacing_folder(folder) as new,
    ):
        description_file = new / DESCRIPTION
        write_yaml(description_file, description)
        save_file(weights, new / WEIGHTS)
        shutil.copymode(description_file, new / WEIGHTS)  # it comes readable by its owner only
        if training_config is not None:
            write_yaml(new / TRAINING_CONFIG, training_config)
    return str(description["fingerprint"])


def load_model_folder(path: str | os.PathLike[str]) -> tuple[SpeakerModel, ModelInfo]:
    """The model that a folder holds, or ``box``, in evaluation mode on the CPU.

    Raises:
        CheckpointError: the folder is missing, incomplete, damaged or of a newer format.
    """
    folder = model_folder(path)
    description = read_description(folder)
    info, backbone = info_of(description, folder), description["backbone"]
    front_end = front_end_of(description, folder)
    with description_errors(folder):
        model = SpeakerModel(front_end, backbone["name"], backbone["options"], without_weights=True)
    weights = _load_weights(folder / WEIGHTS, model.backbone.state_dict())
    model.backbone.load_state_dict(weights, strict=True, assign=True)
    if fingerprint_of(model) != info.fingerprint:
        raise CheckpointError(
            f"'{folder}': weights and {DESCRIPTION} do not belong together (the fingerprint "
            "differs); copy both files from one model.",
            code="checkpoint-damaged",
        )
    return model.eval(), info


def _load_weights(file: Path, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a file; those expected are compared by their shapes before any is read.

    Raises:
        CheckpointError: the file is missing, damaged or of another model.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            _check_shapes(file, expected, {key: stored.get_slice(key) for key in stored.keys()})  # noqa: SIM118
            return {
                # a copy: the file is mapped, and may be written anew by others
                key: stored.get_tensor(key).to(value.dtype, copy=True)
                for key, value in expected.items()
            }
    except FileNotFoundError as error:
        raise CheckpointError(
            f"'{file.parent}' has no {WEIGHTS}; copy the whole folder."
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _damaged(file, str(error)) from error


def _check_shapes(
    file: Path, expected: Mapping[str, torch.Tensor], stored: Mapping[str, Any]
) -> None:
    for key, value in expected.items():
        if key not in stored:
            raise _damaged(file, f"it has no {key}, which {DESCRIPTION} describes")
        if (found := stored[key].get_shape()) != list(value.shape):
            raise _damaged(
                file, f"{key} has shape {found}, and {DESCRIPTION} describes {list(value.shape)}"
            )
    if unexpected := [key for key in stored if key not in expected]:
        raise _damaged(file, f"it has {unexpected[0]}, which {DESCRIPTION} does not describe")


def _damaged(file: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"'{file}' is damaged or belongs to another model: {reason}; copy the whole folder again.",
        code="checkpoint-damaged",
    )


def fingerprint_of(model: SpeakerModel) -> str:
    """Sixteen hexadecimal digits that change with any weight and with the front end."""
    described = [model.front_end.to_dict(), model.backbone_name, model.backbone_options]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for key, value in sorted(_weights_of(model).items()):
        digest.update(key.encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _weights_of(model: SpeakerModel) -> dict[str, torch.Tensor]:
    state = model.backbone.state_dict()
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def _round_to_half_precision(model: SpeakerModel) -> dict[str, torch.Tensor]:
    """The weights with all but vectors as float16, and the model rounded to them."""
    weights = {
        key: value.half() if value.is_floating_point() and value.dim() > 1 else value
        for key, value in _weights_of(model).items()
    }
    model.backbone.load_state_dict(weights)
    return weights
