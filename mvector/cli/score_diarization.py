"""``tools/score_diarization.py``: how right turns are, against a reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mvector.cli.common import JsonOption, parse_seconds
from mvector.cli.options import Action, Command, flag, option, optional, required
from mvector.errors import DataError
from mvector.files import read_errors_as, read_utf8

_DESCRIPTION = """\
Compare who is said to speak when with who does: the diarization error rate (DER) with its parts,
and what else there is to know, for each recording and for all of them together.

  DER            missed + false alarm + confusion, as shares of the reference's speech; labels are
                 matched with people so that it is lowest
  JER            the mean over people of how little of their time and that of their label is both
  purity         share of the time of labels that is of the main person of each
  coverage       share of the time of people that is in the main label of each
  named error    share of the time of enrolled people whose name is missing or wrong; and how much
                 of the time of strangers has a name (--enrolled)

Where two people speak at once, both count. Recordings of the reference (or of --uem) are scored.
"""

_EPILOG = """\
which figure to compare with:
  Papers differ in the collar and in whether overlapping speech is scored, by a factor of two and
  more. --collar 0.25 leaves out 0.25 s on either side of each boundary of the reference, as
  md-eval -c 0.25 does; in pyannote.metrics that is collar=0.5. Without options, all is scored.

examples:
  python tools/score_diarization.py reference.rttm found.rttm
  python tools/score_diarization.py reference/ found/ --uem dev.uem --json      folders of RTTM
  python tools/score_diarization.py reference.rttm found.rttm --collar 0.25 --skip_overlap
  python tools/score_diarization.py reference.rttm found.rttm --enrolled audio_db
"""


@dataclass(frozen=True, kw_only=True)
class Score(JsonOption):
    reference: str = required(
        "who speaks: an RTTM file, or a folder of them", "REF", positional=True
    )
    hypothesis: str = required("who is said to speak, likewise", "HYP", positional=True)
    collar: float = option(
        0.0,
        "do not score this long on either side of each boundary of the reference (default: "
        "%(default)s)",
        "SECONDS",
        parse_seconds,
    )
    skip_overlap: bool = flag("do not score where several people of the reference speak")
    uem: str | None = optional(
        "score these parts of these recordings only: a UEM file, or a folder of them", "UEM"
    )
    enrolled: str | None = optional(
        "who has a name: a speaker library (a folder for each person), or a text file with a name "
        "a line; a space in a name is _ in RTTM",
        "NAMES",
    )


def run(args: Score) -> int:
    """Read, score, and print a table or one object."""
    from mvector.diarization.error_rate import score_recordings, total_errors
    from mvector.diarization.rttm import read_rttm, read_uem
    from mvector.diarization.score_table import error_table, errors_to_dict
    from mvector.evaluation.reports.tables import render_text

    errors_of = score_recordings(
        read_rttm(args.reference),
        read_rttm(args.hypothesis),
        None if args.uem is None else read_uem(args.uem),
        collar_s=args.collar,
        skip_overlap=args.skip_overlap,
        enrolled=() if args.enrolled is None else _read_names(Path(args.enrolled)),
    )
    total = total_errors(errors_of.values())
    if args.json:
        answer = {
            "collar_s": args.collar,
            "skip_overlap": args.skip_overlap,
            "recordings": {name: errors_to_dict(each) for name, each in errors_of.items()},
            "total": errors_to_dict(total),
        }
        print(json.dumps(answer, ensure_ascii=False))
    else:
        scored = "overlapping speech left out" if args.skip_overlap else "overlapping speech scored"
        title = f"Collar {args.collar:g} s on either side, {scored}."
        print(render_text(error_table(errors_of, total, title)))
    return 0


def _is_of_person(folder: Path) -> bool:
    """Whether it is no file, and not the library's own: names do not begin with a dot on a disk."""
    return folder.is_dir() and not folder.name.startswith(".")


def _read_names(path: Path) -> Sequence[str]:
    """Names as they stand in RTTM, of a library's folders or of the lines of a file."""
    from mvector.diarization.rttm import as_field
    from mvector.speakers.names import person_of_folder

    if path.is_dir():
        names = [person_of_folder(folder) for folder in path.iterdir() if _is_of_person(folder)]
    else:
        with read_errors_as(DataError, f"'{path}'"):
            names = [line for line in read_utf8(path).split("\n") if line.strip()]
    if not names:
        raise DataError(f"'{path}' has no name; give a library or a file with a name a line.")
    return sorted(map(as_field, names))


COMMAND = Command(
    "score_diarization.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("turns and a reference", Score, run),),
)
