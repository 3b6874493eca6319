"""``tools/inspect_data.py``: what the clips of a list really hold, before training on them."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from mvector.cli.common import ListOptions, list_option, parse_seconds
from mvector.cli.options import Action, Command, Options, option, optional, required
from mvector.errors import DataError, count_of
from mvector.files import check_file_writable, write_errors_as, write_text

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Decode every clip of a list, or of a packed corpus, and report

  how much      speakers, clips, hours, durations, clips and seconds per speaker
  of what       sample rates, channels, formats, levels
  mistakes      unreadable clips and why; the same audio under two labels; silent clips
  doubts        the same audio twice; clipped, mostly silent and short clips; telephone speech at a
                higher rate; speakers with a single clip; labels that nobody has

The same audio means equal 16-bit samples: a wav and its flac are found, a copy through a lossy
codec, another rate or level is not. Nothing is changed; delete or correct the lines yourself.
--renumber writes a training list with other labels, for gaps between them or words in their place.
"""

_EPILOG = """\
exit code:
  0   clean: every clip can be read, and no audio is listed under two labels
  1   not clean, whatever else was found is in the report
  2   the command cannot be carried out: no such list, not one clip can be read, ...

examples:
  python tools/inspect_data.py dataset/train_list.txt
  python tools/inspect_data.py dataset/train_list.txt --json report.json --picture report.png
  python tools/inspect_data.py lists/train.txt --data_root /corpora --num_workers 16
  python tools/inspect_data.py dataset/train_packed          a folder of tools/pack_corpus.py
  python tools/inspect_data.py names.txt --renumber dataset/train_list.txt

The text names five clips of a kind; --json names all. Its keys are explained in
mvector/corpus/inspection_report.py. Each kind has its clips as columns, which pandas reads:
  pandas.DataFrame(json.load(open("report.json"))["clipped"]["clips"])
"""


@dataclass(frozen=True, kw_only=True)
class Inspect(ListOptions):
    min_duration: float = option(
        0.5, "name clips shorter than this (default: %(default)s)", "SECONDS", parse_seconds
    )
    json: str | None = optional("write the report, with all clips named, for programs", "FILE")
    picture: str | None = optional(
        "draw histograms of duration, clips per speaker, level and silence (.png, .pdf, .svg)",
        "FILE",
    )


@dataclass(frozen=True, kw_only=True)
class Renumber(Options):
    source: str = list_option()
    renumber: str = required(
        "write the list with its speakers numbered from 0 without gaps; their labels may be words",
        "OUT",
    )


def run(args: Inspect) -> int:
    """Inspect, write what was asked for, and print the report."""
    from mvector.corpus.inspection import inspect_list
    from mvector.corpus.inspection_picture import check_picture_path, save_picture
    from mvector.corpus.inspection_report import build_report
    from mvector.corpus.inspection_text import render_report

    if args.picture:
        check_picture_path(args.picture)
    for name, path in (("json", args.json), ("picture", args.picture)):
        if path:
            with write_errors_as(DataError, f"'{path}'", f"choose another --{name}"):
                check_file_writable(Path(path))
    start_s = time.perf_counter()
    inspection = inspect_list(args.source, root=args.data_root, num_workers=args.num_workers)
    elapsed_s = time.perf_counter() - start_s
    report = build_report(inspection, min_duration_s=args.min_duration)
    num_clips = len(inspection.measures)
    speed = num_clips / max(elapsed_s, 1e-9)
    logger.info("Inspected %d clips in %.1f s (%.0f clips/s).", num_clips, elapsed_s, speed)
    if args.json:
        text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        with write_errors_as(DataError, f"'{args.json}'"):
            write_text(Path(args.json), text, errors="backslashreplace")
    if args.picture:
        save_picture(inspection, args.picture)
    print(render_report(report))
    written = [path for path in (args.json, args.picture) if path]
    if written:
        print(f"Written: {', '.join(written)}")
    return 0 if report["clean"] else 1


def _renumber(args: Renumber) -> int:
    """Write the list with other numbers; no clip is read."""
    from mvector.data.lists import renumber_list

    num_speakers = renumber_list(args.source, args.renumber)
    print(f"{args.renumber}: {count_of(num_speakers, 'speaker')}, numbered from 0")
    return 0


COMMAND = Command(
    "inspect_data.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("--renumber", Renumber, _renumber), Action("a list", Inspect, run)),
)
