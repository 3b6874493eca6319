"""3D-Speaker: ``*.bin``, ``*.ckpt`` and ``*.pt`` of ModelScope, plain state dicts.

Features are Kaldi's with its own window, of samples in [-1, 1].
"""

from __future__ import annotations

from mvector.compat import key_tables, key_tables2d, readers1d, readers2d
from mvector.compat.source import Hints, Published, Source, kaldi_front_end
from mvector.features.front_end import FrontEnd

_EPS = {"pooling_eps": 1e-8}


def _front_end(feature_dim: int, sample_rate: int, hints: Hints) -> FrontEnd:
    return kaldi_front_end(feature_dim, sample_rate, window_type="povey")


SOURCE = Source(
    title="3D-Speaker",
    files=("*.bin", "*.ckpt", "*.pt", "*.pth", "*.safetensors"),
    families={
        "CAM++": Published(readers1d.read_campplus, key_tables.CAMPPLUS, {"pooling_eps": 0.0}),
        "ERes2Net": Published(readers2d.read_eres2net, key_tables2d.ERES2NET, _EPS),
        "ERes2NetV2": Published(readers2d.read_eres2net_v2, key_tables2d.ERES2NET_V2, _EPS),
        "Res2Net": Published(readers2d.read_res2net34, key_tables2d.RES2NET34, _EPS),
        "ResNet": Published(readers2d.read_resnet, key_tables2d.RESNET, _EPS),
        "ECAPA-TDNN": Published(readers1d.read_ecapa_speechbrain, key_tables.ECAPA_SPEECHBRAIN),
        "x-vector": Published(readers1d.read_xvector, key_tables.XVECTOR, _EPS),
    },
    front_end=_front_end,
)
