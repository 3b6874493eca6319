"""A clip as a model hears it: waveform with what is speech and what is dropped, and features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mvector.audio import AudioSource, channel_choices, source_name, split_channel
from mvector.audio.channels import ChannelChoice
from mvector.audio.clip_report import CLIPPED_FROM, TRUSTED, ClipReport, measure_clip
from mvector.audio.quality import speech_frames
from mvector.audio.silence import digital_silence, dropped_silence, is_sound, stretches_of
from mvector.audio.vad import VadMethod, speech_segments
from mvector.features.front_end import FrontEnd
from mvector.plotting.canvas import COLOURS, drawable, name_legend, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPECTRUM = "spectrum"  # what is drawn where PyTorch, which computes features, is not installed

_SPEECH, _FULL_SCALE = COLOURS[0], COLOURS[1]
_OTHER, _DROPPED = "#8A8A8A", "#E4E4E4"
_COLUMNS = 2400  # more than a screen shows
_WINDOW_S, _SHIFT_S, _FLOOR_DB = 0.025, 0.01, -80.0  # of the spectrum that stands in for features


@dataclass(frozen=True, eq=False)
class ClipView:
    """What is drawn of a clip.

    Attributes:
        name: of the clip, with the stretch of a longer one.
        start_s: where the stretch begins that was looked at.
        sample_rate: in Hz, that of the model.
        waveform: float32 ``(samples,)``, decoded.
        is_silence: bool ``(samples,)``: digital silence that the model does not hear.
        is_heard: bool ``(samples,)``: what the model hears.
        is_speech: bool ``(samples,)``.
        features: ``(frames, bins)`` of what is heard.
        what: the features in words.
        report: how good the stretch is.
    """

    name: str
    start_s: float
    sample_rate: int
    waveform: np.ndarray
    is_silence: np.ndarray
    is_heard: np.ndarray
    is_speech: np.ndarray
    features: np.ndarray
    what: str
    report: ClipReport

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the clip falls short of, in words; see :data:`mvector.audio.clip_report.TRUSTED`."""
        return TRUSTED.reasons(self.report)


def look_at_clip(
    source: AudioSource,
    front_end: FrontEnd,
    *,
    start_s: float = 0.0,
    duration_s: float = 30.0,
    vad: VadMethod | None = None,
) -> ClipView:
    """Decode a stretch of a clip and find what the model makes of it.

    Args:
        source: the clip.
        front_end: of the model.
        start_s, duration_s: the stretch, in seconds.
        vad: what detects speech, of a model that does not drop pauses by a detector of its own;
            ``None``: the frames that the report counts as speech, see
            :func:`mvector.audio.quality.clip_quality`.

    Raises:
        AudioError: the clip cannot be decoded, or the model would refuse it.
        MissingDependencyError: the detector is not installed.
    """
    rate, name = front_end.sample_rate, source_name(source)
    waveform = front_end.decode(source, offset_s=start_s, duration_s=duration_s)
    heard = front_end.speech(waveform, name)
    front_end.check_clip(heard, name, num_dropped=len(waveform) - len(heard))
    silence = dropped_silence(waveform, rate) if front_end.drop_silence else []
    sounds = is_sound(len(waveform), silence)
    method = front_end.vad_method if front_end.do_vad else vad
    if method is None:
        speech = _measured_speech(waveform, rate)
    else:
        speech = _within(sounds, speech_segments(waveform[sounds], rate, method))
    end_s = start_s + len(waveform) / rate
    is_cut = start_s > 0 or end_s >= start_s + duration_s
    stretch = f" ({start_s:g} s to {end_s:g} s)" if is_cut else ""
    features, what = _features_of(heard, front_end)
    return ClipView(
        name=name.strip("'") + stretch,
        start_s=start_s,
        sample_rate=rate,
        waveform=waveform,
        is_silence=~sounds,
        is_heard=speech if front_end.do_vad else sounds,
        is_speech=speech,
        features=features,
        what=what,
        report=replace(measure_clip(waveform, rate), channels=_odd_channels(source, front_end)),
    )


