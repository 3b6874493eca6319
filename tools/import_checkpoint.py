"""A checkpoint of another toolkit as a model folder.

  python tools/import_checkpoint.py --source wespeaker --path resnet34/avg_model.pt --out models/r34
  python tools/import_checkpoint.py --source 3dspeaker --path campplus_cn_common.bin --out models/c
  python tools/import_checkpoint.py --source speechbrain --path spkrec-ecapa-voxceleb --out models/e
  python tools/import_checkpoint.py --source mvector --path CAMPPlus_Fbank/best_model --out models/m

The architecture is read from the checkpoint; the source must be said, because several toolkits
publish the same architecture with different features. Nothing in the checkpoint is executed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # works from a clone, without installation

from mvector.cli.common import run_command  # noqa: E402

SOURCES = ("wespeaker", "3dspeaker", "speechbrain", "mvector")


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="import_checkpoint.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--source", choices=SOURCES, help="toolkit that trained the model")
    add("--path", required=True, metavar="PATH", help="checkpoint file, or the folder that has it")
    add("--out", required=True, metavar="DIR", help="model folder to write")
    add("--sample_rate", type=int, metavar="HZ", help="rate of the model (default 16000)")
    add(
        "--front_end",
        choices=SOURCES,
        help="toolkit whose features the model was trained with, if not the source's: 3dspeaker "
        "for the '200k' models of wespeaker",
    )
    add("--feature_dim", type=int, metavar="BINS", help="bins, where the checkpoint does not tell")
    add("--configs", metavar="FILE", help="configuration of an mvector 1.x model")
    return parser


def run(args: argparse.Namespace) -> int:
    """Import, write the folder and say what was read and what was dropped."""
    from mvector.compat import import_checkpoint

    imported = import_checkpoint(
        args.path,
        args.source,
        sample_rate=args.sample_rate,
        feature_dim=args.feature_dim,
        front_end=args.front_end,
        configs=args.configs,
    )
    fingerprint = imported.save(args.out)
    model, conversion = imported.model, imported.conversion
    front_end = model.front_end
    level = f"{front_end.target_dB:g} dB RMS, " if front_end.use_dB_normalization else ""
    print(f"Recognised:   {conversion.family}, {model.featurizer.feature_dim} bins")
    print(f"Backbone:     {model.backbone_name} {model.backbone_options}")
    print(f"Front end:    {level}scale {front_end.waveform_scale:g}, {dict(front_end.preprocess)}")
    print(f"Dropped:      {', '.join(imported.dropped) or 'nothing'}")
    print(f"Made int64:   {', '.join(conversion.made_integers) or 'nothing'}")
    print(f"Written to {args.out} ({fingerprint}); eval.py measures its thresholds.")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(build_parser, run))
