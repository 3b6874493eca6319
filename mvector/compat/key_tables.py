"""Names of layers: ours, and those of published checkpoints, one table per family.

A table maps the path of a layer of ours to the published one. ``{b}`` stands for a number, and
``{b+1}`` for the next one; the first row that fits a layer counts. Rows are read in both
directions, so what is imported can be exported. Tables of the networks over images are in
:mod:`mvector.compat.key_tables2d`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch

Shape = tuple[int, ...]

_NUMBER = re.compile(r"\{(\w)([+-]\d)?\}")


@dataclass(frozen=True)
class KeyTable:
    """The names of one family in one form of publication."""

    layers: Mapping[str, str]  # path of our layer to path of the published layer
    as_convolutions: tuple[str, ...] = ()  # our linear layers, published as convolutions of 1 tap
    time_first: bool = False  # images are published as (frames, bins), and so are kernels over them
    # single entries whose published name is not that of a layer's entry
    entries: Mapping[str, str] = field(default_factory=dict)
    # Heads of an attention: one layer of ours, and as many published ones, numbered where the
    # published name has an asterisk.
    num_heads: int = 1

    def published(self, state: Mapping[str, torch.Tensor]) -> dict[str, tuple[str, Shape]]:
        """For each entry of a backbone of ours: published key and shape, or those of each head.

        Raises:
            KeyError: the table has no row for a layer; the family has no such layer.
        """
        alone = {key: found for key in state if (found := _translate(self.entries, key))}
        layers = {
            layer: self._published_layer(layer)
            for layer in (_layer_of(key) for key in state if key not in alone)
        }
        with_tap = {
            layer
            for layer in layers
            if any(_pattern(row).fullmatch(layer) for row in self.as_convolutions)
        }
        result = {}
        for key, value in state.items():
            if key in alone:
                result[key] = (alone[key], tuple(value.shape))
                continue
            layer, entry = _layer_of(key), key.rpartition(".")[2]
            tap = (1,) if entry == "weight" and layer in with_tap else ()
            shape = (*value.shape, *tap)
            if "*" in layers[layer]:
                shape = (shape[0] // self.num_heads, *shape[1:])
            result[key] = (f"{layers[layer]}.{entry}", shape)
        return result

    def heads_of(self, published_key: str) -> list[str]:
        """The published keys that a key of :meth:`published` stands for: itself, or each head's."""
        if "*" not in published_key:
            return [published_key]
        return [published_key.replace("*", str(head)) for head in range(self.num_heads)]

    def turned(self, value: torch.Tensor) -> torch.Tensor:
        """An entry from one side to the other: kernels over images the other way up."""
        return value.transpose(2, 3) if self.time_first and value.dim() == 4 else value

    def _published_layer(self, layer: str) -> str:
        if (found := _translate(self.layers, layer)) is None:
            raise KeyError(layer)
        return found


def _translate(rows: Mapping[str, str], name: str) -> str | None:
    """The published name by the first row that fits; ``None`` if none does."""
    for ours, theirs in rows.items():
        if (match := _pattern(ours).fullmatch(name)) is not None:
            return _fill_numbers(theirs, match)
    return None


def _layer_of(key: str) -> str:
    return key.rpartition(".")[0]


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(_NUMBER.sub(r"(?P<\1>\\d+)", template.replace(".", r"\.")))


def _fill_numbers(template: str, numbers: re.Match[str]) -> str:
    return _NUMBER.sub(lambda hole: str(int(numbers[hole[1]]) + int(hole[2] or 0)), template)


SEGMENT_LAYERS = {
    "embedding.0": "seg_1",
    "embedding.2": "seg_bn_1",
    "embedding.3": "seg_2",
}
# Poolings of several heads: our path and WeSpeaker's, which has a layer for each head, and how many
# heads there are. WeSpeaker has no settings for them, and ours have its numbers as their defaults.
_MULTI_HEAD = {
    "MHASTP": ("pooling", "pool", 2),
    "MQMHASTP": ("pooling.queries.{q}", "pool.n_query.{q}", 8),
}


def with_multi_head_pooling(table: KeyTable) -> Callable[[Mapping[str, Any]], KeyTable]:
    """The names of a family of WeSpeaker, of which the pooling may have several heads."""

    def table_for(options: Mapping[str, Any]) -> KeyTable:
        if options["pooling_type"] not in _MULTI_HEAD:
            return table
        ours, theirs, num_heads = _MULTI_HEAD[options["pooling_type"]]
        heads = {
            f"{ours}.hidden": f"{theirs}.heads_att_trans.*.att_0",
            f"{ours}.attention": f"{theirs}.heads_att_trans.*.att_1",
        }
        return replace(table, layers={**table.layers, **heads}, num_heads=num_heads)

    return table_for


# Behind the pooling of mvector 1.x; the pooling is ASP or SAP.
MVECTOR_POOLING = {
    "pooling.hidden_norm": "pooling.tdnn.norm.norm",
    "pooling.hidden": "pooling.tdnn.conv.conv",
    "pooling.attention": "pooling.conv.conv",
}

