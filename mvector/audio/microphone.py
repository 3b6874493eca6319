"""Recording from a microphone, through PyAudio."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from mvector.audio.clip_report import CLIPPED_FROM
from mvector.audio.level import sound_of
from mvector.errors import AudioError, import_errors_as

BLOCK_S = 0.1
TOO_QUIET_DB = -55.0  # of the loudest tenth of a second
TOO_CLIPPED = 0.01  # share of samples at full scale

_STDERR = 2
_stderr_lock = threading.Lock()


@dataclass(frozen=True)
class InputDevice:
    """A device that can record."""

    index: int
    name: str
    is_default: bool

    def __str__(self) -> str:
        return f"{self.index}: {self.name}{' (default)' if self.is_default else ''}"


def input_devices() -> list[InputDevice]:
    """The devices that can record.

    Raises:
        MissingDependencyError: PyAudio is not installed.
        AudioError: there is none.
    """
    with _pyaudio() as engine:
        try:
            default = engine.get_default_input_device_info()["index"]
        except OSError:
            default = None
        found = [engine.get_device_info_by_index(k) for k in range(engine.get_device_count())]
    devices = [
        InputDevice(int(info["index"]), str(info["name"]), info["index"] == default)
        for info in found
        if info["maxInputChannels"] > 0
    ]
    if not devices:
        raise AudioError(
            "There is no microphone here; connect one, or give a file instead.", code="microphone"
        )
    return devices


def find_device(wanted: str, devices: list[InputDevice]) -> InputDevice:
    """The device of a number, or the first one whose name holds a text.

    Raises:
        AudioError: there is no such device.
    """
    for device in devices:
        if wanted == str(device.index):
            return device
    for device in devices:
        if wanted.lower() in device.name.lower():
            return device
    names = "; ".join(str(device) for device in devices)
    raise AudioError(f"There is no input device '{wanted}'; there are: {names}.", code="microphone")


def record(
    duration_s: float,
    sample_rate: int = 16000,
    *,
    device: str | None = None,
    on_open: Callable[[], None] | None = None,
    on_block: Callable[[np.ndarray], None] | None = None,
) -> np.ndarray:
    """Record mono audio at a rate in Hz.

    Args:
        device: number of an input device or part of its name; ``None`` is the default one.
        on_open: called once the microphone listens.
        on_block: sees each tenth of a second as it comes, for a level meter.

    Returns:
        float32 array of shape ``(samples,)`` in [-1, 1].

    Raises:
        MissingDependencyError: PyAudio is not installed.
        AudioError: there is no microphone, or it failed.
    """
    wanted, parts, num_samples = round(duration_s * sample_rate), [], 0
    with open_microphone(sample_rate, device=device) as blocks:
        if on_open is not None:
            on_open()
        while num_samples < wanted:
            parts.append(next(blocks))
            num_samples += len(parts[-1])
            if on_block is not None:
                on_block(parts[-1])
    return np.concatenate(parts)[:wanted]


@contextmanager
def open_microphone(
    sample_rate: int = 16000, *, device: str | None = None
) -> Iterator[Iterator[np.ndarray]]:
    """Open a microphone; gives its blocks, float32 ``(samples,)`` of about 0.1 s, without end.

    A device that does not know the rate is recorded at its own and resampled. Errors are those of
    :func:`record`, also while blocks are read.
    """
    index = None if device is None else find_device(device, input_devices()).index
    with _pyaudio() as engine:
        stream, rate = _open_stream(engine, index, sample_rate)
        try:
            yield _microphone_blocks(stream, rate, sample_rate)
        finally:
            stream.close()


def recording_fault(waveform: np.ndarray, sample_rate: int) -> str | None:
    """Why a recording should be made again, in a few words; ``None`` for a good one."""
    block = round(BLOCK_S * sample_rate)
    blocks = [waveform[start : start + block] for start in range(0, len(waveform), block)]
    if (
        max((sound_of(part, sample_rate).level_db for part in blocks), default=-np.inf)
        < TOO_QUIET_DB
    ):
        return "too quiet"
    if np.mean(np.abs(waveform) >= CLIPPED_FROM) > TOO_CLIPPED:
        return "clipped"
    return None


def _open_stream(engine: Any, index: int | None, sample_rate: int) -> tuple[Any, int]:
    """An open stream and its rate: the one wanted, or else the device's own."""
    import pyaudio

    def open_at(rate: int) -> Any:
        return engine.open(
            format=pyaudio.paInt16,
            channels=1,
            rate=rate,
            input=True,
            input_device_index=index,
            frames_per_buffer=round(BLOCK_S * rate),
        )

    try:
        with _stderr_silenced():
            try:
                return open_at(sample_rate), sample_rate
            except OSError:
                info = (
                    engine.get_default_input_device_info()
                    if index is None
                    else engine.get_device_info_by_index(index)
                )
                rate = int(info["defaultSampleRate"])
                return open_at(rate), rate
    except OSError as error:
        raise _microphone_error(error) from error


def _microphone_blocks(stream: Any, rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    while True:
        try:
            data = stream.read(round(BLOCK_S * rate), exception_on_overflow=False)
        except OSError as error:
            raise _microphone_error(error) from error
        block = np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0
        yield block if rate == sample_rate else resampler.resample_chunk(block)


def _microphone_error(error: OSError) -> AudioError:
    reason = error.args[-1] if error.args else error
    return AudioError(
        f"The microphone cannot be used ({reason}); connect one, or give a file instead.",
        code="microphone",
    )


@contextmanager
def _pyaudio() -> Iterator[Any]:
    with import_errors_as(
        "Recording needs PyAudio: pip install pyaudio (on Linux first: apt-get install "
        "portaudio19-dev; on macOS: brew install portaudio). A file works without it."
    ):
        import pyaudio
    with _stderr_silenced():
        engine = pyaudio.PyAudio()
    try:
        yield engine
    finally:
        engine.terminate()


@contextmanager
def _stderr_silenced() -> Iterator[None]:
    """What ALSA and JACK write while devices are probed goes nowhere: it tells users nothing."""
    with _stderr_lock:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # a process without standard error
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, _STDERR)
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            os.close(nowhere)
