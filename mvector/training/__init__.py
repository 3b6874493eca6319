"""What a training run needs beside the loop: steps, checkpoints, schedules, curves."""

from mvector.training.averaging import ExponentialAverage
from mvector.training.checkpoint import (
    FIXED_IN_A_RUN,
    changed_settings,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from mvector.training.loggers import METRICS, MetricLogger
from mvector.training.network import ClassifierHead, TrainingNetwork
from mvector.training.optimizers import build_optimizer, load_optimizer_state, set_learning_rate
from mvector.training.progress import NanGuard, Progress, log_summary
from mvector.training.run_story import CURVES, begin_story, draw_curves, end_story
from mvector.training.schedules import Plateau, learning_rate_at
from mvector.training.step import TrainStep, timed
from mvector.training.stopping import StopRequest, TrainingStopped

__all__ = [
    "CURVES",
    "FIXED_IN_A_RUN",
    "METRICS",
    "ClassifierHead",
    "ExponentialAverage",
    "MetricLogger",
    "NanGuard",
    "Plateau",
    "Progress",
    "StopRequest",
    "TrainStep",
    "TrainingNetwork",
    "TrainingStopped",
    "begin_story",
    "build_optimizer",
    "changed_settings",
    "draw_curves",
    "end_story",
    "has_checkpoint",
    "learning_rate_at",
    "load_checkpoint",
    "load_optimizer_state",
    "log_summary",
    "save_checkpoint",
    "set_learning_rate",
    "timed",
]
