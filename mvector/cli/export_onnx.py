"""``tools/export_onnx.py``: a model folder as an ONNX file, which runs without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli.options import Action, Command, Condition, Options, option, optional, required
from mvector.models.onnx_file import ONNX_FILE

if TYPE_CHECKING:
    from mvector.models.description import ModelInfo
    from mvector.models.onnx_model import OnnxModel
    from mvector.models.speaker_model import SpeakerModel

_DESCRIPTION = """\
A model folder as an ONNX file: from a waveform to its embedding in one graph, for programs without
PyTorch. As model.onnx in the model's folder, where it lies without --out, mvector itself uses it.

The graph takes a padded batch of clips of any length; each has the embedding that it has alone.
Before the file is written, its embeddings are compared with the model's on a few clips.
"""

_EPILOG = """\
examples:
  python tools/export_onnx.py --model_path models/EcapaTdnn_Fbank/best_model
  python tools/export_onnx.py --model_path models/campplus --out campplus.onnx --precision float16
  python tools/export_onnx.py --model_path box --out box.onnx
  python tools/export_onnx.py --model_path box --out small.onnx --precision int8 --list trials.txt
  python tools/export_onnx.py --model_path box --target sherpa-onnx --out for_sherpa.onnx
"""


@dataclass(frozen=True, kw_only=True)
class ExportOnnx(Options):
    model_path: str = required("model folder, or box", "DIR")
    out: str | None = optional("file to write (default: model.onnx in the model's folder)", "FILE")
    input: str = option(
        "waveform",
        "what the graph takes: the waveform, or the features of a front end of your own "
        "(default: %(default)s)",
        choices=("waveform", "features"),
    )
    precision: str = option(
        "float32",
        "of the weights; float16 halves the file, and computes in float32; int8 computes with "
        "integers, faster and less exact (default: %(default)s)",
        choices=("float32", "float16", "int8"),
    )
    target: str = option(
        "onnx",
        "what is to run it; sherpa-onnx computes Fbank by itself, and only models of 80 such bins "
        "fit it (default: %(default)s)",
        choices=("onnx", "sherpa-onnx"),
    )

    list: str | None = optional(
        "trials 'label path path': tell the EER of the model and of the file", "TRIALS"
    )
    data_root: str | None = optional("where relative paths of the list start", "DIR")

    def conditions(self) -> tuple[Condition, ...]:
        for_sherpa = "with --target sherpa-onnx"
        return (
            ("input", self.target == "onnx", for_sherpa),
            ("list", self.target == "onnx", for_sherpa),
            ("list", self.input == "waveform", "with --input features"),
            ("data_root", self.list is not None, "without --list"),
        )


def run(args: ExportOnnx) -> int:
    """Export, and say what was written and how exact it is."""
    from mvector.export import export_onnx
    from mvector.models.folder import load_model_folder

    out = _file_to_write(args)
    if args.list is not None:
        from mvector.evaluation.run import check_lists

        check_lists(args.list, None, root=args.data_root)
    model, info = load_model_folder(args.model_path)
    chosen: Any = {"input": args.input, "precision": args.precision, "target": args.target}
    exported = export_onnx(model, out, **chosen)
    taken = args.input if args.target == "onnx" else "features of sherpa-onnx"
    print(f"Written: {out} ({exported.num_bytes / 1e6:.1f} MB, {args.precision}, takes {taken})")
    print(
        f"Checked: cosine to the model's embeddings {exported.cosine:.6f} or more, "
        f"{exported.mean_cosine:.6f} in the mean"
    )
    if exported.cosine_in_sherpa is not None:
        print(f"         {exported.cosine_in_sherpa:.4f} or more with the features of sherpa-onnx")
    if args.list is not None:
        from mvector.models.onnx_model import OnnxModel

        of_file = _eer(OnnxModel(out, model.front_end, info.fingerprint), info, args)
        print(f"EER:     {100 * of_file:.2f} %, of the model {100 * _eer(model, info, args):.2f} %")
    return 0


def _eer(model: SpeakerModel | OnnxModel, info: ModelInfo, args: ExportOnnx) -> float:
    from mvector.embedding import SpeakerEncoder
    from mvector.evaluation.run import verify_lists

    assert args.list is not None
    encoder = SpeakerEncoder(model, info, "cpu")
    return verify_lists(encoder, args.list, root=args.data_root, progress=True).calibration.eer


def _file_to_write(args: ExportOnnx) -> Path:
    from mvector.errors import MVectorError
    from mvector.models.named import is_default_model, model_folder

    if args.out is not None:
        return Path(args.out)
    if is_default_model(args.model_path):
        raise MVectorError("The folder of the model in the box stays as it is; give --out FILE.")
    if args.input != "waveform" or args.target != "onnx":
        raise MVectorError(
            f"{ONNX_FILE} in a model's folder takes a waveform; give --out FILE for another graph."
        )
    return model_folder(args.model_path) / ONNX_FILE


COMMAND = Command(
    "export_onnx.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("a model", ExportOnnx, run),),
    stray="model_path",
)
