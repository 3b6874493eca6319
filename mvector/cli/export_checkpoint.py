"""``tools/export_checkpoint.py``: a model folder's weights as another toolkit's checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from mvector.cli.options import Action, Command, Options, required

_DESCRIPTION = """\
A model folder's weights as a checkpoint that another toolkit loads.

Possible where the toolkit has the same model, down to the constants; else the command says what
differs. The file is a plain state dict; with the ending .safetensors, in that format.
"""

_EPILOG = """\
examples:
  python tools/export_checkpoint.py --target wespeaker --model_path models/r34 --out avg_model.pt
"""

TARGETS = ("wespeaker", "3dspeaker", "speechbrain")


@dataclass(frozen=True, kw_only=True)
class Export(Options):
    target: str = required("toolkit that shall load the weights", choices=TARGETS)
    model_path: str = required("model folder", "DIR")
    out: str = required("file to write", "FILE")


def run(args: Export) -> int:
    """Export and say how many entries were written."""
    from mvector.compat import export_checkpoint, save_state
    from mvector.models.folder import load_model_folder

    model, _ = load_model_folder(args.model_path)
    state = export_checkpoint(model, args.target)
    save_state(state, args.out)
    print(f"{len(state)} entries of {model.name} written to {args.out} for {args.target}.")
    return 0


COMMAND = Command(
    "export_checkpoint.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("a model", Export, run),),
    stray="model_path",
)
