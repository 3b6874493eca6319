"""Quality of clips, against signals whose speech and noise are known."""

from __future__ import annotations

import numpy as np
import pytest
from small_encoder import small_encoder

from mvector.audio import read_audio, write_wav
from mvector.audio.quality import SpeechQuality, clip_quality
from mvector.embedding import SpeakerEncoder
from mvector.embedding.listening import Listening
from mvector.errors import AudioError, EvaluationError
from mvector.evaluation.quality import (
    SIDE_MEASURES,
    TRIAL_MEASURES,
    clip_measures,
    model_quality,
    side_measures,
    trial_quality,
)
from mvector.scoring.trials import EnrolmentModels, PairTrials, all_pairs

RATE = 16000


def bursts(seconds_on, seconds_off, num_bursts, seed=0):
    """Bursts of noise of power 0.01 with pauses between them, and where they are."""
    generator = np.random.default_rng(seed)
    on = np.concatenate(
        [np.zeros(round(seconds_off * RATE)), np.ones(round(seconds_on * RATE))] * num_bursts
    )
    return 0.1 * generator.normal(size=len(on)) * on, on.astype(bool)


def with_noise(speech, is_on, snr_db, seed=1):
    power = np.mean(speech[is_on] ** 2) / 10 ** (snr_db / 10)
    noise = np.random.default_rng(seed).normal(size=len(speech)) * np.sqrt(power)
    return (speech + noise).astype(np.float32)


@pytest.mark.parametrize("snr_db", [5, 10, 20, 35])
def test_snr_is_estimated_within_a_decibel(snr_db):
    clip = with_noise(*bursts(0.6, 0.4, 5), snr_db)

    assert clip_quality(clip, RATE)[1] == pytest.approx(snr_db, abs=1.0)


@pytest.mark.parametrize("snr_db", [10, 30])
@pytest.mark.parametrize("seconds_on", [0.2, 0.6])
def test_duration_of_speech_leaves_out_the_pauses(snr_db, seconds_on):
    clip = with_noise(*bursts(seconds_on, 0.4, 5), snr_db)

    assert clip_quality(clip, RATE)[0] == pytest.approx(5 * seconds_on, abs=0.1)


def test_level_plays_no_part():
    clip = with_noise(*bursts(0.6, 0.4, 5), 20)

    np.testing.assert_allclose(clip_quality(0.01 * clip, RATE), clip_quality(clip, RATE), rtol=1e-3)


def test_noise_far_below_the_speech_is_the_highest_snr():
    clip = with_noise(*bursts(0.6, 0.4, 3), 75)

    assert clip_quality(clip, RATE) == pytest.approx([1.8, 60.0], abs=0.05)


@pytest.mark.parametrize("clip", [np.zeros(RATE), 0.1 * np.ones(RATE)])
def test_steady_sounds_have_no_speech(clip):
    np.testing.assert_array_equal(clip_quality(clip, RATE), [0.0, 0.0])


@pytest.mark.parametrize("clip", [np.zeros((2, RATE)), np.zeros(100)])
def test_what_is_no_clip_is_refused(clip):
    with pytest.raises(AudioError, match=r"one channel of at least 0\.02 s"):
        clip_quality(clip, RATE)


