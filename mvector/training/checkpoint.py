"""The checkpoints of a run: files with everything that resuming needs."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

from mvector.errors import CheckpointError
from mvector.files import write_atomically

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
_NAME = "step_{:09d}.pt"
_PATTERN = "step_*.pt"
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


def save_checkpoint(run_folder: Path, state: dict[str, Any], *, keep_last: int) -> Path:
    """Write ``<run_folder>/checkpoints/step_<step>.pt`` in one step, then remove old ones.

    Args:
        run_folder: folder of the run.
        state: what to keep; its ``step`` names the file.
        keep_last: how many checkpoints to keep.

    Returns:
        The file.

    Raises:
        CheckpointError: the folder cannot be written to; earlier checkpoints are left alone.
    """
    folder = run_folder / FOLDER
    file = folder / _NAME.format(state["step"])
    try:
        write_atomically(file, lambda temporary: torch.save(state, temporary))
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"Cannot write the checkpoint '{file}': {reason}.") from error
    for outdated in [*_newest_first(folder)[keep_last:], *folder.glob(f".{_PATTERN}.*.tmp")]:
        outdated.unlink(missing_ok=True)  # the temporary files are those of killed runs
    return file


def has_checkpoint(run_folder: Path) -> bool:
    """Whether a run was begun in a folder."""
    return bool(_newest_first(run_folder / FOLDER))


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(_PATTERN), reverse=True)


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


def compare_configuration(
    path: str | os.PathLike[str], saved: dict[str, Any], now: dict[str, Any]
) -> None:
    """Refuse to continue another model or another course of random numbers; tell the rest.

    Args:
        path: the run, for the message.
        saved: configuration in its checkpoint.
        now: configuration to go on with.

    Raises:
        CheckpointError: a setting differs that is fixed in a run.
    """
    differing = changed_settings(saved, now)
    fixed = [line for line in differing if line.startswith(FIXED_IN_A_RUN)]
    if fixed:
        raise CheckpointError(
            f"The run in '{path}' cannot be continued with another configuration: "
            f"{'; '.join(fixed)}; give its own --configs, or start a new run."
        )
    for line in differing:
        logger.warning("Unlike before the stop: %s", line)


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the newest checkpoint of a run that is whole, executing nothing that it holds.

    Args:
        path: the folder of the run, a model folder in it (``models/EcapaTdnn_Fbank`` or
            ``models/EcapaTdnn_Fbank/last_model``), or one checkpoint file.

    Raises:
        CheckpointError: there is none, or all are damaged.
    """
    given = Path(path)
    if given.is_file():
        candidates = [given]
    else:
        folders = (given / FOLDER, given, given.parent / FOLDER)
        candidates = next((found for f in folders if (found := _newest_first(f))), [])
    if not candidates:
        raise CheckpointError(
            f"There is no checkpoint in '{given}'; give the folder of a training run, "
            "such as models/EcapaTdnn_Fbank."
        )
    for file in candidates:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception:  # whatever damaged bytes make of the reader
            logger.warning("The checkpoint '%s' is damaged and cannot be read.", file)
            continue
        if not isinstance(state, dict) or "step" not in state:
            raise CheckpointError(f"'{file}' is not a checkpoint of a training run.")
        return state
    raise CheckpointError(
        f"The checkpoint '{candidates[0]}' is damaged and cannot be read; start the run again, "
        "from its last_model by --pretrained_model if you like."
    )
