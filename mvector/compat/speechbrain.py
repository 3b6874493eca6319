"""SpeechBrain: ``embedding_model.ckpt`` of a hub folder, a plain state dict.

Neither the classifier beside it nor ``mean_var_norm_emb.ckpt`` has a part in verification.
"""

from __future__ import annotations

from mvector.compat import key_tables, key_tables2d, readers1d, readers2d
from mvector.compat.source import Hints, Published, Source, mean_normalised
from mvector.features.front_end import FrontEnd


def _front_end(feature_dim: int, sample_rate: int, hints: Hints) -> FrontEnd:
    method_args = {"sample_rate": sample_rate, "n_mels": feature_dim}
    return FrontEnd(
        sample_rate, mean_normalised("SpeechbrainFbank", method_args), use_dB_normalization=False
    )


SOURCE = Source(
    title="SpeechBrain",
    files=("embedding_model.ckpt", "embedding_model.safetensors", "*.safetensors"),
    families={
        "ECAPA-TDNN": Published(readers1d.read_ecapa_speechbrain, key_tables.ECAPA_SPEECHBRAIN),
        "SpeechBrain's ResNet": Published(
            readers2d.read_resnet_speechbrain, key_tables2d.RESNET_SPEECHBRAIN
        ),
        "SpeechBrain's x-vector": Published(
            readers1d.read_xvector_speechbrain,
            key_tables.XVECTOR_SPEECHBRAIN,
            {"pooling_eps": 0.0},
        ),
    },
    front_end=_front_end,
)
