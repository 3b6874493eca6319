"""ReDimNet as its authors publish it: ``b2-vox2-ft_lm.pt`` and others, of ``model_config`` and
``state_dict``.

Features are computed by the network itself, with tables that lie among its entries; they follow
from ``model_config``, so the tables are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from mvector.compat import redimnet
from mvector.compat.source import Hints, Published, Source, features_unknown, mean_normalised
from mvector.errors import CheckpointError
from mvector.features.front_end import FrontEnd

_METHODS = {
    "pt": "ReDimNetFbank",
    "pt_mel": "ReDimNetFbank",
    "tf": "ReDimNet2Fbank",
    "tf_mel": "ReDimNet2Fbank",
}
_ARGUMENTS = ("n_fft", "win_length", "f_min", "f_max")
# heard in training only
_OF_TRAINING = (
    "do_spec_aug",
    "freq_start_bin",
    "num_apply_spec_aug",
    "freq_mask_width",
    "time_mask_width",
)
_OTHERS = {"spec_norm": "mn", "eps": 1e-8}  # of one value only


def front_end_of(
    feature_dim: int, sample_rate: int, hints: Hints, *, usual: str, normalises: bool
) -> FrontEnd:
    """What ``model_config`` says of features.

    Args:
        feature_dim: bins.
        sample_rate: in Hz.
        hints: with the ``model_config``, if there is one.
        usual: the ``feat_type`` of a file that does not say.
        normalises: whether such a file is of clips brought to mean 0 and deviation 1.

    Raises:
        CheckpointError: mvector does not compute such features.
    """
    config = hints.model_config
    if config is None:
        config = {"feat_type": usual, "spec_params": {"norm_signal": normalises}}
    kind = config.get("feat_type", "pt")
    if kind not in _METHODS:
        raise CheckpointError(
            f"The checkpoint's model_config says feat_type {kind!r}, which mvector does not "
            f"compute; choose a model of one of: {', '.join(_METHODS)}."
        )
    found = config.get("spec_params")
    params: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {}
    known = {*_ARGUMENTS, *_OF_TRAINING, "do_preemph", "norm_signal"}
    for key, value in params.items():
        if key not in known and _OTHERS.get(key) != value:
            raise features_unknown(key, value)
    method_args = {
        "sample_rate": sample_rate,
        "n_mels": feature_dim,
        "hop_length": config.get("hop_length", 160),
        "preemphasis": 0.97 if params.get("do_preemph", True) else 0.0,
        "normalize_signal": bool(params.get("norm_signal", False)),
        **{key: value for key, value in params.items() if key in _ARGUMENTS},
    }
    preprocess = mean_normalised(_METHODS[kind], method_args)
    return FrontEnd(sample_rate, preprocess, use_dB_normalization=False)


SOURCE = Source(
    title="IDRnD",
    files=("b[0-6]-*.pt", "*.pt", "*.safetensors"),
    families={
        "ReDimNet": Published(
            redimnet.read_authors_redimnet,
            redimnet.authors_table,
            apply_config=redimnet.apply_config,
        ),
    },
    front_end=partial(front_end_of, usual="pt", normalises=False),
    heads=("spec.", "cls_head."),
)
