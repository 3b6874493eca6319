"""What benchmarks/train_step.py compares: networks of torch's own layers are the same networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_settings import ROOT

from mvector.models import build_backbone

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "EcapaTdnn": ("stock_ecapa", "StockEcapaTdnn", {"channels": 16}),
    "ResNet": ("stock_images", "StockResNet", {"channels": 4}),
    "ERes2Net": ("stock_images", "StockERes2Net", {"channels": 8}),
    "CAMPPlus": ("stock_images", "StockCAMPPlus", {}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_stock_network_computes_and_learns_what_ours_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module, kind, options = CASES[name]
    torch.manual_seed(0)
    ours = build_backbone(name, 20, embd_dim=8, **options).double()
    stock = getattr(__import__(module), kind)(20, embd_dim=8, **options).double()
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
