"""Where the inference scripts get clips from: files, standard input, or a microphone."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from mvector.errors import AudioError, MVectorError

if TYPE_CHECKING:
    import numpy as np

    from mvector.audio import AudioSource

STANDARD_INPUT = "-"

_METER_FROM_DB, _METER_WIDTH = -60.0, 30


def add_microphone_options(parser: argparse.ArgumentParser) -> None:
    """``--record_seconds``, ``--device`` and ``--list_devices``."""
    parser.add_argument(
        "--record_seconds",
        type=float,
        default=3.0,
        metavar="S",
        help="how long to record from the microphone (default 3)",
    )
    parser.add_argument(
        "--device", metavar="N|NAME", help="input device: its number, or part of its name"
    )
    parser.add_argument(
        "--list_devices", action="store_true", help="print the input devices and leave"
    )


def list_devices(as_json: bool) -> int:
    """Print the input devices."""
    from mvector.audio.microphone import input_devices

    devices = input_devices()
    if as_json:
        print(json.dumps([vars(device) for device in devices], ensure_ascii=False))
    else:
        print("\n".join(str(device) for device in devices))
    return 0


def open_clip(path: str) -> AudioSource:
    """The clip of a path on the command line; ``-`` is WAV (or FLAC, ...) on standard input.

    Raises:
        AudioError: standard input holds nothing, or goes on for ever.
    """
    if path != STANDARD_INPUT:
        return path
    from mvector.audio.decoding import read_stream
    from mvector.audio.limits import DEFAULT_LIMITS

    return read_stream(sys.stdin.buffer, "standard input", DEFAULT_LIMITS)


def ask_for_clip(args: argparse.Namespace, sample_rate: int, which: str = "") -> AudioSource:
    """A recording, or the path that the user types; a useless recording is made again.

    Args:
        args: of a parser with :func:`add_microphone_options`.
        sample_rate: to record at, in Hz.
        which: clip this is, as the beginning of the question.

    Raises:
        AudioError: there is no microphone, or it failed.
        MissingDependencyError: PyAudio is not installed.
        EOFError: nobody answers.
    """
    while True:
        answer = input(
            f"{which}Press Enter to record {args.record_seconds:g} s, or type the path of a clip: "
        ).strip()
        if answer:
            return answer.strip("'\"")
        waveform, wrong = record_clip(args, sample_rate)
        if wrong is None:
            return waveform, sample_rate
        print(f"The recording is {wrong}, try again.")


def record_clip(args: argparse.Namespace, sample_rate: int) -> tuple[np.ndarray, str | None]:
    """Record with a level meter; the samples, and what is wrong with them."""
    from mvector.audio.microphone import complaint, record

    talk = sys.stderr if getattr(args, "json", False) else sys.stdout
    print("recording…", file=talk, flush=True)
    shown = talk.isatty()
    waveform = record(
        args.record_seconds,
        sample_rate,
        device=args.device,
        on_block=(lambda block: print(f"\r{meter(block)}", end="", file=talk, flush=True))
        if shown
        else None,
    )
    print("\ndone" if shown else "done", file=talk)
    return waveform, complaint(waveform, sample_rate)


def meter(block: np.ndarray) -> str:
    """A level as a bar from -60 to 0 dB, and whether it is clipped."""
    import numpy as np

    from mvector.audio.clip_report import CLIPPED_FROM
    from mvector.audio.level import level_db

    level = level_db(block)
    share = min(1.0, max(0.0, 1.0 - level / _METER_FROM_DB)) if np.isfinite(level) else 0.0
    bar = "#" * round(share * _METER_WIDTH)
    clipped = "CLIPPED" if np.abs(block).max(initial=0.0) >= CLIPPED_FROM else ""
    return f"[{bar:-<{_METER_WIDTH}}] {max(level, -99.0):4.0f} dB {clipped:7s}"


def good_recording(args: argparse.Namespace, sample_rate: int) -> AudioSource:
    """A recording without questions.

    Raises:
        AudioError: it is too quiet or clipped, or there is no microphone.
    """
    waveform, wrong = record_clip(args, sample_rate)
    if wrong is not None:
        raise AudioError(f"The recording is {wrong}, try again.")
    return waveform, sample_rate


def check_positive(args: argparse.Namespace, *options: str) -> None:
    """Refuse durations that are not positive.

    Raises:
        MVectorError: one of the options, named without dashes, is not.
    """
    for option in options:
        if not getattr(args, option) > 0:
            raise MVectorError(f"--{option} must be positive; got {getattr(args, option):g}.")
