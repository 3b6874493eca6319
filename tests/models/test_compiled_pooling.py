"""Attention whose hidden layer is normalised trains when it is compiled, as it does plainly."""

from __future__ import annotations

import torch

from mvector.models.pooling import SPEECHBRAIN_ATTENTION, build_pooling


def test_a_compiled_attention_learns_what_a_plain_one_does() -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    layer = build_pooling("ASP", 24, attention_channels=16, **SPEECHBRAIN_ATTENTION)
    x = torch.randn(4, 24, 6)  # channels first in memory, as behind two-dimensional convolutions
    gradients = []
    for run in (layer, torch.compile(layer, backend="aot_eager")):
        layer.zero_grad()
        run(x).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in layer.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])
