"""One step of the optimizer: autocast, accumulation, clipping, and batches that go wrong."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from mvector.compute.exchange import average_over_processes, joint_norm

logger = logging.getLogger(__name__)


class BatchWeight(NamedTuple):
    """What a batch counts among those of a step.

    Attributes:
        own: factor on the mean loss of this process, before gradients are averaged over all.
        of_all: the batch of all processes, in the same unit.
    """

    own: float = 1.0
    of_all: float = 1.0


class BatchResult(NamedTuple):
    """What a network makes of a batch, all of it scalar tensors.

    Attributes:
        loss: what is minimised, a mean over the clips.
        num_correct: clips that are classified correctly.
        parts: losses that ``loss`` is the weighted sum of, by name; empty if it is a single one.
    """

    loss: torch.Tensor
    num_correct: torch.Tensor
    parts: dict[str, torch.Tensor]


class TrainStep:
    """Gradients of one batch or of several, and the step that follows from them.

    A step whose gradients are not finite changes nothing: neither weights nor the running
    statistics of batch normalisation. On a GPU this is done without waiting for the device.

    Args:
        network: features, labels and what a teacher says of the clips to a :class:`BatchResult`.
        optimizer: over its parameters.
        device: where it is trained.
        autocast_dtype: half precision for what can bear it; ``None``: float32.
        max_grad_norm: gradients longer than this (all together) are shortened to it.
        sharded: those of its parameters that are other ones in every process.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        device: torch.device,
        autocast_dtype: torch.dtype | None = None,
        max_grad_norm: float | None = None,
        sharded: Sequence[nn.Parameter] = (),
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.device = device
        self.autocast_dtype = autocast_dtype
        self.max_grad_norm = max_grad_norm
        # float16 alone overflows so easily that gradients must be scaled
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=autocast_dtype == torch.float16 and device.type == "cuda"
        )
        self.num_bad = torch.zeros((), dtype=torch.int64, device=device)
        self._sharded = {id(parameter) for parameter in sharded}
        self._unexchanged = False  # gradients that the other processes do not know of yet
        self._total_weight = 0.0
        self._statistics: list[torch.Tensor] = []
        self._before: list[torch.Tensor] = []

    def accumulate(
        self,
        features: torch.Tensor,
        labels: torch.Tensor,
        targets: torch.Tensor | None = None,
        *,
        weight: BatchWeight,
        last: bool,
    ) -> BatchResult:
        """Add a batch's gradients to those of the step; returns losses and number of correct ones.

        The step takes the weighted mean of its batches. How many clips the later ones will hold is
        not known before they come, so the sum is divided by its weights at the end.

        Args:
            features: ``(batch, frames, bins)``.
            labels: ``(batch,)``.
            targets: a teacher's embeddings, ``(batch, D)``, if there is one.
            weight: of the batch in the step.
            last: whether the step follows; only then do processes exchange gradients.
        """
        self._total_weight += weight.of_all
        if not self._statistics:
            self._remember_statistics()
        exchange: AbstractContextManager[Any] = nullcontext()
        self._unexchanged = not last and hasattr(self.network, "no_sync")
        if self._unexchanged:
            exchange = cast(Any, self.network).no_sync()
        with exchange:
            with torch.autocast(
                self.device.type, self.autocast_dtype, enabled=self.autocast_dtype is not None
            ):
                loss, num_correct, parts = self.network(features, labels, targets)
            self.scaler.scale(loss * weight.own).backward()
        return BatchResult(loss.detach(), num_correct, parts)

    def update(self) -> bool | None:
        """Do the step and forget the gradients; returns whether all was finite.

        It is ``None`` on a GPU, where asking would stop the pipeline: ``num_bad`` counts there.
        Without a batch there is no step, and nothing is wrong.
        """
        replicated, sharded = self._gradients()
        gradients = [*replicated, *sharded]
        if not gradients:
            return True
        if self._unexchanged:  # the last batch of the step had to be left out
            average_over_processes(replicated)
            self._unexchanged = False
        self.scaler.unscale_(self.optimizer)
        if self._total_weight != 1.0:
            torch._foreach_div_(gradients, self._total_weight)
        self._total_weight = 0.0
        norm = (
            joint_norm(replicated, sharded)
            if self._sharded
            else torch.nn.utils.get_total_norm(gradients)
        )
        finite = torch.isfinite(norm)
        if self.max_grad_norm is not None:
            factor = (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(gradients, factor)
        was_finite: bool | None = None
        if self.device.type == "cuda":
            self._step_without_waiting(finite)
        else:
            was_finite = bool(finite)
            if was_finite:
                self.scaler.step(self.optimizer)
            elif self._statistics:
                torch._foreach_copy_(self._statistics, self._before)
        self.scaler.update()
        self.num_bad += ~finite
        self._statistics.clear()
        self.optimizer.zero_grad(set_to_none=True)
        return was_finite

    def _step_without_waiting(self, finite: torch.Tensor) -> None:
        """Fused optimizers leave out the step where ``found_inf`` says so, on the device."""
        for buffer, before in zip(self._statistics, self._before, strict=True):
            torch.where(finite, buffer, before, out=buffer)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            return
        optimizer: Any = self.optimizer
        optimizer.found_inf, optimizer.grad_scale = (~finite).float(), None
        optimizer.step()
        del optimizer.found_inf, optimizer.grad_scale

    def _remember_statistics(self) -> None:
        buffers = [b for b in self.network.buffers() if b.is_floating_point()]
        if len(self._before) != len(buffers):
            self._before = [torch.empty_like(buffer) for buffer in buffers]
        self._statistics = buffers
        if buffers:
            torch._foreach_copy_(self._before, buffers)

    def _gradients(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Those that all processes have, and those of this process's shard."""
        parts: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parts[id(parameter) in self._sharded].append(parameter.grad)
        return parts

    def state_dict(self) -> dict[str, Any]:
        """Scale of the gradients and count of bad steps."""
        return {"scaler": self.scaler.state_dict(), "num_bad": int(self.num_bad)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as ``state_dict`` tells."""
        self.scaler.load_state_dict(state["scaler"])
        self.num_bad.fill_(state["num_bad"])
