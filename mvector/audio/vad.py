"""Voice activity detection: where a clip holds speech, and the clip without the rest.

Two detectors find stretches of activity; the same rules make segments of them. ``energy`` compares
the level of a frame with the loudest frame of the clip. It is fast and exact where the pauses are
quiet; noise less than 40 dB below the loudest frame counts as speech, and so does any loud sound.
``silero`` asks a small recurrent network whether a chunk of 32 ms is speech, and so tells speech
from noise at several times the cost. Both hear the clip without its offset, see
:func:`mvector.audio.level.sound_of`; what they keep is the clip as it is.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import soxr

from mvector.audio.level import SILENCE_DB, sound_of
from mvector.audio.silence import stretches_of
from mvector.errors import AudioError, ConfigError, MissingDependencyError, import_errors_as

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

VadMethod: TypeAlias = Literal["energy", "silero"]

# Both detectors. A pause is longer than the two paddings inside it, so segments never touch.
MIN_PAUSE_S = 0.3  # shorter gaps (closures of stops, breaths) belong to the speech around them
MIN_SPEECH_S = 0.1  # shorter stretches are clicks
PADDING_S = 0.05  # kept before and after speech: weak onsets and the decay of the last sound

ENERGY_TOP_DB = 40.0  # a frame this far below the loudest one is silence
_ENERGY_FRAME_S, _ENERGY_SHIFT_S = 0.032, 0.01

# Hysteresis on the network's probability: speech begins at the first and lasts above the second.
SILERO_ONSET, SILERO_OFFSET = 0.5, 0.35
SILERO_RATE = 16000
_SILERO_LEVEL_DB = -30.0  # quieter clips are raised to it, as the network misses quiet speech
CHUNK, _CONTEXT, _STATE = 512, 64, 128  # new samples, samples repeated before them, LSTM units
_CHUNKS_PER_CALL = 512  # 16 s, which bounds the memory of a call

_NO_STRETCHES = np.empty((0, 2), dtype=np.int64)


def trim_silence(
    waveform: np.ndarray, sample_rate: int, method: VadMethod = "energy"
) -> np.ndarray:
    """Join the segments of :func:`speech_segments`, which has the same arguments and errors.

    Returns:
        float32 array of shape ``(speech_samples,)``; empty where the clip holds no speech.
    """
    segments = speech_segments(waveform, sample_rate, method)
    return np.concatenate([waveform[:0], *(waveform[start:stop] for start, stop in segments)])


def speech_segments(
    waveform: np.ndarray, sample_rate: int, method: VadMethod = "energy"
) -> list[tuple[int, int]]:
    """Find the speech in a clip; gives ``(start, stop)`` of each segment in samples, in order.

    Gaps below 0.3 s are bridged, then stretches below 0.1 s are dropped, and 0.05 s of what
    surrounds speech is kept on either side.

    Args:
        waveform: float32 of shape ``(samples,)`` in [-1, 1].
        sample_rate: in Hz.
        method: ``energy``: frames of 32 ms within 40 dB of the loudest one, by
            ``librosa.effects.split``; finds pauses only where they are that quiet.
            ``silero``: the network of the package silero-vad (https://github.com/snakers4/silero-vad,
            MIT licence) through onnxruntime, on the clip resampled to 16 kHz.

    Raises:
        AudioError: the waveform is not mono.
        ConfigError: the method is unknown.
        MissingDependencyError: the detector is not installed.
    """
    if waveform.ndim != 1:
        raise AudioError(
            f"Speech is sought in one channel, shape (samples,), not {waveform.shape}; "
            "average the channels first."
        )
    if method == "energy":
        active = _energy_activity(waveform, sample_rate)
    elif method == "silero":
        active = _silero_activity(waveform, sample_rate)
    else:
        raise ConfigError(f"The VAD method '{method}' is unknown; use 'energy' or 'silero'.")
    segments = merge_and_pad(active, len(waveform), sample_rate)
    return [(int(start), int(stop)) for start, stop in segments]


def merge_and_pad(active: np.ndarray, num_samples: int, sample_rate: int) -> np.ndarray:
    """Bridge short gaps, drop short stretches, pad: ``(stretches, 2)`` to ``(segments, 2)``."""
    if not len(active):
        return active
    pauses = active[1:, 0] - active[:-1, 1] >= MIN_PAUSE_S * sample_rate
    starts = active[np.r_[True, pauses], 0]
    stops = active[np.r_[pauses, True], 1]
    long = stops - starts >= MIN_SPEECH_S * sample_rate
    padding = round(PADDING_S * sample_rate)
    padded = np.stack([starts[long] - padding, stops[long] + padding], axis=1)
    return np.clip(padded, 0, num_samples)


def _energy_activity(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Stretches ``(stretches, 2)`` in samples whose level is near that of the loudest frame."""
    with import_errors_as(
        "The energy VAD needs librosa: pip install librosa, or set do_vad to False."
    ):
        from librosa.effects import split
    sound = sound_of(waveform, sample_rate)
    if sound.level_db < SILENCE_DB:  # relative to its own peak, silence would be loud
        return _NO_STRETCHES
    return split(
        sound.placed,
        top_db=ENERGY_TOP_DB,
        frame_length=round(_ENERGY_FRAME_S * sample_rate),
        hop_length=round(_ENERGY_SHIFT_S * sample_rate),
    )