def _odd_channels(source: AudioSource, front_end: FrontEnd) -> ChannelChoice | None:
    """What is odd about the channels of a clip that has several and names none."""
    if split_channel(source)[1] is not None or front_end.channel != "auto":
        return None
    first = next(channel_choices(source), None)
    return first if first is not None and first.caution else None


def _measured_speech(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """What counts as speech in the quality of a clip, bool ``(samples,)``."""
    found = speech_frames(waveform, sample_rate)
    of_sound = np.repeat(found.is_speech, found.frames.shape[1])
    sounds = is_sound(len(waveform), digital_silence(waveform, sample_rate))
    speech = np.zeros(len(waveform), dtype=bool)
    speech[np.flatnonzero(sounds)[: len(of_sound)]] = of_sound
    return speech


def _within(sounds: np.ndarray, segments: Sequence[tuple[int, int]]) -> np.ndarray:
    """Segments of what sounds, as places of the whole: bool like ``sounds``."""
    inside = np.zeros(np.count_nonzero(sounds), dtype=bool)
    for start, stop in segments:
        inside[start:stop] = True
    found = np.zeros(len(sounds), dtype=bool)
    found[np.flatnonzero(sounds)[inside]] = True
    return found


def _features_of(heard: np.ndarray, front_end: FrontEnd) -> tuple[np.ndarray, str]:
    try:
        import torch

        from mvector.features import build_featurizer
        from mvector.features.level import bring_to_level
    except ImportError:
        return _spectrum(heard, front_end.sample_rate), SPECTRUM
    featurizer = build_featurizer(front_end.preprocess)
    with torch.inference_mode():
        level = bring_to_level(front_end, torch.from_numpy(heard).unsqueeze(0))
        features, _ = featurizer(level)
    return features[0].numpy(), str(front_end.preprocess["feature_method"])


def _spectrum(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Levels in dB ``(frames, bins)``, those of a plain short-time Fourier transform."""
    size, shift = round(_WINDOW_S * sample_rate), round(_SHIFT_S * sample_rate)
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::shift]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    least = power.max() * 10.0 ** (_FLOOR_DB / 10.0) or 1.0
    return 10.0 * np.log10(np.maximum(power, least))


# ---- drawing ------------------------------------------------------------------------------------


def clip_figure(views: Sequence[ClipView]) -> tuple[Figure, str]:
    """Draw clips below each other: waveform, features, and how good each is in words.

    Returns:
        The figure, and a sentence about names that no font here can draw, or nothing.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with drawable([view.name for view in views], "clip", longest=80) as (names, sentence):
        figure = new_figure(12.0, 0.6 + 3.7 * len(views))
        rows = figure.subplots(
            2 * len(views), 1, squeeze=False, height_ratios=[1.0, 1.3] * len(views)
        )[:, 0]
        for place, (view, name) in enumerate(zip(views, names, strict=True)):
            waveform, features = rows[2 * place : 2 * place + 2]
            features.sharex(waveform)
            _draw_waveform(waveform, view, name)
            _draw_features(features, view)
        rows[-1].set_xlabel("seconds")
        _draw_key(figure, views)
    return figure, sentence


def _draw_waveform(axes: Axes, view: ClipView, name: str) -> None:
    edges = _column_edges(len(view.waveform))
    low = np.minimum.reduceat(view.waveform, edges[:-1])
    high = np.maximum.reduceat(view.waveform, edges[:-1])
    times = view.start_s + edges / view.sample_rate
    peak = max(float(np.abs(view.waveform).max()), 1e-4)
    is_speech = view.is_speech[edges[:-1]]
    centres = 0.5 * (times[:-1] + times[1:])
    for chosen, colour in ((~is_speech, _OTHER), (is_speech, _SPEECH)):
        axes.fill_between(centres, low, high, where=chosen, step="mid", color=colour, lw=0.0)
        middle = np.where(chosen, 0.5 * (low + high), np.nan)  # seen where it hardly moves
        axes.plot(centres, middle, color=colour, linewidth=0.8)
    clipped = np.maximum(np.abs(low), np.abs(high)) >= CLIPPED_FROM
    if clipped.any():
        marks = np.full(np.count_nonzero(clipped), 1.12 * peak)
        axes.plot(centres[clipped], marks, "|", color=_FULL_SCALE)
    _draw_dropped(axes, view)
    axes.set(xlim=(times[0], times[-1]), ylim=(-1.15 * peak, 1.15 * peak))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelbottom=False)
    axes.set_ylabel("of full scale")
    reasons = view.reasons
    told = "Mind: " + "; ".join(reasons) if reasons else "Good: nothing to mind"
    axes.set_title(name, loc="left", fontsize=12, pad=27, parse_math=False)
    for y, text, colour in ((1.16, str(view.report), "#333333"), (1.03, told, _tone(reasons))):
        axes.text(0.0, y, text, transform=axes.transAxes, color=colour, fontsize=9.5)


def _tone(reasons: Sequence[str]) -> str:
    return "#A84300" if reasons else "#00664B"


def _draw_features(axes: Axes, view: ClipView) -> None:
    """Frames stand where they were heard; what was dropped stays empty."""
    from matplotlib import colormaps

    edges = _column_edges(len(view.waveform))
    centres = (edges[:-1] + edges[1:]) // 2
    heard_before = np.cumsum(view.is_heard)
    frames = len(view.features) * heard_before[centres] // max(int(heard_before[-1]), 1)
    picture = view.features[np.minimum(frames, len(view.features) - 1)].T.astype(np.float64)
    picture[:, ~view.is_heard[centres]] = np.nan
    low, high = np.nanpercentile(picture, [1.0, 99.5]) if np.isfinite(picture).any() else (0, 1)
    end_s = view.start_s + len(view.waveform) / view.sample_rate
    axes.imshow(
        picture,
        extent=(view.start_s, end_s, 0, len(picture)),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=colormaps["viridis"].with_extremes(bad=_DROPPED),
        vmin=low,
        vmax=high,
    )
    _draw_dropped(axes, view)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel(f"{view.what}\n{len(picture)} bins", fontsize=9)


def _draw_dropped(axes: Axes, view: ClipView) -> None:
    for start, stop in stretches_of(~view.is_heard).tolist():
        hatch = "////" if view.is_silence[start] else "...."
        left, right = (view.start_s + at / view.sample_rate for at in (start, stop))
        axes.axvspan(
            left, right, facecolor=_DROPPED, edgecolor="#9A9A9A", hatch=hatch, lw=0, zorder=3
        )


def _draw_key(figure: Figure, views: Sequence[ClipView]) -> None:
    """What the colours mean, of those that are there."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    clipped = Line2D([], [], marker="|", linestyle="", color=_FULL_SCALE, markersize=9)

    def dropped(hatch: str) -> Any:
        return Patch(facecolor=_DROPPED, edgecolor="#9A9A9A", hatch=hatch, lw=0)

    has_pauses = any((~view.is_heard & ~view.is_silence).any() for view in views)
    key = (
        (Patch(color=_SPEECH), "speech", any(view.is_speech.any() for view in views)),
        (Patch(color=_OTHER), "other sound", True),
        (dropped("////"), "digital silence, dropped", any(v.is_silence.any() for v in views)),
        (dropped("...."), "pause, dropped", has_pauses),
        (clipped, "at full scale", any(view.report.clipped_share > 0 for view in views)),
    )
    shown = [(handle, name) for handle, name, is_there in key if is_there]
    handles, names = zip(*shown, strict=True)
    name_legend(figure, handles, names, loc="outside upper right", ncols=len(names), fontsize=9)


def _column_edges(num_samples: int) -> np.ndarray:
    """Edges of at most ``_COLUMNS`` columns of samples, ascending."""
    return np.unique(np.linspace(0, num_samples, min(num_samples, _COLUMNS) + 1).astype(np.int64))
