"""How unlike the channels of two clips are."""

from __future__ import annotations

import itertools

import pytest

from mvector.audio.channel_difference import channel_difference
from mvector.audio.quality import SpeechQuality


def quality(bandwidth_hz: float | None, hole_share: float | None = 0.005, snr_db: float = 30.0):
    return SpeechQuality(3.0, snr_db, 100.0, bandwidth_hz, hole_share)


ALIKE = [quality(7000.0), quality(8000.0), quality(7350.0, 0.02)]


@pytest.mark.parametrize(("one", "other"), itertools.product(ALIKE, ALIKE))
def test_like_channels_need_no_words(one: SpeechQuality, other: SpeechQuality) -> None:
    assert channel_difference(one, other).reasons == ()


def test_a_telephone_beside_a_laptop_is_told_whichever_comes_first() -> None:
    telephone, laptop = quality(3900.0), quality(7800.0)
    found = channel_difference(telephone, laptop)
    assert found.band_octaves == pytest.approx(1.0)
    assert found.reasons == (
        "one clip is from a telephone (up to 3.9 kHz), the other is not (up to 7.8 kHz)",
    )
    assert channel_difference(laptop, telephone) == found
    assert channel_difference(telephone, quality(3600.0)).reasons == ()


def test_other_bands_are_told_by_their_ends() -> None:
    (reason,) = channel_difference(quality(5500.0), quality(8000.0)).reasons
    assert reason == "one clip ends at 5.5 kHz, the other at 8.0 kHz"


def test_noise_may_be_what_hides_the_highest_frequencies() -> None:
    (reason,) = channel_difference(quality(3900.0, snr_db=24.0), quality(8000.0)).reasons
    assert reason == "one clip ends at 3.9 kHz, the other at 8.0 kHz"
    assert channel_difference(quality(3900.0, snr_db=11.0), quality(8000.0)).reasons == ()


def test_compression_of_one_is_told() -> None:
    found = channel_difference(quality(7400.0, 0.06), quality(8000.0, 0.01))
    assert found.hole_share == pytest.approx(0.05)
    (reason,) = found.reasons
    assert reason.startswith("one clip is heavily compressed (6 % of its spectrum is missing)")
    assert channel_difference(quality(7400.0, 0.06), quality(7400.0, 0.05)).reasons == ()


def test_what_is_not_known_is_not_told() -> None:
    found = channel_difference(quality(None, None), quality(3900.0, 0.1))
    assert (found.band_octaves, found.hole_share, found.reasons) == (0.0, 0.0, ())
