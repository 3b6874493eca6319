"""NeMo: ``titanet-l.nemo`` and others, archives of a configuration and weights.

Features are computed by the network itself, with tables that lie among its entries; they follow
from the configuration, so the tables are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvector.compat.containers import section
from mvector.compat.families import Architecture, Shapes, UnreadableError, divide, num_keys
from mvector.compat.key_tables import KeyTable
from mvector.compat.source import Hints, Published, Source, features_unknown, mean_normalised
from mvector.errors import CheckpointError
from mvector.features.front_end import FrontEnd
from mvector.models.titanet import KERNELS

_ENTRIES_OF_REPEAT = 5  # two convolutions, a normalisation, an activation, dropout
_LAST = len(KERNELS) + 1


def _table(options: Mapping[str, Any]) -> KeyTable:
    """Names by the number of convolutions in a block, behind which its gate stands."""
    layers = {
        "pooling.hidden": "decoder._pooling.attention_layer.0.conv_layer",
        "pooling.hidden_norm": "decoder._pooling.attention_layer.0.bn",
        "pooling.attention": "decoder._pooling.attention_layer.2",
        "pooling_norm": "decoder.emb_layers.0.0",
        "embedding": "decoder.emb_layers.0.1",
        "blocks.{b}.residual": "encoder.encoder.{b}.res.0.0.conv",
        "blocks.{b}.residual_norm": "encoder.encoder.{b}.res.0.1",
    }
    for block in range(_LAST + 1):
        num_repeats = 1 if block in (0, _LAST) else options["num_repeats"]
        theirs = f"encoder.encoder.{block}.mconv"
        for repeat in range(num_repeats):
            ours, place = f"blocks.{block}.convs.{repeat}", _ENTRIES_OF_REPEAT * repeat
            layers[f"{ours}.depthwise"] = f"{theirs}.{place}.conv"
            layers[f"{ours}.pointwise"] = f"{theirs}.{place + 1}.conv"
            layers[f"{ours}.norm"] = f"{theirs}.{place + 2}"
        gate = f"{theirs}.{_ENTRIES_OF_REPEAT * (num_repeats - 1) + 3}.fc"
        layers[f"blocks.{block}.squeeze_excite.squeeze"] = f"{gate}.0"
        layers[f"blocks.{block}.squeeze_excite.excite"] = f"{gate}.2"
    return KeyTable(layers, as_convolutions=("embedding",))


def _read(shapes: Shapes, feature_dim: int | None) -> Architecture:
    first = "encoder.encoder.0.mconv"
    channels, bins = shapes[f"{first}.1.conv.weight"][:2]
    options = {
        "embd_dim": shapes["decoder.emb_layers.0.1.weight"][0],
        "pooling_type": "ASP",
        "channels": channels,
        "out_channels": shapes[f"encoder.encoder.{_LAST}.mconv.1.conv.weight"][0],
        # each has two convolutions
        "num_repeats": num_keys(shapes, "encoder.encoder.1.mconv.#.conv.weight") // 2,
        "se_reduction": divide(channels, shapes[f"{first}.3.fc.0.weight"][0], "the reduction"),
        "attention_channels": shapes["decoder._pooling.attention_layer.0.conv_layer.weight"][0],
    }
    return Architecture("TitaNet", bins, options)


def _apply_config(config: Mapping[str, Any], architecture: Architecture) -> Architecture:
    """Hold ``model_config.yaml`` against what the network here is."""
    expected: dict[tuple[str, str], Any] = {
        ("decoder", "pool_mode"): "attention",
        ("encoder", "activation"): "relu",
        ("encoder", "feat_in"): architecture.feature_dim,
    }
    for (part, key), value in expected.items():
        found = section(config, part).get(key, value)
        if found != value:
            raise UnreadableError(
                f"its model_config says {part}.{key} {found!r}, and not {value!r}"
            )
    return architecture


def _front_end(feature_dim: int, sample_rate: int, hints: Hints) -> FrontEnd:
    found = section(hints.model_config or {}, "preprocessor")
    usual = {"normalize": "per_feature", "window": "hann", "frame_splicing": 1}
    for key, value in usual.items():
        if found.get(key, value) != value:
            raise features_unknown(key, found[key])
    lengths = {
        "win_length": found.get("window_size", 0.025),
        "hop_length": found.get("window_stride", 0.01),
    }
    for key, seconds in lengths.items():
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise CheckpointError(
                f"The checkpoint's model_config has no number as {key}: {seconds!r}."
            )
    method_args = {
        "sample_rate": sample_rate,
        "n_mels": feature_dim,
        "n_fft": found.get("n_fft") or 512,
        **{key: int(seconds * sample_rate) for key, seconds in lengths.items()},
    }
    preprocess = mean_normalised("NemoFbank", method_args) | {"normalize_mean": False}
    return FrontEnd(sample_rate, preprocess, use_dB_normalization=False)


SOURCE = Source(
    title="NeMo",
    files=("*.nemo", "model_weights.ckpt", "*.ckpt", "*.safetensors"),
    families={"TitaNet": Published(_read, _table, apply_config=_apply_config)},
    front_end=_front_end,
    heads=(
        "preprocessor.",
        "decoder.final.",
        "loss.",
        "eval_loss.",
        "_accuracy",
        "_macro_accuracy",
    ),
)
