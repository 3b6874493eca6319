"""Both Res2Nets equal the published ones, and a clip's embedding does not depend on its batch."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from reference_weights import (
    count_multiply_adds,
    count_parameters,
    features,
    golden_difference,
    golden_weights,
    load_golden,
    load_renamed,
    state_dict,
)

from mvector.errors import ConfigError
from mvector.models.pooling import POOLINGS
from mvector.models.res2net import PoolingRes2Block, Res2Net, Res2Net34

PUBLISHED: dict[str, tuple[type[torch.nn.Module], dict[str, Any]]] = {
    "mvector1_Res2Net": (Res2Net, {}),
    "wespeaker_Res2Net34_Base": (Res2Net34, {}),
    "3dspeaker_Res2Net": (Res2Net34, {"embd_dim": 192, "pooling_eps": 1e-8}),
}
RENAMES = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"\.conv(\d)\.", r".conv\1.conv."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.convs\.(\d)\.", r".convs.\1.conv."),
    (r"\.bns\.(\d)\.", r".convs.\1.norm."),
    (r"\.(shortcut|downsample)\.0\.", ".shortcut.conv."),
    (r"\.(shortcut|downsample)\.1\.", ".shortcut.norm."),
    (r"^seg_1\.", "embedding.0."),
    (r"^pooling\.tdnn\.conv\.conv\.", "pooling.hidden."),
    (r"^pooling\.tdnn\.norm\.norm\.", "pooling.hidden_norm."),
    (r"^pooling\.conv\.conv\.", "pooling.attention."),
    (r"^bn2\.", "pooling_norm."),
    (r"^linear\.", "embedding."),
    (r"^bn3\.", "embedding_norm."),
)
SMALL: list[tuple[type[torch.nn.Module], dict[str, Any]]] = [
    (Res2Net, {"channels": 8, "num_blocks": [2, 2, 1, 1]}),
    (Res2Net, {"channels": 8, "num_blocks": [1, 1, 1, 2], "scale": 4, "pooling_type": "TSTP"}),
    (Res2Net34, {"channels": 8, "num_blocks": [1, 2, 1, 1], "scale": 3}),
]


def to_ours(key: str) -> str | None:
    if key.startswith("1."):  # the classifier of mvector 1.x, whose backbone's keys begin with 0.
        return None
    key = key.removeprefix("0.")
    key = re.sub(r"^layer(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.", key)
    for published, ours in RENAMES:
        key = re.sub(published, ours, key)
    return key


def with_random_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Offsets and statistics are random too: what passes through a layer is zero nowhere."""
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = {key: torch.from_numpy(value) for key, value in state_dict(shapes, "random").items()}
    return load_renamed(model, weights, str)


@pytest.mark.parametrize("name", PUBLISHED)
def test_embeds_as_the_published_model(name: str) -> None:
    kind, options = PUBLISHED[name]
    model = load_renamed(kind(80, **options), golden_weights(name), to_ours)
    assert golden_difference(name, model) < 1e-9


