"""The predictor, by its familiar name."""

from mvector.recognition.predictor import MVectorPredictor

__all__ = ["MVectorPredictor"]
