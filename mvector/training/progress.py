"""What a run tells: a summary of the network, then loss, accuracy, speed and time left."""

from __future__ import annotations

import logging
import math
import time
from datetime import timedelta

import torch
from torch import nn

from mvector.errors import MVectorError
from mvector.training.loggers import MetricLogger

logger = logging.getLogger(__name__)


class Progress:
    """Loss and accuracy since the last log line, summed on the device."""

    def __init__(self, epoch: int, max_epoch: int, num_batches: int, device: torch.device) -> None:
        self.epoch, self.max_epoch, self.num_batches = epoch, max_epoch, num_batches
        self.loss_sum = torch.zeros((), device=device)
        self.num_right = torch.zeros((), dtype=torch.int64, device=device)
        self.num_clips = self.num_logged = 0
        self.started = self.last_log = time.monotonic()

    def add(self, num_clips: int, loss: torch.Tensor, num_right: torch.Tensor) -> None:
        """Count a batch without waiting for the device."""
        self.num_clips += num_clips
        self.loss_sum += num_clips * loss.detach()
        self.num_right += num_right

    def log(self, number: int, learning_rate: float, margin: float, curves: MetricLogger) -> None:
        """Write a log line and a point of the curves; refuse to go on without a finite loss."""
        num_clips = self.num_clips - self.num_logged
        if not num_clips:
            return
        loss = float(self.loss_sum) / num_clips  # here alone the loop waits for the device
        accuracy = int(self.num_right) / num_clips
        now = time.monotonic()
        speed = num_clips / (now - self.last_log)
        self.loss_sum.zero_()
        self.num_right.zero_()
        self.num_logged, self.last_log = self.num_clips, now
        if not math.isfinite(loss):
            raise MVectorError(
                f"The loss became {loss} in epoch {self.epoch + 1} before batch {number}; lower "
                "optimizer_conf.learning_rate and resume from the last checkpoint."
            )
        batches_left = (self.max_epoch - self.epoch) * self.num_batches - number
        eta = timedelta(seconds=round((now - self.started) / number * batches_left))
        logger.info(
            "Train epoch: [%d/%d], batch: [%d/%d], loss: %.5f, accuracy: %.5f, "
            "learning rate: %.8f, speed: %.2f data/sec, eta: %s",
            self.epoch + 1,
            self.max_epoch,
            number,
            self.num_batches,
            loss,
            accuracy,
            learning_rate,
            speed,
            eta,
        )
        values = {
            "loss": loss,
            "accuracy": accuracy,
            "learning_rate": learning_rate,
            "margin": margin,
            "speed": speed,
        }
        curves.log(
            self.epoch * self.num_batches + number,
            **{f"train/{name}": value for name, value in values.items()},
        )


def log_summary(network: nn.Module, feature_dim: int) -> None:
    """Log layers, parameters and multiply-adds for one clip of 98 frames (about a second)."""
    try:
        from torchinfo import summary
    except ImportError:
        count = sum(parameter.numel() for parameter in network.parameters())
        logger.info("Parameters: %d (torchinfo is not installed: no summary by layer)", count)
        return
    size = (1, 98, feature_dim)
    table = summary(network, input_size=size, verbose=0)
    logger.info("The network, for features of shape %s:\n%s", size, table)
