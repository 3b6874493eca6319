"""Training: the trainer, the run that it makes, and the learner that steps."""

from mvector.training.checkpoint import has_checkpoint, load_checkpoint
from mvector.training.learner import Learner
from mvector.training.loggers import METRICS, MetricLogger
from mvector.training.progress import Progress
from mvector.training.schedules import learning_rate_at
from mvector.training.stopping import StopRequest, TrainingStopped

__all__ = [
    "METRICS",
    "Learner",
    "MetricLogger",
    "Progress",
    "StopRequest",
    "TrainingStopped",
    "has_checkpoint",
    "learning_rate_at",
    "load_checkpoint",
]
