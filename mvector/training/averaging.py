"""Means of the weights of several models."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mvector.errors import CheckpointError
from mvector.models.description import ModelInfo, load_training_config, new_model_folder
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.named import model_folder
from mvector.models.speaker_model import SpeakerModel
from mvector.training.checkpoint import changed_settings
from mvector.version import __version__

logger = logging.getLogger(__name__)


def average_model_folders(
    folders: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    adjust: Callable[[SpeakerModel], dict[str, Any]] | None = None,
) -> str:
    """Write the model whose weights are the mean of those of several model folders.

    Running statistics of batch normalisation are averaged like weights, which is close for models
    of one run and not for models of different runs; re-estimate them with
    :func:`recompute_batch_norm`. Integers are those of the first model. Thresholds and metrics of
    the sources do not hold for the mean and are left out; it hears clips as the first model does.

    Args:
        folders: two models or more of one architecture and front end; one only with ``adjust``.
        out: model folder to write; another model folder there is replaced.
        adjust: called with the mean before it is saved; what it returns joins the provenance.

    Returns:
        The fingerprint of the new model.

    Raises:
        CheckpointError: a folder is missing or damaged, models differ (with what differs in them),
            weights are not finite, or ``out`` cannot be written or is one of the sources.
    """
    paths = [model_folder(folder) for folder in folders]
    if len(paths) < 2 and not (paths and adjust):
        raise CheckpointError("Averaging needs two model folders or more; name another.")
    out = new_model_folder(out)
    if out.resolve() in [path.resolve() for path in paths]:
        raise CheckpointError(f"'{out}' is one of the models to average; give a new name.")
    model, info = load_model_folder(paths[0])
    infos = [info]
    sums = {name: value.double() for name, value in _finite_weights(model, paths[0]).items()}
    for path in paths[1:]:
        other, info = load_model_folder(path)
        _require_same_architecture(model, other, paths[0], path)
        infos.append(info)
        for name, value in _finite_weights(other, path).items():
            sums[name] += value
    _warn_of_duplicates(paths, infos)
    means = {name: total / len(paths) for name, total in sums.items()}
    state = model.backbone.state_dict()
    model.backbone.load_state_dict({**state, **means})
    found = adjust(model) if adjust else {}
    sources = [
        {"folder": str(path), "fingerprint": info.fingerprint, "provenance": info.provenance}
        for path, info in zip(paths, infos, strict=True)
    ]
    versions = {"mvector": __version__, "torch": str(torch.__version__)}
    return save_model_folder(
        out,
        model,
        provenance={**versions, "batch_norm": "averaged", **found, "mean_of": sources},
        listening=infos[0].listening,
        training_config=load_training_config(paths[0]),
    )


@torch.no_grad()
def recompute_batch_norm(backbone: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Measure the running statistics of every batch normalisation anew.

    Each becomes the mean over the batches, which weigh the same (Izmailov et al., "Averaging
    weights leads to wider optima and better generalization", 2018). All else works as in
    evaluation.

    Args:
        backbone: left in evaluation mode.
        batches: features ``(batch, frames, bins)``, on the backbone's device. How many there were
            is returned; without a single one the statistics stay as they are.
    """
    norms = [
        module
        for module in backbone.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    momenta = [norm.momentum for norm in norms]
    backbone.eval()
    num_batches = 0
    try:
        for batch in batches:
            if num_batches == 0:
                _reset_statistics(norms)
            backbone(batch)
            num_batches += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        backbone.eval()
    return num_batches


def _reset_statistics(norms: Iterable[nn.modules.batchnorm._BatchNorm]) -> None:
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then keeps the mean over all batches
        norm.train()


def _require_same_architecture(
    first: SpeakerModel, other: SpeakerModel, path: Path, other_path: Path
) -> None:
    differing = changed_settings(_architecture(first), _architecture(other))
    if differing:
        raise CheckpointError(
            f"'{path}' and '{other_path}' are different models, whose weights have no mean "
            f"({'; '.join(differing)}); name models of one configuration."
        )


def _architecture(model: SpeakerModel) -> dict[str, Any]:
    backbone = {"name": model.backbone_name, **model.backbone_options}
    return {"backbone": backbone, "front_end": model.front_end.to_dict()}


def _finite_weights(model: SpeakerModel, path: Path) -> dict[str, torch.Tensor]:
    state = model.backbone.state_dict()
    floats = {name: value for name, value in state.items() if value.is_floating_point()}
    damaged = [name for name, value in floats.items() if not value.isfinite().all()]
    if damaged:
        raise CheckpointError(
            f"'{path}' has weights that are not finite ({damaged[0]}); leave that model out."
        )
    return floats


def _warn_of_duplicates(paths: Sequence[Path], infos: Sequence[ModelInfo]) -> None:
    seen: dict[str, Path] = {}
    for path, info in zip(paths, infos, strict=True):
        if info.fingerprint in seen:
            earlier = seen[info.fingerprint]
            logger.warning("'%s' and '%s' are the same model, counted twice.", earlier, path)
        seen.setdefault(info.fingerprint, path)