def test_many_clips_are_measured_in_their_order(tmp_path):
    paths = []
    for number, seconds_on in enumerate((0.2, 0.6, 0.4)):
        paths.append(tmp_path / f"{number}.wav")
        write_wav(paths[-1], with_noise(*bursts(seconds_on, 0.4, 3), 20), RATE)

    encoder = small_encoder()
    measured = clip_measures(encoder.measure_batch(paths))

    np.testing.assert_allclose(measured[:, 0], [0.6, 1.8, 1.2], atol=0.1)
    expected = [clip_quality(read_audio(path), RATE) for path in paths]
    np.testing.assert_allclose(measured[:, :2], expected)
    quality = [report.quality for report in encoder.measure_batch(paths)]
    np.testing.assert_allclose(
        measured[:, 2:4], [(each.bandwidth_hz, each.hole_share) for each in quality]
    )
    assert np.isnan(measured[:, 4:]).all()
    table = encoder.embed_readable([*paths[:2], tmp_path / "none.wav", paths[2]], measured=True)
    np.testing.assert_array_equal(clip_measures(table.reports), measured)
    shorter = SpeakerEncoder(encoder.model, None, "cpu", Listening(max_duration_s=1.0))
    assert clip_measures(shorter.measure_batch(paths[1:2]))[0, 0] == pytest.approx(0.6, abs=0.05)
    with pytest.raises(AudioError, match=r"none\.wav"):
        encoder.measure_batch([tmp_path / "none.wav"])


def sides(*measured):
    """Sides of which these measures are known."""
    rows = [[*row, *[np.nan] * (len(SIDE_MEASURES) - len(row))] for row in measured]
    return np.array(rows)


def test_a_side_has_what_is_known_of_it_and_nan():
    measured = side_measures(
        [SpeechQuality(2.0, 30.0, 80.0, 3400.0, 0.02), SpeechQuality(5.0, 10.0), None],
        likeness=[0.1, 0.2, 0.3],
    )

    np.testing.assert_array_equal(measured[:, :4], sides((2, 30, 3400, 0.02), (5, 10), ())[:, :4])
    np.testing.assert_array_equal(measured[:, 4], [0.1, 0.2, 0.3])
    assert np.isnan(measured[:, 5]).all()


def test_a_trial_has_the_lower_and_the_higher_of_each_measure():
    quality = sides((2.0, 30.0, 4000.0, 0.1, 0.2), (5.0, 10.0, 9000.0, 0.05, -0.1), (0.01, 20.0))
    trials = PairTrials(
        "list", tuple("abc"), np.array([0, 1, 2]), np.array([1, 0, 0]), np.zeros(3, dtype=bool)
    )

    measures = trial_quality(quality, quality, trials)

    assert measures.shape == (3, len(TRIAL_MEASURES))
    # bandwidth in octaves below 8 kHz, and what is not known of one side is not known of the trial
    known = [np.log(2.0), np.log(5.0), 10, 30, -1.0, 0.0, 0.05, 0.1, -0.1, 0.2, np.nan, np.nan]
    short = [np.log(0.1), np.log(2), 20, 30, *[np.nan] * 8]
    np.testing.assert_allclose(measures, [known, known, short])


def test_all_pairs_have_measures_in_the_order_of_their_labels():
    generator = np.random.default_rng(2)
    quality = sides(*generator.uniform(0.5, 9.0, (5, 2)))
    trials = all_pairs(list("abc"), [0, 1, 2], list("bcde"), [1, 2, 0, 1])

    measures = trial_quality(quality[:3], quality[1:], trials)

    pairs = [(e, t) for t in range(1, 5) for e in range(3) if e != t]
    for row, (e, t) in zip(measures, pairs, strict=True):
        (d1, s1), (d2, s2) = quality[e, :2], quality[t, :2]
        expected = [np.log(min(d1, d2)), np.log(max(d1, d2)), min(s1, s2), max(s1, s2)]
        np.testing.assert_allclose(row[:4], expected)
    with pytest.raises(EvaluationError, match=r"enrolment qualities have shape \(2, 6\)"):
        trial_quality(quality[:2], quality[1:], trials)


def test_a_model_has_the_speech_of_all_its_clips_and_the_mean_of_all_else():
    quality = sides((2.0, 30.0, 4000.0, 0.1), (5.0, 10.0, 8000.0, 0.3), (1.0, 20.0))
    models = EnrolmentModels(("m", "n"), np.array([0, 1, 2]), np.array([0, 2, 3]))

    measures = model_quality(quality, models)

    np.testing.assert_allclose(measures, sides((7.0, 20.0, 6000.0, 0.2), (1.0, 20.0)))
