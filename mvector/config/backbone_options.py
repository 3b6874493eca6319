"""Options of the backbones: one frozen class each, equal to the constructor's arguments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mvector.config.section import PositiveInt, Section

Pooling = Literal["TAP", "TSP", "TSTP", "SAP", "ASP", "MHASTP", "MQMHASTP"]
Count = Annotated[int, Field(ge=1, le=1000)]  # of layers, which are made one by one
Blocks = tuple[Count, Count, Count, Count]
Eps = Annotated[float, Field(ge=0)]


class EcapaTdnnOptions(Section):
    """See :class:`mvector.models.ecapa_tdnn.EcapaTdnn`; ``None`` means that the layout decides."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling = "ASP"
    channels: PositiveInt | tuple[PositiveInt, ...] = 512
    res2net_scale: int = Field(8, ge=2, le=1000)
    se_channels: PositiveInt | None = None
    attention_channels: PositiveInt = 128
    layout: Literal["mvector", "speechbrain", "wespeaker"] = "mvector"
    padding_mode: Literal["zeros", "reflect"] | None = None
    res2_pass: Literal["first", "last"] | None = None
    conv_bias: bool | None = None
    aggregation_norm: bool | None = None
    global_context: bool | None = None
    attention_norm: bool | None = None
    embedding_norm: bool | None = None

    @field_validator("channels")
    @classmethod
    def _five_layers(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if not isinstance(value, int) and (len(value) != 5 or len(set(value[:4])) != 1):
            raise ValueError(
                "expected one number, or five of which the first four are equal "
                "(layers 1 to 4 and the aggregation), such as [512, 512, 512, 512, 1536]"
            )
        return value

    @model_validator(mode="after")
    def _scale_divides_channels(self) -> EcapaTdnnOptions:
        width = self.channels if isinstance(self.channels, int) else self.channels[0]
        if width % self.res2net_scale:
            raise ValueError(f"channels {width} is not a multiple of res2net_scale")
        return self


def tdnn_pooling(pooling_type: str | None, layout: str) -> str:
    """The pooling that is asked for, or else the one of a TDNN's layout."""
    return pooling_type or ("ASP" if layout == "mvector" else "TSTP")


class TDNNOptions(Section):
    """See :class:`mvector.models.tdnn.TDNN`; ``None`` means that the layout decides."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling | None = None
    channels: PositiveInt | tuple[PositiveInt, ...] | None = None
    attention_channels: PositiveInt = 128
    layout: Literal["mvector", "xvector", "speechbrain"] = "mvector"
    two_embedding_layers: bool = False
    pooling_eps: float = Field(1e-7, ge=0)

    @field_validator("channels")
    @classmethod
    def _five_layers(cls, value: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        if isinstance(value, tuple) and len(value) != 5:
            raise ValueError("expected one number, or five: one for each layer")
        return value


class ResNetOptions(Section):
    """See :class:`mvector.models.resnet.ResNet`."""

    embd_dim: PositiveInt = 256
    pooling_type: Pooling = "TSTP"
    depth: Literal[18, 34, 50, 101, 152, 221, 293] = 34
    channels: PositiveInt = 32
    two_embedding_layers: bool = False
    pooling_eps: Eps = 1e-7


class SimAMResNetOptions(Section):
    """See :class:`mvector.models.simam_resnet.SimAMResNet`."""

    embd_dim: PositiveInt = 256
    pooling_type: Pooling = "ASP"
    depth: Literal[34, 100] = 34
    channels: PositiveInt = 64
    attention_channels: PositiveInt = 128


class PreActResNetOptions(Section):
    """See :class:`mvector.models.preact_resnet.PreActResNet`."""

    embd_dim: PositiveInt = 256
    pooling_type: Pooling = "ASP"
    channels: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (128, 128, 256, 256)
    num_blocks: Blocks = (3, 4, 6, 3)
    num_gated: int = Field(2, ge=0, le=4)
    attention_channels: PositiveInt = 128


class DFResNetOptions(Section):
    """See :class:`mvector.models.df_resnet.DFResNet`."""

    embd_dim: PositiveInt = 256
    pooling_type: Pooling = "TSTP"
    num_blocks: Blocks = (3, 3, 27, 3)
    channels: PositiveInt = 32
    two_embedding_layers: bool = False
    pooling_eps: Eps = 1e-7


class ResNetSEOptions(Section):
    """See :class:`mvector.models.resnet_se.ResNetSE`."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling = "ASP"
    channels: PositiveInt = 32
    num_blocks: Blocks = (3, 4, 6, 3)
    expansion: PositiveInt = 2
    se_reduction: PositiveInt = 8
    attention_channels: PositiveInt = 128


class _Res2Widths(Section):
    """Widths that all networks of Res2 blocks share."""

    channels: PositiveInt = 32
    num_blocks: Blocks = (3, 4, 6, 3)
    base_width: PositiveInt = 32

    @model_validator(mode="after")
    def _groups_are_not_empty(self) -> _Res2Widths:
        if self.channels * self.base_width < 64:
            raise ValueError("channels times base_width must be at least 64")
        return self


class Res2NetOptions(_Res2Widths):
    """See :class:`mvector.models.res2net.Res2Net`."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling = "ASP"
    scale: int = Field(2, ge=2, le=1000)
    expansion: int = Field(4, ge=2)
    attention_channels: PositiveInt = 128


class Res2Net34Options(_Res2Widths):
    """See :class:`mvector.models.res2net.Res2Net34`."""

    embd_dim: PositiveInt = 256
    pooling_type: Pooling = "TSTP"
    scale: int = Field(2, ge=2, le=1000)
    expansion: PositiveInt = 2
    two_embedding_layers: bool = False
    pooling_eps: Eps = 1e-7


class ERes2NetOptions(_Res2Widths):
    """See :class:`mvector.models.eres2net.ERes2Net`."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling = "TSTP"
    scale: Count = 2
    expansion: PositiveInt = 2
    two_embedding_layers: bool = False
    pooling_eps: Eps = 1e-8


class ERes2NetV2Options(ERes2NetOptions):
    """See :class:`mvector.models.eres2net.ERes2NetV2`."""

    channels: PositiveInt = 64
    base_width: PositiveInt = 26


class CAMPPlusOptions(Section):
    """See :class:`mvector.models.campplus.CAMPPlus`."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling = "TSTP"
    pooling_eps: Eps = 0.0
    head_channels: PositiveInt = 32
    init_channels: int = Field(128, ge=2)
    growth_rate: PositiveInt = 32
    bn_size: PositiveInt = 4


ReDimSize = Literal["B0", "B1", "B2", "B3", "B4", "B5", "B6"]
ReDimBlock = Literal["convnext_like", "basic_resnet", "basic_resnet_fwse"]
# stride in bins, number of blocks, widening, reduction for what it knows of the whole clip
ReDimStage = tuple[Count, Count, Count, PositiveInt | None]


class ReDimNetOptions(Section):
    """See :class:`mvector.models.redimnet.ReDimNet`; ``None`` means that the size decides."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling = "ASP"
    size: ReDimSize = "B2"
    channels: PositiveInt | None = None
    block: ReDimBlock | None = None
    group_divisor: PositiveInt | None = None
    stages: Annotated[tuple[ReDimStage, ...], Field(min_length=1, max_length=32)] | None = None
    global_context: bool = True
    pooling_norm: bool = True
    attention_channels: PositiveInt = 128


Expansion = Annotated[int | float, Field(gt=0, le=1000)]
# strides in bins and time, number of blocks, widening, reduction for what it knows of the clip
ReDim2Stage = tuple[Count, Count, Count, Expansion, PositiveInt | None]


class ReDimNet2Options(Section):
    """See :class:`mvector.models.redimnet2.ReDimNet2`; ``None`` means that the size decides."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling = "ASP"
    size: ReDimSize = "B2"
    channels: PositiveInt | None = None
    block: ReDimBlock = "basic_resnet"
    group_divisor: PositiveInt = 1
    stages: Annotated[tuple[ReDim2Stage, ...], Field(min_length=1, max_length=32)] | None = None
    out_channels: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    output_2d: bool = True
    group_norm: bool = False
    global_context: bool = True
    attention_channels: PositiveInt = 128


class TitaNetOptions(Section):
    """See :class:`mvector.models.titanet.TitaNet`."""

    embd_dim: PositiveInt = 192
    pooling_type: Pooling = "ASP"
    channels: PositiveInt = 256
    out_channels: PositiveInt = 3072
    num_repeats: Count = 3
    se_reduction: PositiveInt = 8
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_channels: PositiveInt = 128


BACKBONE_OPTIONS: dict[str, type[Section]] = {
    "EcapaTdnn": EcapaTdnnOptions,
    "TDNN": TDNNOptions,
    "Res2Net": Res2NetOptions,
    "Res2Net34": Res2Net34Options,
    "ResNetSE": ResNetSEOptions,
    "ResNet": ResNetOptions,
    "SimAMResNet": SimAMResNetOptions,
    "DFResNet": DFResNetOptions,
    "PreActResNet": PreActResNetOptions,
    "ERes2Net": ERes2NetOptions,
    "ERes2NetV2": ERes2NetV2Options,
    "CAMPPlus": CAMPPlusOptions,
    "ReDimNet": ReDimNetOptions,
    "ReDimNet2": ReDimNet2Options,
    "TitaNet": TitaNetOptions,
}
