"""``tools/pack_corpus.py``: the clips of a list in one file that training reads at full speed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mvector.cli.common import parse_bool
from mvector.data.packed import PackedCorpus
from mvector.errors import DataError

_DESCRIPTION = """\
Decode every clip of a list once, and keep the samples (16 bits, one rate, mono) in one file that
training maps into memory. A crop is then a slice: no file is opened, and nothing is decoded. An
hour of speech at 16 kHz takes 115 MB.

OUT becomes a folder:

  audio.bin       the samples of all clips, one behind the other
  index.bin       where each clip starts, its length, speaker and checksum
  paths.txt       where each clip came from
  corpus.json     rate, counts, and checksums of the parts
  bad_clips.txt   clips left out, and why (only if there are any)

Until all is done, the work lies in OUT.partial. If it is cut off (Ctrl-C, a crash, a full disk),
the same command goes on where it ended; delete OUT.partial to start anew. To train on the corpus,
give OUT in place of the list: dataset_conf.train_list.
"""

_EPILOG = """\
examples:
  python tools/pack_corpus.py dataset/train_list.txt dataset/train_packed
  python tools/pack_corpus.py dataset/train_list.txt /fast/train --num_workers 16
  python tools/pack_corpus.py lists/phone.txt packed/phone --data_root /corpora --sample_rate 8000
  python tools/pack_corpus.py --verify dataset/train_packed
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="pack_corpus.py",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("list", nargs="?", metavar="LIST", help="lines of path, tab, speaker number")
    add("out", nargs="?", metavar="OUT", help="folder to make")
    add("--data_root", metavar="DIR", help="where relative paths of the list start")
    add(
        "--sample_rate",
        type=int,
        default=16000,
        metavar="HZ",
        help="rate to pack at; must be that of dataset_conf.sample_rate (default: %(default)s)",
    )
    add(
        "--min_duration",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="leave out clips shorter than this (default: %(default)s)",
    )
    add_packing_options(parser)
    return parser


def add_packing_options(parser: argparse.ArgumentParser) -> None:
    """``--num_workers``, ``--overwrite`` and ``--verify``, for all packed folders."""
    parser.add_argument(
        "--num_workers",
        type=int,
        metavar="N",
        help="processes that decode clips (default: one per processor; 0: this one only)",
    )
    parser.add_argument(
        "--overwrite",
        type=parse_bool,
        nargs="?",
        const=True,
        default=False,
        metavar="True|False",
        help="replace OUT, once the new one is whole (default: %(default)s)",
    )
    parser.add_argument(
        "--verify",
        metavar="DIR",
        help="read a packed folder to its end, compare it with its checksums, and do nothing else",
    )


def check_packing_options(args: argparse.Namespace) -> None:
    """Refuse numbers that make no sense, and a missing LIST or OUT.

    Raises:
        DataError: an option cannot be used.
    """
    if not (args.list and args.out):
        raise DataError("LIST and OUT are needed: the list to pack and the folder to make.")
    if args.num_workers is not None and args.num_workers < 0:
        raise DataError(f"--num_workers is {args.num_workers}; it must not be negative.")


def run(args: argparse.Namespace) -> int:
    """Pack or verify, and say what the folder holds.

    Args:
        args: what :func:`build_parser` parses.

    Returns:
        The exit code, 0.

    Raises:
        DataError: the list, the folder or an option cannot be used, or the corpus is damaged.
    """
    from mvector.data.packing import pack_corpus

    if args.verify:
        corpus = PackedCorpus(args.verify)
        corpus.verify(show_progress=True)
        print(f"All {len(corpus):,} clips in {args.verify} are intact.")
        return 0
    check_packing_options(args)
    if not 1_000 <= args.sample_rate <= 1_000_000:
        raise DataError(
            f"--sample_rate is {args.sample_rate}; rates from 1 kHz to 1 MHz are sound."
        )
    if not 0 <= args.min_duration < float("inf"):
        raise DataError(f"--min_duration is {args.min_duration:g}; give a duration in seconds.")
    start_s = time.perf_counter()
    done = pack_corpus(
        args.list,
        args.out,
        sample_rate=args.sample_rate,
        data_root=args.data_root,
        min_duration_s=args.min_duration,
        num_workers=args.num_workers,
        overwrite=args.overwrite,
    )
    hours = done.num_rows / args.sample_rate / 3600
    elapsed_s, megabytes = time.perf_counter() - start_s, done.num_rows * 2 / 1e6
    print(
        f"Packed:    {done.num_clips:,} clips, {hours:.2f} hours, {megabytes:,.1f} MB in "
        f"{elapsed_s:.1f} s, as {args.out}"
    )
    print_left_out(done.num_bad, args.out)
    if done.num_clipped_samples:
        print(
            f"Clipped:   {done.num_clipped_samples:,} samples beyond full scale, in "
            f"{done.num_clipped_clips:,} clips"
        )
    print(f"Next:      set dataset_conf.train_list to {args.out}")
    return 0


def print_left_out(num_bad: int, out: str) -> None:
    """Say how many clips were left out, if any."""
    if num_bad:
        print(f"Left out:  {num_bad:,} bad clips, listed in {Path(out) / 'bad_clips.txt'}")
