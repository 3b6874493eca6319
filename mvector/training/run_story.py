"""What a run folder tells of its run: configuration, code, machine, command, and a picture."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import distributed

import mvector
from mvector.config import Config, config_to_dict
from mvector.files import write_atomically, write_text
from mvector.training.checkpoint import changed_settings
from mvector.training.loggers import read_metrics

logger = logging.getLogger(__name__)

CONFIG, ENVIRONMENT, CURVES = "config.yml", "environment.json", "curves.png"

_PACKAGE = Path(mvector.__file__).resolve().parent
_GIT_LIMIT_S = 10.0
# Left and right axis of each part of the picture: label, curve, colour (Okabe & Ito's palette).
_LEFT, _RIGHT = "#0072B2", "#D55E00"
_PANELS = (
    (("loss", "train/loss"), ("accuracy", "train/accuracy")),
    (("learning rate", "train/learning_rate"), ("margin", "train/margin")),
    (("EER", "eval/eer"), ("minDCF", "eval/min_dcf")),
)


def begin_story(
    run_folder: str | os.PathLike[str],
    config: Config,
    device: torch.device,
    *,
    resume_step: int | None = None,
) -> None:
    """Write ``config.yml`` and ``environment.json`` into the folder of a run.

    ``environment.json`` is a list with one entry for each start of the run: a resumed run adds
    its own, with the settings that changed since. The name of the host is not in it. A disk that is
    full costs the files and not the run.

    Args:
        run_folder: where to; made if it is missing.
        config: the whole configuration in use.
        device: where the run computes.
        resume_step: step behind which an earlier run goes on; ``None`` begins a new story.
    """
    folder = Path(run_folder)
    settings = config_to_dict(config)
    entries: list[dict[str, Any]] = []
    entry = describe_environment(device)
    if resume_step is not None:
        entries = _earlier_entries(folder / ENVIRONMENT)
        entry["resumed_at_step"] = resume_step
        earlier = _earlier_settings(folder / CONFIG)
        entry["changed_settings"] = changed_settings(earlier, settings) if earlier else []
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    _write(folder / CONFIG, text)
    _write(folder / ENVIRONMENT, _as_json([*entries, entry]))


def end_story(run_folder: str | os.PathLike[str], how: str, **facts: Any) -> None:
    """Add to the last entry of ``environment.json`` when and how the run ended.

    An entry without an end is that of a process that was killed.

    Args:
        run_folder: as for :func:`begin_story`.
        how: in words, such as ``finished`` or ``stopped by SIGTERM``.
        facts: further values, such as ``step`` and ``best_eer``; what is not finite is ``null``.
    """
    file = Path(run_folder) / ENVIRONMENT
    entries = _earlier_entries(file)
    if entries:
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in facts.items()
        }
        entries[-1].update(ended=_now(), how_it_ended=how, **plain)
        _write(file, _as_json(entries))


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Code, machine and command of this process, as plain values."""
    processes = distributed.is_available() and distributed.is_initialized()
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
        "num_processes": distributed.get_world_size() if processes else 1,
        "num_cpus": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
    }


def git_version(folder: Path) -> dict[str, Any] | None:
    """Commit of the code in a folder, and whether the code differs from it.

    Returns:
        ``{"commit": …, "dirty": …}``; ``None`` if git does not keep the folder: it is installed,
        perhaps within the checkout of something else, or there is no git.
    """
    if not _git(folder, "ls-files", "--", "."):
        return None
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "-s", "--", ".")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def draw_curves(metrics: str | os.PathLike[str], picture: str | os.PathLike[str]) -> bool:
    """Draw loss, accuracy, learning rate, margin, EER and minDCF of a run against the step.

    What cannot be drawn is no reason to fail: one log line says why.

    Args:
        metrics: the ``metrics.jsonl`` of the run.
        picture: PNG file to write; it appears whole or not at all.

    Returns:
        Whether it was drawn.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.info("No picture of the curves without matplotlib: pip install matplotlib.")
        return False
    try:
        points = read_metrics(metrics)
        panels = [panel for panel in _PANELS if any(_curve(points, tag)[0] for _, tag in panel)]
        if not panels:
            logger.info("No picture of the curves: '%s' has no points.", metrics)
            return False
        figure = Figure(figsize=(10.0, 3.2 * len(panels)), layout="constrained")
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(rows, panels, strict=True):
            _draw_panel(axes, panel, points)
        rows[-1].set_xlabel("step")
        write_atomically(Path(picture), lambda file: figure.savefig(file, format="png", dpi=120))
    except OSError as error:
        logger.warning("No picture of the curves: %s.", error)
        return False
    return True


def _draw_panel(axes: Any, panel: Any, points: list[dict[str, Any]]) -> None:
    lines = []
    for place, colour, (label, tag) in zip(
        (axes, axes.twinx()), (_LEFT, _RIGHT), panel, strict=True
    ):
        steps, values = _curve(points, tag)
        if not steps:
            place.set_visible(False)
            continue
        if tag == "eval/eer":
            label, values = "EER (%)", [100.0 * value for value in values]
        style = {"marker": "o", "markersize": 3} if tag.startswith("eval/") else {}
        name = f"{label}, lowest {min(values):.4g}" if style else label
        lines += place.plot(steps, values, color=colour, linewidth=1.4, label=name, **style)
        place.set_ylabel(label, color=colour)
        place.tick_params(axis="y", labelcolor=colour)
        place.spines["top"].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(
        handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False
    )


def _curve(points: list[dict[str, Any]], tag: str) -> tuple[list[int], list[float]]:
    found = [(point["step"], point[tag]) for point in points if point.get(tag) is not None]
    return [step for step, _ in found], [value for _, value in found]


def _earlier_entries(file: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the run goes on in another folder, or someone edited the file
        return []
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def _earlier_settings(file: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _write(file: Path, text: str) -> None:
    try:
        write_text(file, text)
    except OSError as error:
        logger.warning("Cannot write '%s': %s.", file, error.strerror or error)


def _as_json(entries: list[dict[str, Any]]) -> str:
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


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
