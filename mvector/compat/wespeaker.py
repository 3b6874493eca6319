"""WeSpeaker: ``avg_model.pt`` beside ``config.yaml``, a plain state dict or one in a dict.

Features are Kaldi's with a Hamming window, of samples in the range of 16-bit integers. The models
named "200k" are 3D-Speaker's: their front end is that of 3D-Speaker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mvector.compat import key_tables, key_tables2d, readers1d, readers2d, redimnet
from mvector.compat.containers import parse_file, section
from mvector.compat.key_tables import with_multi_head_pooling as _heads
from mvector.compat.source import Hints, Published, Source, kaldi_front_end
from mvector.config.plain_yaml import parse_plain_yaml
from mvector.errors import CheckpointError
from mvector.features.front_end import FrontEnd

INT16_RANGE = 32768.0

_EPS = {"pooling_eps": 1e-7}


def _front_end(feature_dim: int, sample_rate: int, hints: Hints) -> FrontEnd:
    return kaldi_front_end(
        feature_dim, sample_rate, window_type="hamming", waveform_scale=INT16_RANGE
    )


def _read_config(checkpoint: Path) -> Hints:
    """What ``config.yaml`` says of rate and sizes."""
    file = checkpoint.with_name("config.yaml")
    if not file.is_file():
        return Hints()
    config = parse_file(file, parse_plain_yaml)
    data, model = section(config, "dataset_args"), section(config, "model_args")
    features = data.get("frontend", "fbank")
    if features != "fbank":
        raise CheckpointError(
            f"'{file}' says that the model hears features of '{features}', which mvector does not "
            "compute; choose a model of filter-bank features."
        )
    return Hints(
        sample_rate=_integer(data.get("resample_rate")),
        feature_dim=_integer(model.get("feat_dim")),
        embd_dim=_integer(model.get("embed_dim")),
        origin=str(file),
    )


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


SOURCE = Source(
    title="WeSpeaker",
    files=("avg_model.pt", "final_model.pt", "*.pt", "*.bin", "*.safetensors"),
    families={
        "CAM++": Published(readers1d.read_campplus, key_tables.CAMPPLUS, _EPS),
        "WeSpeaker's ERes2Net": Published(
            readers2d.read_eres2net, _heads(key_tables2d.ERES2NET_WESPEAKER), _EPS
        ),
        "Res2Net": Published(readers2d.read_res2net34, _heads(key_tables2d.RES2NET34), _EPS),
        "ResNet": Published(readers2d.read_resnet, _heads(key_tables2d.RESNET), _EPS),
        "Gemini DF-ResNet": Published(
            readers2d.read_df_resnet, _heads(key_tables2d.DF_RESNET), _EPS
        ),
        "SimAM-ResNet": Published(readers2d.read_simam_resnet, key_tables2d.SIMAM_RESNET),
        "WeSpeaker's ReDimNet": Published(redimnet.read_wespeaker, redimnet.wespeaker_table),
        "WeSpeaker's ECAPA-TDNN": Published(
            readers1d.read_ecapa_wespeaker, _heads(key_tables.ECAPA_WESPEAKER)
        ),
        "WeSpeaker's x-vector": Published(readers1d.read_xvector, key_tables.XVECTOR, _EPS),
    },
    front_end=_front_end,
    heads=("projection.", "frontend."),
    read_hints=_read_config,
)
