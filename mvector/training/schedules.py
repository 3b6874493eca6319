"""Learning rate as a function of the epochs done: nothing to replay when a run is resumed.

All curves are in epochs, with fractions, so that they do not depend on the batch size or on the
number of processes. Names and arguments are those of ``torch.optim.lr_scheduler`` where it has
them, read with the epoch as the step.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

from mvector.config.options import (
    CosineAnnealingArgs,
    ExponentialArgs,
    MultiStepArgs,
    OneCycleArgs,
    PlateauArgs,
    StepArgs,
    WarmupCosineArgs,
)
from mvector.config.schema import OptimizerConf


def learning_rate_at(
    epoch: float, config: OptimizerConf, max_epoch: int, num_reductions: int = 0
) -> float:
    """The learning rate at a point of the run.

    Args:
        epoch: epochs done, with fraction.
        config: schedule and its arguments.
        max_epoch: length of the run.
        num_reductions: how often ``ReduceLROnPlateau`` has reduced the rate, as
            :class:`Plateau` counts it; other schedules do not look at it.
    """
    start, args = config.learning_rate, config.scheduler_args
    match args:
        case WarmupCosineArgs():
            return _warmup_cosine(epoch, args, start, max_epoch)
        case CosineAnnealingArgs():
            span = max_epoch if args.T_max is None else args.T_max
            return _half_cosine(epoch / span, start, args.min_lr)
        case ExponentialArgs():
            return start * args.gamma**epoch
        case OneCycleArgs():
            return _one_cycle(epoch / max_epoch, args, start)
        case StepArgs():
            return start * args.gamma ** (epoch // args.step_size)
        case MultiStepArgs():
            return start * args.gamma ** bisect_right(args.milestones, epoch)
        case PlateauArgs():
            return min(start, max(start * args.factor**num_reductions, args.min_lr))
        case _:
            return start


class Plateau:
    """What ``ReduceLROnPlateau`` remembers: the lowest EER and how many epochs ago it was.

    It counts reductions, not rates, so that a run resumed with another learning rate obeys it.
    With any other schedule it counts nothing, and the caller need not tell them apart.

    Args:
        config: schedule and its arguments.
    """

    def __init__(self, config: OptimizerConf) -> None:
        args = config.scheduler_args
        self._args = args if isinstance(args, PlateauArgs) else None
        self.best = math.inf
        self.num_bad_epochs = 0
        self.num_reductions = 0

    def add_error_rate(self, eer: float) -> bool:
        """Take in an epoch's result; every process of a run must be given the same.

        Args:
            eer: equal error rate in [0, 1], or whatever else should fall; a NaN is no improvement.

        Returns:
            Whether the learning rate is reduced from here on.
        """
        if self._args is None:
            return False
        if eer < self.best * (1.0 - self._args.threshold):
            self.best, self.num_bad_epochs = eer, 0
        else:
            self.num_bad_epochs += 1
        if self.num_bad_epochs <= self._args.patience:
            return False
        self.num_bad_epochs = 0
        self.num_reductions += 1
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "best": self.best,
            "num_bad_epochs": self.num_bad_epochs,
            "num_reductions": self.num_reductions,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as ``state_dict`` tells."""
        self.best = float(state["best"])
        self.num_bad_epochs = int(state["num_bad_epochs"])
        self.num_reductions = int(state["num_reductions"])


def _warmup_cosine(epoch: float, args: WarmupCosineArgs, rate: float, max_epoch: int) -> float:
    top = rate if args.max_lr is None else args.max_lr
    if epoch < args.warmup_epoch:
        return top * epoch / args.warmup_epoch
    span = max(max_epoch - args.warmup_epoch, 1e-9)
    return _half_cosine((epoch - args.warmup_epoch) / span, top, args.min_lr)


def _one_cycle(progress: float, args: OneCycleArgs, rate: float) -> float:
    top = rate if args.max_lr is None else args.max_lr
    initial = top / args.div_factor
    if progress < args.pct_start:
        return _half_cosine(progress / args.pct_start, initial, top)
    span = max(1.0 - args.pct_start, 1e-9)
    return _half_cosine((progress - args.pct_start) / span, top, initial / args.final_div_factor)


def _half_cosine(progress: float, start: float, end: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
