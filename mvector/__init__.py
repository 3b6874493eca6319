"""mvector: speaker embeddings from speech, and what they are good for.

The names below load on first use, so that ``import mvector`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names
from mvector.version import __version__

if TYPE_CHECKING:
    from mvector.audio import read_audio
    from mvector.config import load_config
    from mvector.recognition.predictor import MVectorPredictor
    from mvector.training.trainer import MVectorTrainer

__all__ = ["MVectorPredictor", "MVectorTrainer", "__version__", "load_config", "read_audio"]

_HOMES = {
    "MVectorTrainer": "mvector.training.trainer",
    "MVectorPredictor": "mvector.recognition.predictor",
    "load_config": "mvector.config",
    "read_audio": "mvector.audio",
}

__getattr__ = lazy_names(__name__, _HOMES)
