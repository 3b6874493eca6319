"""A model folder made in a moment: untrained, with a calibration that is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_encoder import small_encoder

from mvector.demo.voices import random_voice, synthesise
from mvector.evaluation import Calibration, calibrate
from mvector.models.folder import save_model_folder

RATE = 16000


def small_calibration() -> Calibration:
    """Targets around 0.7, others around 0.3: the threshold is near 0.5."""
    generator = np.random.default_rng(0)
    labels = np.arange(600) < 200
    scores = np.where(labels, 0.7, 0.3) + 0.1 * generator.normal(size=600)
    return calibrate(scores, labels, description="made-up trials")


def small_model(folder: Path, seed: int = 0) -> Path:
    """Write it; the same in every process, and another for another seed."""
    model = small_encoder(seed).model
    save_model_folder(folder, model, calibration=small_calibration().to_dict())
    return folder


def speech(voice: int, duration_s: float = 2.5, seed: int = 0) -> np.ndarray:
    """A synthetic voice at 16 kHz, float32."""
    return synthesise(random_voice(voice), duration_s, RATE, seed=seed).astype(np.float32)
