"""``model.onnx``: a model from waveform to embedding in one file; what it says, and opening it.

It lies in a model folder beside the weights and is bound to them by the fingerprint. What comes
before the waveform (decoding, digital silence, VAD, windows) is not in it. Nothing here needs
torch: onnxruntime runs the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mvector.errors import CheckpointError, import_errors_as

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ONNX_FILE = "model.onnx"
FORMAT_VERSION = "1"

#: Names in the graph: ``waveform (batch, samples)`` float32, zero-padded, and ``num_samples
#: (batch,)`` int64, to ``embedding (batch, embd_dim)`` float32.
WAVEFORM, NUM_SAMPLES, EMBEDDING = "waveform", "num_samples", "embedding"

OnnxInput = Literal["waveform", "features"]
OnnxPrecision = Literal["float32", "float16", "int8"]

_FORMAT_KEY = "mvector_format"
_MODEL_ERRORS = ("opset", "ir_version", "ir version")


@dataclass(frozen=True)
class OnnxMetadata:
    """What an exported file says of its model: its ``metadata_props``, beside the format's version.

    Attributes:
        fingerprint: of the model that was exported.
        embd_dim: size of the embedding.
        sample_rate: in Hz.
        input: what the graph takes, a waveform or the backbone's features.
        precision: of the weights, and in part of the arithmetic.
        name: backbone and feature method.
        front_end: :meth:`mvector.features.front_end.FrontEnd.to_dict`.
        mvector_version: that exported it.
        min_samples: of the shortest clip that the model takes; 0 where the file does not say, as
            those of the first versions do not.
    """

    fingerprint: str
    embd_dim: int
    sample_rate: int
    input: OnnxInput
    precision: OnnxPrecision
    name: str
    front_end: dict[str, Any]
    mvector_version: str
    min_samples: int = 0

    def to_properties(self) -> dict[str, str]:
        """Keys and texts of ``metadata_props``."""
        values = {key: str(value) for key, value in asdict(self).items()}
        return {
            _FORMAT_KEY: FORMAT_VERSION,
            **values,
            "front_end": json.dumps(self.front_end, sort_keys=True),
        }

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], file: Path) -> OnnxMetadata:
        """What :meth:`to_properties` gave.

        Raises:
            CheckpointError: the file was not exported by mvector, by a newer one, or is damaged.
        """
        version = properties.get(_FORMAT_KEY)
        if version is None:
            raise CheckpointError(
                f"'{file}' was not exported by mvector: it does not say which model it is; make it "
                f"with tools/export_onnx.py."
            )
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"'{file}' has format version {version[:20]}, this mvector reads {FORMAT_VERSION}; "
                "update mvector."
            )
        try:
            properties = {"min_samples": "0", **properties}
            values: dict[str, Any] = {key.name: properties[key.name] for key in fields(cls)}
            values["front_end"] = json.loads(values["front_end"])
            for key in ("embd_dim", "sample_rate", "min_samples"):
                values[key] = int(values[key])
        except KeyError as error:
            raise damaged(file, f"it does not tell its {error.args[0]}") from error
        except (ValueError, RecursionError) as error:
            raise damaged(file, "what it tells of its model makes no sense") from error
        found = cls(**values)
        is_known = found.input in get_args(OnnxInput) and found.precision in get_args(OnnxPrecision)
        if not (is_known and isinstance(found.front_end, dict)):
            raise damaged(file, "what it tells of its model makes no sense")
        return found


def open_session(file: Path, num_threads: int = 1) -> tuple[InferenceSession, OnnxMetadata]:
    """A file made ready to run on the CPU by so many threads, and what it says of its model.

    Raises:
        CheckpointError: the file is missing, damaged, not of mvector, or newer than the onnxruntime
            that is installed.
        MissingDependencyError: onnxruntime is not installed.
    """
    with import_errors_as("ONNX models need onnxruntime: pip install onnxruntime."):
        import onnxruntime
    if not file.is_file():
        raise not_found(file.parent)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    # threads that wait sleep: other work, or the clip beside, may need their processor
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors, which come as exceptions too
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        properties = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime's have no common base
        reason = " ".join(str(error).split())
        if any(word in reason.lower() for word in _MODEL_ERRORS):
            raise CheckpointError(
                f"'{file}' is of a newer ONNX than onnxruntime {onnxruntime.__version__} "
                "reads: pip install -U onnxruntime, or export the model again."
            ) from error
        raise damaged(file, _without_code(reason)) from error
    return session, OnnxMetadata.from_properties(properties, file)


def require_runnable(session: InferenceSession, found: OnnxMetadata, file: Path) -> None:
    """Refuse a file that does not take what the runtime gives, or gives what it does not take.

    Raises:
        CheckpointError: it takes features, or its inputs or outputs have other names.
    """
    if found.input != WAVEFORM:
        raise CheckpointError(
            f"'{file}' takes features and no waveform; export it again with --input waveform."
        )
    inputs = {each.name: each.type for each in session.get_inputs()}
    outputs = {each.name: each.type for each in session.get_outputs()}
    wanted = {WAVEFORM: "tensor(float)", NUM_SAMPLES: "tensor(int64)"}
    if inputs != wanted or outputs != {EMBEDDING: "tensor(float)"}:
        raise damaged(file, f"it takes {', '.join(inputs)} and gives {', '.join(outputs)}")


def not_found(folder: Path) -> CheckpointError:
    """What to say of a model folder without the file."""
    return CheckpointError(
        f"'{folder}' has no {ONNX_FILE}; make it where torch is installed: "
        f"python tools/export_onnx.py --model_path '{folder}'",
        code="model-not-found",
    )


def damaged(file: Path, reason: str) -> CheckpointError:
    """What to say of a file that cannot be used as it is."""
    return CheckpointError(
        f"'{file}' is damaged or no speaker model: {reason.rstrip('.')}; copy it again, or make it "
        "with tools/export_onnx.py.",
        code="checkpoint-damaged",
    )


def _without_code(reason: str) -> str:
    """``[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load …`` from the words on, in 200 letters.

    Without the place in onnxruntime's own source (``/…/model.cc:164 onnxruntime::Model(…)``).
    """
    return re.sub(r"/\S+:\d+ .*\) ", "", reason.rpartition(" : ")[2])[:200]
