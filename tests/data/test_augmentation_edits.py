"""Flip-splice, silence, clipping and volume: what happens to each sample."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.config import AugmentConf, ConfigError, load_augment_config
from mvector.config.augment_options import FlipSpliceConf, SilenceConf
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.edits import add_silence, clip_loudest, flip_splice

RATE = 1000
RAMP = np.arange(1, 3001, dtype=np.float32)  # every sample is known by its value


def breaks(waveform: np.ndarray) -> np.ndarray:
    """Where a ramp goes on with anything else than the next value."""
    return np.flatnonzero(np.diff(waveform) != 1) + 1


def test_flip_splice_puts_all_samples_in_another_order_in_pieces() -> None:
    config = FlipSpliceConf(prob=1, min_pieces=2, max_pieces=4, min_piece_s=0.3)
    rng = np.random.default_rng(0)
    counts = set()
    for _ in range(50):
        spliced = flip_splice(RAMP, RATE, config, rng)
        np.testing.assert_array_equal(np.sort(spliced), RAMP)
        joins = breaks(spliced)
        lengths = np.diff([0, *joins, len(spliced)])
        assert lengths.min() >= 300
        counts.add(len(lengths))
    assert counts == {2, 3, 4}


def test_a_crop_too_short_for_two_pieces_is_left_alone() -> None:
    config = FlipSpliceConf(prob=1, min_piece_s=0.3)
    short = RAMP[:599]
    np.testing.assert_array_equal(flip_splice(short, RATE, config, np.random.default_rng(0)), short)


def test_blanking_leaves_every_other_sample_in_its_place() -> None:
    config = SilenceConf(
        prob=1, insert_share=0, max_stretches=3, min_duration_s=0.1, max_duration_s=0.2
    )
    rng = np.random.default_rng(0)
    totals = []
    for _ in range(50):
        blanked = add_silence(RAMP, RATE, config, rng)
        silent = blanked == 0
        np.testing.assert_array_equal(blanked[~silent], RAMP[~silent])
        totals.append(int(silent.sum()))
    assert 100 <= min(totals) <= 200
    assert 300 < max(totals) <= 600
    assert RAMP[0] == 1  # the crop itself was not written to


def test_inserted_silence_moves_the_rest_and_keeps_the_length() -> None:
    config = SilenceConf(
        prob=1, insert_share=1, max_stretches=1, min_duration_s=0.1, max_duration_s=0.2
    )
    rng = np.random.default_rng(0)
    for _ in range(50):
        longer = add_silence(RAMP, RATE, config, rng)
        assert len(longer) == len(RAMP)
        silent = longer == 0
        assert 100 <= silent.sum() <= 200
        np.testing.assert_array_equal(longer[~silent], RAMP[: np.count_nonzero(~silent)])


def test_silence_longer_than_the_crop_is_cut_to_it() -> None:
    config = SilenceConf(prob=1, min_duration_s=10, max_duration_s=20)
    silent = add_silence(RAMP, RATE, config, np.random.default_rng(0))
    np.testing.assert_array_equal(silent, np.zeros_like(RAMP))


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 1.0])
def test_clipping_cuts_the_share_of_samples_that_was_asked_for(share: float) -> None:
    waveform = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    clipped = clip_loudest(waveform, share)
    level = np.abs(clipped).max()
    assert np.count_nonzero(np.abs(clipped) == level) == round(share * 3000)
    below = np.abs(waveform) < level
    np.testing.assert_array_equal(clipped[below], waveform[below])
    np.testing.assert_array_equal(np.sign(clipped), np.sign(waveform))


def test_clipping_nothing_changes_nothing() -> None:
    np.testing.assert_array_equal(clip_loudest(RAMP, 0.0), RAMP)


def test_volume_is_a_gain_in_the_range() -> None:
    conf = {"volume": {"prob": 1.0, "min_gain_dBFS": -6, "max_gain_dBFS": 12}}
    augmentor = WaveformAugmentor(AugmentConf.model_validate(conf), RATE)
    rng = np.random.default_rng(0)
    gains_db = []
    for _ in range(50):
        louder = augmentor(RAMP, rng)
        ratios = louder.astype(np.float64) / RAMP
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
        gains_db.append(20 * np.log10(ratios[0]))
    assert -6 <= min(gains_db) < -4
    assert 10 < max(gains_db) <= 12


@pytest.mark.parametrize(
    ("section", "key", "values"),
    [
        ("volume", "gain_dBFS", (5, 4)),
        ("noise", "snr_dB", (5, 4)),
        ("babble", "snr_dB", (5, 4)),
        ("babble", "talkers", (5, 4)),
        ("reverb", "rt60_s", (0.5, 0.4)),
        ("reverb", "length_m", (5, 4)),
        ("flip_splice", "pieces", (5, 4)),
        ("silence", "duration_s", (0.5, 0.4)),
        ("silence", "stretches", (5, 4)),
        ("clipping", "share", (0.5, 0.4)),
        ("codec", "compression", (0.5, 0.4)),
    ],
)
def test_a_range_upside_down_is_refused(section: str, key: str, values: tuple) -> None:
    with pytest.raises(ConfigError, match=f"min_{key} is above max_{key}"):
        load_augment_config({section: {f"min_{key}": values[0], f"max_{key}": values[1]}})
