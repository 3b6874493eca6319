"""What an inspection found, joined into one report: a dictionary for JSON, and its text."""

from __future__ import annotations

from typing import Any

import numpy as np

from mvector.audio import SILENCE_DB
from mvector.corpus.inspection import Inspection
from mvector.corpus.inspection_measures import (
    FRAME_S,
    FULL_SCALE,
    HIGH_BAND_HZ,
    LOW_CUT_HZ,
    SILENCE_RANGE_DB,
)

FORMAT_VERSION = 1
SUMMARY = ("min", "p5", "median", "mean", "p95", "max")
CLIPPED_LIMIT = 0.001  # 48 samples at full scale in 3 s at 16 kHz are heard
SILENCE_LIMIT = 0.5
# Of real 16 kHz recordings 1 % lay below this, and the lowest of them end sharply at 4 kHz; of
# recordings resampled to 8 kHz and back more than 95 % did, as 16-bit wav and as Opus.
HIGH_BAND_LIMIT_DB = -50.0

_DURATION_EDGES_S = np.array(
    [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600]
)
_COUNT_EDGES = np.array([1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000])

Report = dict[str, Any]


def build_report(inspection: Inspection, *, min_duration_s: float = 0.5) -> Report:
    """Join what was measured of single clips.

    All but ``clips.listed``, ``clips.unreadable``, ``labels`` and ``unreadable`` is about readable
    clips. A *summary* is ``{min, p5, median, mean, p95, max}``, each ``null`` where nothing was
    measured; a *histogram* is a list of ``{from, to, count}`` with ``from <= value < to`` and
    ``to`` ``null`` for no end; *clips* are columns of equal length, worst clip first: ``path``,
    ``label`` and the value named in brackets. Shares are from 0 to 1.

    ========================  ==================================================================
    key                       value
    ========================  ==================================================================
    ``format_version``        1
    ``source``                list file or packed corpus
    ``clean``                 false if there are unreadable clips or duplicates across labels
    ``clips``                 ``listed, readable, unreadable``
    ``speakers``              labels in use
    ``hours``                 of audio
    ``speech_hours``          without silent frames
    ``duration_s``            ``summary``, ``histogram``
    ``clips_per_speaker``     ``summary``, ``histogram`` (of speakers)
    ``seconds_per_speaker``   ``summary``
    ``sample_rates``,         ``{value: clips}``, most frequent first
    ``channels``, ``formats``
    ``level_db``              ``summary`` over clips that are not silent
    ``labels``                ``largest``; ``missing`` labels from 0 to that and ``missing_ranges``
                              ``[[first, last], …]``; ``single_clip`` labels with one readable clip
                              and ``without_clips`` labels with none (lists)
    ``silence``               ``below_loudest_db, frame_s, limit, summary``, ``count`` and ``clips``
                              (``share``) with a share of silent frames above the limit
    ``silent``                ``below_db, count, clips`` (``level_db``; ``null`` for digital zero)
    ``clipped``               ``full_scale, limit, any`` (clips with a sample at full scale),
                              ``count`` and ``clips`` (``share``) with a share of them above limit
    ``narrow_band``           ``above_hz, low_cut_hz, limit_db, measured`` (clips above 8 kHz rate),
                              ``summary`` of the energy above 4 kHz in dB relative to that above
                              100 Hz, ``count`` and ``clips`` (``high_band_db``) below the limit
    ``short``                 ``min_duration_s, count, clips`` (``duration_s``)
    ``duplicates``            ``groups_across_labels, groups_within_label, surplus_clips`` and
                              ``groups`` of ``across_labels, sha1, duration_s, paths, labels``,
                              those across labels first
    ``unreadable``            ``count``, ``clips`` (``reason``) in the order of the list
    ========================  ==================================================================

    Clips shorter than ``min_duration_s`` are named.
    """
    clips = _Clips(inspection)
    found = clips.measures
    duration_s = found["num_samples"] / np.maximum(found["sample_rate"], 1)
    silent = found["level_db"] < SILENCE_DB
    share = found["silence_share"].astype(np.float64)
    speakers, per_speaker = np.unique(clips.labels, return_counts=True)
    speaker_of = np.searchsorted(speakers, clips.labels)
    seconds = np.bincount(speaker_of, weights=duration_s)
    duplicates = _duplicates(clips, duration_s, ~silent)
    return {
        "format_version": FORMAT_VERSION,
        "source": inspection.source,
        "clean": not inspection.reasons and not duplicates["groups_across_labels"],
        "clips": {
            "listed": len(inspection.measures),
            "readable": len(found),
            "unreadable": len(inspection.reasons),
        },
        "speakers": len(np.unique(inspection.labels)),
        "hours": float(duration_s.sum() / 3600.0),
        "speech_hours": float((duration_s * (1.0 - share)).sum() / 3600.0),
        "duration_s": {
            "summary": _summary(duration_s),
            "histogram": _histogram(duration_s, _DURATION_EDGES_S),
        },
        "clips_per_speaker": {
            "summary": _summary(per_speaker),
            "histogram": _histogram(per_speaker, _COUNT_EDGES),
        },
        "seconds_per_speaker": {"summary": _summary(seconds)},
        "sample_rates": _value_counts(found["sample_rate"]),
        "channels": _value_counts(found["num_channels"]),
        "formats": _value_counts(found["format"].astype(str)),
        "level_db": {"summary": _summary(found["level_db"][~silent])},
        "labels": _labels(inspection.labels, speakers, per_speaker),
        "silence": {
            "below_loudest_db": SILENCE_RANGE_DB,
            "frame_s": FRAME_S,
            "limit": SILENCE_LIMIT,
            "summary": _summary(share),
            **clips.flagged("share", share, (share > SILENCE_LIMIT) & ~silent, worst="most"),
        },
        "silent": {
            "below_db": SILENCE_DB,
            **clips.flagged("level_db", found["level_db"], silent),
        },
        "clipped": _clipped(clips),
        "narrow_band": _narrow_band(clips, silent),
        "short": {
            "min_duration_s": min_duration_s,
            **clips.flagged("duration_s", duration_s, duration_s < min_duration_s),
        },
        "duplicates": duplicates,
        "unreadable": _unreadable(inspection),
    }


