"""What every backbone promises, with every pooling that it takes."""

from __future__ import annotations

import pytest
import torch
from small_settings import ROOT
from torch import nn

from mvector.config import load_config
from mvector.models import BACKBONES, build_backbone
from mvector.models.pooling import POOLINGS

# Small enough to test all combinations in seconds.
SMALL: dict[str, dict] = {
    "EcapaTdnn": {"channels": 16},
    "TDNN": {"channels": 16},
    "Res2Net": {"channels": 4, "num_blocks": (1, 1, 1, 1)},
    "Res2Net34": {"channels": 4, "num_blocks": (1, 1, 1, 1)},
    "ResNetSE": {"channels": 4, "num_blocks": (1, 1, 1, 1)},
    "ResNet": {"channels": 4, "depth": 18},
    "ERes2Net": {"channels": 4, "num_blocks": (1, 1, 1, 1)},
    "ERes2NetV2": {"channels": 4, "num_blocks": (1, 1, 1, 1)},
    "CAMPPlus": {"head_channels": 4, "init_channels": 16, "growth_rate": 4},
}
BINS, DIM = 24, 8
# The configuration of each backbone: parameters at 80 bins.
PUBLISHED = {
    "ecapa_tdnn": 6_186_560,
    "tdnn": 2_770_880,
    "res2net": 5_611_840,
    "resnet_se": 9_123_896,
    "resnet": 6_634_336,  # at 256 dimensions
    "eres2net": 6_610_688,
    "eres2net_v2": 17_859_632,
    "campplus": 6_848_544,
}
TABLE = [(name, pooling) for name in BACKBONES for pooling in POOLINGS]


def build(name: str, pooling: str = "TSTP", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = build_backbone(name, BINS, embd_dim=DIM, pooling_type=pooling, **SMALL[name])
    for module in model.modules():  # statistics as after training, not 0 and 1
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def features(batch: int = 3, frames: int = 60, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, frames, BINS, generator=torch.Generator().manual_seed(seed))


def test_every_backbone_is_in_this_table() -> None:
    assert set(SMALL) == set(BACKBONES)


@pytest.mark.parametrize(("name", "pooling"), TABLE)
def test_a_clip_has_the_embedding_it_has_alone(name: str, pooling: str) -> None:
    model = build(name, pooling)
    lengths = torch.tensor([60, 41, 17])
    padded = features()
    for row, length in enumerate(lengths):
        padded[row, length:] = 1e3  # garbage behind the end
    with torch.no_grad():
        batch = model(padded, lengths)
        alone = torch.cat([model(padded[k : k + 1, :n]) for k, n in enumerate(lengths)])
    assert batch.shape == (3, DIM)
    torch.testing.assert_close(batch, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "pooling"), TABLE)
def test_gradients_reach_every_parameter_and_are_finite(name: str, pooling: str) -> None:
    model = build(name, pooling).train()
    weights = torch.randn(3, DIM, generator=torch.Generator().manual_seed(2))
    (model(features()) * weights).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", BACKBONES)
def test_evaluation_is_deterministic_and_a_state_dict_carries_all_of_it(name: str) -> None:
    model, other = build(name), build(name, seed=5)
    x = features()
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(model(x), expected)
        assert not torch.equal(other(x), expected)
        other.load_state_dict(model.state_dict(), strict=True)
        assert torch.equal(other(x), expected)


@pytest.mark.parametrize("name", BACKBONES)
def test_dimensions_are_told(name: str) -> None:
    model = build(name)
    assert (model.feature_dim, model.embd_dim) == (BINS, DIM)


@pytest.mark.parametrize("name", BACKBONES)
def test_bfloat16_autocast_stays_near_float32(name: str) -> None:
    model, x = build(name), features()
    with torch.no_grad():
        expected = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x).float()
    cosine = torch.nn.functional.cosine_similarity(found, expected)
    assert (cosine > 0.995).all()


@pytest.mark.parametrize("name", BACKBONES)
def test_double_precision_is_kept(name: str) -> None:
    model = build(name).double()
    assert model(features().double()).dtype == torch.float64


@pytest.mark.parametrize("name", BACKBONES)
def test_the_default_input_exports(name: str) -> None:
    model, x = build(name), features()
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_default_input_compiles_as_one_graph(name: str) -> None:
    model, x = build(name), features()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("file", PUBLISHED)
def test_each_configuration_builds_the_published_size(file: str) -> None:
    config = load_config(ROOT / "configs" / f"{file}.yml")
    model = build_backbone(config.use_model, 80, **config.model_conf.backbone.model_dump())
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[file]
