"""mvector 1.x: ``model.pth`` beside ``model.state``, backbone and classifier in sequence.

Clips are brought to -20 dB RMS; features are Kaldi's with its own window, of samples in [-1, 1],
unless the model's configuration says otherwise.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from mvector.compat import key_tables, key_tables2d, readers1d, readers2d
from mvector.compat.containers import parse_file, section
from mvector.compat.source import Hints, Published, Source, kaldi_front_end, mean_normalised
from mvector.errors import CheckpointError
from mvector.features.front_end import FrontEnd

TARGET_DB = -20.0

_EPS = {"pooling_eps": 1e-8}


def _front_end(feature_dim: int, sample_rate: int, hints: Hints) -> FrontEnd:
    level = {
        "use_dB_normalization": hints.use_dB_normalization is not False,
        "target_dB": TARGET_DB if hints.target_dB is None else hints.target_dB,
    }
    if hints.preprocess is not None:
        return FrontEnd(sample_rate, hints.preprocess, **level)  # type: ignore[arg-type]
    return kaldi_front_end(feature_dim, sample_rate, window_type="povey", **level)


def _read_model_state(checkpoint: Path) -> Hints:
    """Refuse features other than Fbank: ``model.state`` names them, but not their arguments."""
    file = checkpoint.with_name("model.state")
    if not file.is_file():
        return Hints()
    state = parse_file(file, json.loads)
    method = state.get("feature_method") if isinstance(state, dict) else None
    if method not in (None, "Fbank"):
        raise CheckpointError(
            f"'{file}' says that the features are {method}, but not with which arguments; give "
            "the model's configuration file as well (--configs)."
        )
    return Hints(origin=str(file))


def read_configuration(file: Path) -> Hints:
    """The front end that an mvector 1.x configuration describes.

    Raises:
        CheckpointError: it cannot be read or names no features that mvector computes.
    """
    config = parse_file(file, yaml.safe_load, "give another file")
    features, data = section(config, "preprocess_conf"), section(config, "dataset_conf")
    if features.get("use_hf_model"):
        raise CheckpointError(
            f"'{file}': preprocess_conf.use_hf_model is on, and mvector has no such features; "
            "choose a model trained with Fbank."
        )
    method = features.get("feature_method")
    if not isinstance(method, str):
        raise CheckpointError(
            f"'{file}' has no preprocess_conf.feature_method; give the configuration that the "
            "model was trained with."
        )
    data = {**data, **section(data, "dataset")}
    kinds = {"sample_rate": int, "use_dB_normalization": bool, "target_dB": int | float}
    for key, kind in kinds.items():
        if not isinstance(data.get(key), kind | None):
            raise CheckpointError(f"'{file}': dataset_conf.{key} is {data[key]!r}; correct it.")
    return Hints(
        sample_rate=data.get("sample_rate"),
        preprocess=mean_normalised(method, section(features, "method_args")),
        use_dB_normalization=data.get("use_dB_normalization"),
        target_dB=data.get("target_dB"),
        origin=str(file),
    )


SOURCE = Source(
    title="mvector 1.x",
    files=("model.pth", "best_model/model.pth", "model.pt", "*.safetensors"),
    families={
        "CAM++": Published(readers1d.read_campplus, key_tables.CAMPPLUS, {"pooling_eps": 0.0}),
        "ERes2Net": Published(readers2d.read_eres2net, key_tables2d.ERES2NET, _EPS),
        "ERes2NetV2": Published(readers2d.read_eres2net_v2, key_tables2d.ERES2NET_V2, _EPS),
        "ECAPA-TDNN": Published(
            readers1d.read_ecapa_speechbrain,
            key_tables.ECAPA_SPEECHBRAIN,
            other_pooling=("asp", "asp_bn"),
        ),
        "mvector 1.x's TDNN": Published(
            readers1d.read_tdnn_mvector,
            key_tables.TDNN_MVECTOR,
            other_pooling=("pooling", "bn5"),
        ),
        "mvector 1.x's Res2Net": Published(
            readers2d.read_res2net_mvector,
            key_tables2d.RES2NET_MVECTOR,
            other_pooling=("pooling", "bn2"),
        ),
        "mvector 1.x's ResNetSE": Published(
            readers2d.read_resnet_se_mvector,
            key_tables2d.RESNET_SE_MVECTOR,
            other_pooling=("pooling", "bn2"),
        ),
    },
    front_end=_front_end,
    heads=("1.",),
    backbone_prefix="0.",
    read_hints=_read_model_state,
)