class _Clips:
    """The readable clips of an inspection, and tables of some of them."""

    def __init__(self, inspection: Inspection) -> None:
        self.places = np.flatnonzero(inspection.measures["readable"])
        self.measures = inspection.measures[self.places]
        self.labels = np.asarray(inspection.labels)[self.places]
        self._paths = inspection.paths

    def paths_of(self, chosen: np.ndarray) -> list[str]:
        return [self._paths[place] for place in self.places[chosen].tolist()]

    def flagged(
        self, name: str, values: np.ndarray, where: np.ndarray, *, worst: str = "least"
    ) -> Report:
        chosen = np.flatnonzero(where)
        order = np.argsort(values[chosen] if worst == "least" else -values[chosen], kind="stable")
        chosen = chosen[order]
        columns = {
            "path": self.paths_of(chosen),
            "label": self.labels[chosen].tolist(),
            name: [_finite_or_none(value) for value in values[chosen].tolist()],
        }
        return {"count": len(chosen), "clips": columns}


def _clipped(clips: _Clips) -> Report:
    share = clips.measures["clipped_share"].astype(np.float64)
    return {
        "full_scale": FULL_SCALE,
        "limit": CLIPPED_LIMIT,
        "any": int(np.count_nonzero(share)),
        **clips.flagged("share", share, share > CLIPPED_LIMIT, worst="most"),
    }


