"""What the front end makes of a clip before features are computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from error_codes import raises_code
from small_encoder import small_encoder

from mvector.demo.voices import random_voice, synthesise
from mvector.errors import AudioError
from mvector.features.front_end import FrontEnd
from mvector.features.level import bring_to_level
from mvector.models.folder import fingerprint_of
from mvector.models.speaker_model import SpeakerModel

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


# ---- digital silence and offset -------------------------------------------------------------

DROPPING = FrontEnd(RATE, FBANK, drop_silence=True)
HEARING_ALL = replace(DROPPING, drop_silence=False)


def silence(duration_s: float) -> np.ndarray:
    return np.zeros(round(duration_s * RATE), dtype=np.float32)


@pytest.mark.parametrize("place", [0, RATE, 2 * RATE])
def test_digital_silence_is_dropped_before_anything_else(place: int) -> None:
    clip = burst(2.0)
    heard = DROPPING.read_clip((np.insert(clip, place, silence(3.0)), RATE))
    np.testing.assert_array_equal(heard, clip)


def test_pauses_are_sought_in_what_is_left() -> None:
    pytest.importorskip("librosa", reason="needs the extra train")
    clip = np.concatenate([burst(1.0), 1e-4 * burst(1.0), burst(1.0)])
    front_end = replace(DROPPING, do_vad=True)
    expected = front_end.read_clip((clip, RATE))
    assert len(expected) < len(clip)
    np.testing.assert_array_equal(
        front_end.read_clip((np.append(clip, silence(3.0)), RATE)), expected
    )


def test_a_clip_that_is_all_silence_is_called_silent() -> None:
    click = np.concatenate([silence(1.0), burst(0.001), silence(1.0)])
    for clip in (silence(2.0), silence(2.0) + np.float32(0.3), click):
        with raises_code("audio-silent"):
            DROPPING.read_clip((clip, RATE))


def test_the_shortest_duration_is_that_of_what_is_left() -> None:
    clip = np.concatenate([burst(0.3), silence(3.0)])
    assert len(HEARING_ALL.read_clip((clip, RATE))) == len(clip)
    sentence = r"it lasts 0\.30 s after 3\.00 s of silence were dropped, and at least 0\.5 s are"
    with pytest.raises(AudioError, match=sentence):
        DROPPING.read_clip((clip, RATE))
    with pytest.raises(AudioError, match=r"it lasts 0\.30 s, and at least"):
        DROPPING.read_clip((clip[: round(0.3 * RATE)], RATE))


@pytest.mark.parametrize("lengths", [None, [16000, 9000]])
@pytest.mark.parametrize("offset", [0.01, -0.3])
def test_an_offset_changes_neither_level_nor_anything_else(
    offset: float, lengths: list[int] | None
) -> None:
    clips = torch.from_numpy(np.stack([burst(1.0), 0.2 * burst(1.0)]))
    known = None if lengths is None else torch.tensor(lengths)
    is_clip = torch.arange(RATE) < torch.tensor(lengths or [RATE, RATE])[:, None]
    plain = bring_to_level(DROPPING, clips * is_clip, known)
    shifted = bring_to_level(DROPPING, (clips + offset) * is_clip, known)
    torch.testing.assert_close(shifted, plain, rtol=0, atol=1e-5)
    assert not shifted[~is_clip].any()
    power = plain.square().sum(dim=1) / is_clip.sum(dim=1)
    torch.testing.assert_close(power, torch.full((2,), 0.01), rtol=1e-4, atol=0)


@pytest.mark.parametrize("preprocess", [FBANK, {"feature_method": "MFCC"}])
def test_a_voice_with_silence_and_offset_is_the_same_voice(preprocess: dict) -> None:
    front_end = FrontEnd(RATE, preprocess, drop_silence=True)
    torch.manual_seed(0)
    model = SpeakerModel(front_end, "TDNN", {"embd_dim": 16, "channels": 16}).eval()
    voice = synthesise(random_voice(2), 2.0, RATE, seed=1, noise_db=-60.0)

    def embedding(clip: np.ndarray) -> torch.Tensor:
        heard = front_end.read_clip((clip.astype(np.float32), RATE))
        with torch.inference_mode():
            return model(torch.from_numpy(heard)[None], None)[0]

    plain = embedding(voice)
    for changed in (
        np.concatenate([silence(3.0), voice]),
        np.concatenate([voice, silence(3.0)]),
        np.insert(voice, 15001, silence(3.0)),
        voice + 0.2,
        np.concatenate([voice, silence(3.0)]) + 0.05,
    ):
        assert torch.cosine_similarity(embedding(changed), plain, dim=0) > 0.999


def test_a_front_end_that_drops_nothing_is_described_as_ever() -> None:
    """What was written before there was a choice is read as it was, with its fingerprint."""
    assert "drop_silence" not in HEARING_ALL.to_dict()
    assert FrontEnd(**HEARING_ALL.to_dict()) == HEARING_ALL
    assert DROPPING.to_dict() == {**HEARING_ALL.to_dict(), "drop_silence": True}
    assert FrontEnd(**DROPPING.to_dict()) == DROPPING
    model = small_encoder().model
    before = fingerprint_of(model)
    model.front_end = replace(model.front_end, drop_silence=True)
    assert fingerprint_of(model) != before
