"""Learning rate as a function of the epochs done: nothing to save, nothing to replay."""

from __future__ import annotations

import math

from mvector.config.options import CosineAnnealingArgs, WarmupCosineArgs
from mvector.config.schema import OptimizerConf


def learning_rate_at(epoch: float, config: OptimizerConf, max_epoch: int) -> float:
    """The learning rate at a point of the run.

    Args:
        epoch: epochs done, with fraction.
        config: schedule and its arguments.
        max_epoch: length of the run.
    """
    args = config.scheduler_args
    if isinstance(args, WarmupCosineArgs):
        top = config.learning_rate if args.max_lr is None else args.max_lr
        if epoch < args.warmup_epoch:
            return top * epoch / args.warmup_epoch
        span = max(max_epoch - args.warmup_epoch, 1e-9)
        return _half_cosine((epoch - args.warmup_epoch) / span, top, args.min_lr)
    if isinstance(args, CosineAnnealingArgs):
        span = max_epoch if args.T_max is None else args.T_max
        return _half_cosine(epoch / span, config.learning_rate, args.min_lr)
    return config.learning_rate


def _half_cosine(progress: float, start: float, end: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
