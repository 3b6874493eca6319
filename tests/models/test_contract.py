"""What every backbone promises, with every pooling that it takes and in each of its variants."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from reference_weights import with_random_weights
from small_settings import ROOT, SMALL_BACKBONES
from torch import nn

from mvector.config import load_config
from mvector.errors import AudioError, ConfigError
from mvector.models import BACKBONES, build_backbone, campplus
from mvector.models.pooling import POOLINGS

BINS, DIM = 23, 8  # a number of bins that strides do not divide
# Each backbone with small layers, and with options that make it another network.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, options) for name, options in SMALL_BACKBONES.items()},
    "EcapaTdnn, SpeechBrain": (
        "EcapaTdnn",
        {**SMALL_BACKBONES["EcapaTdnn"], "layout": "speechbrain"},
    ),
    "EcapaTdnn, WeSpeaker": (
        "EcapaTdnn",
        {**SMALL_BACKBONES["EcapaTdnn"], "layout": "wespeaker"},
    ),
    "x-vector": ("TDNN", {"channels": 16, "layout": "xvector", "pooling_eps": 0.0}),
    "x-vector, SpeechBrain": ("TDNN", {"channels": 16, "layout": "speechbrain"}),
    "Res2Net, 4 groups": (
        "Res2Net",
        {"channels": 8, "num_blocks": [1, 1, 1, 2], "scale": 4, "pooling_type": "TSTP"},
    ),
    "ResNetSE, wider": (
        "ResNetSE",
        {"channels": 4, "num_blocks": [1, 1, 2, 1], "expansion": 3, "pooling_type": "TSTP"},
    ),
    "ReDimNet, ConvNeXt": (
        "ReDimNet",
        {
            "channels": 4,
            "block": "convnext_like",
            "group_divisor": 2,
            "stages": [[2, 1, 2, 8], [3, 1, 1, 4]],
            "pooling_norm": False,
        },
    ),
    "ReDimNet2, rows": (
        "ReDimNet2",
        {
            "channels": 4,
            "block": "basic_resnet_fwse",
            "stages": [[2, 2, 1, 1, 4], [1, 1, 1, 3, 8]],
            "out_channels": 12,
            "output_2d": False,
        },
    ),
    "ResNet50, two layers": (
        "ResNet",
        {"channels": 4, "depth": 50, "two_embedding_layers": True, "pooling_type": "ASP"},
    ),
}
SHORTEST = {
    "ReDimNet2": 4,
    "ReDimNet2, rows": 2,
    "TDNN": 15,
    "x-vector": 15,
    "x-vector, SpeechBrain": 4,
    "EcapaTdnn, SpeechBrain": 5,
}  # frames; 1 for all others
# The configuration of each backbone: parameters at 80 bins.
PUBLISHED = {
    "ecapa_tdnn": 6_186_560,
    "tdnn": 2_770_880,
    "res2net": 5_611_840,
    "resnet_se": 9_123_896,
    "resnet": 6_634_336,  # at 256 dimensions
    "simam_resnet": 25_213_760,  # at 256 dimensions
    "preact_resnet": 15_438_336,  # at 256 dimensions
    "df_resnet": 6_531_552,  # at 256 dimensions
    "titanet": 6_825_264,
    "eres2net": 6_610_688,
    "eres2net_v2": 17_859_632,
    "campplus": 6_848_544,
    "redimnet": 5_811_465,
    "redimnet2": 4_474_100,
}
TABLE = [(name, pooling) for name in BACKBONES for pooling in POOLINGS]


def build(name: str, pooling: str = "TSTP", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = build_backbone(name, BINS, embd_dim=DIM, pooling_type=pooling, **SMALL_BACKBONES[name])
    for module in model.modules():  # statistics as after training, not 0 and 1
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def features(batch: int = 3, frames: int = 60, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, frames, BINS, generator=torch.Generator().manual_seed(seed))


def variant(name: str) -> nn.Module:
    backbone, options = VARIANTS[name]
    return build_backbone(backbone, BINS, **options)


@pytest.fixture
def few_dense_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing CAM++ with all of its 52 layers takes half a minute."""
    monkeypatch.setattr(campplus, "DENSE_BLOCKS", ((1, 1), (1, 2)))


def test_every_backbone_is_in_the_table_of_small_ones() -> None:
    assert set(SMALL_BACKBONES) == set(BACKBONES)


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
def test_double_precision_is_kept(name: str) -> None:
    model = build(name).double()
    assert model(features().double()).dtype == torch.float64


