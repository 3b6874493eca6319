"""The cases that ``train_step.py`` times: backbones, and measures for speed taken or not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from stock_ecapa import StockEcapaTdnn
from stock_images import StockCAMPPlus, StockERes2Net, StockResNet
from torch.utils.flop_counter import FlopCounterMode

from mvector.compute.distributed import World
from mvector.config import Config, load_config
from mvector.data.dataset import TrainingBatch
from mvector.models import attention, ecapa_tdnn, layers
from mvector.models.speaker_model import SpeakerModel
from mvector.training import network, optimizers
from mvector.training.learner import Learner
from mvector.training.memory import keep_freed_memory
from mvector.training.step import BatchWeight

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = {
    "EcapaTdnn": "ecapa_tdnn",
    "TDNN": "tdnn",
    "Res2Net": "res2net",
    "ResNetSE": "resnet_se",
    "ResNet": "resnet",
    "SimAMResNet": "simam_resnet",
    "PreActResNet": "preact_resnet",
    "DFResNet": "df_resnet",
    "ERes2Net": "eres2net",
    "ERes2NetV2": "eres2net_v2",
    "CAMPPlus": "campplus",
    "ReDimNet": "redimnet",
    "ReDimNet2": "redimnet2",
    "TitaNet": "titanet",
}
# rows, inner and columns of matrix products one of which is the fastest
PRODUCTS = {
    "cpu": [(2048, 2048, 2048), (8192, 1024, 1024), (8192, 512, 512)],
    "cuda": [(4096, 4096, 4096), (8192, 8192, 8192), (16384, 4096, 4096)],
}
STOCK: dict[str, type[torch.nn.Module]] = {
    "EcapaTdnn": StockEcapaTdnn,
    "CAMPPlus": StockCAMPPlus,
    "ResNet": StockResNet,
    "ERes2Net": StockERes2Net,
}
NUM_CLASSES = 1000


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        is_stock: the network of torch's own layers in the place of ours.
        without: which of the :data:`MEASURES` are not taken.
    """

    backbone: str = "EcapaTdnn"
    dtype: str = "float32"
    device: str = "cpu"
    is_compiled: bool = False
    is_stock: bool = False
    without: tuple[str, ...] = ()
    batch_size: int = 32
    crop_s: float = 3.0
    num_rounds: int = 9


# ---- measures for speed, and how each is left out -------------------------------------------


def leave_attention_to_autograd() -> None:
    """Weighted mean and variance from torch's own operations, as they are written down."""
    attention._WeightedMoments.apply = attention._moments_in_a_graph  # type: ignore[method-assign]


def leave_optimizer_unfused() -> None:
    """Adam as one operation after the other."""
    optimizers._FUSED_DEVICES = ()  # type: ignore[assignment]


def leave_memory_to_the_system() -> None:
    """Nothing to undo: memory is kept only where :func:`keep_freed_memory` was called."""


def leave_batches_whole() -> None:
    """Attention goes through a batch operation by operation, not clip by clip."""
    attention._VALUES_TOGETHER = 1 << 62


def leave_groups_where_they_are() -> None:
    """The groups of a Res2 convolution are slices of all channels, and joined as they are."""

    def split(x: torch.Tensor, width: int) -> list[torch.Tensor]:
        return [group.transpose(1, 2) for group in x.transpose(1, 2).split(width, dim=2)]

    ecapa_tdnn.split_channels = split
    ecapa_tdnn.join_groups = layers.join_channels  # type: ignore[assignment]


def leave_the_mean_to_autograd() -> None:
    """A float32 copy of the map, its sum, and a float32 map as its gradient."""

    def total(x: torch.Tensor) -> torch.Tensor:
        return layers.at_least_float32(x).sum(dim=-1)

    layers._SumOverFrames.apply = total  # type: ignore[method-assign]


def leave_maps_channels_first() -> None:
    """Two-dimensional maps as torch makes them."""
    network.takes_channels_last = lambda module: False


MEMORY, FUSED, GRADIENT = "freed memory kept", "fused Adam", "attention's own gradient"
CLIPS, GROUPS, MEAN = "attention clip by clip", "groups put together once", "mean without copies"
MAPS = "maps channels-last"
MEASURES: dict[str, Callable[[], None]] = {
    MEMORY: leave_memory_to_the_system,
    FUSED: leave_optimizer_unfused,
    GRADIENT: leave_attention_to_autograd,
    CLIPS: leave_batches_whole,
    GROUPS: leave_groups_where_they_are,
    MEAN: leave_the_mean_to_autograd,
    MAPS: leave_maps_channels_first,
}