@pytest.mark.parametrize("name", PUBLISHED)
def test_has_the_published_size(name: str) -> None:
    kind, options = PUBLISHED[name]
    golden = load_golden(name)
    with torch.device("meta"):
        model = kind(80, **options).eval()
        clip = torch.zeros(1, 300, 80)
    assert count_parameters(model) == golden["parameters"]
    # the published code repeats mean and deviation for each of 7 frames; here their share of the
    # attention is computed once per clip
    repeated = 6 * 128 * 2 * 2048 if kind is Res2Net else 0
    assert count_multiply_adds(model, clip) == golden["macs_3s"]["conv_matmul"] - repeated


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_padding_has_no_influence(kind: type[torch.nn.Module], options: dict[str, Any]) -> None:
    model = with_random_weights(kind(23, **options))
    num_frames = torch.tensor([40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 28, 29, 38, 39])
    clips = torch.from_numpy(features((16, 40, 23), "padding"))
    padded = clips.clone()
    for clip, end in zip(padded, num_frames, strict=True):
        clip[end:] = torch.nan
    with torch.inference_mode():
        together = model(padded, num_frames)
        alone = torch.cat([model(clips[i : i + 1, :end]) for i, end in enumerate(num_frames)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12 * float(alone.abs().max()))


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_constant_clips_and_a_clip_of_one_frame_have_finite_gradients(
    kind: type[torch.nn.Module], options: dict[str, Any]
) -> None:
    model = kind(23, **options)
    clips = torch.ones(3, 17, 23, requires_grad=True)
    model(clips, torch.tensor([17, 1, 5])).square().sum().backward()
    for tensor in (clips, *model.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_autocast_to_bfloat16_keeps_the_embedding(
    kind: type[torch.nn.Module], options: dict[str, Any]
) -> None:
    model = with_random_weights(kind(23, **options)).float()
    clips = torch.from_numpy(features((2, 40, 23), "autocast")).float()
    num_frames = torch.tensor([40, 25])
    with torch.inference_mode():
        expected = model(clips, num_frames)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings = model(clips, num_frames).float()
    assert torch.cosine_similarity(embeddings, expected).min() > 0.999


@pytest.mark.parametrize("kind", [Res2Net, Res2Net34])
def test_can_be_exported_and_compiled(kind: type[torch.nn.Module]) -> None:
    model = with_random_weights(kind(23, channels=8, num_blocks=[1, 1, 1, 1]))
    clips = torch.from_numpy(features((2, 40, 23), "export"))
    exported = torch.export.export(model, (clips,)).module()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(exported(clips), model(clips))
        torch.testing.assert_close(compiled(clips), model(clips))


@pytest.mark.parametrize("first_of_stage", [True, False])
def test_groups_are_summed_except_in_the_first_block_of_a_stage(first_of_stage: bool) -> None:
    in_channels, stride = (4, 2) if first_of_stage else (16, 1)
    sizes = {"base_width": 64, "scale": 4, "expansion": 4}
    block = with_random_weights(PoolingRes2Block(in_channels, 4, stride, **sizes))
    joined: list[torch.Tensor] = []
    block.conv3.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    x = torch.from_numpy(features((in_channels, 7, 9), "map"))[None]
    block(x)
    a, b, c, last = torch.relu(block.conv1(x)).split(4, dim=1)
    a = torch.relu(block.convs[0](a))
    b = torch.relu(block.convs[1](b if first_of_stage else b + a))
    c = torch.relu(block.convs[2](c if first_of_stage else c + b))
    if first_of_stage:
        last = torch.nn.functional.avg_pool2d(last, 3, stride, 1, count_include_pad=True)
    torch.testing.assert_close(joined[0], torch.cat([a, b, c, last], dim=1))


def test_a_clip_shorter_than_the_stem_is_continued_by_zeros() -> None:
    model = with_random_weights(Res2Net(23, **SMALL[0][1]))
    clip = torch.from_numpy(features((1, 3, 23), "short"))
    continued = torch.cat([clip, torch.zeros(1, 2, 23)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), model(continued), rtol=0, atol=0)


def test_refuses_options_that_leave_nothing_to_convolve() -> None:
    with pytest.raises(ConfigError, match="at least 5 bins, not 4"):
        Res2Net(4)
    with pytest.raises(ConfigError, match="make base_width at least 8"):
        Res2Net34(80, channels=8, base_width=7)


@pytest.mark.parametrize("pooling_type", POOLINGS)
@pytest.mark.parametrize("kind", [Res2Net, Res2Net34])
def test_takes_every_pooling(kind: type[torch.nn.Module], pooling_type: str) -> None:
    model = kind(23, embd_dim=24, pooling_type=pooling_type, channels=8, num_blocks=[1, 1, 1, 1])
    assert model(torch.randn(2, 20, 23)).shape == (2, 24)
