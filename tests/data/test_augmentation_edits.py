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
        prob=1,
        insert_share=0,
        zero_share=1,
        max_stretches=3,
        min_duration_s=0.1,
        max_duration_s=0.2,
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
        prob=1,
        insert_share=1,
        zero_share=1,
        max_stretches=1,
        min_duration_s=0.1,
        max_duration_s=0.2,
    )
    rng = np.random.default_rng(0)
    for _ in range(50):
        longer = add_silence(RAMP, RATE, config, rng)
        assert len(longer) == len(RAMP)
        silent = longer == 0
        assert 100 <= silent.sum() <= 200
        np.testing.assert_array_equal(longer[~silent], RAMP[: np.count_nonzero(~silent)])


def test_silence_takes_no_more_of_the_crop_than_its_share() -> None:
    config = SilenceConf(
        prob=1, zero_share=1, min_duration_s=10, max_duration_s=20, max_silent_share=0.6
    )
    for seed in range(20):
        silent = add_silence(RAMP, RATE, config, np.random.default_rng(seed))
        assert np.count_nonzero(silent == 0) == 1800
    config = config.model_copy(update={"max_silent_share": 1.0})
    silent = add_silence(RAMP, RATE, config, np.random.default_rng(0))
    np.testing.assert_array_equal(silent, np.zeros_like(RAMP))


@pytest.mark.parametrize("insert_share", [0.0, 1.0])
def test_dead_air_lies_before_the_speech_behind_it_or_within(insert_share: float) -> None:
    config = SilenceConf(
        prob=1, insert_share=insert_share, max_stretches=1, min_duration_s=1, max_duration_s=2
    ).model_copy(update={"zero_share": 1.0, "edge_share": 0.6})
    rng = np.random.default_rng(0)
    before, behind = 0, 0
    for _ in range(300):
        silent = add_silence(RAMP, RATE, config, rng) == 0
        before += silent[0] and not silent[-1]
        behind += silent[-1] and not silent[0]
    assert before == pytest.approx(90, abs=25)
    assert behind == pytest.approx(90, abs=25)


def test_dead_air_that_is_no_digital_silence_has_a_level_in_the_range() -> None:
    config = SilenceConf(prob=1, max_stretches=1, min_duration_s=1, max_duration_s=1)
    config = config.model_copy(update={"zero_share": 0.4, "edge_share": 1.0, "insert_share": 0.0})
    speech = (0.5 * RAMP / RAMP.max()).astype(np.float32)
    rng = np.random.default_rng(0)
    floors_db, num_zero = [], 0
    for _ in range(200):
        found = add_silence(speech, RATE, config, rng)
        dead = found[:1000] if not np.array_equal(found[:1000], speech[:1000]) else found[-1000:]
        level = np.sqrt(np.mean(dead**2.0))
        num_zero += level == 0
        if level:
            floors_db.append(20 * np.log10(level / 0.5))
    assert num_zero == pytest.approx(80, abs=25)
    assert -90.5 < min(floors_db) < -85
    assert -55 < max(floors_db) < -49.5


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
        ("silence", "floor_dB", (-50, -60)),
        ("equalizer", "slope_dB", (2, 1)),
        ("equalizer", "bands", (3, 2)),
        ("equalizer", "gain_dB", (2, 1)),
        ("equalizer", "q", (2, 1)),
        ("codec", "cutoff_hz", (5000, 4000)),
        ("codec", "mp3_kbps", (32, 16)),
        ("codec", "opus_kbps", (32, 16)),
        ("codec", "aac_kbps", (32, 16)),
    ],
)
def test_a_range_upside_down_is_refused(section: str, key: str, values: tuple) -> None:
    with pytest.raises(ConfigError, match=f"min_{key} is above max_{key}"):
        load_augment_config({section: {f"min_{key}": values[0], f"max_{key}": values[1]}})
