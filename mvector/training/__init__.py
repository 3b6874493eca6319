"""What a training run needs beside the loop: checkpoints, schedules, curves."""

from mvector.training.checkpoint import (
    CHECKPOINT,
    FIXED_IN_A_RUN,
    changed_settings,
    load_checkpoint,
    save_checkpoint,
)
from mvector.training.loggers import MetricLogger
from mvector.training.optimizers import build_optimizer
from mvector.training.progress import Progress, log_summary
from mvector.training.schedules import learning_rate_at

__all__ = [
    "CHECKPOINT",
    "FIXED_IN_A_RUN",
    "MetricLogger",
    "Progress",
    "build_optimizer",
    "changed_settings",
    "learning_rate_at",
    "load_checkpoint",
    "log_summary",
    "save_checkpoint",
]
