"""Kinds of transmission, each with its weight, one of which a crop goes through."""

from __future__ import annotations

import numpy as np
import soundfile

from mvector.config.augment_options import CODEC_KINDS, CodecConf
from mvector.data.augmentation.bands import LOWER_RATES, RESAMPLERS, by_lower_rate, low_pass
from mvector.data.augmentation.codec import (
    FILE_TYPES,
    TELEPHONE_RATE,
    telephone_band,
    telephone_line,
    through_codec,
)
from mvector.data.augmentation.media_codecs import AMR_KBPS, require_media_codec
from mvector.errors import ConfigError, MissingDependencyError

_RATES = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
    "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
}


class Transmission:
    """A kind of transmission drawn by its weight in the configuration.

    Raises:
        ConfigError: a kind with a weight does not go with the sample rate.
        MissingDependencyError: PyAV is not installed or libsndfile too old for a kind.
    """

    def __init__(self, config: CodecConf, sample_rate: int) -> None:
        self.config, self.sample_rate = config, sample_rate
        weights = {kind: getattr(config, kind) for kind in CODEC_KINDS}
        self._kinds = [kind for kind, weight in weights.items() if weight > 0]
        self._bounds = np.cumsum([weights[kind] for kind in self._kinds]) / sum(weights.values())
        if config.prob > 0:
            for kind in self._kinds:
                _check_rate(kind, config, sample_rate)
                _check_encoder(kind)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Send a waveform ``(samples,)`` through one of the kinds."""
        place = int(np.searchsorted(self._bounds, rng.random(), side="right"))
        kind = self._kinds[min(place, len(self._kinds) - 1)]
        rate = self.sample_rate
        if kind == "telephone":
            return telephone_band(waveform, rate)
        if kind == "mu_law":
            return telephone_line(waveform, rate)
        if kind == "low_pass":
            return low_pass(waveform, rate, self._draw("cutoff_hz", rng))
        if kind == "sample_rate":
            lower_rate = int(rng.choice([lower for lower in LOWER_RATES if lower < rate]))
            return by_lower_rate(waveform, rate, lower_rate, str(rng.choice(RESAMPLERS)))
        return through_codec(waveform, rate, kind, self._draw_kbps(kind, rng))

    def _draw_kbps(self, kind: str, rng: np.random.Generator) -> float:
        if kind == "amr":
            return float(rng.choice(AMR_KBPS))
        if kind in _RATES:
            return self._draw(f"{kind}_kbps", rng)
        return 0.0  # the only one that it has

    def _draw(self, name: str, rng: np.random.Generator) -> float:
        low, high = getattr(self.config, f"min_{name}"), getattr(self.config, f"max_{name}")
        return float(rng.uniform(low, high))


def _check_rate(kind: str, config: CodecConf, sample_rate: int) -> None:
    if kind in _RATES:
        wrong = f"which {kind} does not know" if sample_rate not in _RATES[kind] else ""
    elif kind == "low_pass":
        too_low = config.max_cutoff_hz > sample_rate / 2
        wrong = "whose half is below max_cutoff_hz" if too_low else ""
    elif kind == "sample_rate":
        wrong = "which is not above the lowest rate, 8000 Hz" if sample_rate <= 8000 else ""
    else:
        wrong = "as the telephone needs at least 8000 Hz" if sample_rate < TELEPHONE_RATE else ""
    if wrong:
        cure = "lower that, or set its weight to 0" if kind == "low_pass" else "set its weight to 0"
        raise ConfigError(
            f"augment_conf.codec.{kind} does not go with {sample_rate} Hz, {wrong}; {cure}."
        )


def _check_encoder(kind: str) -> None:
    key = f"augment_conf.codec.{kind}"
    if kind in ("aac", "amr", "g722"):
        require_media_codec(kind, key)
    elif kind in FILE_TYPES and not soundfile.check_format(*FILE_TYPES[kind]):
        raise MissingDependencyError(
            f"{key} needs a newer libsndfile: pip install --upgrade soundfile, or set its weight "
            "to 0."
        )