@pytest.mark.parametrize("name", VARIANTS)
def test_the_shortest_clip_is_taken_and_a_shorter_one_refused(name: str) -> None:
    model, shortest = variant(name).eval(), SHORTEST.get(name, 1)
    assert model(torch.zeros(1, shortest, BINS)).shape == (1, model.embd_dim)
    message = rf"{shortest - 1} frames is too short.*at least {shortest} frames"
    with pytest.raises(AudioError, match=message):
        model(torch.zeros(1, shortest - 1, BINS))
    with pytest.raises(AudioError, match=message):
        model(torch.zeros(2, 20, BINS), torch.tensor([20, shortest - 1]))


@pytest.mark.parametrize(
    ("backbone", "bins", "options", "message"),
    [
        ("EcapaTdnn", 20, {"layout": "kaldi"}, "no layout 'kaldi'"),
        ("EcapaTdnn", 20, {"channels": 100}, "100 is not a multiple of res2net_scale 8"),
        ("TDNN", 20, {"layout": "ecapa"}, "no layout 'ecapa'"),
        ("TDNN", 20, {"channels": [32, 32, 32, 96]}, "one number or five, not 4"),
        ("Res2Net", 4, {}, "at least 5 bins, not 4"),
        ("Res2Net34", 80, {"channels": 8, "base_width": 7}, "make base_width at least 8"),
        ("ReDimNet2", 72, {"size": "B7"}, "no ReDimNet2 of size 'B7'; choose from B0 to B6"),
        ("ReDimNet", 72, {"size": "B7"}, "size 'B7'; choose from B0 to B6"),
        ("ReDimNet", 72, {"group_divisor": 32}, "group_divisor of 32 makes 0 groups of 16"),
        ("ReDimNet", 72, {"stages": [[1, 1, 1, 300]]}, "300 leaves less than 4 of 1152 rows"),
        ("ResNet", 20, {"depth": 35}, "depth 35; choose from 18, 34, 50"),
        ("SimAMResNet", 20, {"depth": 35}, "depth 35; choose 34 or 100"),
    ],
)
def test_impossible_arguments_are_refused(
    backbone: str, bins: int, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        BACKBONES[backbone](bins, **options)


@pytest.mark.parametrize("name", VARIANTS)
def test_padding_changes_no_digit(name: str) -> None:
    model, shortest = with_random_weights(variant(name)), SHORTEST.get(name, 1)
    assert getattr(model, "min_frames", 1) == shortest
    lengths = [40, *range(shortest, 18), 23, 28, 29, 31, 38, 39]
    clips = 5 * features(len(lengths), 40).double()
    with torch.inference_mode():
        alone = torch.cat([model(clips[k : k + 1, :n]) for k, n in enumerate(lengths)])
        for garbage in (1e3, torch.nan):
            for clip, n in zip(clips, lengths, strict=True):
                clip[n:] = garbage
            together = model(clips, torch.tensor(lengths))
            tolerance = 1e-12 * float(alone.abs().max())
            torch.testing.assert_close(together, alone, rtol=0, atol=tolerance)


# Where a whole batch is constant, each normalisation multiplies the gradients by 1/sqrt(eps), and
# float32 does not reach through all of SpeechBrain's.
@pytest.mark.parametrize(
    ("name", "constant"),
    [(name, 1) for name in VARIANTS] + [(name, 3) for name in VARIANTS if name not in SHORTEST],
)
def test_clips_that_do_not_change_have_finite_gradients(name: str, constant: int) -> None:
    model, shortest = variant(name), SHORTEST.get(name, 1)
    clips = features(3, 20)
    clips[:constant] = 0.7
    clips.requires_grad_()
    model(clips, torch.tensor([20, shortest, shortest + 4])).square().sum().backward()
    for tensor in (clips, *model.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    assert (clips.grad[1, shortest:] == 0).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_bfloat16_autocast_stays_near_float32(name: str) -> None:
    model = with_random_weights(variant(name)).float()
    clips, num_frames = 5 * features(2, 40), torch.tensor([40, 25])
    with torch.inference_mode():
        expected = model(clips, num_frames)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(clips, num_frames).float()
    assert (nn.functional.cosine_similarity(found, expected) > 0.999).all()


@pytest.mark.usefixtures("few_dense_layers")
@pytest.mark.parametrize("name", VARIANTS)
def test_features_without_padding_export_and_compile_as_one_graph(name: str) -> None:
    torch.compiler.reset()  # it allows few graphs a function, and residual networks share theirs
    model = with_random_weights(variant(name))
    x = features(2, 40).double()
    exported = torch.export.export(model, (x,)).module()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(exported(x), model(x))
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.usefixtures("few_dense_layers")
@pytest.mark.parametrize("name", BACKBONES)
def test_the_graph_can_be_traced_to_single_operations(name: str) -> None:
    torch.compiler.reset()
    model, x = build(name), features()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("file", PUBLISHED)
def test_each_configuration_builds_the_published_size(file: str) -> None:
    config = load_config(ROOT / "configs" / f"{file}.yml")
    model = build_backbone(config.use_model, 80, **config.model_conf.backbone.model_dump())
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[file]
