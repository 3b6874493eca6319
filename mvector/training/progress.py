"""What a run tells: a summary of the network, then loss, accuracy, speed and time left."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
from torch import nn

from mvector.compute.exchange import all_reduce_sum
from mvector.errors import MVectorError
from mvector.progress import progress_bar
from mvector.training.loggers import MetricLogger
from mvector.training.step import BatchResult

logger = logging.getLogger(__name__)

Batch = TypeVar("Batch")
_MOST_WARNED = 5


class Progress:
    """Loss and accuracy since the last log line, summed on the device and over all processes.

    Args:
        epoch: from 0.
        max_epoch: length of the run.
        num_batches: batches of an epoch in one process.
        device: where losses are computed.
        first_batch: batches of this epoch that an earlier part of the run has done.
        loss_parts: names of the losses that the loss is the sum of, told beside it.
    """

    def __init__(
        self,
        epoch: int,
        max_epoch: int,
        num_batches: int,
        device: torch.device,
        *,
        first_batch: int = 0,
        loss_parts: Sequence[str] = (),
    ) -> None:
        self.epoch, self.max_epoch, self.num_batches = epoch, max_epoch, num_batches
        self.first_batch, self.loss_parts = first_batch, loss_parts
        self.num_clips = 0  # of this process, in this epoch
        self._device = device
        # clips, right ones, and sums of losses, of those batches whose loss is finite
        self._sums = torch.zeros(3 + len(loss_parts), dtype=torch.float64, device=device)
        self._num_seen, self._waited_s = 0, 0.0
        self._started = self._last_log = time.monotonic()

    def add(self, num_clips: int, result: BatchResult) -> None:
        """Count a batch, with its mean losses, without waiting for the device.

        A batch whose loss is not finite counts for the speed alone.
        """
        self.num_clips += num_clips
        self._num_seen += num_clips
        loss = result.loss.detach().double()
        losses = [loss, *(result.parts[name].double() for name in self.loss_parts)]
        batch = torch.stack(
            [
                torch.full_like(loss, num_clips),
                result.num_correct.double(),
                *(part * num_clips for part in losses),
            ]
        )
        self._sums += torch.where(torch.isfinite(loss), batch, 0.0)

    def batches(self, loader: Iterable[Batch], *, show_bar: bool) -> Iterator[Batch]:
        """The batches of a loader, under a progress bar; the time waited for each is counted."""
        bar = progress_bar(
            loader,
            desc=f"Epoch {self.epoch + 1}/{self.max_epoch}",
            unit="batch",
            initial=self.first_batch,
            total=self.num_batches,
            show=show_bar,
        )
        iterator = iter(bar)
        while True:
            since = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self.add_wait(time.monotonic() - since)
            yield batch

    def add_wait(self, seconds: float) -> None:
        """Count time in which training stood still because the next batch was not there."""
        self._waited_s += seconds

    def log(
        self,
        number: int,
        learning_rate: float,
        margin: float,
        curves: MetricLogger | None,
    ) -> None:
        """Write a log line and a point of the curves; all processes must, after the same batches.

        Args:
            number: batches of the epoch done.
            learning_rate, margin: of the last step.
            curves: where the point goes; ``None`` writes nothing, for all processes but the first.
        """
        sums = self._sum_and_reset()
        num_seen, waited_s, num_processes, num_counted, num_right, *losses = sums
        now = time.monotonic()
        elapsed_s, self._last_log = max(now - self._last_log, 1e-9), now
        if not num_seen or curves is None:
            return
        loss, *parts = (each / num_counted if num_counted else math.nan for each in losses)
        of_parts = dict(zip(self.loss_parts, parts, strict=True))
        values: dict[str, float] = {
            "loss": loss,
            **of_parts,
            "accuracy": num_right / num_counted if num_counted else math.nan,
            "learning_rate": learning_rate,
            "margin": margin,
            "speed": num_seen / elapsed_s,
            "data_wait": min(waited_s / num_processes / elapsed_s, 1.0),
        }
        logger.info(
            "Train epoch: [%d/%d], batch: [%d/%d], loss: %.5f, %saccuracy: %.5f, "
            "learning rate: %.8f, speed: %.2f data/sec, eta: %s",
            self.epoch + 1,
            self.max_epoch,
            number,
            self.num_batches,
            loss,
            "".join(f"{name.replace('_', ' ')}: {x:.5f}, " for name, x in of_parts.items()),
            values["accuracy"],
            learning_rate,
            values["speed"],
            self._time_left(number, now),
        )
        curves.log(
            self.epoch * self.num_batches + number,
            **{f"train/{name}": value for name, value in values.items()},
        )

    def _sum_and_reset(self) -> list[float]:
        """Sums over all processes, and the number of these; here alone the loop waits."""
        counted = [self._num_seen, self._waited_s, 1.0]
        counts = torch.tensor(counted, dtype=torch.float64, device=self._device)
        sums = all_reduce_sum(torch.cat([counts, self._sums]))
        self._sums.zero_()
        self._num_seen, self._waited_s = 0, 0.0
        return sums.tolist()

    def _time_left(self, number: int, now: float) -> timedelta:
        batches_left = (self.max_epoch - self.epoch) * self.num_batches - number
        batch_s = (now - self._started) / max(number - self.first_batch, 1)
        return timedelta(seconds=round(batch_s * batches_left))


class NanGuard:
    """Counts steps whose loss or gradient is not finite, and ends a run that has nothing but such.

    The step of one odd batch is left out. Many in a row mean that the weights are beyond repair.

    Args:
        limit: as many in a row end the run.

    Attributes:
        num_consecutive: bad steps since the last good one.
        num_total: bad steps of the whole run.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.num_consecutive = self.num_total = self._num_warned = 0

    def count(self, num_bad: int, num_steps: int, where: str) -> None:
        """Count one step, or several where asking the device after each would cost.

        Unless all of them are bad, the row of bad ones counts as broken.

        Args:
            num_bad: bad steps since the last call; where several processes train, in any of them.
            num_steps: steps since the last call.
            where: the last batch of them in words, such as ``epoch 3, batch 120``.

        Raises:
            MVectorError: ``limit`` steps in a row were bad.
        """
        if num_steps:
            self.num_consecutive = self.num_consecutive + num_bad if num_bad == num_steps else 0
        if not num_bad:
            return
        self._num_warned += 1
        self.num_total += num_bad
        if self.num_consecutive >= self.limit:
            raise MVectorError(
                f"Loss or gradient was not finite in {self.num_consecutive} steps in a row, the "
                f"last of them {where}; lower optimizer_conf.learning_rate (or set "
                "train_conf.enable_amp to False) and resume from the last checkpoint.",
                code="training-diverged",
            )
        if self._num_warned <= _MOST_WARNED:
            share = "" if num_steps == 1 else f" in {num_bad} of the last {num_steps} steps"
            logger.warning(
                "Loss or gradient is not finite%s (%s): the step is left out.", share, where
            )

    def state_dict(self) -> dict[str, int]:
        """The counts, for a checkpoint."""
        return {"num_consecutive": self.num_consecutive, "num_total": self.num_total}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with the counts of :meth:`state_dict`."""
        self.num_consecutive, self.num_total = state["num_consecutive"], state["num_total"]


def log_summary(network: nn.Module, feature_dim: int) -> None:
    """Log the number of parameters, and at level DEBUG each layer's, with multiply-adds.

    Those are of one clip of 98 frames (about a second).
    """
    logger.info("Parameters: %s", f"{sum(own.numel() for own in network.parameters()):,}")
    if not logger.isEnabledFor(logging.DEBUG):
        return
    try:
        from torchinfo import summary
    except ImportError:
        logger.debug("There is no summary by layer without torchinfo: pip install torchinfo.")
        return
    size = (1, 98, feature_dim)
    table = summary(network, input_size=size, verbose=0)
    logger.debug("The network, for features of shape %s:\n%s", size, table)
