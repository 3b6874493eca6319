"""Average of a model's weights over the steps of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mvector.compute.precision import at_least_float32
from mvector.errors import CheckpointError, ConfigError
from mvector.training.checkpoint import changed_settings

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
            _copy_tensors(live, averages)
            yield
        finally:
            _copy_tensors(live, kept)
            self._swapped = False

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep; the tensors are those in use, not copies."""
        return {
            "decay": self.decay,
            "num_updates": self.num_updates,
            "averages": dict(self._averages),
        }

    @torch.no_grad()
    def restart(self) -> None:
        """Forget the past: the module's present values are the average."""
        assert not self._swapped, "the module holds the average itself"
        for live, averages in self._pairs:
            _copy_tensors(averages, live)
        self.num_updates = 0

    def resume(self, state: dict[str, Any] | None) -> None:
        """Go on behind a checkpoint whose weights the module has already.

        Without a ``state`` in the checkpoint, or with one of another decay, the average starts from
        the present weights.

        Raises:
            CheckpointError: it is of another module.
        """
        if state is None or state.get("decay", self.decay) != self.decay:
            logger.info("The weight average of decay %g starts here.", self.decay)
            self.restart()
        else:
            self.load_state_dict(state)

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
        _copy_tensors(list(self._averages.values()), [found[name] for name in self._averages])
        self.num_updates = int(state["num_updates"])


@torch.no_grad()
def _copy_tensors(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)
