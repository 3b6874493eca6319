"""All that is done to the waveform of a training crop, in the workers."""

from __future__ import annotations

import numpy as np

from mvector.config.augment_options import AugmentConf, BabbleConf, NoiseConf
from mvector.data.augmentation.clips import ClipPool
from mvector.data.augmentation.edits import add_silence, clip_loudest, flip_splice
from mvector.data.augmentation.equalizer import equalize
from mvector.data.augmentation.noise import add_noise, mix_talkers
from mvector.data.augmentation.reverb import Reverberation
from mvector.data.augmentation.speed import SPEEDS
from mvector.data.augmentation.transmission import Transmission


class WaveformAugmentor:
    """Speed, room, noise, microphone, dead air and transmission, each with its own probability.

    Args:
        config: what to do and how often.
        sample_rate: rate of the waveforms in Hz.

    Raises:
        ConfigError: a codec does not go with the sample rate.
        MissingDependencyError: a codec is not there.
        DataError: a packed corpus of noises is damaged.
    """

    def __init__(self, config: AugmentConf, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self._noises = _open_pool("noise", config.noise, config.noise.noise_dir, sample_rate)
        self._talkers = _open_pool("babble", config.babble, config.babble.babble_dir, sample_rate)
        self._reverberation = Reverberation(config.reverb, sample_rate)
        self._transmission = Transmission(config.codec, sample_rate)

    def draw_speed(self, rng: np.random.Generator) -> int:
        """Index into :data:`SPEEDS`."""
        if rng.random() < self.config.speed.prob:
            return int(rng.integers(len(SPEEDS)))
        return 0

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Everything but speed, in the order in which it happens on the way to a recording.

        The result is a function of ``waveform``, ``(samples,)`` float32 and not written to, and of
        ``rng``.
        """
        config, rate = self.config, self.sample_rate
        if _happens(config.flip_splice.prob, rng):
            waveform = flip_splice(waveform, rate, config.flip_splice, rng)
        if self._reverberation and _happens(config.reverb.prob, rng):
            waveform = self._reverberation(waveform, self._reverberation.draw_response(rng))
        if self._noises and _happens(config.noise.prob, rng):
            waveform = self._add_noise(waveform, rng)
        if self._talkers and _happens(config.babble.prob, rng):
            waveform = self._add_babble(waveform, rng)
        if _happens(config.equalizer.prob, rng):
            waveform = equalize(waveform, rate, config.equalizer, rng)
        if _happens(config.volume.prob, rng):
            gain_db = rng.uniform(config.volume.min_gain_dBFS, config.volume.max_gain_dBFS)
            waveform = waveform * np.float32(10.0 ** (gain_db / 20.0))
        if _happens(config.clipping.prob, rng):
            share = rng.uniform(config.clipping.min_share, config.clipping.max_share)
            waveform = clip_loudest(waveform, share)
        if _happens(config.silence.prob, rng):
            waveform = add_silence(waveform, rate, config.silence, rng)
        if _happens(config.codec.prob, rng):
            waveform = self._transmission(waveform, rng)
        return waveform

    def _add_noise(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        assert self._noises is not None
        index, place = int(rng.integers(len(self._noises))), rng.random()
        snr_db = rng.uniform(self.config.noise.min_snr_dB, self.config.noise.max_snr_dB)
        noise = self._noises.read_stretch(index, len(waveform), place)
        return waveform if noise is None else add_noise(waveform, noise, snr_db, out=noise)

    def _add_babble(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        assert self._talkers is not None
        config, pool = self.config.babble, self._talkers
        count = int(rng.integers(config.min_talkers, config.max_talkers + 1))
        snr_db = rng.uniform(config.min_snr_dB, config.max_snr_dB)
        talkers = []
        for clip in pool.draw_talkers(count, rng):
            talkers.append(pool.read_stretch(clip, len(waveform), rng.random()))
        babble = mix_talkers((t for t in talkers if t is not None), len(waveform))
        return add_noise(waveform, babble, snr_db, out=babble)


def _happens(prob: float, rng: np.random.Generator) -> bool:
    return prob > 0.0 and rng.random() < prob


def _open_pool(
    kind: str, config: NoiseConf | BabbleConf, folder: str | None, sample_rate: int
) -> ClipPool | None:
    """``None`` for an augmentation that never happens: its folder is not looked at."""
    if config.prob == 0.0:
        return None
    return ClipPool(kind, folder, sample_rate, cache_mb=config.cache_MB)
