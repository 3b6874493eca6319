"""Sizes and entries of EcapaTdnn in layouts that no published model has."""

from __future__ import annotations

import torch
from reference_weights import count_multiply_adds, count_parameters, load_golden

from mvector.models.ecapa_tdnn import EcapaTdnn


def test_defaults_have_6_145_600_parameters_and_467_million_multiply_adds_for_98_frames() -> None:
    model = EcapaTdnn(64).eval()
    assert count_parameters(model) == 6_145_600
    assert round(count_multiply_adds(model, torch.zeros(1, 98, 64)) / 1e6) == 467


def test_defaults_keep_the_entries_of_models_trained_earlier() -> None:
    entries = EcapaTdnn(64).state_dict()
    normalised = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    unit = ["conv.weight", *(f"norm.{name}" for name in normalised)]
    expected = [f"first.{name}" for name in unit]
    for block in range(3):
        layers = ["before", *(f"res2.convs.{i}" for i in range(7)), "after"]
        expected += [f"blocks.{block}.{layer}.{name}" for layer in layers for name in unit]
        for layer in ("squeeze", "excite"):
            expected += [f"blocks.{block}.squeeze_excite.{layer}.{n}" for n in ("weight", "bias")]
    for layer in ("aggregation", "pooling.hidden", "pooling.attention"):
        expected += [f"{layer}.weight", f"{layer}.bias"]
    expected += [f"pooling_norm.{name}" for name in normalised]
    expected += ["embedding.weight", "embedding.bias"]
    expected += [f"embedding_norm.{name}" for name in normalised]
    assert list(entries) == expected
    assert entries["blocks.0.squeeze_excite.squeeze.weight"].shape == (256, 512)


def test_wespeaker_models_without_global_context_and_with_normalised_embedding() -> None:
    plain = EcapaTdnn(80, layout="wespeaker", global_context=False)
    assert round(count_parameters(plain) / 1e6, 3) == 5.798
    wide = EcapaTdnn(80, layout="wespeaker", channels=1024)
    assert round(count_parameters(wide) / 1e6, 3) == 14.657
    normalised = EcapaTdnn(80, layout="wespeaker", embedding_norm=True)
    assert (
        count_parameters(normalised)
        == load_golden("wespeaker_ECAPA_TDNN_GLOB_c512")["parameters"] + 2 * 192
    )
