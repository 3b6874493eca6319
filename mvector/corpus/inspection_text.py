"""The report of an inspection as text for a terminal; it says nothing that the JSON does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from mvector.corpus.inspection_report import SUMMARY, Report
from mvector.data.lists import printable
from mvector.errors import count_of

MAX_SHOWN = 5

_BAR_WIDTH = 40


def render_report(report: Report) -> str:
    """The text of what :func:`mvector.corpus.inspection_report.build_report` returns."""
    lines = [
        *_title(report),
        "",
        *_summaries(report),
        "",
        *_histogram("Durations (s)", "clips", report["duration_s"]["histogram"], whole=False),
        "",
        *_histogram(
            "Clips per speaker", "speakers", report["clips_per_speaker"]["histogram"], whole=True
        ),
        "",
        f"Sample rates   {_value_counts(report['sample_rates'], ' Hz')}",
        f"Channels       {_value_counts(report['channels'])}",
        f"Formats        {_value_counts(report['formats'])}",
        "",
        *_findings(report),
        "",
        _verdict(report),
    ]
    return "\n".join(lines)


def _title(report: Report) -> Iterator[str]:
    clips = report["clips"]
    yield (
        f"{printable(report['source'])}: {report['speakers']:,} speakers, "
        f"{clips['listed']:,} clips, {report['hours']:,.2f} hours "
        f"({report['speech_hours']:,.2f} without silent frames)"
    )
    if clips["unreadable"]:
        yield f"All that follows is about the {clips['readable']:,} clips that can be read."


def _summaries(report: Report) -> Iterator[str]:
    yield f"{'':<26}{'min':>9}{'5 %':>9}{'median':>9}{'mean':>9}{'95 %':>9}{'max':>9}"
    for name, part, scale, digits in (
        ("duration (s)", "duration_s", 1, 2),
        ("clips per speaker", "clips_per_speaker", 1, 1),
        ("seconds per speaker", "seconds_per_speaker", 1, 1),
        ("level (dB full scale)", "level_db", 1, 1),
        ("silent frames (%)", "silence", 100, 1),
        ("energy above 4 kHz (dB)", "narrow_band", 1, 1),
    ):
        values = [report[part]["summary"][key] for key in SUMMARY]
        cells = ("-" if value is None else f"{scale * value:,.{digits}f}" for value in values)
        yield f"{name:<26}" + "".join(f"{cell:>9}" for cell in cells)


def _histogram(title: str, unit: str, bins: Sequence[Report], *, whole: bool) -> Iterator[str]:
    """One bar a bin; ``whole`` values have inclusive ranges."""
    yield f"{title:<18}{unit:>10}"
    total = sum(entry["count"] for entry in bins)
    most = max(entry["count"] for entry in bins)
    for entry in bins:
        first, end, count = entry["from"], entry["to"], entry["count"]
        if end is None:
            span = f"{first:g} and more"
        elif not whole:
            span = f"{first:g} to {end:g}"
        else:
            span = f"{first:g}" if end == first + 1 else f"{first:g} to {end - 1:g}"
        bar = "#" * -(-count * _BAR_WIDTH // most)  # one sign at least, where there is any clip
        yield f"  {span:<16}{count:>10,} {100 * count / total:5.1f} %  {bar}".rstrip()


def _value_counts(counts: dict[str, int], unit: str = "") -> str:
    return ", ".join(f"{value}{unit}: {count:,}" for value, count in counts.items())


def _findings(report: Report) -> Iterator[str]:
    clipped, silence, silent = report["clipped"], report["silence"], report["silent"]
    narrow, short = report["narrow_band"], report["short"]
    yield from _unreadable(report["unreadable"])
    yield from _duplicates(report["duplicates"])
    yield from _flagged(
        f"Clips shorter than {short['min_duration_s']:g} s", short, "duration_s", "{:.2f} s".format
    )
    yield from _flagged(
        f"Silent clips (level below {silent['below_db']:g} dB)", silent, "level_db", _level
    )
    yield from _flagged(
        f"Clips with more than {_percent(silence['limit'])} silent frames (of "
        f"{1000 * silence['frame_s']:g} ms, {silence['below_loudest_db']:g} dB below the loudest)",
        silence,
        "share",
        _percent,
    )
    yield from _flagged(
        f"Clipped (over {_percent(clipped['limit'])} of samples at {clipped['full_scale']:g} or "
        f"more; {clipped['any']:,} clips have any)",
        clipped,
        "share",
        _percent,
    )
    yield from _flagged(
        f"Narrow band (energy above {narrow['above_hz']:,} Hz below {narrow['limit_db']:g} dB, as "
        f"telephone speech has; {narrow['measured']:,} clips measured)",
        narrow,
        "high_band_db",
        _level,
    )
    yield from _labels(report["labels"])


def _flagged(title: str, part: Report, column: str, show: Callable[[Any], str]) -> Iterator[str]:
    yield f"{title}: {_count_or_none(part['count'])}"
    clips = part["clips"]
    rows = zip(clips["path"], clips["label"], clips[column], strict=True)
    for path, label, value in islice(rows, MAX_SHOWN):
        yield f"    {show(value):>9}  {_path_and_label(path, label)}"
    yield from _how_many_more(part["count"] - MAX_SHOWN)


def _unreadable(part: Report) -> Iterator[str]:
    yield f"Unreadable clips: {_count_or_none(part['count'])}"
    paths, reasons = part["clips"]["path"], part["clips"]["reason"]
    examples = dict(zip(reversed(reasons), reversed(paths), strict=True))  # the first of a reason
    shown = Counter(reasons).most_common(MAX_SHOWN)
    for reason, count in shown:
        others = f" ({count:,} clips have this reason)" if count > 1 else ""
        yield f"    {printable(examples[reason])} {reason}{others}"
    yield from _how_many_more(part["count"] - sum(count for _, count in shown))


def _duplicates(part: Report) -> Iterator[str]:
    for title, count, across in (
        ("Recordings under different labels", part["groups_across_labels"], True),
        ("Recordings more than once under one label", part["groups_within_label"], False),
    ):
        yield f"{title}: {_count_or_none(count)}"
        groups = (group for group in part["groups"] if group["across_labels"] == across)
        for group in islice(groups, MAX_SHOWN):
            members = list(zip(group["paths"], group["labels"], strict=True))
            shown = " = ".join(_path_and_label(*member) for member in members[:MAX_SHOWN])
            more = f" and {len(members) - MAX_SHOWN:,} more" if len(members) > MAX_SHOWN else ""
            yield f"    {shown}{more}"
        yield from _how_many_more(count - MAX_SHOWN)


def _labels(part: Report) -> Iterator[str]:
    ranges = [str(a) if a == b else f"{a} to {b}" for a, b in part["missing_ranges"][:MAX_SHOWN]]
    more = ", ..." if len(part["missing_ranges"]) > MAX_SHOWN else ""
    missing = f"{part['missing']:,} ({', '.join(ranges)}{more})" if part["missing"] else "none"
    cure = " (a class each in training; --renumber OUT closes the gaps)" if part["missing"] else ""
    yield f"Labels without a speaker, from 0 to {part['largest']}: {missing}{cure}"
    for title, labels in (
        ("Speakers with a single clip", part["single_clip"]),
        ("Speakers without a readable clip", part["without_clips"]),
    ):
        shown = ", ".join(map(str, labels[:MAX_SHOWN]))
        more = ", ..." if len(labels) > MAX_SHOWN else ""
        yield f"{title}: {f'{len(labels):,} (labels {shown}{more})' if labels else 'none'}"


def _verdict(report: Report) -> str:
    if report["clean"]:
        return "Clean: every clip can be read, and no audio has two labels."
    found = []
    if report["unreadable"]["count"]:
        clips = count_of(report["unreadable"]["count"], "clip")
        found.append(f"{clips} cannot be read")
    if count := report["duplicates"]["groups_across_labels"]:
        found.append(f"{count_of(count, 'recording')} with two labels")
    return f"Not clean: {' and '.join(found)}."


def _count_or_none(count: int) -> str:
    return f"{count:,}" if count else "none"


def _path_and_label(path: str, label: int) -> str:
    return f"{printable(path)} (label {label})"


def _how_many_more(count: int) -> Iterator[str]:
    if count > 0:
        yield f"    ... and {count:,} more, all of them in the file of --json"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _level(level_db: float | None) -> str:
    return "zeros" if level_db is None else f"{level_db:.1f} dB"
