"""Sizes of the published networks that see features as a sequence, read from their shapes."""

from __future__ import annotations

from mvector.compat.families import (
    Architecture,
    Shapes,
    divide,
    mvector_pooling,
    num_keys,
    pooling_type_wespeaker,
    segment_layer_options,
)


def read_campplus(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """CAM++ of any width."""
    head = shapes["head.conv1.weight"][0]
    tdnn = shapes["xvector.tdnn.linear.weight"]
    growth = shapes["xvector.block1.tdnnd1.cam_layer.linear_local.weight"][0]
    bottleneck = shapes["xvector.block1.tdnnd1.linear1.weight"][0]
    options = {
        "embd_dim": shapes["xvector.dense.linear.weight"][0],
        "pooling_type": "TSTP",
        "head_channels": head,
        "init_channels": tdnn[0],
        "growth_rate": growth,
        "bn_size": divide(bottleneck, growth, "the bottleneck's factor"),
    }
    return Architecture("CAMPPlus", 8 * divide(tdnn[1], head, "an eighth of the bins"), options)


def read_xvector(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """x-vector of WeSpeaker (two embedding layers) and 3D-Speaker (one)."""
    frames = [shapes[f"frame_{n}.conv_1d.weight"] for n in (1, 2, 3, 4, 5)]
    options = {
        "layout": "xvector",
        **segment_layer_options(shapes),
        "channels": [shape[0] for shape in frames],
    }
    return Architecture("TDNN", frames[0][1], options)


def read_xvector_speechbrain(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """x-vector of SpeechBrain."""
    frames = [shapes[f"blocks.{3 * n}.conv.weight"] for n in range(5)]
    options = {
        "layout": "speechbrain",
        "embd_dim": shapes["blocks.16.w.weight"][0],
        "pooling_type": "TSTP",
        "channels": [shape[0] for shape in frames],
    }
    return Architecture("TDNN", frames[0][1], options)


def read_tdnn_mvector(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """TDNN of mvector 1.x."""
    frames = [shapes[f"td_layer{n}.weight"] for n in (1, 2, 3, 4, 5)]
    embd_dim, inputs = shapes["linear.weight"]
    options = {
        "layout": "mvector",
        "embd_dim": embd_dim,
        **mvector_pooling(shapes, "pooling", inputs, frames[-1][0]),
        "channels": [shape[0] for shape in frames],
    }
    return Architecture("TDNN", frames[0][1], options)


def read_ecapa_speechbrain(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ECAPA-TDNN in SpeechBrain's layout, also with the other poolings of mvector 1.x."""
    first, aggregated = shapes["blocks.0.conv.conv.weight"], shapes["mfa.conv.conv.weight"][0]
    embd_dim, inputs = shapes["fc.conv.weight"][:2]
    options = {
        "layout": "speechbrain",
        "embd_dim": embd_dim,
        **mvector_pooling(shapes, "asp", inputs, aggregated),
        "channels": [first[0]] * 4 + [aggregated],
        "res2net_scale": num_keys(shapes, "blocks.1.res2net_block.blocks.#.conv.conv.weight") + 1,
        "se_channels": shapes["blocks.1.se_block.conv1.conv.weight"][0],
    }
    if options["pooling_type"] == "ASP":
        seen = shapes["asp.tdnn.conv.conv.weight"][1]
        options["global_context"] = seen == 3 * aggregated
    return Architecture("EcapaTdnn", first[1], options)


def read_ecapa_wespeaker(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ECAPA-TDNN in WeSpeaker's layout, with or without global context, or with several heads."""
    first, aggregated = shapes["layer1.conv.weight"], shapes["conv.weight"][0]
    options = {
        "layout": "wespeaker",
        "embd_dim": shapes["linear.weight"][0],
        "channels": [first[0]] * 4 + [aggregated],
        "res2net_scale": num_keys(shapes, "layer2.se_res2block.1.convs.#.weight") + 1,
        "se_channels": shapes["layer2.se_res2block.3.linear1.weight"][0],
        "embedding_norm": "bn2.weight" in shapes,
    }
    pooling_type = pooling_type_wespeaker(shapes)
    if pooling_type is None:
        hidden, seen = shapes["pool.linear1.weight"][:2]
        options["pooling_type"] = "ASP"
        options["global_context"] = seen == 3 * aggregated
    else:
        query = "pool.n_query.0" if pooling_type == "MQMHASTP" else "pool"
        hidden = shapes[f"{query}.heads_att_trans.0.att_0.weight"][0]
        options["pooling_type"] = pooling_type
    options["attention_channels"] = hidden
    return Architecture("EcapaTdnn", first[1], options)
