"""Recording from a microphone, through PyAudio."""

from __future__ import annotations

import numpy as np

from mvector.errors import AudioError, MissingDependencyError


def record(duration_s: float, sample_rate: int = 16000) -> np.ndarray:
    """Record mono audio from the default input.

    Args:
        duration_s: how long, in seconds.
        sample_rate: in Hz.

    Returns:
        float32 array of shape ``(samples,)`` in [-1, 1].

    Raises:
        MissingDependencyError: PyAudio is not installed.
        AudioError: there is no microphone, or it failed.
    """
    try:
        import pyaudio
    except ImportError as error:
        raise MissingDependencyError(
            "Recording needs PyAudio: pip install 'mvector[mic]' (on Linux first: apt-get install "
            "portaudio19-dev; on macOS: brew install portaudio). A file works without it."
        ) from error
    engine = pyaudio.PyAudio()
    try:
        stream = engine.open(
            format=pyaudio.paInt16,
            channels=1,
            rate=sample_rate,
            input=True,
            frames_per_buffer=1024,
        )
        data = stream.read(round(duration_s * sample_rate), exception_on_overflow=False)
        stream.close()
    except OSError as error:
        raise AudioError(
            f"The microphone cannot be used ({error}); connect one, or give a file instead."
        ) from error
    finally:
        engine.terminate()
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0
