"""The checkpoint of a run: one file with everything that resuming needs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from mvector.errors import CheckpointError
from mvector.files import write_atomically

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``<folder>/checkpoint.pt`` in one step; the previous one stays until then.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    try:
        write_atomically(folder / CHECKPOINT, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"Cannot write '{folder / CHECKPOINT}': {error}.") from error


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
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"The checkpoint '{file}' is damaged: {error}") from error
    if not isinstance(state, dict) or "epoch" not in state:
        raise CheckpointError(f"'{file}' is not a checkpoint of a training run.")
    return state
