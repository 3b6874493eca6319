"""What a clip may claim: bounds that hold before anything is allocated or decoded."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mvector.errors import AudioError, MVectorError


@dataclass(frozen=True)
class AudioLimits:
    """Bounds on what is decoded, against damaged headers and decompression bombs.

    A few kilobytes of FLAC can hold days of silence, and a header can claim anything. A stretch
    asked for by offset and duration counts with its own length only.

    Raises:
        MVectorError: a bound is no number above 0.
    """

    max_duration_s: float = 4 * 3600.0  # of the stretch that is decoded
    max_sample_rate: int = 384_000  # in Hz
    max_channels: int = 16
    max_samples_per_s: int = 16 * 384_000  # of all channels: what a second costs to decode
    max_stream_bytes: int = 1 << 30  # read of a stream that cannot seek, such as a pipe

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_number and value > 0):
                raise MVectorError(f"AudioLimits: {name} is {value!r}; give a number above 0.")

    def check_layout(self, sample_rate: int, num_channels: int, name: str) -> None:
        """Raise AudioError for a rate or number of channels that no recording has."""
        if not 1_000 <= sample_rate <= self.max_sample_rate:
            raise AudioError(
                f"{name} has the sample rate {sample_rate} Hz; rates from 1,000 to "
                f"{self.max_sample_rate:,} Hz are sound.",
                code="audio-beyond-limits",
            )
        if not 1 <= num_channels <= self.max_channels:
            raise AudioError(
                f"{name} has {num_channels} channels, and at most {self.max_channels} are read; "
                "mix them down, or raise AudioLimits.max_channels.",
                code="audio-beyond-limits",
            )
        if sample_rate * num_channels > self.max_samples_per_s:
            raise AudioError(
                f"{name} has {num_channels} channels at {sample_rate:,} Hz, and at most "
                f"{self.max_samples_per_s:,} samples a second are decoded; convert it, or raise "
                "AudioLimits.max_samples_per_s.",
                code="audio-beyond-limits",
            )

    def check_duration(self, duration_s: float, name: str) -> None:
        """Raise AudioError for a stretch that is longer than ``max_duration_s``."""
        if duration_s > self.max_duration_s:
            raise AudioError(
                f"{name} claims to last {_in_words(duration_s)}, and at most "
                f"{_in_words(self.max_duration_s)} are decoded; cut it into shorter ones, or raise "
                "AudioLimits.max_duration_s.",
                code="audio-beyond-limits",
            )


def _in_words(duration_s: float) -> str:
    if duration_s < 120.0:
        return f"{duration_s:.3g} s"
    if duration_s < 7200.0:
        return f"{duration_s / 60.0:.3g} min"
    return f"{round(duration_s / 3600.0, 1):,g} h"


DEFAULT_LIMITS = AudioLimits()
