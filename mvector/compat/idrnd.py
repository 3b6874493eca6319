"""ReDimNet as its authors publish it: ``b2-vox2-ft_lm.pt`` and others, of ``model_config`` and
``state_dict``.

Features are computed by the network itself, with tables that lie among its entries; they follow
from ``model_config``, so the tables are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvector.compat import redimnet
from mvector.compat.source import Hints, Published, Source, mean_normalised
from mvector.errors import CheckpointError
from mvector.features.front_end import FrontEnd

FEATURE_METHODS = {"pt": "ReDimNetFbank", "pt_mel": "ReDimNetFbank"}


def front_end_of(
    feature_dim: int, sample_rate: int, hints: Hints, methods: Mapping[str, str], usual: str
) -> FrontEnd:
    """What ``model_config`` says of features, or else the defaults of the authors' class.

    Raises:
        CheckpointError: mvector does not compute such features.
    """
    config = hints.model_config or {}
    kind = config.get("feat_type", usual)
    if kind not in methods:
        raise CheckpointError(
            f"The checkpoint's model_config says feat_type {kind!r}, which mvector does not "
            f"compute; choose a model of one of: {', '.join(methods)}."
        )
    found = config.get("spec_params")
    params: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {}
    if params.get("spec_norm", "mn") != "mn":
        raise CheckpointError(
            f"The checkpoint's model_config says spec_norm {params['spec_norm']!r}, which mvector "
            "does not compute; choose a model of spec_norm 'mn'."
        )
    usual_args = {"n_fft", "win_length", "f_min", "f_max"}
    method_args = {
        "sample_rate": sample_rate,
        "n_mels": feature_dim,
        "hop_length": config.get("hop_length", 160),
        "preemphasis": 0.97 if params.get("do_preemph", True) else 0.0,
        "normalize_signal": bool(params.get("norm_signal", False)),
        **{key: value for key, value in params.items() if key in usual_args},
    }
    preprocess = mean_normalised(methods[kind], method_args)
    return FrontEnd(sample_rate, preprocess, use_dB_normalization=False)


def _front_end(feature_dim: int, sample_rate: int, hints: Hints) -> FrontEnd:
    return front_end_of(feature_dim, sample_rate, hints, FEATURE_METHODS, "pt")


SOURCE = Source(
    title="IDRnD",
    files=("b[0-6]-*.pt", "*.pt", "*.safetensors"),
    families={
        "ReDimNet": Published(
            redimnet.read_idrnd, redimnet.idrnd_table, check_config=redimnet.check_config
        ),
    },
    front_end=_front_end,
    heads=("spec.", "cls_head."),
)
