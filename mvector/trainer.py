"""The trainer, by its familiar name."""

from mvector.training.trainer import MVectorTrainer

__all__ = ["MVectorTrainer"]
