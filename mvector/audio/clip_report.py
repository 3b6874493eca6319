"""What a clip is worth as evidence of a voice, measured, and what is wrong with it in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mvector.audio.band import measure_band
from mvector.audio.channels import ChannelChoice
from mvector.audio.quality import SpeechQuality, quality_of, speech_frames

CLIPPED_FROM = 0.985  # of full scale: resampling moves clipped samples a little
NARROW_BAND_HZ = 4300.0  # telephone speech ends at 4 kHz or below, and filters have slopes
QUIET_FROM_SNR_DB = 25.0  # below, noise may be what hides the highest frequencies of a voice
MANY_HOLES = 0.035  # of the spectrum: natural speech has less, mp3 at 24 kbit/s twice as much


@dataclass(frozen=True)
class ClipReport:
    """What was measured on a clip's sound, at the rate of the model.

    Offset, drift and digital silence are no sound, see :func:`mvector.audio.level.sound_of`, and
    have no part in any measure but ``duration_s``, and ``clipped_share``, as full scale is counted
    from zero.
    """

    duration_s: float
    speech_s: float  # seconds of speech; see mvector.audio.quality.clip_quality
    snr_db: float  # estimate of the signal-to-noise ratio, 0 to 60
    clipped_share: float  # of the samples: at or above 98.5 % of full scale
    low_edge_hz: float  # lowest and highest frequency of the speech, and the share of its spectrum
    bandwidth_hz: float  # that is empty, as codecs leave it; see mvector.audio.band.measure_band
    hole_share: float
    level_db: float  # RMS, relative to full scale; -inf without sound
    sound_s: float  # seconds that are not digital silence
    channels: ChannelChoice | None = None  # of a clip of several channels, if they are odd

    @property
    def quality(self) -> SpeechQuality:
        """What a calibration can take into account."""
        return SpeechQuality(
            self.speech_s, self.snr_db, self.low_edge_hz, self.bandwidth_hz, self.hole_share
        )

    @property
    def has_many_holes(self) -> bool:
        """Whether a codec at a low rate left much of the spectrum empty."""
        return self.hole_share > MANY_HOLES

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; a level of -inf is ``None`` there.

        ``channels`` is ``None``, or what is odd about them in words.
        """
        values = asdict(self)
        values["channels"] = None if self.channels is None else str(self.channels)
        values["level_db"] = self.level_db if np.isfinite(self.level_db) else None
        return values

    def __str__(self) -> str:
        holes = f", {_percent(self.hole_share)} of it missing" if self.has_many_holes else ""
        return (
            f"{self.speech_s:.1f} s of speech in {self.duration_s:.1f} s, "
            f"SNR {self.snr_db:.0f} dB, {100.0 * self.clipped_share:.1f} % clipped, "
            f"{self.low_edge_hz:.0f} Hz to {self.bandwidth_hz / 1000.0:.1f} kHz{holes}, "
            f"level {self.level_db:.0f} dB"
        )


@dataclass(frozen=True)
class QualityLimits:
    """Bounds on the measures of :class:`ClipReport`; ``None`` leaves a measure out.

    The defaults are those of clips that are to be trusted, :data:`TRUSTED`. How many clips of real
    corpora they complain of stands in ``benchmarks/RESULTS.md``.
    """

    min_speech_s: float | None = 1.0
    min_snr_db: float | None = 12.0
    max_clipped_share: float | None = 0.001
    min_bandwidth_hz: float | None = NARROW_BAND_HZ
    min_level_db: float | None = -45.0
    max_hole_share: float | None = MANY_HOLES
    different_channels: bool = False  # whether two channels may hold different voices
    empty_channel: bool = False  # whether one may be empty; the other one is heard then

    def reasons(self, report: ClipReport) -> tuple[str, ...]:
        """What a clip falls short of, each in a few words; empty for a good one."""
        return tuple(reason for reason in self.shortcomings(report) if reason is not None)

    def shortcomings(self, report: ClipReport) -> tuple[str | None, ...]:
        """The same for each thing that is looked at, what matters most first; ``None``: good."""
        caution = report.channels.caution if report.channels else None
        is_odd = (caution == "different" and not self.different_channels) or (
            caution == "empty" and not self.empty_channel
        )
        # Without speech there is no ratio of speech to noise, and no band of speech.
        has_speech = report.speech_s > 0
        is_noisy = _is_below(report.snr_db, self.min_snr_db) and has_speech
        # Strong noise hides the highest frequencies of speech, whatever the channel.
        is_narrow = _is_below(report.bandwidth_hz, self.min_bandwidth_hz) and not is_noisy
        cause = "" if report.snr_db >= QUIET_FROM_SNR_DB else ", or noise above it"
        found = (
            (is_odd, str(report.channels)),
            (
                _is_below(report.speech_s, self.min_speech_s),
                f"only {report.speech_s:.1f} s of speech in {report.duration_s:.1f} s",
            ),
            (
                _is_below(report.level_db, self.min_level_db),
                f"too quiet (level {report.level_db:.0f} dB)",
            ),
            (
                _is_above(report.clipped_share, self.max_clipped_share),
                f"clipped ({100.0 * report.clipped_share:.1f} % of it at full scale)",
            ),
            (is_noisy, f"noisy (signal-to-noise ratio about {report.snr_db:.0f} dB)"),
            (
                is_narrow and has_speech,
                f"telephone band{cause}: "
                f"nothing of the voice above {report.bandwidth_hz / 1000.0:.1f} kHz",
            ),
            (
                _is_above(report.hole_share, self.max_hole_share) and has_speech,
                "heavily compressed (mp3 or similar at a low rate): "
                f"{_percent(report.hole_share)} of the spectrum is missing",
            ),
        )
        return tuple(reason if is_so else None for is_so, reason in found)


