"""What a run folder records of its run: configuration, code, machine, command, starts and ends."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml

import mvector
from mvector.compute.distributed import current_world
from mvector.config import Config, config_to_dict
from mvector.files import write_text
from mvector.training.stopping import TrainingStopped

logger = logging.getLogger(__name__)

CONFIG, ENVIRONMENT = "config.yml", "environment.json"

_PACKAGE = Path(mvector.__file__).resolve().parent
_GIT_LIMIT_S = 10.0


@contextmanager
def record_run(
    run_folder: str | os.PathLike[str],
    config: Config,
    device: torch.device,
    *,
    goes_on: bool,
    started: dict[str, Any],
    ended: Callable[[], dict[str, Any]],
) -> Iterator[None]:
    """Write ``config.yml`` and ``environment.json`` into the folder of a run.

    ``environment.json`` is a list with one entry for each start of the run, to which is added when
    and how it ended; an entry without an end is that of a process that was killed. The name of the
    host is not in it. A disk that is full costs the files and not the run.

    Args:
        run_folder: where to; made if it is missing.
        config: the whole configuration in use.
        device: where the run computes.
        goes_on: add to the entries that the folder has, which otherwise are replaced.
        started: further values of the entry, such as ``run_id``.
        ended: called at the end for more of them; what is not finite is ``null``.
    """
    folder = Path(run_folder)
    text = yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True)
    _write_or_warn(folder / CONFIG, text)
    logger.info("All settings: %s", folder / CONFIG)
    entry = {**describe_environment(device), **started}
    entries = [*(_read_entries(folder) if goes_on else []), entry]
    _write_entries(folder, entries)
    how = "finished"
    try:
        yield
    except TrainingStopped as stopped:
        how = f"stopped by {signal.Signals(stopped.signal_number).name}"
        raise
    except BaseException as error:
        how = f"failed: {str(error) or type(error).__name__}"
        raise
    finally:
        entry.update(
            ended=_now(),
            how_it_ended=how,
            **{k: _null_if_not_finite(v) for k, v in ended().items()},
        )
        _write_entries(folder, entries)


def last_recorded(run_folder: str | os.PathLike[str], name: str) -> Any:
    """A value of the last entry of ``environment.json``; ``None`` if it has none."""
    entries = _read_entries(Path(run_folder))
    return entries[-1].get(name) if entries else None


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Code, machine and command of this process, as plain values."""
    return {
        "started": _now(),
        "command": shlex.join(sys.orig_argv),
        "working_folder": os.getcwd(),
        "mvector": mvector.__version__,
        "git": git_version(_PACKAGE),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "device": _device_name(device),
        "num_processes": current_world().size,
        "num_cpus": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
    }


def git_version(folder: Path) -> dict[str, Any] | None:
    """Commit of the code in a folder, and whether the code differs from it (``dirty``).

    ``None`` if git does not keep the folder: the code is installed, perhaps within the checkout of
    something else, or there is no git.
    """
    if not _git(folder, "ls-files", "--", "."):
        return None
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "-s", "--", ".")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _read_entries(folder: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it could not be written, or someone edited the file
        return []
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def _write_entries(folder: Path, entries: list[dict[str, Any]]) -> None:
    text = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    _write_or_warn(folder / ENVIRONMENT, text)


def _write_or_warn(file: Path, text: str) -> None:
    try:
        write_text(file, text)
    except OSError as error:
        logger.warning("Cannot write '%s': %s.", file, error.strerror or error)


def _null_if_not_finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "--no-optional-locks", *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return done.stdout.strip()
