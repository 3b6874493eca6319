"""Kaldi data folders: wav.scp, utt2spk and, where recordings are long, segments."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mvector.audio import split_channel
from mvector.corpus.recipes.clip import Clip, Segment, keep_from_training, name_some
from mvector.corpus.recipes.pairs import PublishedTrials, read_trial_files
from mvector.corpus.recipes.walk import existing_folder, listed_path, read_lines
from mvector.errors import DataError

logger = logging.getLogger(__name__)

_BLANK = re.compile(r"[ \t]+")
_IN_ARCHIVE = re.compile(r"\.ark:\d+$")
_CHANNELS = {"A": 0, "B": 1}


def scan_kaldi(
    path: str | os.PathLike[str], trials: Sequence[str] = ()
) -> tuple[list[Clip], list[PublishedTrials]]:
    """Clips of a Kaldi data folder, all in the part ``train`` but for those that trials name.

    With ``segments``, each line of it is a clip: a stretch of a recording of ``wav.scp``. Relative
    paths start where the recipe ran: the working directory, or the first folder from the data
    folder upwards from which the first recording is found.

    Args:
        path: the data folder.
        trials: files of trials whose names are utterances; their speakers do not train.

    Raises:
        DataError: a file is missing or malformed, or a recording is a command or in an archive.
    """
    root = existing_folder(path)
    _require_file(root, "wav.scp")
    _require_file(root, "utt2spk")
    recordings = _read_recordings(root)
    speaker_of = dict(_read_table(root / "utt2spk", "<utterance> <speaker>"))
    source = "segments" if (root / "segments").is_file() else "wav.scp"
    if source == "segments":
        utterances = _read_segments(root / "segments", recordings)
    else:
        utterances = {name: Clip(path, "") for name, path in recordings.items()}
    listed, spoken = set(utterances), set(speaker_of)
    _report_unmatched(listed - spoken, f"utterances of {source} are not in utt2spk")
    _report_unmatched(spoken - listed, f"utterances of utt2spk are not in {source}")
    clips = {
        name: replace(clip, speaker=speaker_of[name])
        for name, clip in utterances.items()
        if name in speaker_of
    }
    if not clips:
        raise DataError(f"No utterance of '{root / source}' is in '{root / 'utt2spk'}'.")
    published = read_trial_files(
        trials,
        lambda name: clips[name].key if name in clips else None,
        next(iter(clips)),
    )
    named = {clips[name].speaker for own in published for name in own.key_of}
    return keep_from_training(clips.values(), named), published


def _require_file(root: Path, name: str) -> None:
    if (root / name).is_file():
        return
    below = sorted(file.parent.name for file in root.glob("*/wav.scp"))
    cure = "give a Kaldi data folder with wav.scp and utt2spk"
    if name == "utt2spk" and (root / "spk2utt").is_file():
        cure = "make it from spk2utt with utils/spk2utt_to_utt2spk.pl"
    elif below:
        cure = f"give one of its folders {name_some(below)}, and join the lists with --merge"
    raise DataError(f"The file '{root / name}' is missing; {cure}.")


def _read_table(path: Path, layout: str) -> list[tuple[str, str]]:
    """Lines of a name and the rest, which may hold spaces."""
    entries: list[tuple[str, str]] = []
    for number, line in read_lines(path):
        fields = _BLANK.split(line, maxsplit=1)
        if len(fields) != 2:
            raise DataError(f"'{path}', line {number}: expected '{layout}', got '{line[:80]}'.")
        entries.append((fields[0], fields[1]))
    if not entries:
        raise DataError(f"'{path}' is empty; expected lines '{layout}'.")
    return entries


def _read_recordings(root: Path) -> dict[str, str]:
    file = root / "wav.scp"
    entries = _read_table(file, "<name> <path>")
    for name, path in entries:
        if path.endswith("|"):
            raise DataError(
                f"'{file}' makes '{name}' with a command ('{path[:60]}'), and commands are not "
                "run: write the audio into files once, as with 'wav-copy scp:wav.scp "
                "scp:files.scp', and list those."
            )
        if _IN_ARCHIVE.search(path):
            raise DataError(
                f"'{file}' takes '{name}' from an archive ('{path[:60]}'): write the audio into "
                "files once, and list those."
            )
    first = Path(entries[0][1]).expanduser()
    bases = (Path.cwd(), root, *root.parents)
    base = next((folder for folder in bases if (folder / split_channel(first)[0]).is_file()), None)
    if base is None:
        raise DataError(
            f"The first recording of '{file}', '{first}', was not found; run this in the folder "
            "that its relative paths start from, or correct them."
        )
    here = os.getcwd()
    return {
        name: listed_path(os.path.join(base, os.path.expanduser(path)), here)
        for name, path in entries
    }


def _read_segments(path: Path, recordings: dict[str, str]) -> dict[str, Clip]:
    clips: dict[str, Clip] = {}
    unknown: set[str] = set()
    for number, line in read_lines(path):
        fields = _BLANK.split(line)
        try:
            name, recording = fields[0], fields[1]
            start_s, end_s = float(fields[2]), float(fields[3])
            channel = _channel(fields[4]) if len(fields) > 4 else None
        except (ValueError, IndexError) as error:
            raise DataError(
                f"'{path}', line {number}: expected '<utterance> <recording> <start> <end>' in "
                f"seconds, got '{line[:80]}'."
            ) from error
        if recording not in recordings:
            unknown.add(recording)
            continue
        end = None if end_s == -1 else end_s  # Kaldi's way of writing the end of the recording
        clips[name] = Clip(recordings[recording], "", segment=Segment(name, start_s, end, channel))
    if not clips and not unknown:
        raise DataError(f"'{path}' is empty; remove it, or list segments in it.")
    _report_unmatched(unknown, "recordings of segments are not in wav.scp")
    return clips


def _channel(text: str) -> int:
    return _CHANNELS[text] if text in _CHANNELS else int(text)


def _report_unmatched(names: set[str], what: str) -> None:
    if names:
        logger.warning("%d %s and are left out: %s.", len(names), what, name_some(names))
