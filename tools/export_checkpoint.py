"""A model folder's weights as a checkpoint that another toolkit loads.

  python tools/export_checkpoint.py --target wespeaker --model_path models/r34 --out avg_model.pt

Possible where the toolkit has the same model, down to the constants; else the command says what
differs. The file is a plain state dict; with the ending .safetensors, in that format.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # works from a clone, without installation

from mvector.cli.common import run_command  # noqa: E402

TARGETS = ("wespeaker", "3dspeaker", "speechbrain")


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="export_checkpoint.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--target", required=True, choices=TARGETS, help="toolkit that shall load the weights")
    add("--model_path", required=True, metavar="DIR", help="model folder")
    add("--out", required=True, metavar="FILE", help="file to write")
    return parser


def run(args: argparse.Namespace) -> int:
    """Export and say how many entries were written."""
    from mvector.compat import export_checkpoint, save_state
    from mvector.models.folder import load_model_folder

    model, _ = load_model_folder(args.model_path)
    state = export_checkpoint(model, args.target)
    save_state(state, args.out)
    print(f"{len(state)} entries of {model.name} written to {args.out} for {args.target}.")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(build_parser, run))