def ladder(case: Case) -> dict[str, Case]:
    """From torch's own layers to all measures, one after the other."""
    stock = replace(case, is_stock=True, without=tuple(MEASURES))
    found = {
        "torch's own layers, plain Adam": stock,
        f"+ {MEMORY}": replace(stock, without=tuple(MEASURES)[1:]),
        f"+ {FUSED}": replace(stock, without=tuple(MEASURES)[2:]),
        "+ channels side by side, matrix products": replace(case, without=tuple(MEASURES)[2:]),
    }
    for number, name in enumerate((GRADIENT, CLIPS, GROUPS, MEAN), start=3):
        found[f"+ {name}"] = replace(case, without=tuple(MEASURES)[number:])
    return {
        **found,
        f"all of these but {MEMORY}": replace(case, without=(MEMORY,)),
        "all of these, compiled": replace(case, is_compiled=True),
    }


# ---- what a case runs -----------------------------------------------------------------------


def prepare(case: Case) -> tuple[Learner, TrainingBatch]:
    """The learner of a training in its fourth epoch, and a batch of noise."""
    logging.getLogger("mvector").setLevel(logging.ERROR)
    for name in case.without:
        MEASURES[name]()
    if case.device == "cpu" and MEMORY not in case.without:
        keep_freed_memory()
    config = configure(case)
    torch.manual_seed(0)
    device = torch.device(case.device)
    model = SpeakerModel.from_config(config)
    if case.is_stock:
        model.backbone = STOCK[case.backbone](model.featurizer.feature_dim, model.embd_dim)
    model = model.to(device)
    learner = Learner(config, model, NUM_CLASSES, device, World(), steps_in_epoch=1000)
    learner.begin_epoch(3)
    learner.set_schedules(3.0, 0)
    waveforms = 0.1 * torch.randn(case.batch_size, round(case.crop_s * 16000))
    labels = torch.randint(NUM_CLASSES, (case.batch_size,))
    clips = torch.arange(case.batch_size)
    return learner, TrainingBatch(waveforms, labels, clips, torch.zeros(case.batch_size, 0), [])


def take_step(learner: Learner, features: torch.Tensor, labels: torch.Tensor) -> None:
    """Forward, loss, backward, clipping and optimizer, of features that lie ready."""
    learner.train_step.accumulate(features, labels, weight=BatchWeight(), last=True)
    learner.update("the benchmark")


def flop_of_utterance(learner: Learner, features: torch.Tensor, labels: torch.Tensor) -> float:
    """Operations of a step for one utterance, as three times those of the forward pass."""
    with FlopCounterMode(display=False) as counter:
        learner.network(features[:2], labels[:2])
    return 3 * counter.get_total_flops() / 2


def products(case: Case) -> list[Callable[[], object]]:
    """The :data:`PRODUCTS` of matrices of the type and on the device of a case."""
    place: dict[str, Any] = {"dtype": getattr(torch, case.dtype), "device": case.device}
    return [
        partial(torch.mm, torch.randn(m, k, **place), torch.randn(k, n, **place))
        for m, k, n in PRODUCTS[case.device]
    ]


def peak_flop_per_s(case: Case, seconds: Sequence[float]) -> float:
    """Operations/s of the fastest of the :func:`products`, by what each took."""
    sizes = zip(PRODUCTS[case.device], seconds, strict=True)
    return max(2 * m * k * n / each for (m, k, n), each in sizes)


def configure(case: Case, settings: dict[str, Any] | None = None) -> Config:
    """The published configuration of a backbone, without augmentation."""
    overrides = {
        "train_conf.enable_amp": case.dtype != "float32",
        "train_conf.amp_dtype": "auto" if case.dtype == "float32" else case.dtype,
        "train_conf.use_compile": case.is_compiled,
        "dataset_conf.dataLoader.batch_size": case.batch_size,
        "dataset_conf.max_duration": case.crop_s,
        "augment_conf": {name: {"prob": 0.0} for name in ("speed", "volume", "spec_aug")},
        **(settings or {}),
    }
    path = CONFIGS / f"{FILES[case.backbone]}.yml"
    return load_config(path, [f"{key}={value}" for key, value in overrides.items()])
