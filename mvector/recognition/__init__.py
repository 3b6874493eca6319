"""Recognition: a model that compares clips and tells who is speaking, with verdicts."""

from mvector.recognition.answers import Recognition, Registration, Score
from mvector.recognition.decision import Decision
from mvector.recognition.model_choice import find_model
from mvector.recognition.predictor import MVectorPredictor

__all__ = ["Decision", "MVectorPredictor", "Recognition", "Registration", "Score", "find_model"]
