"""``tools/diarize.py``, or ``mvector who``: who spoke when in a recording, by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.cli.clips import STANDARD_INPUT, ChannelOption, ask, open_clip
from mvector.cli.common import (
    JsonOption,
    ModelOptions,
    ThresholdOption,
    make_predictor,
    parse_number,
)
from mvector.cli.options import Action, Command, Condition, OptionError, flag, optional, required
from mvector.cli.terminal import Mark, marked, mind_lines

if TYPE_CHECKING:
    from mvector.audio import AudioSource
    from mvector.diarization.result import Diarization
    from mvector.recognition.predictor import MVectorPredictor

_LIBRARY = "audio_db/"
_NOBODY = 1

_EPILOG = """\
examples:
  python tools/diarize.py meeting.wav                         names of audio_db/, if there is one
  python tools/diarize.py meeting.wav --num_speakers 4 --out meeting.rttm
  python tools/diarize.py call.wav --audio_db_path agents --within support --out call.html
  python tools/diarize.py stereo.wav                          one person a channel is heard so
  python tools/diarize.py stereo.wav --channel mix            both channels as one recording
  python tools/diarize.py part2.wav --same_as part1.json      strangers keep their labels
  python tools/diarize.py meeting.wav --register_unknown "Speaker 2=Ada Lovelace"

Who is not enrolled is Speaker 1, Speaker 2, ... in the order of their first words. The suffix of
--out chooses the format: .rttm, .json, .srt, .vtt, .csv, .html (a page with a player) or .png.
exit code: 0 somebody speaks, 1 nobody does, 2 a mistake
"""


@dataclass(frozen=True, kw_only=True)
class Who(ModelOptions, ThresholdOption, ChannelOption, JsonOption):
    audio: str = required("the recording; - is standard input", "RECORDING", positional=True)
    audio_db_path: str | None = optional(
        f"the speaker library (default: {_LIBRARY}, if there is one)", "DIR"
    )
    within: Sequence[str] | None = optional(
        "recognise people of these groups only", "GROUP", nargs="+"
    )
    num_speakers: int | None = optional(
        "how many people speak, if that is known", "N", parse_number
    )
    min_speakers: int | None = optional("at least so many people speak", "N", parse_number)
    max_speakers: int | None = optional("at most so many people speak", "N", parse_number)
    exclusive: bool = flag("one person at a time, to join with a transcript")
    out: str | None = optional("write the turns; the suffix chooses the format", "FILE")
    same_as: str | None = optional(
        "JSON of an earlier recording, whose unknown people keep their labels here", "EARLIER"
    )
    register_unknown: Sequence[str] | None = optional(
        "enrol unknown people by what they say here, for recordings to come: LABEL=NAME, such as "
        "'Speaker 2=Ada'; without any, each is asked for",
        "LABEL=NAME",
        nargs="*",
    )

    def conditions(self) -> tuple[Condition, ...]:
        has_library = self.library is not None
        nowhere = f"without a speaker library: there is no {_LIBRARY}, and no --audio_db_path"
        beside = "beside --num_speakers, which says it all"
        return (
            *super().conditions(),
            ("min_speakers max_speakers", self.num_speakers is None, beside),
            ("within threshold purpose", has_library or self.same_as is not None, nowhere),
            ("json", self.register_unknown != [], "with --register_unknown alone, which asks"),
        )

    @property
    def library(self) -> str | None:
        """The speaker library, if there is one, or is to be."""
        if self.audio_db_path is not None:
            return self.audio_db_path
        from mvector.speakers.folder_opening import holds_library

        is_wanted = self.register_unknown is not None or holds_library(Path(_LIBRARY))
        return _LIBRARY if is_wanted else None


def run(args: Who) -> int:
    """Divide a recording, print and write the turns, and enrol who is asked for."""
    from mvector.diarization.options import DiarizationOptions
    from mvector.diarization.writing import check_out_path, save_diarization, to_json

    if args.out is not None:
        check_out_path(args.out)
    pairs = _wanted_names(args.register_unknown or ())
    options = DiarizationOptions(num_speakers=args.num_speakers)
    options = replace(
        options,
        min_speakers=args.min_speakers or options.min_speakers,
        max_speakers=args.max_speakers or options.max_speakers,
    )
    predictor = make_predictor(args, args.library)
    if args.register_unknown is not None:
        predictor.open_library(create=True)  # the first recording is where a library begins
    source = open_clip(args.audio, args.channel)
    found = predictor.diarize(
        source, options=options, within=args.within, same_as=args.same_as, progress=True
    )
    if args.exclusive:
        found = found.exclusive()
    enrolled: dict[str, str] = {}
    try:
        if not args.json:
            print("\n".join(_lines(found)), flush=True)
        if args.register_unknown is not None:
            _register(args, predictor, source, found, pairs, enrolled)
    finally:  # what was heard is not lost where nobody reads on, or somebody cannot be enrolled
        found = found.named(enrolled)
        if args.json:
            print(to_json(found), end="", flush=True)
        if args.out is not None:
            sound = None if args.audio == STANDARD_INPUT else args.audio
            save_diarization(found, args.out, sound)
            if not args.json:
                print(f"Written: {args.out}")
    return 0 if found.turns else _NOBODY


def _lines(found: Diarization) -> list[str]:
    """People, turns, and what there is to mind."""
    from mvector.diarization.result import turn_lines

    people = [
        marked(Mark.YES if speaker.name else Mark.UNSURE, speaker.as_text())
        for speaker in found.speakers
    ]
    return [*people, *turn_lines(found.turns), *mind_lines(found.notes)]


def _wanted_names(words: Sequence[str]) -> dict[str, str]:
    """Label and name of each ``LABEL=NAME``.

    Raises:
        OptionError: one is no such pair.
    """
    pairs = {}
    for word in words:
        label, equals, name = word.partition("=")
        if not (label.strip() and equals and name.strip()):
            raise OptionError(f"'{word}' is no LABEL=NAME, such as 'Speaker 2=Ada'.")
        pairs[label.strip()] = name.strip()
    return pairs


def _register(
    args: Who,
    predictor: MVectorPredictor,
    source: AudioSource,
    found: Diarization,
    names: dict[str, str],
    enrolled: dict[str, str],
) -> None:
    """Enrol unknown people by their turns, and note label and name of each in ``enrolled``.

    Raises:
        OptionError: a label is nobody's.
    """
    unknown = [speaker.label for speaker in found.speakers if speaker.name is None]
    for label in names:
        if label not in unknown:
            those = ", ".join(unknown) or "nobody is unknown here"
            raise OptionError(f"There is no unknown '{label}' in the recording: {those}.")
    for label in [*names] or unknown:
        name = names.get(label) or ask(f"Who is {label}? (Enter: leave out) ").strip()
        if name:
            result = predictor.register(predictor.voice_of(source, found, label), name)
            enrolled[label] = result.name
            lines = [
                marked(Mark.YES, f"enrolled {result.name} by {label}"),
                *mind_lines(result.reasons),
            ]
            print("\n".join(lines), file=sys.stderr if args.json else sys.stdout)


COMMAND = Command(
    "diarize.py",
    "Tell who spoke when in a recording, by name where people are enrolled.",
    _EPILOG,
    (Action("a recording", Who, run),),
    guesses={"speakers": "--num_speakers", "output": "--out", "names": "--audio_db_path"},
)
