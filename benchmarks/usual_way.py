"""Training crops as a straightforward data set makes them: clip by clip, with well-known functions.

What :mod:`data` compares with. Noises and impulse responses are held in memory, decoded;
so what differs is the work on each crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve, resample_poly

from mvector.audio import read_audio
from mvector.config import AugmentConf

DOWN = {0.9: 9, 1.0: 10, 1.1: 11}  # ten samples take the place of so many


class UsualWay:
    """Random crops with speed, reverberation and noise.

    Args:
        paths: mono clips, longer than the crop at every speed.
        config: the augmentation, of which speed, reverb and noise are done.
        sample_rate: of the clips, in Hz.
        crop_s: in seconds.
    """

    def __init__(
        self, paths: Sequence[str], config: AugmentConf, sample_rate: int, crop_s: float
    ) -> None:
        self.paths, self.config, self.sample_rate = paths, config, sample_rate
        self.num_samples = round(crop_s * sample_rate)
        self.noises = _decoded(config.noise.noise_dir, sample_rate)
        self.responses = _decoded(config.reverb.reverb_dir, sample_rate)

    def __call__(self, position: int, clip: int) -> tuple[np.ndarray, np.ndarray]:
        """A crop ``(samples,)`` and the random numbers of its feature masks."""
        rng = np.random.default_rng((0, 0, position))
        config = self.config
        speed = float(rng.choice([0.9, 1.0, 1.1])) if rng.random() < config.speed.prob else 1.0
        needed = -(-self.num_samples * DOWN[speed] // 10)
        total = soundfile.info(self.paths[clip]).frames
        start = int(rng.integers(max(total - needed, 0) + 1))
        crop, _ = soundfile.read(self.paths[clip], frames=needed, start=start, dtype="float32")
        if speed != 1.0:
            crop = resample_poly(crop, 10, DOWN[speed])
        crop = np.resize(crop, self.num_samples)
        if rng.random() < config.reverb.prob:
            crop = self._reverberant(crop, self.responses[rng.integers(len(self.responses))])
        if rng.random() < config.noise.prob:
            crop = self._noisy(crop, rng)
        return crop, rng.random(5, dtype=np.float32)

    def _reverberant(self, crop: np.ndarray, response: np.ndarray) -> np.ndarray:
        direct = int(np.argmax(np.abs(response)))
        longest = round(self.config.reverb.max_duration_s * self.sample_rate)
        wet = fftconvolve(crop, response[: direct + longest])[direct : direct + len(crop)]
        return wet * np.float32(np.sqrt(np.mean(crop**2) / np.mean(wet**2)))

    def _noisy(self, crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = self.noises[rng.integers(len(self.noises))]
        start = int(rng.integers(max(len(noise) - len(crop), 0) + 1))
        stretch = np.resize(noise[start : start + len(crop)], len(crop))
        snr_db = rng.uniform(self.config.noise.min_snr_dB, self.config.noise.max_snr_dB)
        gain = np.sqrt(np.mean(crop**2) / (np.mean(stretch**2) * 10 ** (snr_db / 10) + 1e-12))
        return crop + np.float32(gain) * stretch


@lru_cache(maxsize=4)
def _decoded(folder: str | None, sample_rate: int) -> list[np.ndarray]:
    paths = sorted(Path(folder).rglob("*.*")) if folder else []
    return [read_audio(path, sample_rate) for path in paths if path.suffix in (".wav", ".flac")]
