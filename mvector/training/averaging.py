"""Averages of weights: over the steps of one run, and over the models of several."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mvector.compute.precision import at_least_float32
from mvector.errors import CheckpointError, ConfigError
from mvector.models.folder import (
    DESCRIPTION,
    ModelInfo,
    load_model_folder,
    load_training_config,
    save_model_folder,
)
from mvector.models.speaker_model import SpeakerModel
from mvector.training.checkpoint import changed_settings
from mvector.version import __version__

logger = logging.getLogger(__name__)

_COMPILE_PREFIX = "_orig_mod."


class ExponentialAverage:
    """Exponentially weighted average of a module's parameters and buffers over the steps.

    After step n, counted from 0, ``average += (1 - d) * (now - average)`` with
    ``d = min(decay, (1 + n) / (10 + n))``: the untrained weights of the first steps are forgotten
    fast, and the full decay holds from n = (10 * decay - 1) / (1 - decay) on (step 8,990 for
    0.999). The averages are float32 (float64 where the module is); running statistics of batch
    normalisation are averaged like weights, integers such as its count of batches are copied.

    Args:
        module: on its device, and not wrapped for several processes. Tensors that share their
            memory with it, as those of a compiled module do, are followed too. Replacing its
            tensors afterwards (``.to``) is not.
        decay: weight of the past, from 0 up to and without 1.

    Raises:
        ConfigError: the decay is out of range.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ConfigError(
                f"The decay of the weight average is {decay:g}; give a number from 0 up to and "
                "without 1, such as 0.999."
            )
        self.decay = decay
        self.num_updates = 0
        self._swapped = False
        tensors = {
            name.replace(_COMPILE_PREFIX, ""): value.detach()
            for name, value in module.state_dict(keep_vars=True).items()
        }
        self._averages = {name: at_least_float32(x).clone() for name, x in tensors.items()}
        floats = [name for name, x in tensors.items() if x.is_floating_point()]
        others = [name for name, x in tensors.items() if not x.is_floating_point()]
        self._pairs = [
            ([tensors[name] for name in names], [self._averages[name] for name in names])
            for names in (floats, others)
        ]
        self._is_half = any(x.dtype != self._averages[name].dtype for name, x in tensors.items())

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present values into the average; nothing waits for the device."""
        assert not self._swapped, "the module holds the average itself"
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        (live, averages), (live_others, other_averages) = self._pairs
        if self._is_half:
            live = [at_least_float32(value) for value in live]
        if averages:
            torch._foreach_lerp_(averages, live, 1.0 - decay)
        if other_averages:
            torch._foreach_copy_(other_averages, live_others)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the module holds the average; afterwards what it held before, exactly.

        Evaluate and save models within; take steps and save checkpoints outside.
        """
        assert not self._swapped, "the average is swapped in already"
        live = [value for values, _ in self._pairs for value in values]
        averages = [value for _, values in self._pairs for value in values]
        kept = [value.clone() for value in live]
        self._swapped = True
        try:
            _copy(live, averages)
            yield
        finally:
            _copy(live, kept)
            self._swapped = False

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep; the tensors are those in use, not copies."""
        return {"num_updates": self.num_updates, "averages": dict(self._averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave, bit for bit; the decay stays as it is.

        Raises:
            CheckpointError: it is of another module.
        """
        found = state["averages"]
        shapes, expected = (
            {name: str(tuple(value.shape)) for name, value in values.items()}
            for values in (found, self._averages)
        )
        differing = changed_settings(shapes, expected)
        if differing:
            raise CheckpointError(
                f"The weight average in the checkpoint is of another network ({differing[0]}); "
                "resume with the configuration of the run."
            )
        _copy(list(self._averages.values()), [found[name] for name in self._averages])
        self.num_updates = int(state["num_updates"])


@torch.no_grad()
def _copy(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)


# ---- models of several runs or epochs -------------------------------------------------------


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
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2 and not (paths and adjust):
        raise CheckpointError("Averaging needs two model folders or more; name another.")
    _check_target(Path(out), paths)
    model, info = load_model_folder(paths[0])
    infos = [info]
    sums = {name: value.double() for name, value in _floats_of(model, paths[0]).items()}
    for path in paths[1:]:
        other, info = load_model_folder(path)
        _require_same(model, other, paths[0], path)
        infos.append(info)
        for name, value in _floats_of(other, path).items():
            sums[name] += value
    _warn_of_copies(paths, infos)
    means = {name: total / len(paths) for name, total in sums.items()}
    state = model.backbone.state_dict()
    _copy([state[name] for name in means], list(means.values()))
    found = adjust(model) if adjust else {}
    sources = [
        {"folder": str(path), "fingerprint": info.fingerprint, "provenance": info.provenance}
        for path, info in zip(paths, infos, strict=True)
    ]
    versions = {"mvector": __version__, "torch": str(torch.__version__)}
    return save_model_folder(
        Path(out),
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
        batches: features ``(batch, frames, bins)``, on the backbone's device; without a single one
            the statistics stay as they are.

    Returns:
        How many batches there were.
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
                _begin_anew(norms)
            backbone(batch)
            num_batches += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        backbone.eval()
    return num_batches


def _begin_anew(norms: Iterable[nn.modules.batchnorm._BatchNorm]) -> None:
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then keeps the mean over all batches
        norm.train()


def _check_target(out: Path, sources: Sequence[Path]) -> None:
    if out.resolve() in [path.resolve() for path in sources]:
        raise CheckpointError(f"'{out}' is one of the models to average; give a new name.")
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not is_free and not (out / DESCRIPTION).is_file():
        raise CheckpointError(f"'{out}' is there and is not a model folder; give a new name.")


def _require_same(first: SpeakerModel, other: SpeakerModel, path: Path, other_path: Path) -> None:
    differing = changed_settings(_described(first), _described(other))
    if differing:
        raise CheckpointError(
            f"'{path}' and '{other_path}' are different models, whose weights have no mean "
            f"({'; '.join(differing)}); name models of one configuration."
        )


def _described(model: SpeakerModel) -> dict[str, Any]:
    backbone = {"name": model.backbone_name, **model.backbone_options}
    return {"backbone": backbone, "front_end": model.front_end.to_dict()}


def _floats_of(model: SpeakerModel, path: Path) -> dict[str, torch.Tensor]:
    state = model.backbone.state_dict()
    floats = {name: value for name, value in state.items() if value.is_floating_point()}
    damaged = [name for name, value in floats.items() if not value.isfinite().all()]
    if damaged:
        raise CheckpointError(
            f"'{path}' has weights that are not finite ({damaged[0]}); leave that model out."
        )
    return floats


def _warn_of_copies(paths: Sequence[Path], infos: Sequence[ModelInfo]) -> None:
    seen: dict[str, Path] = {}
    for path, info in zip(paths, infos, strict=True):
        if info.fingerprint in seen:
            earlier = seen[info.fingerprint]
            logger.warning("'%s' and '%s' are the same model, counted twice.", earlier, path)
        seen.setdefault(info.fingerprint, path)
