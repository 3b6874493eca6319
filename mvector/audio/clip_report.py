"""What a clip is worth as evidence of a voice, measured, and what is wrong with it in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mvector.audio.channels import ChannelChoice
from mvector.audio.quality import SpeechFrames, SpeechQuality, quality_of, speech_frames

CLIPPED_FROM = 0.985  # of full scale: resampling moves clipped samples a little
BANDWIDTH_RANGE_DB = 70.0  # what lies further below the strongest frequency is no content
NARROW_BAND_HZ = 4300.0  # telephone speech ends at 4 kHz or below, and filters have slopes

_BANDWIDTH_PERCENTILE = 95.0  # sibilants, which reach highest, are a small part of speech
_MOST_FRAMES = 3000  # the spectrum of a minute tells the bandwidth of all


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
    bandwidth_hz: float  # highest frequency within 70 dB of the strongest one
    level_db: float  # RMS, relative to full scale; -inf without sound
    sound_s: float  # seconds that are not digital silence
    channels: ChannelChoice | None = None  # of a clip of several channels, if they are odd

    @property
    def quality(self) -> SpeechQuality:
        """What a calibration can take into account."""
        return SpeechQuality(self.speech_s, self.snr_db)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; a level of -inf is ``None`` there.

        ``channels`` is ``None``, or what is odd about them in words.
        """
        values = asdict(self)
        values["channels"] = None if self.channels is None else str(self.channels)
        values["level_db"] = self.level_db if np.isfinite(self.level_db) else None
        return values

    def __str__(self) -> str:
        return (
            f"{self.speech_s:.1f} s of speech in {self.duration_s:.1f} s, "
            f"SNR {self.snr_db:.0f} dB, {100.0 * self.clipped_share:.1f} % clipped, "
            f"up to {self.bandwidth_hz / 1000.0:.1f} kHz, level {self.level_db:.0f} dB"
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
    different_channels: bool = False  # whether two channels may hold different voices
    empty_channel: bool = False  # whether one may be empty; the other one is heard then

    def reasons(self, report: ClipReport) -> tuple[str, ...]:
        """What a clip falls short of, each in a few words; empty for a good one."""
        found = []
        caution = report.channels.caution if report.channels else None
        if (caution == "different" and not self.different_channels) or (
            caution == "empty" and not self.empty_channel
        ):
            found.append(str(report.channels))
        if self.min_speech_s is not None and report.speech_s < self.min_speech_s:
            found.append(f"only {report.speech_s:.1f} s of speech in {report.duration_s:.1f} s")
        if self.min_level_db is not None and report.level_db < self.min_level_db:
            found.append(f"too quiet (level {report.level_db:.0f} dB)")
        if self.max_clipped_share is not None and report.clipped_share > self.max_clipped_share:
            found.append(f"clipped ({100.0 * report.clipped_share:.1f} % of it at full scale)")
        # Without speech there is no ratio of speech to noise, and no bandwidth of speech.
        if report.speech_s > 0:
            if self.min_snr_db is not None and report.snr_db < self.min_snr_db:
                found.append(f"noisy (signal-to-noise ratio about {report.snr_db:.0f} dB)")
            if self.min_bandwidth_hz is not None and report.bandwidth_hz < self.min_bandwidth_hz:
                found.append(
                    f"no sound above {report.bandwidth_hz / 1000.0:.1f} kHz, as from a telephone"
                )
        return tuple(found)


#: Clips below these are recognised and compared, with the reasons beside the score.
TRUSTED = QualityLimits()
#: Clips below these are not enrolled, unless forced: every later answer would rest on them.
ENROLMENT_FLOOR = QualityLimits(
    min_speech_s=0.3,
    min_snr_db=5.0,
    max_clipped_share=0.03,
    min_bandwidth_hz=None,
    min_level_db=-60.0,
    empty_channel=True,
)


def measure_clip(waveform: np.ndarray, sample_rate: int) -> ClipReport:
    """Measure a clip, float ``(samples,)`` in [-1, 1].

    Raises:
        AudioError: the waveform is not mono or shorter than 20 ms.
    """
    found = speech_frames(waveform, sample_rate)
    speech_s, snr_db = quality_of(found, sample_rate)
    num_sounding = len(found.sound.samples)
    # A stretch that is held at full scale stands still, and is clipped nevertheless.
    num_clipped = int(np.count_nonzero(np.abs(waveform) >= CLIPPED_FROM))
    return ClipReport(
        duration_s=len(waveform) / sample_rate,
        speech_s=float(speech_s),
        snr_db=float(snr_db),
        clipped_share=num_clipped / max(num_sounding, num_clipped, 1),
        bandwidth_hz=_bandwidth_hz(found, sample_rate),
        level_db=found.sound.level_db,
        sound_s=num_sounding / sample_rate,
    )


def _bandwidth_hz(found: SpeechFrames, sample_rate: int) -> float:
    """Highest frequency within 70 dB of the strongest.

    Measured on the 95th percentile of the spectra of the frames with speech, or of all frames.
    """
    frames, is_speech = found.frames, found.is_speech
    if not len(frames):
        return 0.0
    frames = frames[is_speech] if is_speech.any() else frames
    frames = frames[:: -(-len(frames) // _MOST_FRAMES)]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1)) ** 2
    power = np.percentile(spectra, _BANDWIDTH_PERCENTILE, axis=0)
    if not power.max() > 0:
        return 0.0
    content = np.flatnonzero(power > power.max() * 10.0 ** (-BANDWIDTH_RANGE_DB / 10.0))
    return float(content[-1] * sample_rate / frames.shape[1])


def combine_reports(parts: Sequence[ClipReport]) -> ClipReport:
    """The report on a clip from those on its stretches.

    Durations add up, level and clipping are those of all sound, the SNR is the mean over the
    stretches weighted by their speech, and the bandwidth the highest one.
    """
    sound = np.array([part.sound_s for part in parts])
    if not sound.any():
        sound = np.ones(len(parts))
    duration = np.array([part.duration_s for part in parts])
    speech = np.array([part.speech_s for part in parts])
    weights = speech if speech.any() else sound
    power = np.array([10.0 ** (part.level_db / 10.0) for part in parts])
    mean_power = float(np.average(power, weights=sound))
    return ClipReport(
        duration_s=float(duration.sum()),
        speech_s=float(speech.sum()),
        snr_db=float(np.average([part.snr_db for part in parts], weights=weights)),
        clipped_share=float(np.average([part.clipped_share for part in parts], weights=sound)),
        bandwidth_hz=max(part.bandwidth_hz for part in parts),
        level_db=10.0 * float(np.log10(mean_power)) if mean_power > 0 else -np.inf,
        sound_s=float(sum(part.sound_s for part in parts)),
    )
