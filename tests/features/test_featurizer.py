"""What every feature method promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mvector.errors import AudioError
from mvector.features import build_featurizer, framing

Batch = tuple[torch.Tensor, torch.Tensor]

CONFS: list[dict[str, Any]] = [
    {"feature_method": "Fbank", "method_args": {"num_mel_bins": 80}},
    {
        "feature_method": "Fbank",
        "method_args": {"snip_edges": False, "use_energy": True, "subtract_mean": True},
    },
    {"feature_method": "MelSpectrogram", "method_args": {"n_mels": 40}},
    {"feature_method": "MelSpectrogram", "method_args": {"n_mels": 40}, "log_spectrum": True},
    {
        "feature_method": "Spectrogram",
        "method_args": {"n_fft": 512, "pad": 9, "pad_mode": "circular", "onesided": False},
        "log_spectrum": True,
    },
    {"feature_method": "Spectrogram", "method_args": {"center": False, "power": 1.0}},
    {"feature_method": "MFCC", "method_args": {"n_mfcc": 20, "melkwargs": {"n_mels": 40}}},
    {
        "feature_method": "MFCC",
        "method_args": {"log_mels": True, "melkwargs": {"n_fft": 512}},
        "normalize_variance": True,
    },
    {"feature_method": "ReDimNetFbank"},
    {"feature_method": "ReDimNet2Fbank"},
    {"feature_method": "NemoFbank", "normalize_mean": False},
    {"feature_method": "ReDimNetFbank", "method_args": {"normalize_signal": True, "n_mels": 40}},
]
every_method = pytest.mark.parametrize("conf", CONFS, ids=str)
FBANK = {"feature_method": "Fbank", "method_args": {}}


@every_method
def test_a_clip_has_the_same_features_alone_and_in_any_batch(
    conf: dict[str, Any], ragged: Batch
) -> None:
    waveforms, lengths = ragged
    featurizer = build_featurizer(conf)
    features, num_frames = featurizer(waveforms, lengths)
    for row, count, waveform, length in zip(features, num_frames, waveforms, lengths, strict=True):
        alone, count_alone = featurizer(waveform[None, :length])
        assert count_alone.tolist() == [int(count)] == [alone.shape[1]]
        scale = max(1.0, float(alone.abs().max()))
        torch.testing.assert_close(row[:count], alone[0], rtol=0.0, atol=1e-5 * scale)


@every_method
def test_frames_behind_the_end_are_zero_whatever_stands_there(
    conf: dict[str, Any], ragged: Batch
) -> None:
    waveforms, lengths = ragged
    features, num_frames = build_featurizer(conf)(waveforms, lengths)
    behind = torch.arange(features.shape[1]) >= num_frames[:, None]
    assert behind.any()
    assert not features[behind].any()
    other, _ = build_featurizer(conf)(waveforms.nan_to_num(nan=0.5), lengths)
    torch.testing.assert_close(features, other, rtol=0.0, atol=0.0)


@every_method
def test_full_lengths_change_nothing(conf: dict[str, Any], ragged: Batch) -> None:
    waveforms = ragged[0].nan_to_num()
    featurizer = build_featurizer(conf)
    features, num_frames = featurizer(waveforms)
    masked, num_masked = featurizer(waveforms, torch.full((6,), 6000))
    torch.testing.assert_close(masked, features, rtol=0.0, atol=0.0)
    assert num_frames.tolist() == num_masked.tolist() == [features.shape[1]] * 6
    assert num_frames.dtype == num_masked.dtype == torch.int64


@every_method
def test_feature_dim_and_num_frames_are_known_without_running(
    conf: dict[str, Any], clip: torch.Tensor
) -> None:
    featurizer = build_featurizer(conf)
    features, _ = featurizer(clip.float())
    assert isinstance(featurizer.feature_dim, int)
    assert features.shape == (1, featurizer.num_frames(clip.shape[1]), featurizer.feature_dim)
    assert featurizer.feature_method == conf["feature_method"]
    assert featurizer.sample_rate == 16000


@every_method
def test_the_shortest_clip_has_a_frame_and_a_shorter_one_is_refused(conf: dict[str, Any]) -> None:
    featurizer = build_featurizer(conf)
    shortest = featurizer.min_samples
    features, num_frames = featurizer(torch.rand(1, shortest))
    assert features.shape[1] == int(num_frames) >= 1
    assert features.isfinite().all()
    needed = f"{shortest - 1} samples .* at least {shortest} samples"
    with pytest.raises(AudioError, match=needed):
        featurizer(torch.rand(1, shortest - 1))
    with pytest.raises(AudioError, match=needed):
        featurizer(torch.rand(2, 4000), torch.tensor([4000, shortest - 1]))


@every_method
def test_silence_is_finite(conf: dict[str, Any]) -> None:
    features, _ = build_featurizer(conf)(torch.zeros(2, 4000), torch.tensor([4000, 3000]))
    assert features.isfinite().all()


@every_method
def test_nothing_is_stored_or_trained(conf: dict[str, Any]) -> None:
    featurizer = build_featurizer(conf)
    assert not featurizer.state_dict()
    assert not list(featurizer.parameters())
    features, _ = featurizer(torch.rand(1, 4000, requires_grad=True))
    assert not features.requires_grad


@every_method
def test_features_stay_float32_in_half_precision_models(
    conf: dict[str, Any], ragged: Batch
) -> None:
    featurizer = build_featurizer(conf)
    expected, _ = featurizer(*ragged)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast, _ = featurizer(*ragged)
    cast_and_back, _ = featurizer.bfloat16()(*ragged)
    for features in (under_autocast, cast_and_back):
        assert features.dtype == torch.float32
        torch.testing.assert_close(features, expected, rtol=0.0, atol=0.0)


@every_method
def test_long_batches_are_computed_in_blocks_with_the_same_result(
    conf: dict[str, Any], ragged: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    featurizer = build_featurizer(conf)
    whole, _ = featurizer(*ragged)
    for num_frames in (11, 70):  # parts of a clip; one or two clips
        monkeypatch.setattr(framing, "_FRAMES_PER_CPU_THREAD", num_frames)
        blocks, _ = featurizer(*ragged)
        scale = max(1.0, float(whole.abs().max()))
        torch.testing.assert_close(blocks, whole, rtol=0.0, atol=1e-5 * scale)


@pytest.mark.skipif(
    torch.__version__.startswith("2.6."), reason="torch 2.6 cannot export Fourier transforms"
)
@pytest.mark.parametrize("conf", [CONFS[1], CONFS[6]], ids=str)
def test_exported_graph_computes_the_same_for_other_sizes(
    conf: dict[str, Any], ragged: Batch
) -> None:
    featurizer = build_featurizer(conf).eval()
    batch, samples = torch.export.Dim("batch", max=64), torch.export.Dim("samples", min=1000)
    example = (torch.rand(3, 4000), torch.tensor([4000, 3000, 2000]))
    program = torch.export.export(
        featurizer, example, dynamic_shapes=({0: batch, 1: samples}, {0: batch})
    )
    features, num_frames = program.module()(*ragged)
    expected, expected_frames = featurizer(*ragged)
    torch.testing.assert_close(features, expected, rtol=0.0, atol=1e-5)
    assert num_frames.tolist() == expected_frames.tolist()


# ---- normalisation ------------------------------------------------------------------------------


def test_mean_and_deviation_are_those_of_the_valid_frames(ragged: Batch) -> None:
    waveforms, lengths = ragged
    plain, num_frames = build_featurizer({**FBANK, "normalize_mean": False})(*ragged)
    both, _ = build_featurizer({**FBANK, "normalize_variance": True})(*ragged)
    scaled, _ = build_featurizer({**FBANK, "normalize_mean": False, "normalize_variance": True})(
        *ragged
    )
    assert len(waveforms) == len(lengths) == len(plain)
    for row, count in enumerate(num_frames.tolist()):
        varied = np.ptp(plain[row, :count].numpy(), axis=0) > 0.1
        valid = plain[row, :count, varied].double().numpy()
        mean, deviation = valid.mean(axis=0), valid.std(axis=0)
        np.testing.assert_allclose(
            both[row, :count, varied].numpy(), (valid - mean) / deviation, atol=1e-4
        )
        np.testing.assert_allclose(
            scaled[row, :count, varied].numpy(), valid / deviation, rtol=1e-4
        )


def test_mean_is_subtracted_by_default(clip: torch.Tensor) -> None:
    features, _ = build_featurizer(FBANK)(clip.float())
    plain, _ = build_featurizer({**FBANK, "normalize_mean": False})(clip.float())
    np.testing.assert_allclose(
        features[0].numpy(), plain[0].numpy() - plain[0].double().numpy().mean(axis=0), atol=1e-5
    )


def test_a_bin_that_never_changes_is_not_blown_up() -> None:
    features, _ = build_featurizer({**FBANK, "normalize_variance": True})(torch.zeros(1, 160 * 997))
    assert float(features.abs().max()) < 0.1


# ---- what belongs to one method -----------------------------------------------------------------


def test_a_quiet_clip_keeps_its_mfcc_beside_a_loud_one(clip: torch.Tensor) -> None:
    featurizer = build_featurizer({"feature_method": "MFCC"})
    quiet = 1e-3 * clip.float()
    alone, _ = featurizer(quiet)
    beside, _ = featurizer(torch.cat([quiet, clip.float()]))
    torch.testing.assert_close(beside[:1], alone, rtol=0.0, atol=1e-3)


def test_levels_80_db_below_the_clips_own_maximum_are_raised() -> None:
    waveform = torch.zeros(1, 8000)
    waveform[:, :2000] = torch.rand(1, 2000)
    mfcc = build_featurizer({"feature_method": "MFCC", "normalize_mean": False})
    mel, _ = build_featurizer({"feature_method": "MelSpectrogram", "normalize_mean": False})(
        waveform
    )
    features, _ = mfcc(waveform)
    floor = 10 * np.log10(float(mel.max())) - 80
    # The orthonormal transform of 128 equal levels is their sum over the root of 128.
    assert float(features[0, -1, 0]) == pytest.approx(floor * np.sqrt(128), rel=1e-5)
    assert float(features[0, -1, 1:].abs().max()) < 1e-2


@pytest.mark.parametrize("method", ["MelSpectrogram", "Spectrogram"])
def test_log_spectrum_is_the_natural_logarithm_with_a_floor(
    method: str, clip: torch.Tensor
) -> None:
    plain, _ = build_featurizer({"feature_method": method, "normalize_mean": False})(clip.float())
    log, _ = build_featurizer(
        {"feature_method": method, "normalize_mean": False, "log_spectrum": True}
    )(clip.float())
    assert float(plain.min()) < 1e-6 < float(plain.max())
    np.testing.assert_allclose(log.numpy(), np.log(np.maximum(plain.numpy(), 1e-6)), atol=1e-5)


def test_dither_is_for_training_and_inference_is_deterministic() -> None:
    conf = {"feature_method": "Fbank", "method_args": {"dither": 0.01}, "normalize_mean": False}
    featurizer = build_featurizer(conf)
    silence = torch.zeros(1, 8000)
    inference, _ = featurizer.eval()(silence)
    again, _ = featurizer(silence)
    torch.testing.assert_close(again, inference, rtol=0.0, atol=0.0)
    assert float(inference.max()) == pytest.approx(np.log(2.0**-23))
    torch.manual_seed(0)
    first, _ = featurizer.train()(silence)
    second, _ = featurizer(silence)
    assert not torch.equal(first, second)
    # White noise: 100 times the deviation is 2 ln(100) more in every bin.
    tenfold = build_featurizer({**conf, "method_args": {"dither": 1.0}}).train()
    louder, _ = tenfold(silence)
    assert float((louder - first).mean()) == pytest.approx(2 * np.log(100), abs=0.1)


@pytest.mark.parametrize("frame_shift", [10.0, 10.1, 30.1])  # 160, 161 and 481 samples
def test_without_snip_edges_there_is_a_frame_for_each_shift_begun_by_half(
    frame_shift: float,
) -> None:
    args = {"snip_edges": False, "frame_shift": frame_shift}
    featurizer = build_featurizer({"feature_method": "Fbank", "method_args": args})
    hop_length = int(16 * frame_shift)
    for num_samples in range(2000, 2000 + hop_length):
        features, _ = featurizer(torch.zeros(1, num_samples))
        assert features.shape[1] == (num_samples + hop_length // 2) // hop_length


def test_min_duration_refuses_shorter_clips() -> None:
    featurizer = build_featurizer({"feature_method": "Fbank", "method_args": {"min_duration": 0.5}})
    featurizer(torch.rand(1, 8000))
    with pytest.raises(AudioError, match="at least 8000 samples"):
        featurizer(torch.rand(1, 7999))
