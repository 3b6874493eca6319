"""``create_data.py``: from a corpus on disk to the lists that training and evaluation read."""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mvector.cli.common import parse_bool
from mvector.data.checking import BadClip, check_clips, check_paths, write_bad_clips
from mvector.data.corpora import Clip, name_some, scan_cnceleb, scan_folder, scan_zhvoice
from mvector.data.splitting import LIST_NAMES, split_by_speaker, write_lists
from mvector.errors import DataError
from mvector.files import check_writable

logger = logging.getLogger(__name__)

_SCANS: dict[str, Callable[[str], list[Clip]]] = {
    "cnceleb": scan_cnceleb,
    "zhvoice": scan_zhvoice,
    "folder": scan_folder,
}
_BAD_NAME = "bad_clips.txt"
_DEFAULT_OUTPUT = "dataset"

_DESCRIPTION = """\
Make the lists of a corpus: find its clips, decode each one once, leave out the broken ones, set
test speakers aside, and write into the output folder

  train_list.txt    clips to train on
  enroll_list.txt   one clip or more of each test speaker, as the voice on file
  trials_list.txt   the other clips of the test speakers, each compared with every enrolled one
  bad_clips.txt     clips left out, and why (only if there are any)

A list has one clip a line: its path, a tab, the speaker's number from 0. Nobody is both a training
and a test speaker. Paths are relative to the folder you run this in, so run train.py there too.
"""

_EPILOG = """\
what each corpus must look like:
  cnceleb   --path is the folder that holds one or both of these, or one of them:
              CN-Celeb_flac/data/id00000/*.flac             clips of all speakers
              CN-Celeb_flac/dev/dev.lst                     names of the training speakers
              CN-Celeb_flac/eval/enroll/id00800-enroll.flac
              CN-Celeb_flac/eval/test/id00800-singing-01-001.flac
              CN-Celeb2_flac/data/id10000/*.flac            more training speakers
            Training and test speakers are as published; --test_speakers has no effect.
  zhvoice   --path is the folder zhvoice, or the one that holds it:
              zhvoice/zhaidatatang/G0002/*.mp3              sub-corpus / speaker / clip
  folder    --path is a folder with one folder for each speaker:
              my_corpus/alice/1.wav
              my_corpus/alice/phone/2.m4a                   folders below are the same speaker's
              my_corpus/bob/1.flac
            wav, flac, ogg, opus, mp3, aiff; m4a, aac, mp4, webm with pip install 'mvector[media]'.
  Hidden files are skipped. An mp3 beside a wav of the same name is the same recording: the wav
  is taken.

examples:
  python create_data.py --dataset cnceleb --path dataset
  python create_data.py --dataset zhvoice --path dataset/zhvoice --convert_mp3 True
  python create_data.py --dataset folder --path my_corpus --test_speakers 20
  python create_data.py --dataset folder --path my_corpus --test_speakers 0 --output dataset/all
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="create_data.py",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", required=True, choices=sorted(_SCANS), help="layout of the corpus, see below")
    add("--path", required=True, metavar="DIR", help="where the corpus lies")
    add(
        "--output",
        default=_DEFAULT_OUTPUT,
        metavar="DIR",
        help="where the lists go (default: %(default)s)",
    )
    add(
        "--min_duration",
        type=_seconds,
        default=0.5,
        metavar="SECONDS",
        help="leave out clips shorter than this (default: %(default)s)",
    )
    add(
        "--num_workers",
        type=_count,
        metavar="N",
        help="processes that decode clips (default: one per processor; 0: this one only)",
    )
    add(
        "--convert_mp3",
        type=parse_bool,
        default=False,
        metavar="True|False",
        help="write a 16 kHz wav beside each good mp3 and list that, since mp3 reads slowly; takes "
        "0.12 GB an hour of speech (default: %(default)s)",
    )
    add(
        "--test_speakers",
        type=_speakers,
        metavar="N",
        help="test speakers: a number (20), a share of all (0.1), or 0 to train on everyone "
        "(default: a tenth, from 2 to 200; zhvoice and folder)",
    )
    add(
        "--enroll_clips",
        type=_at_least_one,
        metavar="N",
        help="clips of each test speaker to enrol (default: 1, so that a trial compares two clips "
        "as infer_contrast.py does; zhvoice and folder)",
    )
    add("--seed", type=int, default=0, help="another seed, another split (default: %(default)s)")
    add(
        "--skip_check",
        type=parse_bool,
        default=False,
        metavar="True|False",
        help="trust the corpus and open no clip: quick, but broken clips are then met in training "
        "(default: %(default)s)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Scan, check, split, write the lists and say what they hold.

    Args:
        args: what :func:`build_parser` parses.

    Returns:
        The exit code, 0.

    Raises:
        DataError: the corpus is missing, incomplete or unusable, or the lists cannot be written.
    """
    if args.skip_check and args.convert_mp3:
        raise DataError("--convert_mp3 decodes every clip: it cannot go with --skip_check True.")
    _require_writable(args.output)
    logger.info("Looking for clips in '%s' ...", args.path)
    clips = _SCANS[args.dataset](args.path)
    logger.info("%d clips of %d speakers.", len(clips), len({clip.speaker for clip in clips}))
    start_s = time.perf_counter()
    if args.skip_check:
        good, bad = check_paths(clips)
    else:
        good, bad = check_clips(
            clips,
            min_duration_s=args.min_duration,
            convert_mp3=args.convert_mp3,
            num_workers=args.num_workers,
        )
    elapsed_s = time.perf_counter() - start_s
    _log_lost_speakers(clips, good)
    write_bad_clips(Path(args.output) / _BAD_NAME, bad)
    divided = _divide(good, args)
    written = write_lists(divided, args.output)
    if not args.skip_check:
        speed = len(clips) / max(elapsed_s, 1e-9)
        logger.info("Checked %d clips in %.1f s (%.0f clips/s).", len(clips), elapsed_s, speed)
    print(_summary(divided, bad, written, args.output))
    return 0


