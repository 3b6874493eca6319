"""``tools/extract_features.py``: the features of a list in one file, computed once."""

from __future__ import annotations

import argparse
import time

from mvector.cli.common import add_config_options
from mvector.cli.pack_corpus import add_packing_options, check_packing_options, print_left_out
from mvector.cli.train import DEFAULT_CONFIG
from mvector.errors import DataError

_DESCRIPTION = """\
Compute the features of every clip once, and keep them in one file that training maps into memory.
Each epoch then costs neither decoding nor features, but waveforms can no longer be augmented: that
suits many short trainings on the same clips. An hour of speech with 80 bins takes 58 MB.

LIST is a list (lines of path, tab, speaker number) or a packed corpus. OUT becomes a folder like
that of pack_corpus.py, with features.bin in place of audio.bin. The front end of the configuration
is kept in its corpus.json, and training with another one is refused. Features are those of whole
clips, behind the level normalisation and before mean and variance normalisation.

Until all is done, the work lies in OUT.partial. If it is cut off, the same command goes on where it
ended; delete OUT.partial to start anew.
"""

_EPILOG = """\
examples:
  python tools/extract_features.py dataset/train_list.txt dataset/train_fbank --configs my.yml
  python tools/extract_features.py dataset/train_packed dataset/train_fbank --configs my.yml
  python tools/extract_features.py list.txt out --set preprocess_conf.feature_method=MFCC
  python tools/extract_features.py --verify dataset/train_fbank
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="extract_features.py",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("list", nargs="?", metavar="LIST", help="list of clips, or a packed corpus")
    add("out", nargs="?", metavar="OUT", help="folder to make")
    add_config_options(parser, default=DEFAULT_CONFIG)
    add(
        "--data_root",
        metavar="DIR",
        help="where relative paths of the list start (default: dataset_conf.data_root)",
    )
    add(
        "--dtype",
        choices=("float16", "float32"),
        default="float16",
        help="float16 keeps 11 bits, enough for logarithmic features (default: %(default)s)",
    )
    add(
        "--batch_size",
        type=int,
        default=16,
        metavar="N",
        help="clips computed at once (default: %(default)s)",
    )
    add_packing_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Extract or verify, and say what the folder holds.

    Args:
        args: what :func:`build_parser` parses.

    Returns:
        The exit code, 0.

    Raises:
        MVectorError: the configuration, the list, the folder or an option cannot be used.
    """
    from mvector.compute.device import choose_device
    from mvector.config import load_config
    from mvector.data.packed_features import PackedFeatures, extract_features
    from mvector.features.front_end import FrontEnd

    if args.verify:
        packed = PackedFeatures(args.verify)
        packed.verify(show_progress=True)
        print(f"All {len(packed):,} clips in {args.verify} are intact.")
        return 0
    check_packing_options(args)
    if args.batch_size < 1:
        raise DataError(f"--batch_size is {args.batch_size}; it must be 1 or more.")
    config = load_config(args.configs or DEFAULT_CONFIG, args.overrides)
    start_s = time.perf_counter()
    done = extract_features(
        args.list,
        args.out,
        FrontEnd.from_config(config),
        data_root=args.data_root or config.dataset_conf.data_root,
        device=choose_device(args.use_gpu),
        dtype=args.dtype,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        overwrite=args.overwrite,
    )
    packed = PackedFeatures(args.out)
    size_mb = done.num_rows * packed.feature_dim * (2 if args.dtype == "float16" else 4) / 1e6
    print(
        f"Packed:    {done.num_clips:,} clips, {done.num_rows:,} frames of {packed.feature_dim} "
        f"bins, {size_mb:,.1f} MB in {time.perf_counter() - start_s:.1f} s, as {args.out}"
    )
    print_left_out(done.num_bad, args.out)
    return 0