def _is_below(value: float, least: float | None) -> bool:
    return least is not None and value < least


def _is_above(value: float, most: float | None) -> bool:
    return most is not None and value > most


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


#: Clips below these are recognised and compared, with the reasons beside the score.
TRUSTED = QualityLimits()
#: Clips below these are not enrolled, unless forced: every later answer would rest on them.
ENROLMENT_FLOOR = QualityLimits(
    min_speech_s=0.3,
    min_snr_db=5.0,
    max_clipped_share=0.03,
    min_bandwidth_hz=None,
    min_level_db=-60.0,
    max_hole_share=None,
    empty_channel=True,
)


def measure_clip(waveform: np.ndarray, sample_rate: int) -> ClipReport:
    """Measure a clip, float ``(samples,)`` in [-1, 1].

    Raises:
        AudioError: the waveform is not mono or shorter than 20 ms.
    """
    found = speech_frames(waveform, sample_rate)
    speech_s, snr_db = quality_of(found, sample_rate)
    band = measure_band(found, sample_rate)
    num_sounding = len(found.sound.samples)
    # A stretch that is held at full scale stands still, and is clipped nevertheless.
    num_clipped = int(np.count_nonzero(np.abs(waveform) >= CLIPPED_FROM))
    return ClipReport(
        duration_s=len(waveform) / sample_rate,
        speech_s=float(speech_s),
        snr_db=float(snr_db),
        clipped_share=num_clipped / max(num_sounding, num_clipped, 1),
        low_edge_hz=band.low_edge_hz,
        bandwidth_hz=band.bandwidth_hz,
        hole_share=band.hole_share,
        level_db=found.sound.level_db,
        sound_s=num_sounding / sample_rate,
    )


def combine_reports(parts: Sequence[ClipReport]) -> ClipReport:
    """The report on a clip from those on its stretches.

    Durations add up, level and clipping are those of all sound; SNR and what is told of the band
    are the mean over the stretches, weighted by their speech.
    """
    sound = np.array([part.sound_s for part in parts])
    if not sound.any():
        sound = np.ones(len(parts))
    duration = np.array([part.duration_s for part in parts])
    speech = np.array([part.speech_s for part in parts])
    weights = speech if speech.any() else sound
    power = np.array([10.0 ** (part.level_db / 10.0) for part in parts])

    def mean_of_speech(measure: str) -> float:
        return float(np.average([getattr(part, measure) for part in parts], weights=weights))

    mean_power = float(np.average(power, weights=sound))
    return ClipReport(
        duration_s=float(duration.sum()),
        speech_s=float(speech.sum()),
        snr_db=mean_of_speech("snr_db"),
        clipped_share=float(np.average([part.clipped_share for part in parts], weights=sound)),
        low_edge_hz=mean_of_speech("low_edge_hz"),
        bandwidth_hz=mean_of_speech("bandwidth_hz"),
        hole_share=mean_of_speech("hole_share"),
        level_db=10.0 * float(np.log10(mean_power)) if mean_power > 0 else -np.inf,
        sound_s=float(sum(part.sound_s for part in parts)),
    )