_HEAD_BLOCKS = {  # ours are counted through, the published ones in two layers of two
    f"head.blocks.{2 * layer + block}.{ours}": f"head.layer{layer + 1}.{block}.{theirs}"
    for layer in (0, 1)
    for block in (0, 1)
    for ours, theirs in (
        ("conv{n}.conv", "conv{n}"),
        ("conv{n}.norm", "bn{n}"),
        ("shortcut.conv", "shortcut.0"),
        ("shortcut.norm", "shortcut.1"),
    )
}
_DENSE, _TDNND = "blocks.{b}.{l}", "xvector.block{b+1}.tdnnd{l+1}"
CAMPPLUS = KeyTable(
    {
        "head.first.conv": "head.conv1",
        "head.first.norm": "head.bn1",
        **_HEAD_BLOCKS,
        "head.last.conv": "head.conv2",
        "head.last.norm": "head.bn2",
        "tdnn": "xvector.tdnn.linear",
        "tdnn_norm": "xvector.tdnn.nonlinear.batchnorm",
        f"{_DENSE}.bottleneck.norm": f"{_TDNND}.nonlinear1.batchnorm",
        f"{_DENSE}.bottleneck.conv": f"{_TDNND}.linear1",
        f"{_DENSE}.norm": f"{_TDNND}.nonlinear2.batchnorm",
        f"{_DENSE}.masking.local": f"{_TDNND}.cam_layer.linear_local",
        f"{_DENSE}.masking.squeeze": f"{_TDNND}.cam_layer.linear1",
        f"{_DENSE}.masking.excite": f"{_TDNND}.cam_layer.linear2",
        "transitions.{b}.norm": "xvector.transit{b+1}.nonlinear.batchnorm",
        "transitions.{b}.conv": "xvector.transit{b+1}.linear",
        "out_norm": "xvector.out_nonlinear.batchnorm",
        "embedding": "xvector.dense.linear",
        "embedding_norm": "xvector.dense.nonlinear.batchnorm",
    },
    as_convolutions=("embedding",),
)
XVECTOR = KeyTable(
    {
        "frame_layers.{l}.conv": "frame_{l+1}.conv_1d",
        "frame_layers.{l}.norm": "frame_{l+1}.bn",
        **SEGMENT_LAYERS,
    }
)
XVECTOR_SPEECHBRAIN = KeyTable(
    {
        **{f"frame_layers.{n}.conv": f"blocks.{3 * n}.conv" for n in range(5)},
        **{f"frame_layers.{n}.norm": f"blocks.{3 * n + 2}.norm" for n in range(5)},
        "embedding.0": "blocks.16.w",
    }
)
TDNN_MVECTOR = KeyTable(
    {
        "frame_layers.{l}.conv": "td_layer{l+1}",
        "frame_layers.{l}.norm": "bn{l+1}",
        **MVECTOR_POOLING,
        "pooling_norm": "bn5",
        "embedding.0": "linear",
        "embedding_norm": "bn6",
    }
)
ECAPA_SPEECHBRAIN = KeyTable(
    {
        "first.conv": "blocks.0.conv.conv",
        "first.norm": "blocks.0.norm.norm",
        "blocks.{b}.before.conv": "blocks.{b+1}.tdnn1.conv.conv",
        "blocks.{b}.before.norm": "blocks.{b+1}.tdnn1.norm.norm",
        "blocks.{b}.res2.convs.{n}.conv": "blocks.{b+1}.res2net_block.blocks.{n}.conv.conv",
        "blocks.{b}.res2.convs.{n}.norm": "blocks.{b+1}.res2net_block.blocks.{n}.norm.norm",
        "blocks.{b}.after.conv": "blocks.{b+1}.tdnn2.conv.conv",
        "blocks.{b}.after.norm": "blocks.{b+1}.tdnn2.norm.norm",
        "blocks.{b}.squeeze_excite.squeeze": "blocks.{b+1}.se_block.conv1.conv",
        "blocks.{b}.squeeze_excite.excite": "blocks.{b+1}.se_block.conv2.conv",
        "aggregation": "mfa.conv.conv",
        "aggregation_norm": "mfa.norm.norm",
        "embedding": "fc.conv",
        "pooling.hidden_norm": "asp.tdnn.norm.norm",
        "pooling.hidden": "asp.tdnn.conv.conv",
        "pooling.attention": "asp.conv.conv",
        "pooling_norm": "asp_bn.norm",
    },
    as_convolutions=(
        "blocks.{b}.squeeze_excite.squeeze",
        "blocks.{b}.squeeze_excite.excite",
        "embedding",
    ),
)
ECAPA_WESPEAKER = KeyTable(
    {
        "first.conv": "layer1.conv",
        "first.norm": "layer1.bn",
        "blocks.{b}.before.conv": "layer{b+2}.se_res2block.0.conv",
        "blocks.{b}.before.norm": "layer{b+2}.se_res2block.0.bn",
        "blocks.{b}.res2.convs.{n}.conv": "layer{b+2}.se_res2block.1.convs.{n}",
        "blocks.{b}.res2.convs.{n}.norm": "layer{b+2}.se_res2block.1.bns.{n}",
        "blocks.{b}.after.conv": "layer{b+2}.se_res2block.2.conv",
        "blocks.{b}.after.norm": "layer{b+2}.se_res2block.2.bn",
        "blocks.{b}.squeeze_excite.squeeze": "layer{b+2}.se_res2block.3.linear1",
        "blocks.{b}.squeeze_excite.excite": "layer{b+2}.se_res2block.3.linear2",
        "aggregation": "conv",
        "pooling.hidden": "pool.linear1",
        "pooling.attention": "pool.linear2",
        "pooling_norm": "bn",
        "embedding": "linear",
        "embedding_norm": "bn2",
    }
)
