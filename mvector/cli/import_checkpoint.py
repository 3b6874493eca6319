"""``tools/import_checkpoint.py``: a checkpoint of another toolkit as a model folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.cli.common import parse_number
from mvector.cli.options import Action, Command, Options, optional, required
from mvector.cli.subcommand import as_started
from mvector.errors import MVectorError
from mvector.models.onnx_file import ONNX_FILE

if TYPE_CHECKING:
    from mvector.models.speaker_model import SpeakerModel

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
A checkpoint of another toolkit as a model folder.

The architecture is read from the checkpoint; the source must be said, because several toolkits
publish the same architecture with different features. Nothing in the checkpoint is executed.

Where onnx is installed, the folder gets a model.onnx too, with which it is used without PyTorch.
"""

_EPILOG = """\
examples:
  python tools/import_checkpoint.py --source wespeaker --path resnet34/avg_model.pt --out models/r34
  python tools/import_checkpoint.py --source 3dspeaker --path campplus_cn_common.bin --out models/c
  python tools/import_checkpoint.py --source speechbrain --path spkrec-ecapa-voxceleb --out models/e
  python tools/import_checkpoint.py --source mvector --path CAMPPlus_Fbank/best_model --out models/m
"""

SOURCES = ("wespeaker", "3dspeaker", "speechbrain", "mvector", "idrnd", "palabra", "nemo")


@dataclass(frozen=True, kw_only=True)
class Import(Options):
    source: str | None = optional("toolkit that trained the model", choices=SOURCES)
    path: str = required("checkpoint file, or the folder that has it", "PATH")
    out: str = required("model folder to write", "DIR")
    sample_rate: int | None = optional("rate of the model (default 16000)", "HZ", parse_number)
    front_end: str | None = optional(
        "toolkit whose features the model was trained with, if not the source's: 3dspeaker for "
        "the '200k' models of wespeaker",
        choices=SOURCES,
    )
    feature_dim: int | None = optional(
        "bins, where the checkpoint does not tell", "BINS", parse_number
    )
    configs: str | None = optional("configuration of an mvector 1.x model", "FILE")


def run(args: Import) -> int:
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
    print(f"Written:    {args.out} ({fingerprint})")
    print(f"Recognised: {conversion.family}, {model.featurizer.feature_dim} bins")
    print(f"Front end:  {level}scale {front_end.waveform_scale:g}, {dict(front_end.preprocess)}")
    print(f"ONNX:       {_write_onnx(model, Path(args.out))}")
    if imported.dropped:
        print(f"Dropped:    {', '.join(imported.dropped)}")
    print(f"Next:       {as_started('python eval.py')} --model_path {args.out} measures thresholds")
    logger.info("backbone: %s %s", model.backbone_name, model.backbone_options)
    logger.info("made int64: %s", ", ".join(conversion.made_integers) or "nothing")
    return 0


def _write_onnx(model: SpeakerModel, folder: Path) -> str:
    """Put ``model.onnx`` into the folder, and say so; or why not: it is whole without."""
    from mvector.export import export_onnx

    try:
        exported = export_onnx(model, folder / ONNX_FILE)
    except MVectorError as error:
        command = as_started("python tools/export_onnx.py")
        return f"none. {error} Later: {command} --model_path '{folder}'"
    return f"{exported.path}, for use without PyTorch (cosine {exported.cosine:.6f} or more)"


COMMAND = Command(
    "import_checkpoint.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("a checkpoint", Import, run),),
    stray="path",
)
