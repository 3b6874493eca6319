"""Reverberation: convolution with impulse responses, measured or simulated."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from mvector.config.augment_options import ReverbConf
from mvector.data.augmentation.clips import ClipPool
from mvector.data.augmentation.convolution import (
    PackedFilter,
    convolve,
    pack_filter,
    rounded_length,
)
from mvector.data.augmentation.memory import SharedArrays
from mvector.data.augmentation.noise import mean_power
from mvector.data.augmentation.rooms import draw_room, simulate_room

logger = logging.getLogger(__name__)

_ONSET = 0.1  # ISO 3382-1: a response begins where it comes within 20 dB of its maximum
_STRONG = 0.5
_DIRECT_S = 0.0025  # the direct sound is over after this time
_FADE_SHARE = 0.2
_SPECTRA_BYTES = 128_000_000


def direct_path(impulse_response: np.ndarray, sample_rate: int) -> int:
    """The sample at which the direct sound arrives.

    The onset is the first sample within 20 dB of the maximum of all (ISO 3382-1), and the direct
    sound is the first peak of the 2.5 ms from there on that is within 6 dB of the highest in them.
    So a reflection or a swelling tail that is louder than the direct sound, as far from the source
    or behind a corner, is not taken for it, as long as it is not more than 20 dB louder; nor is the
    ripple that a low-pass filter leaves before a pulse.
    """
    magnitudes = np.abs(impulse_response)
    onset = int(np.argmax(magnitudes >= _ONSET * magnitudes.max()))
    window = max(1, round(_DIRECT_S * sample_rate))
    early = np.append(magnitudes[onset : onset + window], 0.0)
    strong = early >= _STRONG * early.max()
    return onset + int(np.argmax(strong[:-1] & (early[:-1] >= early[1:])))


def prepare_response(
    impulse_response: np.ndarray, sample_rate: int, max_duration_s: float | None = None
) -> tuple[np.ndarray, int]:
    """Cut an impulse response to what is needed of it.

    What comes more than 2.5 ms before the direct sound goes: it is the way to the microphone and
    the noise of the recording. What comes after ``max_duration_s`` goes too, and the fifth of the
    time before it is faded out (half a cosine), so that the cut makes no click.

    Returns:
        The taps ``(samples,)`` float32, and which of them is the direct sound.
    """
    direct = direct_path(impulse_response, sample_rate)
    start = max(0, direct - round(_DIRECT_S * sample_rate))
    taps = impulse_response[start:].astype(np.float32)
    longest = round(max_duration_s * sample_rate) if max_duration_s else len(taps)
    if len(taps) > longest:
        taps = taps[:longest]
        num_faded = min(round(_FADE_SHARE * longest), longest - (direct - start) - 1)
        if num_faded > 0:
            fade = np.cos(np.pi / 2 * np.arange(1, num_faded + 1) / num_faded) ** 2
            taps[-num_faded:] *= fade.astype(np.float32)
    return taps, direct - start


def add_reverb(
    waveform: np.ndarray, impulse_response: np.ndarray, sample_rate: int = 16000
) -> np.ndarray:
    """Convolve with a room's impulse response; the direct sound stays where it was.

    The result has the waveform's length and its power. A silent response changes nothing.
    """
    if not np.any(impulse_response):
        return waveform
    taps, direct = prepare_response(impulse_response, sample_rate)
    return _at_power_of(waveform, convolve(waveform, pack_filter(taps, len(waveform)), direct))


def _at_power_of(waveform: np.ndarray, wet: np.ndarray) -> np.ndarray:
    wet_power = mean_power(wet)
    if wet_power == 0.0:
        return waveform
    wet *= np.float32(np.sqrt(mean_power(waveform) / wet_power))
    return wet


class _Prepared(NamedTuple):
    filter: PackedFilter
    direct: int


class Reverberation:
    """Impulse responses to be drawn from, with their spectra.

    Measured responses come from the folder; simulated rooms are drawn from ``room_seed`` and their
    number, so that they are the same in every process, and computed when first used (about 10
    milliseconds each), once for all forked workers. Where there are both, each kind is
    drawn half of the time. Spectra are kept by each process, up to 128 MB.
    """

    def __init__(self, config: ReverbConf, sample_rate: int) -> None:
        self.config, self.sample_rate = config, sample_rate
        folder = config.reverb_dir if config.prob > 0 else None
        self._measured: ClipPool | None = None
        if config.prob > 0 and (folder or not config.simulate):
            self._measured = ClipPool(
                "reverb",
                folder,
                sample_rate,
                cache_mb=config.cache_MB,
                dtype=np.float32,
                if_empty="has simulated rooms only" if config.simulate else "is off",
            )
        self._num_measured = len(self._measured or ())
        self._num_rooms = config.num_rooms if config.prob > 0 and config.simulate else 0
        room_samples = round(config.max_duration_s * sample_rate)
        room_bytes = self._num_rooms * room_samples * 4
        self._rooms = SharedArrays([room_samples] * self._num_rooms, np.float32, room_bytes)
        self._spectra: dict[tuple[int, int], _Prepared | None] = {}
        self._num_bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_spectra": {}, "_num_bytes": 0}

    def __len__(self) -> int:
        return self._num_measured + self._num_rooms

    def draw_response(self, rng: np.random.Generator) -> int:
        """The number of a response: measured ones come first, then the rooms."""
        if self._num_measured and self._num_rooms:
            if rng.random() < 0.5:
                return int(rng.integers(self._num_measured))
            return self._num_measured + int(rng.integers(self._num_rooms))
        return int(rng.integers(len(self)))

    def read_response(self, index: int) -> np.ndarray | None:
        """One impulse response as it was recorded or computed; ``None`` if it is damaged."""
        if index < self._num_measured and self._measured is not None:
            return self._measured.read_whole(index)
        room = index - self._num_measured
        return self._rooms.read(room, lambda: self._simulate(room))

    def __call__(self, waveform: np.ndarray, index: int) -> np.ndarray:
        """As :func:`add_reverb`, with one of the responses."""
        key = (index, rounded_length(len(waveform)))
        if key in self._spectra:
            prepared = self._spectra[key]
        else:
            prepared = self._prepare(*key)
            num_bytes = sum(part.nbytes for part in prepared.filter) if prepared else 0
            if self._num_bytes + num_bytes <= _SPECTRA_BYTES:
                self._spectra[key] = prepared
                self._num_bytes += num_bytes
        if prepared is None:
            return waveform
        return _at_power_of(waveform, convolve(waveform, prepared.filter, prepared.direct))

    def _prepare(self, index: int, num_samples: int) -> _Prepared | None:
        response = self.read_response(index)
        if response is None or not np.any(response):
            return None
        taps, direct = prepare_response(response, self.sample_rate, self.config.max_duration_s)
        return _Prepared(pack_filter(taps, num_samples), direct)

    def _simulate(self, room: int) -> np.ndarray:
        rng = np.random.default_rng((self.config.room_seed, room))
        drawn = draw_room(self.config, rng)
        duration_s = min(self.config.max_duration_s, drawn.rt60_s)
        return simulate_room(drawn, self.sample_rate, duration_s)
