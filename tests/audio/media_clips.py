"""Clips in formats that libsndfile does not write, made by PyAV."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest

RATE = 16000
# What codecs take, and containers; most take any.
_RATES = {
    "g726": 8000,
    "libopencore_amrnb": 8000,
    "flv": 44100,
    "libopus": 48000,
    "ac3": 48000,
    "eac3": 48000,
    "mp2": 48000,
}


def tone(duration_s: float = 1.0, rate: int = RATE) -> np.ndarray:
    """440 Hz, float32 ``(samples,)``."""
    return 0.5 * np.sin(2 * np.pi * 440.0 * np.arange(round(duration_s * rate)) / rate, dtype="f4")


def encode(
    codec: str,
    container: str,
    *,
    duration_s: float = 2.0,
    options: dict[str, str] | None = None,
    to_pipe: bool = False,
    spoil: Callable[[int], bool] = lambda number: False,
) -> bytes:
    """A tone, at the rate that goes with codec and container.

    ``spoil`` says of which packets the content is replaced by what is no audio.
    """
    rate = _RATES.get(container) or _RATES.get(codec, RATE)
    av = pytest.importorskip("av", reason="PyAV is not installed")
    stream = _Pipe() if to_pipe else io.BytesIO()
    with av.open(stream, "w", format=container, options=options or {}) as output:
        if options and "write_id3v2" in options:
            output.metadata["title"] = "a tone"
        track = output.add_stream(codec, rate=rate, layout="mono")
        track.bit_rate = 32000
        frame = av.AudioFrame.from_ndarray(tone(duration_s, rate)[None], "fltp", "mono")
        frame.sample_rate = rate
        converter = av.AudioResampler(track.format.name, "mono", rate)
        fifo = av.AudioFifo()
        for converted in [*converter.resample(frame), *converter.resample(None)]:
            converted.pts = None
            fifo.write(converted)
        number = 0
        size = track.codec_context.frame_size or 1024
        while (part := fifo.read(size) or fifo.read(0, partial=True)) is not None:
            for packet in track.encode(part):
                if spoil(number):
                    packet = _spoiled(packet)
                number += 1
                output.mux(packet)
        for packet in track.encode(None):
            output.mux(packet)
    return bytes(stream.data) if isinstance(stream, _Pipe) else stream.getvalue()


def _spoiled(packet: object) -> object:
    import av

    spoiled = av.Packet(b"\x55" * packet.size)
    spoiled.stream, spoiled.time_base = packet.stream, packet.time_base
    spoiled.pts, spoiled.dts, spoiled.duration = packet.pts, packet.dts, packet.duration
    return spoiled


class _Pipe:
    """What is written to cannot be gone back to."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def is_the_tone(read: np.ndarray, duration_s: float = 2.0) -> bool:
    """Whether 440 Hz are the strongest, and the duration is right to a tenth of a second."""
    spectrum = np.abs(np.fft.rfft(read[:RATE]))
    return bool(np.argmax(spectrum) == 440 and abs(len(read) / RATE - duration_s) < 0.15)
