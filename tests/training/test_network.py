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


def test_on_a_cpu_the_layout_in_memory_stays_as_it_is() -> None:
    """There the other one ends the process in some narrow convolutions."""
    backbone = a_backbone()
    network = TrainingNetwork(backbone, a_head())
    assert network.backbone is backbone
    assert all(parameter.is_contiguous() for parameter in backbone.parameters())


def test_a_frozen_backbone_keeps_weights_and_statistics_while_the_head_learns() -> None:
    network = TrainingNetwork(a_backbone(), a_head())
    network.freeze_backbone(True)
    network.train()
    before = copy.deepcopy(network.backbone.state_dict())
    loss, num_correct, _ = network(torch.randn(4, 40, 24), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    assert 0 <= int(num_correct) <= 4
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(p.grad is not None for p in network.head.parameters())
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
