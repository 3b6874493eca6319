"""The network that is trained: backbone and head, their layout in memory, a frozen backbone."""

from __future__ import annotations

import copy

import torch
from torch import nn

from mvector.losses import SpeakerClassifier, build_loss
from mvector.models import build_backbone
from mvector.training.network import ClassifierHead, TrainingNetwork


def a_head() -> ClassifierHead:
    loss = build_loss({"use_loss": "CELoss"})
    return ClassifierHead(SpeakerClassifier(8, 5, classifier_type="Linear"), loss)


def a_backbone() -> nn.Module:
    torch.manual_seed(0)
    return build_backbone("ResNetSE", 24, embd_dim=8, channels=4, num_blocks=(1, 1, 1, 1))


def test_channels_lie_side_by_side_and_the_entries_and_embeddings_are_the_same() -> None:
    backbone = a_backbone()
    before = copy.deepcopy(backbone.state_dict())
    parameters = list(backbone.parameters())
    x = torch.randn(3, 40, 24)
    expected = backbone.eval()(x)
    network = TrainingNetwork(backbone, a_head())
    assert all(a is b for a, b in zip(parameters, network.backbone.parameters(), strict=True))
    maps = [p for p in parameters if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in maps)
    assert any(not p.is_contiguous() for p in maps)
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    torch.testing.assert_close(network.backbone(x), expected)


def test_a_frozen_backbone_keeps_weights_and_statistics_while_the_head_learns() -> None:
    network = TrainingNetwork(a_backbone(), a_head())
    network.freeze_backbone(True)
    network.train()
    before = copy.deepcopy(network.backbone.state_dict())
    loss, num_correct = network(torch.randn(4, 40, 24), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    assert 0 <= int(num_correct) <= 4
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(p.grad is not None for p in network.head.parameters())
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
