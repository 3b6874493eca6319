"""Every clip of a corpus decoded once before training, so that training meets no broken one."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from mvector.audio import write_wav
from mvector.corpus.cutting import SAMPLE_RATE, Vad, read_clip, write_flac
from mvector.corpus.recipes.clip import Clip
from mvector.data.lists import printable
from mvector.data.packing import why_unusable
from mvector.data.workers import map_in_order
from mvector.errors import AudioError, DataError
from mvector.files import write_errors_as, write_text
from mvector.progress import progress_bar

logger = logging.getLogger(__name__)

_MAX_LOGGED = 5
_CLIPS_PER_TASK = 32


@dataclass(frozen=True)
class BadClip:
    """A clip that is left out, and why."""

    path: str
    reason: str


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
        show_progress: tell on standard error how far it is.

    Returns:
        The good clips with their durations and the bad ones with their reasons, both in the order
        given, whatever the number of workers.

    Raises:
        DataError: no clip is good, a wav or flac cannot be written, or a process died.
    """
    task = partial(_check_batch, min_duration_s=min_duration_s, convert_mp3=convert_mp3, vad=vad)
    goals = [None] * len(clips) if targets is None else targets
    jobs = list(zip(clips, goals, strict=True))
    batches = [jobs[i : i + _CLIPS_PER_TASK] for i in range(0, len(jobs), _CLIPS_PER_TASK)]
    results = map_in_order(task, batches, num_workers, num_items=len(batches))
    checked: list[Clip | BadClip] = []
    bar = progress_bar(total=len(jobs), desc="Checking", unit="clip", show=show_progress)
    with bar, closing(results):
        for batch in results:
            checked += batch
            bar.update(len(batch))
    return _good_and_bad(checked)


def check_paths(clips: Sequence[Clip]) -> tuple[list[Clip], list[BadClip]]:
    """Keep the clips whose paths a list can hold, without opening any.

    Raises:
        DataError: no clip is left.
    """
    reasons = [_why_unlistable(clip.path) for clip in clips]
    pairs = zip(clips, reasons, strict=True)
    return _good_and_bad([BadClip(clip.path, reason) if reason else clip for clip, reason in pairs])


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
    jobs: list[tuple[Clip, str | None]], *, min_duration_s: float, convert_mp3: bool, vad: Vad
) -> list[Clip | BadClip]:
    return [_check_clip(clip, target, min_duration_s, convert_mp3, vad) for clip, target in jobs]


def _check_clip(
    clip: Clip, target: str | None, min_duration_s: float, convert_mp3: bool, vad: Vad
) -> Clip | BadClip:
    reason = _why_unlistable(clip.path) or _why_unlistable(target or "")
    if reason:
        return BadClip(clip.path, reason)
    try:
        waveform = read_clip(clip, min_duration_s=min_duration_s, vad=vad)
    except Exception as error:  # one odd file must not end hours of checking
        return BadClip(clip.path, why_unusable(clip.path, error))
    duration_s = len(waveform) / SAMPLE_RATE
    stem, suffix = os.path.splitext(clip.path)
    if target is not None:
        write_flac(target, waveform)
    elif convert_mp3 and suffix.lower() == ".mp3":
        target = f"{stem}.wav"
        _write_wav(target, waveform)
    else:
        return replace(clip, duration_s=duration_s)
    return replace(clip, path=target, duration_s=duration_s, origin=clip.key)


def _write_wav(path: str, waveform: np.ndarray) -> None:
    try:
        write_wav(path, waveform, SAMPLE_RATE)
    except AudioError as error:
        raise DataError(f"{error} --convert_mp3 needs a corpus folder with free space.") from error


def _why_unlistable(path: str) -> str:
    if any(character in path for character in "\t\r\n"):
        return "has a tab or a line break in its path, which a list cannot hold; rename it."
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "has a path that is not valid UTF-8; rename it."
    return ""


def _good_and_bad(checked: Sequence[Clip | BadClip]) -> tuple[list[Clip], list[BadClip]]:
    """Both in the order given; some of the bad clips are named in warnings."""
    good = [clip for clip in checked if isinstance(clip, Clip)]
    bad = [clip for clip in checked if isinstance(clip, BadClip)]
    if bad and not good:
        raise DataError(
            f"None of the {len(bad)} clips can be used; the first, '{printable(bad[0].path)}', "
            f"{bad[0].reason}"
        )
    if bad:
        message = "%d of %d clips are bad and left out; the first of them:"
        logger.warning(message, len(bad), len(checked))
    for clip in bad[:_MAX_LOGGED]:
        logger.warning("  '%s' %s", printable(clip.path), clip.reason)
    return good, bad
