"""The Res2 blocks of Res2Net and ERes2Net, and Res2Net's own stem."""

from __future__ import annotations

import pytest
import torch
from reference_weights import features, with_random_weights

from mvector.models.layers2d import Res2Block
from mvector.models.res2net import PoolingRes2Block, Res2Net


@pytest.mark.parametrize("fuse", [False, True])
def test_every_group_is_convolved_and_joined_with_the_one_before(fuse: bool) -> None:
    block = with_random_weights(Res2Block(4, 8, 1, base_width=64, scale=3, fuse=fuse))
    joined: list[torch.Tensor] = []
    block.conv3.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    x = torch.from_numpy(features((4, 7, 9), "map"))[None]
    block(x)
    a, b, c = block.conv1(x).clamp(0, 20).split(8, dim=1)
    a = block.convs[0](a).clamp(0, 20)
    b = block.convs[1](block.fusions[0](a, b) if fuse else a + b).clamp(0, 20)
    c = block.convs[2](block.fusions[1](b, c) if fuse else b + c).clamp(0, 20)
    torch.testing.assert_close(joined[0], torch.cat([a, b, c], dim=1))


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
    model = with_random_weights(Res2Net(23, channels=8, num_blocks=[2, 2, 1, 1]))
    clip = torch.from_numpy(features((1, 3, 23), "short"))
    continued = torch.cat([clip, torch.zeros(1, 2, 23)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), model(continued), rtol=0, atol=0)