def _divide(good: list[Clip], args: argparse.Namespace) -> list[Clip]:
    if args.dataset != "cnceleb":
        return split_by_speaker(
            good,
            test_speakers=args.test_speakers,
            enroll_clips=1 if args.enroll_clips is None else args.enroll_clips,
            seed=args.seed,
        )
    if args.test_speakers is not None or args.enroll_clips is not None:
        logger.warning(
            "CN-Celeb comes with its own test speakers: --test_speakers and --enroll_clips have no "
            "effect."
        )
    return good


def _require_writable(output: str) -> None:
    """Fail now and not after hours of checking."""
    try:
        check_writable(Path(output))
    except OSError as error:
        raise DataError(
            f"Cannot write lists to '{output}': {error.strerror or error}; choose another --output."
        ) from error


def _log_lost_speakers(clips: Sequence[Clip], good: Sequence[Clip]) -> None:
    lost = {clip.speaker for clip in clips} - {clip.speaker for clip in good}
    if lost:
        logger.warning(
            "%d speakers have no good clip and are left out: %s.", len(lost), name_some(lost)
        )


def _summary(
    clips: Sequence[Clip], bad: Sequence[BadClip], written: Sequence[Path], output: str
) -> str:
    titles = {"train": "training", "enroll": "enrolment", "trials": "trials"}
    lines = [f"{'':<10} {'speakers':>9} {'clips':>9} {'hours':>9}"]
    for part in LIST_NAMES:
        own = [clip for clip in clips if clip.part == part]
        durations_s = [clip.duration_s for clip in own if clip.duration_s is not None]
        hours = f"{sum(durations_s) / 3600:.2f}" if len(durations_s) == len(own) else "unknown"
        speakers = len({clip.speaker for clip in own})
        lines.append(f"{titles[part]:<10} {speakers:>9,} {len(own):>9,} {hours:>9}")
    if bad:
        lines.append(f"Left out: {len(bad):,} bad clips, listed in {Path(output) / _BAD_NAME}")
    lines.append(f"Written: {', '.join(str(path) for path in written)}")
    has_trials = any(clip.part == "trials" for clip in clips)
    lines.append("Next: python train.py" + ("" if has_trials else " --do_eval False"))
    if Path(output) != Path(_DEFAULT_OUTPUT):
        lines[-1] += " (with the lists of dataset_conf in the configuration set to these files)"
    return "\n".join(lines)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration in seconds, such as 0.5")
    return value


def _count(text: str) -> int:
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0")
    return int(text)


def _at_least_one(text: str) -> int:
    if not text.strip().isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def _speakers(text: str) -> int | float:
    if text.strip().isdecimal():
        return int(text)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a number of speakers (20) nor a share of them below 1 (0.1)"
        )
    return value
