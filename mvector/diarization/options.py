"""How a recording is divided into voices."""

from __future__ import annotations

from dataclasses import dataclass

from mvector.audio.vad import VadMethod
from mvector.errors import MVectorError

# Reference turns of meetings and broadcasts go on over pauses of about a second: of real excerpts
# 0.5 s misses 2 % more of the speech, and nothing is gained.
_PAUSE_S, _LIVE_PAUSE_S = 1.0, 0.5


@dataclass(frozen=True)
class DiarizationOptions:
    """What is known of a recording, and how closely it is looked at.

    Attributes:
        num_speakers: how many people speak, if that is known; takes the place of the bounds.
        min_speakers: least number of people.
        max_speakers: largest number of people.
        window_s: duration of the windows that are compared, in seconds.
        hop_s: from the start of a window to that of the next, in seconds.
        max_pause_s: a person who goes on after a shorter pause, in seconds, has one turn; ``None``:
            1 s in a recording, and 0.5 s live, where somebody waits for its end.
        vad_method: what finds the speech; ``None``: silero where it is installed, else energy.

    Raises:
        MVectorError: a number makes no sense.
    """

    num_speakers: int | None = None
    min_speakers: int = 1
    max_speakers: int = 20
    window_s: float = 1.5
    hop_s: float = 0.75
    max_pause_s: float | None = None
    vad_method: VadMethod | None = None

    def __post_init__(self) -> None:
        for name in ("num_speakers", "min_speakers", "max_speakers"):
            value = getattr(self, name)
            is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not (is_count or (value is None and name == "num_speakers")):
                raise MVectorError(f"{name} is {value!r}; give a whole number from 1 up.")
        if self.min_speakers > self.max_speakers:
            raise MVectorError(
                f"min_speakers is {self.min_speakers} and max_speakers {self.max_speakers}; the "
                "first must not be the larger one."
            )
        if not 0 < self.hop_s <= self.window_s:
            raise MVectorError(
                f"hop_s is {self.hop_s!r} and window_s {self.window_s!r}; windows must follow each "
                "other without a gap."
            )

    def pause_s(self, *, live: bool = False) -> float:
        """Longest pause within a turn, in seconds."""
        if self.max_pause_s is not None:
            return self.max_pause_s
        return _LIVE_PAUSE_S if live else _PAUSE_S

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and largest number of people."""
        if self.num_speakers is not None:
            return self.num_speakers, self.num_speakers
        return self.min_speakers, self.max_speakers
