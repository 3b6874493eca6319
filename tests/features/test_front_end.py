"""What the front end makes of a clip before features are computed."""

from __future__ import annotations

import numpy as np
import pytest
from error_codes import raises_code

from mvector.errors import AudioError
from mvector.features.front_end import FrontEnd

RATE = 16000
FBANK = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 16}}


def burst(duration_s: float) -> np.ndarray:
    return np.random.default_rng(0).normal(size=round(duration_s * RATE)).astype(np.float32) * 0.1


def with_pauses(duration_s: float) -> np.ndarray:
    pause = np.zeros(2 * RATE, dtype=np.float32)
    return np.concatenate([pause, burst(duration_s), pause, burst(duration_s), pause])


def test_a_clip_without_its_pauses_is_as_long_as_its_sound() -> None:
    front_end = FrontEnd(RATE, FBANK, do_vad=True)
    heard = front_end.read_clip((with_pauses(1.0), RATE))
    assert 2.0 <= len(heard) / RATE <= 2.3


def test_a_clip_with_too_little_sound_is_too_short() -> None:
    front_end = FrontEnd(RATE, FBANK, do_vad=True, min_duration=1.0)
    with raises_code("audio-too-short"):
        front_end.read_clip((with_pauses(0.3), RATE))


def test_a_silent_clip_is_called_silent() -> None:
    with raises_code("audio-silent"):
        FrontEnd(RATE, FBANK, do_vad=True).read_clip((np.zeros(RATE, dtype=np.float32), RATE))


def test_noise_is_no_speech_to_the_network() -> None:
    pytest.importorskip("silero_vad", reason="needs the extra vad")
    pytest.importorskip("onnxruntime", reason="needs the extra vad")
    front_end = FrontEnd(RATE, FBANK, do_vad=True, vad_method="silero")
    with pytest.raises(AudioError, match=r"holds no speech; listen to it, or set .*do_vad"):
        front_end.read_clip((burst(3.0), RATE))
