"""What a training run needs beside the loop: checkpoints, schedules, curves."""

from mvector.training.checkpoint import load_checkpoint, save_checkpoint
from mvector.training.loggers import MetricLogger
from mvector.training.optimizers import build_optimizer
from mvector.training.progress import Progress, log_summary
from mvector.training.schedules import learning_rate_at

__all__ = [
    "MetricLogger",
    "Progress",
    "build_optimizer",
    "learning_rate_at",
    "load_checkpoint",
    "log_summary",
    "save_checkpoint",
]
