"""Every clip of a corpus decoded once before training, so that training meets no broken one."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from mvector.audio import write_wav
from mvector.corpus.cutting import SAMPLE_RATE, Cut, Vad, read_cut, write_flac
from mvector.corpus.recipes.clip import Clip
from mvector.data.lists import printable
from mvector.data.packing import why_unusable
from mvector.data.workers import map_in_order
from mvector.errors import AudioError, DataError
from mvector.files import write_errors_as, write_text

logger = logging.getLogger(__name__)

_MAX_LOGGED = 5
_CLIPS_PER_TASK = 32


@dataclass(frozen=True)
class BadClip:
    """A clip that is left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class _Outcome:
    path: str  # of the wav or flac where the clip was converted, cut or trimmed
    duration_s: float = 0.0
    reason: str = ""  # empty for a good clip


def check_clips(
    clips: Sequence[Clip],
    *,
    min_duration_s: float = 0.5,
    convert_mp3: bool = False,
    targets: Sequence[str | None] | None = None,
    vad: Vad = "none",
    num_workers: int | None = None,
    show_progress: bool = True,
) -> tuple[list[Clip], list[BadClip]]:
    """Decode every clip to its end and keep those that are speech-like enough to learn from.

    Args:
        clips: clips of a scan.
        min_duration_s: shortest accepted duration.
        convert_mp3: write each good mp3 as 16 kHz wav beside it, and go on with the wav.
        targets: for each clip the flac that what is kept of it is written to, to go on with that;
            ``None`` leaves the clip as it is. See :func:`mvector.corpus.cutting.cut_targets`.
        vad: ``energy`` or ``silero`` keeps the speech alone; such clips need a target.
        num_workers: processes; 0 works in this one, ``None`` takes one per processor.
        show_progress: draw a progress bar where standard error is a terminal.

    Returns:
        The good clips with their durations and the bad ones with their reasons, both in the order
        given, whatever the number of workers.

    Raises:
        DataError: no clip is good, a wav or flac cannot be written, or a process died.
    """
    task = partial(_check_batch, min_duration_s=min_duration_s, convert_mp3=convert_mp3, vad=vad)
    goals = [None] * len(clips) if targets is None else targets
    cuts = [Cut(clip.path, goal, clip.segment) for clip, goal in zip(clips, goals, strict=True)]
    batches = [cuts[i : i + _CLIPS_PER_TASK] for i in range(0, len(cuts), _CLIPS_PER_TASK)]
    results = map_in_order(task, batches, num_workers, num_items=len(batches))
    outcomes: list[_Outcome] = []
    disable = None if show_progress else True
    bar = tqdm(total=len(cuts), desc="Checking", unit="clip", disable=disable)
    with bar, closing(results):
        for batch in results:
            outcomes += batch
            bar.update(len(batch))
    good = [
        replace(
            clip,
            path=outcome.path,
            duration_s=outcome.duration_s,
            origin=None if outcome.path == clip.path else clip.key,
        )
        for clip, outcome in zip(clips, outcomes, strict=True)
        if not outcome.reason
    ]
    bad = [BadClip(outcome.path, outcome.reason) for outcome in outcomes if outcome.reason]
    _report_bad(bad, len(clips))
    return good, bad


def check_paths(clips: Sequence[Clip]) -> tuple[list[Clip], list[BadClip]]:
    """Keep the clips whose paths a list can hold, without opening any.

    Raises:
        DataError: no clip is left.
    """
    good: list[Clip] = []
    bad: list[BadClip] = []
    for clip in clips:
        if reason := _why_unlistable(clip.path):
            bad.append(BadClip(clip.path, reason))
        else:
            good.append(clip)
    _report_bad(bad, len(clips))
    return good, bad


def write_bad_clips(path: str | os.PathLike[str], bad: Sequence[BadClip]) -> None:
    """Write ``path<TAB>reason`` lines; without bad clips, remove what an earlier run wrote.

    Control characters of a path appear as escapes such as ``\\t``, so that each clip has one line.

    Raises:
        DataError: the folder cannot be written to.
    """
    target = Path(path)
    with write_errors_as(DataError, f"'{target}'"):
        if bad:
            write_text(target, (f"{printable(clip.path)}\t{clip.reason}\n" for clip in bad))
        else:
            target.unlink(missing_ok=True)


def _check_batch(
    cuts: list[Cut], *, min_duration_s: float, convert_mp3: bool, vad: Vad
) -> list[_Outcome]:
    return [_check_clip(cut, min_duration_s, convert_mp3, vad) for cut in cuts]


def _check_clip(cut: Cut, min_duration_s: float, convert_mp3: bool, vad: Vad) -> _Outcome:
    path = cut.path
    reason = _why_unlistable(path) or _why_unlistable(cut.target or "")
    if reason:
        return _Outcome(path, reason=reason)
    try:
        waveform = read_cut(cut, min_duration_s=min_duration_s, vad=vad)
    except Exception as error:  # one odd file must not end hours of checking
        return _Outcome(path, reason=why_unusable(path, error))
    duration_s = len(waveform) / SAMPLE_RATE
    if cut.target is not None:
        write_flac(cut.target, waveform)
        return _Outcome(cut.target, duration_s)
    stem, suffix = os.path.splitext(path)
    if not convert_mp3 or suffix.lower() != ".mp3":
        return _Outcome(path, duration_s)
    try:
        write_wav(f"{stem}.wav", waveform, SAMPLE_RATE)
    except AudioError as error:
        raise DataError(f"{error} --convert_mp3 needs a corpus folder with free space.") from error
    return _Outcome(f"{stem}.wav", duration_s)


def _why_unlistable(path: str) -> str:
    if any(character in path for character in "\t\r\n"):
        return "has a tab or a line break in its path, which a list cannot hold; rename it."
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "has a path that is not valid UTF-8; rename it."
    return ""


def _report_bad(bad: Sequence[BadClip], num_clips: int) -> None:
    if not bad:
        return
    if len(bad) == num_clips:
        raise DataError(
            f"None of the {num_clips} clips can be used; the first, '{printable(bad[0].path)}', "
            f"{bad[0].reason}"
        )
    logger.warning("%d of %d clips are bad and left out; the first of them:", len(bad), num_clips)
    for clip in bad[:_MAX_LOGGED]:
        logger.warning("  '%s' %s", printable(clip.path), clip.reason)
