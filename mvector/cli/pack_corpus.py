"""``tools/pack_corpus.py``: the clips of a list in one file that training reads at full speed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from mvector.cli.clips import ChannelOption
from mvector.cli.common import ListOptions, parse_bool, parse_count, parse_seconds, print_left_out
from mvector.cli.options import Action, Command, Options, option, optional, required
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
  python tools/pack_corpus.py dataset/train_list.txt packed/opus --augment_conf_path opus.yml
  python tools/pack_corpus.py --verify dataset/train_packed
"""


@dataclass(frozen=True, kw_only=True)
class PackingOptions(ListOptions):
    out: str = required("folder to make", "OUT", positional=True)
    overwrite: bool = option(
        False,
        "replace OUT, once the new one is whole (default: %(default)s)",
        "True|False",
        parse_bool,
        nargs="?",
        const=True,
    )


@dataclass(frozen=True, kw_only=True)
class Verify(Options):
    verify: str = required(
        "read a packed folder to its end, compare it with its checksums, and do nothing else", "DIR"
    )


@dataclass(frozen=True, kw_only=True)
class Pack(PackingOptions, ChannelOption):
    sample_rate: int = option(
        16000,
        "rate to pack at; must be that of dataset_conf.sample_rate (default: %(default)s)",
        "HZ",
        parse_count,
    )
    min_duration: float = option(
        0.5, "leave out clips shorter than this (default: %(default)s)", "SECONDS", parse_seconds
    )
    augment_conf_path: str | None = optional(
        "make a coded copy of the corpus for augment_conf.copies: an augmentation (sections of "
        "configs/augmentation.yml) that every clip goes through",
        "FILE",
    )


def pack(args: Pack) -> int:
    """Pack, and say what the folder holds."""
    from mvector.config import load_augment_config
    from mvector.data.pack_writer import BAD_NAME
    from mvector.data.packing import pack_corpus

    if not 1_000 <= args.sample_rate <= 1_000_000:
        raise DataError(
            f"--sample_rate is {args.sample_rate}; rates from 1 kHz to 1 MHz are sound."
        )
    augment = None
    if args.augment_conf_path is not None:
        augment = load_augment_config(args.augment_conf_path)
    start_s = time.perf_counter()
    done = pack_corpus(
        args.source,
        args.out,
        sample_rate=args.sample_rate,
        channel="auto" if args.channel is None else args.channel,
        data_root=args.data_root,
        min_duration_s=args.min_duration,
        augment=augment,
        num_workers=args.num_workers,
        overwrite=args.overwrite,
    )
    hours = done.num_rows / args.sample_rate / 3600
    elapsed_s, megabytes = time.perf_counter() - start_s, done.num_rows * 2 / 1e6
    print(
        f"Packed:    {done.num_clips:,} clips, {hours:.2f} hours, {megabytes:,.1f} MB in "
        f"{elapsed_s:.1f} s, as {args.out}"
    )
    print_left_out(done.num_bad, Path(args.out) / BAD_NAME)
    if done.num_clipped_samples:
        print(
            f"Clipped:   {done.num_clipped_samples:,} samples beyond full scale, in "
            f"{done.num_clipped_clips:,} clips"
        )
    if augment is None:
        print(f"Next:      set dataset_conf.train_list to {args.out}")
    else:
        print(f"Next:      add {args.out} to augment_conf.copies.folders")
    return 0


def verify(args: Verify) -> int:
    """Compare a packed corpus, or packed features, with its checksums."""
    from mvector.data.packed import PackedCorpus, PackedFolder, packed_kind
    from mvector.data.packed_features import PackedFeatures

    is_audio = packed_kind(args.verify) == "audio"
    packed: PackedFolder = (PackedCorpus if is_audio else PackedFeatures)(args.verify)
    packed.verify(show_progress=True)
    print(f"All {len(packed):,} clips in {args.verify} are intact.")
    return 0


COMMAND = Command(
    "pack_corpus.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("LIST", Pack, pack), Action("--verify", Verify, verify)),
)
