"""Training: the trainer, the run that it makes, and the learner that steps."""

from mvector.training.checkpoint import load_checkpoint
from mvector.training.learner import Learner
from mvector.training.schedules import learning_rate_at
from mvector.training.stopping import TrainingStopped

__all__ = ["Learner", "TrainingStopped", "learning_rate_at", "load_checkpoint"]
