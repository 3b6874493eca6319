"""The folder of a run: which one it is, that it is free, and that one process has it to itself."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mvector.compute.distributed import World, from_main
from mvector.errors import CheckpointError, MVectorError
from mvector.files import NO_LOCKS, check_writable, recover_folder
from mvector.training.checkpoint import has_checkpoint, newest_checkpoint, run_folder_of

logger = logging.getLogger(__name__)

BEST_MODEL, LAST_MODEL = "best_model", "last_model"
LOCK = "run.lock"
AUTO = "auto"  # as the run to resume: the one in the folder, if there is one

Folder = str | os.PathLike[str]
Claimed = tuple[Path, Path | None]  # the folder of a run, and where it goes on from


def new_run_id() -> str:
    """An identity for a run: when it began, and six random digits."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def require_paths(**given: object) -> None:
    """Refuse arguments that are no paths, before any work is done.

    Raises:
        MVectorError: there is one; the message names it and its value.
    """
    for name, value in given.items():
        if value is not None and (not isinstance(value, (str, os.PathLike)) or value == ""):
            raise MVectorError(f"{name} is {value!r}; give the path of a folder.")


def run_to_resume(
    model_name: str, save_model_path: Folder | None, resume_model: Folder | None
) -> Folder | None:
    """What a training with these arguments would go on from; ``None``: it begins anew."""
    if resume_model != AUTO:
        return resume_model
    folder = _own_folder(model_name, save_model_path)
    return folder if has_checkpoint(folder) else None


def claim_run_folder(
    exit_stack: ExitStack,
    world: World,
    model_name: str,
    save_model_path: Folder | None,
    resume_model: Folder | None,
) -> Claimed:
    """Choose the folder of a run and lock it against other runs; every process must call.

    A new run needs a folder without another run in it. A run that is resumed goes on in its own
    folder, unless another one is named, which needs to be free likewise. The first process decides
    and holds the lock; if it fails, all fail.

    Args:
        exit_stack: closes with the run, and the lock with it.
        world: the processes of the run.
        model_name: what the run's folder in ``save_model_path`` is called.
        save_model_path, resume_model: see :meth:`mvector.training.trainer.MVectorTrainer.train`.

    Returns:
        The folder, and where the checkpoint to go on from lies; ``None`` for a new run.

    Raises:
        CheckpointError: the folder cannot be written to, is in use, or holds another run.
    """
    claimed: Claimed | CheckpointError | None = None
    if world.is_main:
        try:
            claimed = _choose_and_lock(exit_stack, model_name, save_model_path, resume_model)
        except CheckpointError as error:
            claimed = error
    claimed = from_main(claimed)
    if isinstance(claimed, CheckpointError):
        raise claimed
    assert claimed is not None, "the first process has sent it"
    return claimed


def _choose_and_lock(
    exit_stack: ExitStack,
    model_name: str,
    save_model_path: Folder | None,
    resume_model: Folder | None,
) -> Claimed:
    source = None if resume_model in (None, AUTO) else Path(str(resume_model))
    own = None if source is None else run_folder_of(source)
    folder = _own_folder(model_name, save_model_path)
    if own is not None and save_model_path is None:
        folder = own
    _lock_folder(exit_stack, folder)
    for name in (BEST_MODEL, LAST_MODEL):
        recover_folder(folder / name)
    if resume_model == AUTO and has_checkpoint(folder):
        return folder, folder
    if own is not None and own.resolve() == folder.resolve():
        _require_newest(str(resume_model), folder)
    else:
        _require_free(folder)
    return folder, source


def _own_folder(model_name: str, save_model_path: Folder | None) -> Path:
    return Path(save_model_path or "models/") / model_name


def _lock_folder(exit_stack: ExitStack, folder: Path) -> None:
    """Make the folder and lock it; the lock ends with the process, however that ends."""
    try:
        check_writable(folder)
        exit_stack.enter_context(FileLock(folder / LOCK, timeout=0))
    except Timeout as error:
        raise CheckpointError(
            f"Another process is training in '{folder}'; wait for it, stop it, or choose another "
            "--save_model_path."
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise CheckpointError(
                f"Cannot write models to '{folder}' ({error.strerror}); choose another "
                "--save_model_path."
            ) from error
        logger.warning("'%s' cannot be locked against a second training: %s.", folder, error)


def _require_free(folder: Path) -> None:
    """Refuse a folder in which a run has left checkpoints or models."""
    if has_checkpoint(folder) or any((folder / name).exists() for name in (BEST_MODEL, LAST_MODEL)):
        cure = f"continue it with --resume_model '{folder}', or " if has_checkpoint(folder) else ""
        raise CheckpointError(
            f"'{folder}' holds an earlier run: {cure}remove the folder, or choose another "
            "--save_model_path."
        )


def _require_newest(path: str, folder: Path) -> None:
    """Refuse an earlier checkpoint file of a run, whose later ones would be in the way."""
    if Path(path).is_file() and not (newest := newest_checkpoint(folder)[0]).samefile(path):
        raise CheckpointError(
            f"'{path}' is not the newest checkpoint of its run, which is '{newest}': name an "
            "empty folder by --save_model_path to go on from the earlier one there."
        )
