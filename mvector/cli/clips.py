"""Where the inference scripts get clips from: files, standard input, or a microphone."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mvector.cli.common import JsonOption, parse_length
from mvector.cli.options import Options, option, optional, required
from mvector.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

    from mvector.audio import AudioSource, Channel

STANDARD_INPUT = "-"

_METER_FROM_DB, _METER_WIDTH = -60.0, 30


def _parse_channel(text: str) -> Channel:
    from mvector.audio.channels import parse_channel

    try:
        return parse_channel(text)
    except AudioError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class ChannelOption(Options):
    channel: int | Literal["mix", "auto"] | None = optional(
        "which channel of clips with several: its number from 0, mix (the mean of all), or auto "
        "(the mean, without empty channels, and the louder one where two cancel each other; the "
        "default, unless the model says otherwise); a file may name its own: clip.wav#channel=1",
        "N|mix|auto",
        _parse_channel,
    )


@dataclass(frozen=True, kw_only=True)
class RecordingOptions(ChannelOption):
    TITLE = "microphone"

    record_seconds: float = option(
        3.0, "how long to record (default %(default)s)", "S", parse_length
    )
    device: str | None = optional("input device: its number, or part of its name", "N|NAME")


@dataclass(frozen=True, kw_only=True)
class ListDevices(JsonOption):
    list_devices: bool = required("print the input devices and leave", action="store_true")


def list_devices(args: ListDevices) -> int:
    """Print the input devices."""
    from mvector.audio.microphone import input_devices

    devices = input_devices()
    if args.json:
        print(json.dumps([vars(device) for device in devices], ensure_ascii=False))
    else:
        print("\n".join(str(device) for device in devices))
    return 0


def open_clip(path: str, channel: Channel | None = None) -> AudioSource:
    """The clip of a path on the command line; ``-`` is WAV (or FLAC, ...) on standard input.

    A ``channel`` is heard, unless the path names one.

    Raises:
        AudioError: standard input holds nothing, or goes on for ever.
    """
    from mvector.audio.channels import ChannelOf

    clip: AudioSource = path
    if path == STANDARD_INPUT:
        from mvector.audio.limits import DEFAULT_LIMITS
        from mvector.audio.sources import read_stream

        clip = read_stream(sys.stdin.buffer, "standard input", DEFAULT_LIMITS)
    return clip if channel is None else ChannelOf(clip, channel)


def require_one_standard_input(files: Sequence[str | None]) -> None:
    """Refuse to read several clips from standard input.

    Raises:
        AudioError: it is named twice.
    """
    if files.count(STANDARD_INPUT) > 1:
        raise AudioError("Standard input holds one clip; name it once.")


def ask_for_clip(args: RecordingOptions, sample_rate: int, which: str = "") -> AudioSource:
    """A recording, or the path that the user types; a useless recording is made again.

    The question begins with ``which`` clip this is. ``EOFError``: nobody answers.
    """
    while True:
        answer = ask(
            f"{which}Press Enter to record {args.record_seconds:g} s, or type the path of a clip: "
        ).strip()
        if answer:
            return open_clip(typed_path(answer), args.channel)
        waveform, wrong = record_clip(args, sample_rate)
        if wrong is None:
            return waveform, sample_rate
        print(f"The recording is {wrong}, try again.", file=sys.stderr)


def typed_path(answer: str) -> str:
    """The path that was typed, or that a terminal wrote for a file dropped on it.

    Those quote what a shell would split, or put backslashes before it; ``~`` is the home folder.
    """
    path = answer.strip("'\"")
    if not os.path.exists(path) and os.name == "posix":
        with suppress(ValueError):  # an odd quote, as in a name with an apostrophe
            words = shlex.split(answer)
            path = words[0] if len(words) == 1 else path
    return os.path.expanduser(path)


def ask(question: str) -> str:
    """What the user types; the question is seen where standard output goes elsewhere, too."""
    if sys.stdout.isatty():
        return input(question)
    print(question, end="", file=sys.stderr, flush=True)
    return input("")


def record_clip(args: RecordingOptions, sample_rate: int) -> tuple[np.ndarray, str | None]:
    """Record with a level meter; the samples, and what is wrong with them."""
    from mvector.audio.microphone import record, recording_fault

    def show_level(block: np.ndarray) -> None:
        print(f"\r{level_meter(block, sample_rate)}", end="", file=sys.stderr, flush=True)

    waveform = record(
        args.record_seconds,
        sample_rate,
        device=args.device,
        on_open=lambda: print("recording…", file=sys.stderr, flush=True),
        on_block=show_level if sys.stderr.isatty() else None,
    )
    print("\ndone" if sys.stderr.isatty() else "done", file=sys.stderr)
    return waveform, recording_fault(waveform, sample_rate)


def level_meter(block: np.ndarray, sample_rate: int) -> str:
    """A level as a bar from -60 to 0 dB, and whether it is clipped."""
    import numpy as np

    from mvector.audio.clip_report import CLIPPED_FROM
    from mvector.audio.level import sound_of

    level = sound_of(block, sample_rate).level_db
    share = min(1.0, max(0.0, 1.0 - level / _METER_FROM_DB)) if np.isfinite(level) else 0.0
    bar = "#" * round(share * _METER_WIDTH)
    clipped = "CLIPPED" if np.abs(block).max(initial=0.0) >= CLIPPED_FROM else ""
    return f"[{bar:-<{_METER_WIDTH}}] {max(level, -99.0):4.0f} dB {clipped:7s}"


def record_good_clip(args: RecordingOptions, sample_rate: int) -> AudioSource:
    """A recording without questions; refuses one that is too quiet or clipped."""
    waveform, wrong = record_clip(args, sample_rate)
    if wrong is not None:
        raise AudioError(f"The recording is {wrong}, try again.")
    return waveform, sample_rate
