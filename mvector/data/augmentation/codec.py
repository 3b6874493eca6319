"""What a transmission does to speech: the telephone's band, G.711, mp3 and Opus."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np
import soundfile

from mvector.config.augment_options import CodecConf
from mvector.data.augmentation.convolution import (
    PackedFilter,
    convolve,
    pack_filter,
    rounded_length,
)
from mvector.data.augmentation.speed import resample
from mvector.errors import ConfigError, MissingDependencyError

_TELEPHONE_RATE = 8000
_BAND_HZ = (300.0, 3400.0)
_SKIRT_HZ = 150.0  # from the edges of the band to 60 dB below it

_FILE_TYPES = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS")}
_RATES = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
}


def telephone_band(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Keep 300 to 3400 Hz, the band of the telephone (ITU-T G.712).

    The filter is linear-phase and its delay is taken out: flat within 0.1 dB in the band, at least
    60 dB down below 150 Hz and above 3550 Hz. The rate must be 8000 Hz or more.
    """
    packed, delay = _telephone_filter(sample_rate, rounded_length(len(waveform)))
    return convolve(waveform, packed, delay)


def mu_law(waveform: np.ndarray) -> np.ndarray:
    """Through 8-bit mu-law codes and back (ITU-T G.711); what exceeds full scale is clipped."""
    full = np.rint(waveform * np.float32(32768.0))
    codes = np.clip(full, -32768, 32767).astype(np.int16)
    return _mu_law_table()[codes.view(np.uint16)]


def telephone_line(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """A digital telephone line: its band, 8000 samples per second, mu-law, and back."""
    ratio = Fraction(_TELEPHONE_RATE, sample_rate)
    slow = resample(waveform, ratio.numerator, ratio.denominator)
    coded = _in_full_scale(telephone_band(slow, _TELEPHONE_RATE), mu_law)
    return _to_length(resample(coded, ratio.denominator, ratio.numerator), len(waveform))


def through_file(
    waveform: np.ndarray, sample_rate: int, kind: str, compression: float
) -> np.ndarray:
    """Encode as mp3 or Opus in memory, and decode.

    The encoder's delay is written into the file and taken out by libsndfile, so that samples stay
    in their places.

    Args:
        waveform: ``(samples,)``.
        sample_rate: one that the codec knows, in Hz.
        kind: ``mp3`` or ``opus``.
        compression: 0 (best) to 1 (smallest). Opus: 0.8 is 56 kbit/s, 0.95 is 18 kbit/s.
    """

    def encode_and_decode(samples: np.ndarray) -> np.ndarray:
        file_type, subtype = _FILE_TYPES[kind]
        options = {"format": file_type, "subtype": subtype, "compression_level": compression}
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, sample_rate, **options)
        buffer.seek(0)
        return soundfile.read(buffer, dtype="float32")[0]

    return _to_length(_in_full_scale(waveform, encode_and_decode), len(waveform))


class Transmission:
    """A kind of transmission drawn by its weight in the configuration.

    Raises:
        ConfigError: a kind with a weight does not go with the sample rate.
        MissingDependencyError: libsndfile is too old for mp3 or Opus.
    """

    def __init__(self, config: CodecConf, sample_rate: int) -> None:
        self.config, self.sample_rate = config, sample_rate
        weights = {kind: getattr(config, kind) for kind in ("telephone", "mu_law", "mp3", "opus")}
        self._kinds = [kind for kind, weight in weights.items() if weight > 0]
        self._bounds = np.cumsum([weights[kind] for kind in self._kinds]) / sum(weights.values())
        if config.prob > 0:
            for kind in self._kinds:
                _check_codec(kind, sample_rate)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Send a waveform ``(samples,)`` through one of the kinds."""
        place = int(np.searchsorted(self._bounds, rng.random(), side="right"))
        kind = self._kinds[min(place, len(self._kinds) - 1)]
        if kind == "telephone":
            return telephone_band(waveform, self.sample_rate)
        if kind == "mu_law":
            return telephone_line(waveform, self.sample_rate)
        compression = rng.uniform(self.config.min_compression, self.config.max_compression)
        return through_file(waveform, self.sample_rate, kind, compression)


def _check_codec(kind: str, sample_rate: int) -> None:
    if kind in _RATES:
        if sample_rate not in _RATES[kind]:
            raise ConfigError(
                f"augment_conf.codec.{kind} does not go with {sample_rate} Hz, which {kind} does "
                "not know; set its weight to 0."
            )
        file_type, subtype = _FILE_TYPES[kind]
        if not soundfile.check_format(file_type, subtype):
            raise MissingDependencyError(
                f"augment_conf.codec.{kind} needs a newer libsndfile: "
                "pip install --upgrade soundfile, or set its weight to 0."
            )
    elif sample_rate < _TELEPHONE_RATE:
        raise ConfigError(
            f"augment_conf.codec.{kind} does not go with {sample_rate} Hz: the telephone's band "
            "needs at least 8000 Hz; set its weight to 0."
        )


def _in_full_scale(waveform: np.ndarray, code: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Code a waveform that may exceed full scale without clipping it."""
    peak = float(max(waveform.max(initial=0.0), -waveform.min(initial=0.0)))
    if peak <= 1.0:
        return code(waveform)
    return code(waveform * np.float32(1.0 / peak)) * np.float32(peak)


def _to_length(waveform: np.ndarray, num_samples: int) -> np.ndarray:
    return np.pad(waveform, (0, max(0, num_samples - len(waveform))))[:num_samples]


@lru_cache(maxsize=16)
def _telephone_filter(sample_rate: int, num_samples: int) -> tuple[PackedFilter, int]:
    low = (_BAND_HZ[0] - _SKIRT_HZ / 2) / sample_rate
    high = (_BAND_HZ[1] + _SKIRT_HZ / 2) / sample_rate
    half = int(np.ceil((65.0 - 7.95) / (14.36 * _SKIRT_HZ / sample_rate) / 2))
    places = np.arange(-half, half + 1)
    window = np.kaiser(len(places), 0.1102 * (65.0 - 8.7))
    band = 2 * high * np.sinc(2 * high * places) - 2 * low * np.sinc(2 * low * places)
    return pack_filter((band * window).astype(np.float32), num_samples), half


@lru_cache(maxsize=1)
def _mu_law_table() -> np.ndarray:
    """What each 16-bit value, taken as unsigned, comes back as."""
    values = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int64)
    biased = np.minimum(np.abs(values), 32635) + 132
    exponent = np.floor(np.log2(biased)).astype(np.int64) - 7
    mantissa = (biased >> (exponent + 3)) & 15
    decoded = (((mantissa << 3) + 132) << exponent) - 132
    return (np.where(values < 0, -decoded, decoded) / 32768.0).astype(np.float32)
