"""The checkpoints of a run: files with everything that resuming needs."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

from mvector.errors import CheckpointError
from mvector.files import write_atomically, write_errors_as
from mvector.models.weight_files import how_to_import, require_weights

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
    "dataset_conf.channel",
    "dataset_conf.drop_silence",
    "dataset_conf.do_vad",
    "dataset_conf.vad_method",
    "train_conf.seed",
)
# Settings that came later, and what stood for them before.
_ADDED_SINCE = (
    "dataset_conf.channel: None -> auto",
    "dataset_conf.drop_silence: None -> False",
    "loss_conf.label_weight: None -> 1.0",
    "loss_conf.teacher_weight: None -> 1.0",
)


def save_checkpoint(run_folder: Path, state: dict[str, Any], *, keep_last: int) -> Path:
    """Write ``<run_folder>/checkpoints/step_<step>.pt`` in one step; the newest few are kept.

    Returns:
        The file.

    Raises:
        CheckpointError: the folder cannot be written to; earlier checkpoints are left alone.
    """
    folder = run_folder / FOLDER
    file = folder / _NAME.format(state["step"])
    with write_errors_as(CheckpointError, f"the checkpoint '{file}'", also=(RuntimeError,)):
        write_atomically(file, lambda temporary: torch.save(state, temporary))
    for outdated in [*_newest_first(folder)[keep_last:], *folder.glob(f".{_PATTERN}.*.tmp")]:
        outdated.unlink(missing_ok=True)  # the temporary files are those of killed runs
    return file


def has_checkpoint(run_folder: Path) -> bool:
    """Whether a folder holds the checkpoints of a run."""
    return bool(_newest_first(run_folder / FOLDER))


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


def changes_at_resume(
    path: str | os.PathLike[str], saved: dict[str, Any], now: dict[str, Any]
) -> list[str]:
    """Changed settings with which the run in ``path`` may go on.

    Raises:
        CheckpointError: a setting differs that makes another model or another course of random
            numbers.
    """
    differing = changed_settings(saved, now)
    differing = [line for line in differing if line not in _ADDED_SINCE]
    fixed = [line for line in differing if line.startswith(FIXED_IN_A_RUN)]
    if fixed:
        raise CheckpointError(
            f"The run in '{path}' cannot be continued with another configuration: "
            f"{'; '.join(fixed)}; give its own --configs, or start a new run."
        )
    return differing


def require_same_batches(
    path: str | os.PathLike[str], state: dict[str, Any], num_clips: int, num_batches: int
) -> None:
    """Refuse to go on in the middle of an epoch that has other batches now.

    Raises:
        CheckpointError: it has; a ``KeyError`` if the checkpoint is not whole.
    """
    saved = (state["num_clips"], state["num_batches"])
    if state["next_batch"] and saved != (num_clips, num_batches):
        raise CheckpointError(
            f"The run in '{path}' stands at batch {state['next_batch']} of {saved[1]} over "
            f"{saved[0]} clips, and this configuration makes {num_batches} of "
            f"{num_clips}; restore the list, the batch size and the number of processes, or start "
            "a new run with --pretrained_model."
        )


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the newest checkpoint of a run that is whole, executing nothing that it holds.

    Args:
        path: the folder of the run, a model folder in it (``models/EcapaTdnn_Fbank`` or
            ``models/EcapaTdnn_Fbank/last_model``), or one checkpoint file.

    Raises:
        CheckpointError: there is none, all are damaged, or they are of several runs.
    """
    return newest_checkpoint(path)[1]


def newest_checkpoint(path: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """As :func:`load_checkpoint`, with the file that was read."""
    files = _checkpoint_files(path)
    _require_one_run(files)
    if Path(path).is_file() and require_weights(files[0]) != "torch":
        raise _foreign_checkpoint_error(files[0])
    for file in files:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception:  # whatever damaged bytes make of the reader
            logger.warning("The checkpoint '%s' is damaged and cannot be read.", file)
            continue
        if not isinstance(state, dict) or "step" not in state:
            raise _foreign_checkpoint_error(file)
        return file, state
    raise CheckpointError(
        f"The checkpoint '{files[0]}' is damaged and cannot be read; start the run again, "
        "from its last_model by --pretrained_model if you like."
    )


def _foreign_checkpoint_error(file: Path) -> CheckpointError:
    return CheckpointError(
        f"'{file}' is a checkpoint, and not of a training run of mvector; {how_to_import(file)}, "
        "and start from that folder with --pretrained_model."
    )


def run_folder_of(path: str | os.PathLike[str]) -> Path | None:
    """The folder of the run that a path names, as for :func:`load_checkpoint`.

    It is ``None`` for a checkpoint file that lies by itself.

    Raises:
        CheckpointError: there is no checkpoint.
    """
    folder = _checkpoint_files(path)[0].parent
    return folder.parent if folder.name == FOLDER else None


def _checkpoint_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files that a path may mean, newest first; at least one."""
    given = Path(path)
    if given.is_file():
        return [given]
    for folder in (given / FOLDER, given, given.parent / FOLDER):
        if files := _newest_first(folder):
            return files
    raise CheckpointError(
        f"There is no checkpoint in '{given}'; give the folder of a training run, such as "
        "models/EcapaTdnn_Fbank."
    )


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(_PATTERN), reverse=True)


def _require_one_run(files: list[Path]) -> None:
    """Refuse files of different runs, of which the newest may be another run's."""
    found = {run_id: file for file in files if (run_id := _run_id_of(file)) is not None}
    if len(found) > 1:
        raise CheckpointError(
            f"'{files[0].parent}' holds checkpoints of {len(found)} runs "
            f"({', '.join(f'{file.name} of {run_id}' for run_id, file in sorted(found.items()))}); "
            "move those of all but one to other folders."
        )


def _run_id_of(file: Path) -> str | None:
    """Of a checkpoint, without reading its tensors; ``None`` if it has none or is damaged."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return str(state["run_id"])
    except Exception:  # whatever damaged bytes make of the reader; older versions wrote no id
        return None
