"""``tools/extract_features.py``: the features of a list in one file, computed once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from mvector.cli.common import SettingOptions, parse_number, print_left_out
from mvector.cli.options import Action, Command, Condition, option
from mvector.cli.pack_corpus import PackingOptions, Verify, verify
from mvector.cli.train import DEFAULT_CONFIG
from mvector.data.packed import is_packed

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


@dataclass(frozen=True, kw_only=True)
class ExtractFeatures(SettingOptions, PackingOptions):
    configs: str = option(DEFAULT_CONFIG, "configuration (default: %(default)s)", "FILE")
    dtype: str = option(
        "float16",
        "float16 keeps 11 bits, enough for logarithmic features (default: %(default)s)",
        choices=("float16", "float32"),
    )
    batch_size: int = option(16, "clips computed at once (default: %(default)s)", "N", parse_number)

    def conditions(self) -> tuple[Condition, ...]:
        decodes = not is_packed(self.source)
        return (*super().conditions(), ("num_workers", decodes, "with a packed corpus"))


def run(args: ExtractFeatures) -> int:
    """Extract, and say what the folder holds."""
    from mvector.compute.device import choose_device
    from mvector.config import load_config
    from mvector.data.pack_writer import BAD_NAME
    from mvector.data.packed_features import PackedFeatures, extract_features
    from mvector.features.front_end import FrontEnd

    config = load_config(args.configs, args.overrides)
    start_s = time.perf_counter()
    done = extract_features(
        args.source,
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
    print_left_out(done.num_bad, Path(args.out) / BAD_NAME)
    return 0


COMMAND = Command(
    "extract_features.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("LIST", ExtractFeatures, run), Action("--verify", Verify, verify)),
)
