"""What a line or a compressed file does to speech: telephone, G.711, mp3, Opus, GSM, AAC, AMR."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import soundfile

from mvector.data.augmentation.bands import to_length
from mvector.data.augmentation.convolution import (
    PackedFilter,
    convolve,
    pack_filter,
    rounded_length,
)
from mvector.data.augmentation.media_codecs import through_media_codec
from mvector.data.augmentation.speed import resample

TELEPHONE_RATE = 8000
_BAND_HZ = (300.0, 3400.0)
_SKIRT_HZ = 150.0  # from the edges of the band to 60 dB below it

FILE_TYPES = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "gsm": ("WAV", "GSM610"),
}
_MP3_DELAY = 576 + 529  # of LAME and of the decoder, in samples
_OWN_RATES = {"gsm": 8000, "amr": 8000, "g722": 16000}


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

    def code(slow: np.ndarray) -> np.ndarray:
        return _in_full_scale(telephone_band(slow, TELEPHONE_RATE), mu_law)

    return _at_rate(waveform, sample_rate, TELEPHONE_RATE, code)


def through_codec(
    waveform: np.ndarray, sample_rate: int, kind: str, kbps: float = 0.0
) -> np.ndarray:
    """Encode in memory, and decode; samples stay in their places, as delays are taken out.

    Args:
        waveform: ``(samples,)``.
        sample_rate: in Hz; mp3, Opus and AAC must know it, the others are given their own rate.
        kind: ``mp3``, ``opus`` or ``gsm``, by libsndfile; ``aac``, ``amr`` or ``g722``, by PyAV.
        kbps: bit rate in kbit/s; the encoder takes the nearest that it has. GSM has 13 and G.722
            has 64 always.

    Returns:
        ``(samples,)`` float32.
    """

    rate = _OWN_RATES.get(kind, sample_rate)
    encode_and_decode = _through_file if kind in FILE_TYPES else through_media_codec

    def code(samples: np.ndarray) -> np.ndarray:
        return _in_full_scale(samples, lambda x: encode_and_decode(x, rate, kind, kbps))

    return _at_rate(waveform, sample_rate, rate, code)


def _through_file(waveform: np.ndarray, rate: int, kind: str, kbps: float) -> np.ndarray:
    """Encoders write their delay into the file, and libsndfile takes it out again.

    The frames of an mp3 of 16 kbit/s are too short for that; its delay is taken out here.
    """
    file_type, subtype = FILE_TYPES[kind]
    buffer = io.BytesIO()
    soundfile.write(
        buffer, waveform, rate, format=file_type, subtype=subtype, **_file_options(kind, rate, kbps)
    )
    buffer.seek(0)
    decoded = soundfile.read(buffer, dtype="float32")[0]
    if kind == "mp3" and len(decoded) != len(waveform):
        decoded = decoded[_MP3_DELAY:]
    return to_length(decoded, len(waveform))


def _file_options(kind: str, rate: int, kbps: float) -> dict[str, Any]:
    """libsndfile turns a level of compression, 0 to 1, into a bit rate in a range of its own."""
    if kind == "opus":
        return {"compression_level": float(np.clip((256 - kbps) / 250, 0.0, 1.0))}
    if kind == "mp3":
        low, high = (32, 320) if rate >= 32000 else (8, 160) if rate >= 16000 else (8, 64)
        level = float(np.clip((high - kbps) / (high - low), 0.0, 0.99))  # 1.0 is refused
        return {"compression_level": level, "bitrate_mode": "CONSTANT"}
    return {}


def _at_rate(
    waveform: np.ndarray, sample_rate: int, rate: int, code: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    if rate == sample_rate:
        return code(waveform)
    ratio = Fraction(rate, sample_rate)
    coded = code(resample(waveform, ratio.numerator, ratio.denominator))
    return to_length(resample(coded, ratio.denominator, ratio.numerator), len(waveform))


def _in_full_scale(waveform: np.ndarray, code: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Code a waveform that may exceed full scale without clipping it."""
    peak = float(max(waveform.max(initial=0.0), -waveform.min(initial=0.0)))
    if peak <= 1.0:
        return code(waveform)
    return code(waveform * np.float32(1.0 / peak)) * np.float32(peak)


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
