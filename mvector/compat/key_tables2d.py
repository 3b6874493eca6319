"""Names of layers of the networks that see features as an image, ours and published ones."""

from __future__ import annotations

from mvector.compat.key_tables import MVECTOR_POOLING, SEGMENT_LAYERS, KeyTable

_STEM_AND_BLOCKS = {
    "stem.conv": "conv1",
    "stem.norm": "bn1",
    "stages.{s}.{b}.conv{n}.conv": "layer{s+1}.{b}.conv{n}",
    "stages.{s}.{b}.conv{n}.norm": "layer{s+1}.{b}.bn{n}",
}
_SHORTCUTS = {
    "stages.{s}.{b}.shortcut.conv": "layer{s+1}.{b}.shortcut.0",
    "stages.{s}.{b}.shortcut.norm": "layer{s+1}.{b}.shortcut.1",
}
_DOWNSAMPLE_SHORTCUTS = {
    "stages.{s}.{b}.shortcut.conv": "layer{s+1}.{b}.downsample.0",
    "stages.{s}.{b}.shortcut.norm": "layer{s+1}.{b}.downsample.1",
}
_SQUEEZE_EXCITE = {
    "stages.{s}.{b}.squeeze_excite.squeeze": "layer{s+1}.{b}.se.fc.0",
    "stages.{s}.{b}.squeeze_excite.excite": "layer{s+1}.{b}.se.fc.2",
}
_RES2_GROUPS = {
    "stages.{s}.{b}.convs.{n}.conv": "layer{s+1}.{b}.convs.{n}",
    "stages.{s}.{b}.convs.{n}.norm": "layer{s+1}.{b}.bns.{n}",
}
_FUSIONS = {
    "stages.{s}.{b}.fusions.{n}.attention.{k}": "layer{s+1}.{b}.fuse_models.{n}.local_att.{k}",
}
_MVECTOR_2D_TAIL = {"pooling_norm": "bn2", "embedding": "linear", "embedding_norm": "bn3"}

RESNET = KeyTable({**_STEM_AND_BLOCKS, **_SHORTCUTS, **SEGMENT_LAYERS})
RES2NET34 = KeyTable({**_STEM_AND_BLOCKS, **_RES2_GROUPS, **_SHORTCUTS, **SEGMENT_LAYERS})
ERES2NET = KeyTable(
    {
        **RES2NET34.layers,
        **_FUSIONS,
        "downsamplings.{d}": "layer{d+1}_downsample",
        "fusions.0.attention.{k}": "fuse_mode12.local_att.{k}",
        "fusions.1.attention.{k}": "fuse_mode123.local_att.{k}",
        "fusions.2.attention.{k}": "fuse_mode1234.local_att.{k}",
    }
)
# In stages 3 and 4 WeSpeaker gives the first convolution and its norm names of their own.
ERES2NET_WESPEAKER = KeyTable(
    {
        "stages.2.{b}.convs.0.conv": "layer3.{b}.conv2_1",
        "stages.2.{b}.convs.0.norm": "layer3.{b}.bn2_1",
        "stages.2.{b}.convs.{n}.conv": "layer3.{b}.convs.{n-1}",
        "stages.2.{b}.convs.{n}.norm": "layer3.{b}.bns.{n-1}",
        "stages.3.{b}.convs.0.conv": "layer4.{b}.conv2_1",
        "stages.3.{b}.convs.0.norm": "layer4.{b}.bn2_1",
        "stages.3.{b}.convs.{n}.conv": "layer4.{b}.convs.{n-1}",
        "stages.3.{b}.convs.{n}.norm": "layer4.{b}.bns.{n-1}",
        **ERES2NET.layers,
    }
)
ERES2NET_V2 = KeyTable(
    {
        **RES2NET34.layers,
        **_FUSIONS,
        "downsampling": "layer3_ds",
        "fusion.attention.{k}": "fuse34.local_att.{k}",
    }
)
RES2NET_MVECTOR = KeyTable(
    {
        **_STEM_AND_BLOCKS,
        **_RES2_GROUPS,
        **_DOWNSAMPLE_SHORTCUTS,
        **MVECTOR_POOLING,
        **_MVECTOR_2D_TAIL,
    }
)
RESNET_SE_MVECTOR = KeyTable(
    {
        **_STEM_AND_BLOCKS,
        **_SQUEEZE_EXCITE,
        **_DOWNSAMPLE_SHORTCUTS,
        **MVECTOR_POOLING,
        **_MVECTOR_2D_TAIL,
    }
)
_ATTENTION = {
    "pooling.hidden_norm": "attention.2",
    "pooling.hidden": "attention.0",
    "pooling.attention": "attention.3",
}
RESNET_SPEECHBRAIN = KeyTable(
    {
        "stem.conv": "conv1",
        "stem.norm": "bn1",
        "stages.{s}.{b}.conv{n}": "layer{s+1}.{b}.conv{n}",
        "stages.{s}.{b}.norm{n}": "layer{s+1}.{b}.bn{n}",
        **_SQUEEZE_EXCITE,
        **_DOWNSAMPLE_SHORTCUTS,
        **_ATTENTION,
        "pooling_norm": "norm_stats",
        "embedding": "fc_embed",
        "embedding_norm": "norm_embed",
    },
    time_first=True,
)
DF_RESNET = KeyTable(
    {
        "stem.conv": "downsample_layers.0.0",
        "stem.norm": "downsample_layers.0.1",
        "downsamplings.{s}.conv": "downsample_layers.{s+1}.0",
        "downsamplings.{s}.norm": "downsample_layers.{s+1}.1",
        "stages.{s}.{b}.conv{n}.conv": "stages.{s}.{b}.conv{n}",
        "stages.{s}.{b}.conv{n}.norm": "stages.{s}.{b}.bn{n}",
        **SEGMENT_LAYERS,
    }
)
_OF_FRONT = {**_STEM_AND_BLOCKS, **_DOWNSAMPLE_SHORTCUTS}
SIMAM_RESNET = KeyTable(
    {
        **{ours: f"front.{theirs}" for ours, theirs in _OF_FRONT.items()},
        **{ours: f"pooling.{theirs}" for ours, theirs in _ATTENTION.items()},
        "embedding.0": "bottleneck",
    }
)
