"""What benchmarks/train_step.py compares: the network of torch's own layers is the same network."""

from __future__ import annotations

import pytest
import torch
from small_settings import ROOT

from mvector.models import build_backbone


def test_the_stock_network_computes_and_learns_what_ours_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from stock_ecapa import StockEcapaTdnn

    torch.manual_seed(0)
    ours = build_backbone("EcapaTdnn", 20, embd_dim=8, channels=16).double()
    stock = StockEcapaTdnn(20, embd_dim=8, channels=16).double()
    stock.load_state_dict(ours.state_dict())
    features = torch.randn(4, 30, 20, dtype=torch.float64)
    weights = torch.randn(4, 8, dtype=torch.float64)
    results = [network(features) for network in (ours, stock)]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-9)
    for result in results:
        (result * weights).sum().backward()
    gradients = {name: parameter.grad for name, parameter in stock.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-6, atol=1e-9)
