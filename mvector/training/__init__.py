"""What a training run needs beside the loop: the learner, checkpoints, curves, its story."""

from mvector.training.checkpoint import (
    compare_configuration,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from mvector.training.learner import Learner
from mvector.training.loggers import METRICS, MetricLogger
from mvector.training.progress import Progress
from mvector.training.run_story import CURVES, begin_story, draw_curves, end_story
from mvector.training.schedules import learning_rate_at
from mvector.training.step import timed
from mvector.training.stopping import StopRequest, TrainingStopped

__all__ = [
    "CURVES",
    "METRICS",
    "Learner",
    "MetricLogger",
    "Progress",
    "StopRequest",
    "TrainingStopped",
    "begin_story",
    "compare_configuration",
    "draw_curves",
    "end_story",
    "has_checkpoint",
    "learning_rate_at",
    "load_checkpoint",
    "save_checkpoint",
    "timed",
]
