"""A small untrained encoder and clips of noise, for tests of what is done with embeddings."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import soundfile
import torch
from small_settings import SMALL_CONFIG

from mvector import load_config
from mvector.embedding import SpeakerEncoder
from mvector.models.speaker_model import SpeakerModel


def small_encoder(seed: int = 0) -> SpeakerEncoder:
    """The same weights for the same seed, in every process."""
    torch.manual_seed(seed)
    config = copy.deepcopy(SMALL_CONFIG)
    config["use_model"] = "TDNN"
    config["model_conf"] = {"backbone": {"embd_dim": 16, "channels": 16}}
    return SpeakerEncoder(SpeakerModel.from_config(load_config(config)), device="cpu")


def write_noise(folder: Path, count: int, *, seed: int = 0) -> list[str]:
    """Clips of 0.6 to 1.2 s, each of another colour."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        noise = generator.normal(size=int(generator.uniform(9600, 19200)))
        colour = np.convolve(noise, generator.normal(size=5), mode="same")
        paths.append(str(folder / f"clip {number:02d}.wav"))
        soundfile.write(paths[-1], 0.05 * colour, 16000)
    return paths
