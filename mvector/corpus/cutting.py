"""Clips that are written anew: segments of recordings, and clips without their silence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import soundfile

from mvector.audio import check_speech, read_audio
from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.walk import listed_path
from mvector.errors import AudioError, DataError
from mvector.files import write_atomically, write_errors_as

SAMPLE_RATE = 16000
TRIMMED, SEGMENTS = "trimmed", "segments"
Vad: TypeAlias = Literal["none", "energy", "silero"]

_MAX_OVERSHOOT_S = 0.5  # of a segment past the end of its recording: rounding, not a mistake


def cut_targets(
    clips: Sequence[Clip],
    root: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    trim: bool,
) -> list[str | None]:
    """Where each clip is written, as the lists give it; ``None`` where it stays as it is.

    Args:
        clips: clips of a scan.
        root: the corpus; trimmed clips keep their places beneath it.
        output: folder of the lists. Segments go to ``segments/<speaker>/<utterance>.flac`` in it,
            trimmed clips to ``trimmed/<path beneath root>.flac``, trimmed segments to
            ``trimmed/<speaker>/<utterance>.flac``.
        trim: whether clips are trimmed; otherwise only segments are written.
    """
    beneath = [_relative_target(clip, root) if trim or clip.segment else None for clip in clips]
    # 1.wav and 1.m4a of one folder are two clips: they become 1.wav.flac and 1.m4a.flac
    stems = Counter(os.path.splitext(place)[0].lower() for place in beneath if place is not None)
    folder = Path(listed_path(Path(output) / (TRIMMED if trim else SEGMENTS)))
    targets: list[str | None] = []
    for place in beneath:
        if place is None:
            targets.append(None)
            continue
        stem = os.path.splitext(place)[0]
        name = f"{place if stems[stem.lower()] > 1 else stem}.flac"
        targets.append((folder / name).as_posix())
    return targets


def read_clip(clip: Clip, *, min_duration_s: float, vad: Vad = "none") -> np.ndarray:
    """Decode a clip at 16 kHz, float32 ``(samples,)``, and keep its speech.

    Args:
        clip: a recording or a segment of one.
        min_duration_s: shortest accepted duration, before and after trimming, in seconds.
        vad: ``none`` keeps all; the others are as in :func:`mvector.audio.vad.trim_silence`.

    Raises:
        AudioError: the clip cannot be decoded, is silent or too short, or a segment does not lie
            within its recording.
    """
    waveform = _decode(clip)
    check_speech(waveform, SAMPLE_RATE, name=clip.description, min_duration_s=min_duration_s)
    if vad == "none":
        return waveform
    from mvector.audio.vad import trim_silence

    speech = np.asarray(trim_silence(waveform, SAMPLE_RATE, method=vad), dtype=np.float32)
    speech_s = len(speech) / SAMPLE_RATE
    if speech_s < min_duration_s or not len(speech):
        raise AudioError(
            f"{clip.description} holds only {speech_s:.2f} s of speech, found by --do_vad {vad}, "
            f"and at least {min_duration_s:g} s are needed."
        )
    return speech


def require_vad(method: Vad) -> None:
    """Fail now, and not once for each clip, where a detector cannot be used.

    Raises:
        MissingDependencyError: a package is not installed.
    """
    if method != "none":
        from mvector.audio.vad import trim_silence

        trim_silence(np.zeros(SAMPLE_RATE, dtype=np.float32), SAMPLE_RATE, method=method)


def write_flac(path: str | os.PathLike[str], waveform: np.ndarray) -> None:
    """Write mono samples in [-1, 1] as 16 kHz 16-bit FLAC; the file appears whole or not at all.

    Raises:
        DataError: the folder cannot be written to.
    """

    def write(file: Path) -> None:
        soundfile.write(file, waveform, SAMPLE_RATE, format="FLAC", subtype="PCM_16")

    cure = "--output needs a folder with free space"
    with write_errors_as(DataError, f"'{path}'", cure, also=(soundfile.SoundFileError,)):
        write_atomically(Path(path), write)


def _relative_target(clip: Clip, root: str | os.PathLike[str]) -> str:
    """Where a clip goes beneath the folder of new clips, with a suffix."""
    if clip.segment is not None:
        return f"{_as_file_name(clip.speaker)}/{_as_file_name(clip.segment.name)}.seg"
    path, base = os.path.abspath(clip.path), os.path.abspath(root)
    beneath = os.path.relpath(path, base)
    if not beneath.startswith(os.pardir):
        return beneath
    return os.path.splitdrive(path)[1].lstrip(os.sep)


def _as_file_name(name: str) -> str:
    """One component of a path for any name, different for different names."""
    escaped = name.replace("%", "%25").replace("/", "%2F").replace("\\", "%5C")
    return escaped.replace(".", "%2E", 1) if escaped.startswith(".") else escaped


def _decode(clip: Clip) -> np.ndarray:
    segment = clip.segment
    if segment is None:
        return read_audio(clip.path, SAMPLE_RATE)
    duration_s = None if segment.end_s is None else segment.end_s - segment.start_s
    if not segment.start_s >= 0.0 or (duration_s is not None and not duration_s > 0.0):
        raise AudioError(f"{clip.description} does not end after its start; correct segments.")
    waveform = read_audio(
        clip.path,
        SAMPLE_RATE,
        offset_s=segment.start_s,
        duration_s=duration_s,
        channel="auto" if segment.channel is None else segment.channel,
    )
    if duration_s is not None and len(waveform) / SAMPLE_RATE < duration_s - _MAX_OVERSHOOT_S:
        raise AudioError(
            f"{clip.description} reaches past the end of its recording, at "
            f"{segment.start_s + len(waveform) / SAMPLE_RATE:.2f} s; correct segments."
        )
    return waveform
