"""The checkpoint of a run: one file with everything that resuming needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from mvector.errors import CheckpointError
from mvector.files import write_atomically

CHECKPOINT = "checkpoint.pt"
# Settings that make another model, or another course of random numbers, when they change.
FIXED_IN_A_RUN = (
    "use_model",
    "model_conf.",
    "preprocess_conf.",
    "loss_conf.use_loss",
    "optimizer_conf.optimizer",
    "dataset_conf.sample_rate",
    "dataset_conf.use_dB_normalization",
    "dataset_conf.target_dB",
    "dataset_conf.waveform_scale",
    "dataset_conf.do_vad",
    "dataset_conf.vad_method",
    "train_conf.seed",
)


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``<folder>/checkpoint.pt`` in one step; the previous one stays until then.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    try:
        write_atomically(folder / CHECKPOINT, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"Cannot write '{folder / CHECKPOINT}': {error}.") from error


def changed_settings(before: dict[str, Any], now: dict[str, Any], parent: str = "") -> list[str]:
    """Settings of two configurations that differ, each as ``key: before -> now``."""
    lines = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += changed_settings(old, new, f"{parent}{key}.")
        elif old != new:
            lines.append(f"{parent}{key}: {old} -> {new}")
    return lines


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint, executing nothing that it holds.

    Args:
        path: the file, the folder it is in, or a model folder beside it
            (``models/EcapaTdnn_Fbank`` or ``models/EcapaTdnn_Fbank/last_model``).

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    given = Path(path)
    candidates = [given, given / CHECKPOINT, given.parent / CHECKPOINT]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise CheckpointError(
            f"There is no {CHECKPOINT} in '{given}'; give the folder of a training run, "
            "such as models/EcapaTdnn_Fbank."
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever damaged bytes make of the reader
        raise CheckpointError(
            f"The checkpoint '{file}' is damaged and cannot be read; start the run again, from "
            "its last_model by --pretrained_model if you like."
        ) from error
    if not isinstance(state, dict) or "epoch" not in state:
        raise CheckpointError(f"'{file}' is not a checkpoint of a training run.")
    return state
