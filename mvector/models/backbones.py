"""The table of backbones, and building one by its name."""

from __future__ import annotations

from typing import Any

from torch import nn

from mvector.config.backbone_options import BACKBONE_OPTIONS
from mvector.config.section import check_options
from mvector.errors import ConfigError
from mvector.models.campplus import CAMPPlus
from mvector.models.df_resnet import DFResNet
from mvector.models.ecapa_tdnn import EcapaTdnn
from mvector.models.eres2net import ERes2Net, ERes2NetV2
from mvector.models.preact_resnet import PreActResNet
from mvector.models.redimnet import ReDimNet
from mvector.models.redimnet2 import ReDimNet2
from mvector.models.res2net import Res2Net, Res2Net34
from mvector.models.resnet import ResNet
from mvector.models.resnet_se import ResNetSE
from mvector.models.simam_resnet import SimAMResNet
from mvector.models.tdnn import TDNN
from mvector.models.titanet import TitaNet

# A new backbone: a file, a line here, and its options in mvector.config.backbone_options.
BACKBONES: dict[str, type[nn.Module]] = {
    "EcapaTdnn": EcapaTdnn,
    "TDNN": TDNN,
    "Res2Net": Res2Net,
    "Res2Net34": Res2Net34,
    "ResNetSE": ResNetSE,
    "ResNet": ResNet,
    "SimAMResNet": SimAMResNet,
    "DFResNet": DFResNet,
    "PreActResNet": PreActResNet,
    "ERes2Net": ERes2Net,
    "ERes2NetV2": ERes2NetV2,
    "CAMPPlus": CAMPPlus,
    "ReDimNet": ReDimNet,
    "ReDimNet2": ReDimNet2,
    "TitaNet": TitaNet,
}


def build_backbone(name: str, feature_dim: int, **options: Any) -> nn.Module:
    """A backbone by its name in configuration files, a key of :data:`BACKBONES`.

    Args:
        name: of the backbone.
        feature_dim: bins of the features it will see.
        options: keyword arguments of the backbone's class.

    Raises:
        ConfigError: there is no such backbone, it has no such option, or a value is impossible.
    """
    if name not in BACKBONES:
        raise ConfigError(f"There is no backbone '{name}'; there are: {', '.join(BACKBONES)}.")
    check_options(BACKBONE_OPTIONS[name], options, f"The backbone {name}")
    return BACKBONES[name](feature_dim, **options)