def _narrow_band(clips: _Clips, silent: np.ndarray) -> Report:
    share = clips.measures["high_band_share"].astype(np.float64)
    measured = ~np.isnan(share) & ~silent
    high_band_db = 10.0 * np.log10(np.where(measured, np.maximum(share, 1e-20), 1.0))
    return {
        "above_hz": HIGH_BAND_HZ,
        "low_cut_hz": LOW_CUT_HZ,
        "limit_db": HIGH_BAND_LIMIT_DB,
        "measured": int(np.count_nonzero(measured)),
        "summary": _summary(high_band_db[measured]),
        **clips.flagged("high_band_db", high_band_db, high_band_db < HIGH_BAND_LIMIT_DB),
    }


def _labels(listed: np.ndarray, speakers: np.ndarray, per_speaker: np.ndarray) -> Report:
    used = np.unique(listed)
    before = np.concatenate([[-1], used[:-1]]).astype(np.int64)
    gaps = np.flatnonzero(used - before > 1)
    return {
        "largest": int(used[-1]),
        "missing": int(used[-1]) + 1 - len(used),
        "missing_ranges": np.stack([before[gaps] + 1, used[gaps] - 1], axis=1).tolist(),
        "single_clip": speakers[per_speaker == 1].tolist(),
        "without_clips": np.setdiff1d(used, speakers, assume_unique=True).tolist(),
    }


def _duplicates(clips: _Clips, duration_s: np.ndarray, compared: np.ndarray) -> Report:
    """Groups of equal digests; silent clips are all alike, and are named as silent already."""
    places = np.flatnonzero(compared)
    _, group_of, sizes = np.unique(
        clips.measures["digest"][places], return_inverse=True, return_counts=True
    )
    places = places[np.argsort(group_of, kind="stable")]  # group by group, each in list order
    starts = (np.cumsum(sizes) - sizes)[sizes > 1]
    groups = []
    for start, size in zip(starts.tolist(), sizes[sizes > 1].tolist(), strict=True):
        own = places[start : start + size]
        labels = clips.labels[own].tolist()
        group = {
            "across_labels": len(set(labels)) > 1,
            "sha1": clips.measures["digest"][own[0]].tobytes().hex(),
            "duration_s": float(duration_s[own[0]]),
            "paths": clips.paths_of(own),
            "labels": labels,
        }
        groups.append((int(own[0]), group))
    groups.sort(key=lambda entry: (not entry[1]["across_labels"], entry[0]))
    num_across = sum(group["across_labels"] for _, group in groups)
    return {
        "groups_across_labels": num_across,
        "groups_within_label": len(groups) - num_across,
        "surplus_clips": int(sizes.sum()) - len(sizes),
        "groups": [group for _, group in groups],
    }


def _unreadable(inspection: Inspection) -> Report:
    places = sorted(inspection.reasons)
    columns = {
        "path": [inspection.paths[place] for place in places],
        "label": np.asarray(inspection.labels)[places].tolist(),
        "reason": [inspection.reasons[place] for place in places],
    }
    return {"count": len(places), "clips": columns}


def _summary(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(SUMMARY)
    exact = values.astype(np.float64)
    low, p5, median, p95, high = np.percentile(exact, (0, 5, 50, 95, 100)).tolist()
    return dict(zip(SUMMARY, (low, p5, median, float(exact.mean()), p95, high), strict=True))


def _histogram(values: np.ndarray, edges: np.ndarray) -> list[dict[str, float | None]]:
    """Counts between edges, from the first bin that has any to the last."""
    counts = np.bincount(
        np.searchsorted(edges, values, side="right") - 1, minlength=len(edges)
    ).tolist()
    used = np.flatnonzero(counts)
    ends = [*edges[1:].tolist(), None]
    return [
        {"from": edges[i].item(), "to": ends[i], "count": counts[i]}
        for i in range(used[0], used[-1] + 1)
    ]


def _value_counts(values: np.ndarray) -> dict[str, int]:
    kinds, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(kinds[i]): int(counts[i]) for i in order}


def _finite_or_none(value: float) -> float | None:
    """JSON knows neither infinity nor NaN."""
    return value if np.isfinite(value) else None