def _silero_activity(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Stretches ``(stretches, 2)`` in samples that the network calls speech."""
    session = _silero_session(os.getpid())
    sound = sound_of(waveform, sample_rate)
    if sound.level_db < SILENCE_DB:
        return _NO_STRETCHES
    gain_db = max(0.0, _SILERO_LEVEL_DB - sound.level_db)
    resampled = np.asarray(sound.placed * 10.0 ** (gain_db / 20.0), dtype=np.float32)
    if sample_rate != SILERO_RATE:
        resampled = soxr.resample(resampled, sample_rate, SILERO_RATE)
    return speech_of(_silero_probabilities(session, resampled), sample_rate, len(waveform))


def _silero_probabilities(session: InferenceSession, waveform: np.ndarray) -> np.ndarray:
    """Probability of speech ``(chunks,)`` in each chunk of a 16 kHz clip, the last one padded."""
    num_chunks = -(-len(waveform) // CHUNK)
    return SileroNetwork(session)(np.pad(waveform, (0, num_chunks * CHUNK - len(waveform))))


class SileroNetwork:
    """The network on sound that comes in parts, of which it remembers what went before.

    Args:
        session: the network; ``None`` takes that of this process.

    Raises:
        MissingDependencyError: it is not installed.
    """

    def __init__(self, session: InferenceSession | None = None) -> None:
        self._session = _silero_session(os.getpid()) if session is None else session
        self._last = np.zeros(_CONTEXT, np.float32)  # each chunk follows the samples before it
        self._hidden = self._cell = np.zeros((1, 1, _STATE), dtype=np.float32)

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Probability of speech ``(chunks,)`` in what comes next: float32 chunks at 16 kHz."""
        sound = np.concatenate([self._last, waveform])
        self._last = sound[-_CONTEXT:].copy()
        probabilities = [np.zeros(0, np.float32)]
        chunks = np.zeros((0, _CONTEXT + CHUNK), np.float32)
        if len(waveform):
            chunks = np.lib.stride_tricks.sliding_window_view(sound, _CONTEXT + CHUNK)[::CHUNK]
        for first in range(0, len(chunks), _CHUNKS_PER_CALL):
            block = np.ascontiguousarray(chunks[first : first + _CHUNKS_PER_CALL])
            values, self._hidden, self._cell = self._session.run(
                ["speech_probs", "hn", "cn"],
                {"input": block, "h": self._hidden, "c": self._cell},
            )
            probabilities.append(values)
        return np.concatenate(probabilities)


def speech_of(
    probabilities: np.ndarray, sample_rate: int, num_samples: int, first: int = 0
) -> np.ndarray:
    """Stretches ``(stretches, 2)`` in samples of the chunks ``(chunks,)`` that are speech.

    There are ``first`` chunks before these, and ``num_samples`` with all of them.
    """
    chunks = stretches_of(_hysteresis(probabilities)) + first
    samples = np.rint(chunks * (CHUNK * sample_rate / SILERO_RATE)).astype(np.int64)
    return np.minimum(samples, num_samples)


def _hysteresis(probabilities: np.ndarray) -> np.ndarray:
    """Whether each chunk is speech: between the two thresholds the last decision stands."""
    decided = (probabilities >= SILERO_ONSET) | (probabilities < SILERO_OFFSET)
    last_decided = np.maximum.accumulate(np.where(decided, np.arange(len(probabilities)), 0))
    return probabilities[last_decided] >= SILERO_ONSET


@lru_cache(maxsize=1)
def _silero_session(process: int) -> InferenceSession:
    """The network, loaded once in each process (a forked worker makes its own), on one thread."""
    package = find_spec("silero_vad")  # located, not imported: importing it would set up torch
    try:
        import onnxruntime
    except ImportError:
        package = None
    if package is None or not package.submodule_search_locations:
        raise MissingDependencyError(
            "The silero VAD needs two packages: pip install silero-vad onnxruntime, or set the VAD "
            "method to 'energy'."
        )
    # One call runs many chunks; the streaming model of the same weights takes one at a time.
    name = "silero_vad_16k_sequence.onnx"
    file = Path(package.submodule_search_locations[0]) / "data" / name
    if not file.is_file():
        raise MissingDependencyError(
            f"The silero-vad installed here has no {name}: pip install -U silero-vad."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; it warns of unused weights in the file
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
