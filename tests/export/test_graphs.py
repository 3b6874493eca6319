"""Graphs of front ends and backbones give what torch gives, for clips of any length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")

from small_settings import SMALL_BACKBONES  # noqa: E402

from mvector.export.assembly import FEATURES  # noqa: E402
from mvector.export.checking import open_graph  # noqa: E402
from mvector.export.front_end_graph import FrontEndGraph  # noqa: E402
from mvector.export.tracing import trace  # noqa: E402
from mvector.features import FEATURE_METHODS  # noqa: E402
from mvector.features.front_end import FrontEnd  # noqa: E402
from mvector.models import BACKBONES, build_backbone, campplus  # noqa: E402
from mvector.models.onnx_file import EMBEDDING, WAVEFORM  # noqa: E402
from mvector.models.pooling import POOLINGS  # noqa: E402
from mvector.models.speaker_model import SpeakerModel  # noqa: E402

RATE, BINS = 16000, 23  # a number of bins that strides do not divide

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("Fbank", {"num_mel_bins": 80}, {}),
    (
        "Fbank",
        {
            "num_mel_bins": 40,
            "snip_edges": False,
            "use_energy": True,
            "htk_compat": True,
            "raw_energy": False,
            "window_type": "hamming",
        },
        {"normalize_variance": True},
    ),
    (
        "Fbank",
        {
            "num_mel_bins": 30,
            "use_power": False,
            "subtract_mean": True,
            "round_to_power_of_two": False,
            "preemphasis_coefficient": 0.0,
            "remove_dc_offset": False,
            "use_energy": True,
        },
        {},
    ),
    # frames shorter than a shift
    (
        "Fbank",
        {"num_mel_bins": 20, "frame_length": 8.0, "frame_shift": 10.0, "snip_edges": False},
        {},
    ),
    ("MelSpectrogram", {"n_mels": 40, "n_fft": 512, "win_length": 400, "hop_length": 160}, {}),
    (
        "MelSpectrogram",
        {"n_mels": 30, "power": 1.0, "norm": "slaney", "mel_scale": "slaney", "pad": 10},
        {"log_spectrum": True, "normalize_mean": False},
    ),
    ("Spectrogram", {"n_fft": 256, "onesided": False, "normalized": True}, {}),
    ("Spectrogram", {"n_fft": 128, "pad_mode": "circular", "power": 1.5}, {}),
    ("Spectrogram", {"n_fft": 128, "pad_mode": "replicate", "center": True, "pad": 7}, {}),
    ("Spectrogram", {"n_fft": 128, "center": False}, {"log_spectrum": True}),
    ("Spectrogram", {"n_fft": 2048, "hop_length": 500}, {}),  # a long window
    ("MFCC", {"n_mfcc": 20, "melkwargs": {"n_mels": 40}}, {}),
    ("MFCC", {"n_mfcc": 20, "log_mels": True, "melkwargs": {"n_mels": 40}}, {}),
    ("SpeechbrainFbank", {"n_mels": 40}, {}),
    ("ReDimNetFbank", {"n_mels": 40, "normalize_signal": True}, {}),
    ("ReDimNet2Fbank", {"n_mels": 40}, {}),
    ("NemoFbank", {"n_mels": 40}, {"normalize_mean": False}),
]


def model_of(method: str, arguments: dict[str, Any], more: dict[str, Any]) -> SpeakerModel:
    preprocess = {"feature_method": method, "method_args": arguments, **more}
    front_end = FrontEnd(RATE, preprocess, drop_silence=True, waveform_scale=32768.0)
    return SpeakerModel(front_end, "TDNN", {"channels": 8}).eval()


def sound(num_samples: int) -> torch.Tensor:
    """``(1, samples)``: noise that becomes louder, about an offset."""
    generator = torch.Generator().manual_seed(num_samples)
    fade = torch.linspace(0.01, 1.0, num_samples)
    return 0.1 * torch.randn(1, num_samples, generator=generator) * fade + 0.02


def computed(graph: Any) -> Callable[[torch.Tensor], np.ndarray]:
    session = open_graph(graph.SerializeToString())
    name = session.get_inputs()[0].name
    return lambda given: session.run(None, {name: given.numpy()})[0]


def test_every_feature_method_is_among_them() -> None:
    assert {method for method, _, _ in CASES} == set(FEATURE_METHODS)


@pytest.mark.parametrize(("method", "arguments", "more"), CASES)
def test_a_front_end_in_a_graph_is_that_of_the_model(
    method: str, arguments: dict[str, Any], more: dict[str, Any]
) -> None:
    model = model_of(method, arguments, more)
    run = computed(trace(FrontEndGraph(model), torch.randn(1, RATE), WAVEFORM, FEATURES))
    for num_samples in (max(model.featurizer.min_samples, 1000), 4001, 16160):
        clip = sound(num_samples)
        expected = model.features(clip)[0].numpy()
        found = run(clip)
        assert found.shape == expected.shape
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < 2e-5, num_samples


def with_statistics(model: nn.Module) -> nn.Module:
    """Normalisations as after training, and not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in BACKBONES),
    *(("TDNN", {"pooling_type": pooling}) for pooling in POOLINGS),
    ("EcapaTdnn", {"layout": "speechbrain"}),
    ("EcapaTdnn", {"layout": "wespeaker"}),
    ("TDNN", {"layout": "xvector"}),
    ("ResNet", {"depth": 50, "two_embedding_layers": True, "pooling_type": "MQMHASTP"}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_a_backbone_in_a_graph_is_that_of_the_model(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campplus, "DENSE_BLOCKS", ((1, 1), (1, 2)))
    torch.manual_seed(0)
    backbone = with_statistics(
        build_backbone(name, BINS, embd_dim=8, **{**SMALL_BACKBONES[name], **options})
    )
    run = computed(trace(backbone, torch.randn(1, 98, BINS), FEATURES, EMBEDDING))
    shortest = getattr(backbone, "min_frames", 1)
    for num_frames in (shortest, 61, 230):
        features = torch.randn(2, num_frames, BINS)
        with torch.inference_mode():
            expected = backbone(features).numpy()
        np.testing.assert_allclose(run(features), expected, rtol=0, atol=2e-5)


def test_a_graph_has_convolutions_over_images_only_which_are_faster() -> None:
    backbone = build_backbone("EcapaTdnn", BINS, embd_dim=8, **SMALL_BACKBONES["EcapaTdnn"]).eval()
    graph = trace(backbone, torch.randn(1, 98, BINS), FEATURES, EMBEDDING).graph
    dims = {weight.name: len(weight.dims) for weight in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert {dims[node.input[1]] for node in convolutions} == {4}
