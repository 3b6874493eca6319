"""``tools/simulate_meetings.py``: conversations made of clips, with reference turns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mvector.cli.common import parse_count, parse_length, parse_number
from mvector.cli.options import (
    Action,
    Command,
    Condition,
    OptionError,
    Options,
    option,
    optional,
    required,
)
from mvector.errors import DataError, count_of

logger = logging.getLogger(__name__)

_MOST_NAMED = 5

_DESCRIPTION = """\
Make conversations of the clips of lists, of which it is known who speaks when: to choose settings
of a diarization, to measure it, and to test what is done with its turns.

  OUT/dev/meeting_00.wav    a recording
  OUT/dev/meeting_00.rttm   who speaks in it when, by name
  OUT/dev/library/NAME/     clips to enrol some of the people by; none of them is in a recording
  OUT/test/...              the same, of other people

When people speak, go on, answer and interrupt each other is drawn from the statistics of public
conversations (mvector/diarization/turn_taking.py). In a meeting each has a place in a simulated
room; in a call each has a telephone. Choose settings on dev and report test: half of the people of
each list are in either, whatever the seed. The people of one recording are of one list, so that
they are not told apart by their corpora.
"""

_EPILOG = """\
kinds:
  meeting       one microphone, 16 kHz
  call          two telephones, 8 kHz, mixed into one channel
  stereo_call   two telephones, one in each channel

examples:
  python tools/simulate_meetings.py dataset/test_list.txt --out sets/meetings
  python tools/simulate_meetings.py a.txt b.txt --out sets/calls --kind call --noise_dir noise
  python tools/simulate_meetings.py a.txt --out sets/large --num_people 8 10 --minutes 20 30
  python tools/score_diarization.py sets/meetings/test found/ --enrolled sets/meetings/test/library

Take lists of people whom the model was not trained on, with three clips each or more, best a
minute and more of speech: what is used up begins again. A third of the clips of a person, three at
most, are kept for enrolment. The same options make the same bytes on one machine.
"""


@dataclass(frozen=True, kw_only=True)
class Simulate(Options):
    lists: Sequence[str] = required(
        "lists of clips: path, tab, speaker number", "LIST", positional=True, nargs="+"
    )
    out: str = required("folder to make, which must not be there yet", "DIR")
    kind: Literal["meeting", "call", "stereo_call"] = option(
        "meeting",
        "what is recorded (default: %(default)s)",
        choices=("meeting", "call", "stereo_call"),
    )
    style: str = option(
        "meeting",
        "whose turns people take: meeting, of lively ones; broadcast, of debates and news, with "
        "longer turns and little overlap (default: %(default)s)",
        choices=("meeting", "broadcast"),
    )
    num_recordings: int = option(
        10, "in dev, and in test (default: %(default)s)", "N", parse_number
    )
    num_people: Sequence[int] = option(
        (3, 6),
        "fewest and most people of a meeting; some may not come to say anything (default: 3 6)",
        ("MIN", "MAX"),
        parse_number,
        nargs=2,
    )
    minutes: Sequence[float] = option(
        (3.0, 5.0),
        "shortest and longest recording (default: 3 5)",
        ("MIN", "MAX"),
        parse_length,
        nargs=2,
    )
    enrolled: float = option(
        0.5, "share of the people who are in the library (default: %(default)s)", "SHARE", float
    )
    noise_dir: str | None = optional(
        "folder of noise, which is then heard at 10 to 25 dB below the speech", "DIR"
    )
    vad: Literal["silero", "energy"] = option(
        "silero",
        "finds the speech in clips, which turns are made of; energy takes breath and noise for "
        "speech too (default: %(default)s)",
        choices=("silero", "energy"),
    )
    data_root: str | None = optional("where relative paths of the lists start", "DIR")
    seed: int = option(
        0, "another one makes other recordings (default: %(default)s)", "N", parse_count
    )

    def conditions(self) -> tuple[Condition, ...]:
        is_meeting = self.kind == "meeting"
        return (
            *super().conditions(),
            ("num_people", is_meeting, "without --kind meeting: a call has two"),
        )


def run(args: Simulate) -> int:
    """Make both parts, and say what was made."""
    from mvector.data.lists import read_list
    from mvector.diarization.simulated_sets import SetOptions, write_sets

    for name, (low, high) in (("num_people", args.num_people), ("minutes", args.minutes)):
        if low > high:
            raise OptionError(f"--{name} wants the smaller number first, not {low:g} {high:g}.")
    if not 0 <= args.enrolled <= 1:
        raise OptionError(f"--enrolled is a share from 0 to 1, not {args.enrolled:g}.")
    fewest, most = args.num_people if args.kind == "meeting" else (2, 2)
    shortest, longest = args.minutes
    options = SetOptions(
        kind=args.kind,
        style=args.style,
        num_recordings=args.num_recordings,
        num_people=(fewest, most),
        minutes=(shortest, longest),
        enrolled_share=args.enrolled,
        seed=args.seed,
        vad_method=args.vad,
        noises=_find_noises(args.noise_dir),
    )
    lists = [read_list(path, root=args.data_root) for path in args.lists]
    for made in write_sets(lists, Path(args.out), options):
        print(
            f"{args.out}/{made.name}: {count_of(made.num_recordings, 'recording')}, "
            f"{made.duration_s / 60:.0f} min, of {count_of(made.num_people, 'person', 'people')}, "
            f"{made.num_enrolled:,} of them in library/"
        )
        for sentence in made.left_out[:_MOST_NAMED]:
            logger.warning("Left out: %s", sentence)
        if made.left_out:
            print(f"{args.out}/{made.name}: {count_of(len(made.left_out), 'clip')} left out")
    return 0


def _find_noises(folder: str | None) -> list[str]:
    from mvector.audio import is_audio

    if folder is None:
        return []
    paths = sorted(
        str(path) for path in Path(folder).rglob("*") if path.is_file() and is_audio(path)
    )
    if not paths:
        raise DataError(f"'{folder}' has no audio; name a folder of recordings of noise.")
    return paths


COMMAND = Command("simulate_meetings.py", _DESCRIPTION, _EPILOG, (Action("lists", Simulate, run),))
