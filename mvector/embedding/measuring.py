"""How good a clip is, measured while it is decoded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mvector.audio.channels import ChannelChoice
from mvector.audio.clip_report import ClipReport, combine_reports, measure_clip


@dataclass
class Measures:
    """What is measured of one clip; a :class:`Listening` adds to it.

    Pieces shorter than ``least_s`` are left out; a clip that is no longer is refused anyway.
    """

    sample_rate: int
    least_s: float
    parts: list[ClipReport] = field(default_factory=list)
    choices: list[ChannelChoice] = field(default_factory=list)

    def add_samples(self, samples: np.ndarray) -> None:
        """Measure a piece."""
        if len(samples) >= round(self.least_s * self.sample_rate):
            self.parts.append(measure_clip(samples, self.sample_rate))

    def add_choice(self, choice: ChannelChoice) -> None:
        """Keep what is odd about the channels."""
        if choice.caution:
            self.choices.append(choice)

    def report(self) -> ClipReport:
        """The report on the clip."""
        return replace(combine_reports(self.parts), channels=next(iter(self.choices), None))
