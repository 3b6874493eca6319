"""Recognition: a model that compares clips and tells who is speaking, with verdicts.

The names below load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names

if TYPE_CHECKING:
    from mvector.recognition.answers import Recognition, Registration, Score, Verification
    from mvector.recognition.decision import Decision
    from mvector.recognition.model_choice import find_model
    from mvector.recognition.predictor import MVectorPredictor

__all__ = [
    "Decision",
    "MVectorPredictor",
    "Recognition",
    "Registration",
    "Score",
    "Verification",
    "find_model",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Decision": "mvector.recognition.decision",
        "MVectorPredictor": "mvector.recognition.predictor",
        "Recognition": "mvector.recognition.answers",
        "Registration": "mvector.recognition.answers",
        "Score": "mvector.recognition.answers",
        "Verification": "mvector.recognition.answers",
        "find_model": "mvector.recognition.model_choice",
    },
)
