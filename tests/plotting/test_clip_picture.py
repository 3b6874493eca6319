"""The picture of a clip shows what the model hears of it, where it lies in the recording."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from error_codes import raises_code
from small_encoder import small_encoder
from small_model import RATE, speech

from mvector.audio.channels import ChannelOf
from mvector.features.front_end import FrontEnd
from mvector.plotting.clip import SPECTRUM, clip_figure, look_at_clip

PREPROCESS = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 40}}
FRONT_END = FrontEnd(RATE, PREPROCESS, drop_silence=True)
GAP = slice(RATE, RATE + RATE // 2)  # half a second of zeros


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    voice = speech(0, 2.0)
    return np.concatenate([voice[:RATE], np.zeros(RATE // 2, np.float32), voice[RATE:]])


def test_what_is_dropped_lies_where_it_was(waveform: np.ndarray) -> None:
    view = look_at_clip((waveform, RATE), FRONT_END)
    assert view.is_silence[GAP].all()
    assert np.count_nonzero(view.is_silence) < 0.55 * RATE
    np.testing.assert_array_equal(view.is_heard, ~view.is_silence)


def test_features_are_those_of_the_model(waveform: np.ndarray) -> None:
    import torch

    model = small_encoder(0).model
    front_end = model.front_end
    heard = front_end.speech(waveform, "a clip")
    expected, _ = model.features(torch.from_numpy(heard).unsqueeze(0))
    view = look_at_clip((waveform, RATE), front_end)
    np.testing.assert_allclose(view.features, expected[0].numpy(), atol=1e-5)


def test_what_is_marked_as_speech_is_what_the_report_counts(waveform: np.ndarray) -> None:
    view = look_at_clip((waveform, RATE), FRONT_END)
    assert np.count_nonzero(view.is_speech) / RATE == pytest.approx(view.report.speech_s)
    assert not view.is_speech[GAP].any()


def test_pauses_that_the_model_drops_are_marked_too() -> None:
    voice = speech(0, 1.0)
    hum = np.full(RATE, 1e-5, np.float32) * np.sin(np.arange(RATE) * 0.3)
    clip = np.concatenate([voice, hum, voice]).astype(np.float32)
    view = look_at_clip((clip, RATE), FrontEnd(RATE, PREPROCESS, do_vad=True))
    assert not view.is_silence.any()
    assert not view.is_heard[RATE + RATE // 4 : 2 * RATE - RATE // 4].any()
    assert view.is_heard[RATE // 2]


def test_a_stretch_begins_where_it_is_asked_for(waveform: np.ndarray) -> None:
    view = look_at_clip((waveform, RATE), FRONT_END, start_s=0.5, duration_s=1.5)
    assert len(view.waveform) == 1.5 * RATE
    assert view.name.endswith(" (0.5 s to 2 s)")
    np.testing.assert_allclose(view.waveform, waveform[RATE // 2 : 2 * RATE], atol=1e-6)


def test_a_clip_that_the_model_would_refuse_is_refused() -> None:
    with raises_code("audio-silent"):
        look_at_clip((np.zeros(RATE, np.float32), RATE), FRONT_END)
    with raises_code("audio-too-short"):
        look_at_clip((speech(0, 2.0)[: RATE // 10], RATE), FRONT_END)


def test_two_people_on_two_channels_are_told_unless_one_is_chosen() -> None:
    call = np.stack([speech(0, 2.0), speech(1, 2.0)], axis=1)
    first, *_ = look_at_clip((call, RATE), FRONT_END).reasons
    assert "channels" in first
    chosen = look_at_clip(ChannelOf((call, RATE), 1), FRONT_END)
    assert chosen.report.channels is None


def test_the_picture_tells_quality_and_leaves_dropped_columns_empty(waveform: np.ndarray) -> None:
    good = look_at_clip((waveform, RATE), FRONT_END)
    loud = look_at_clip((np.clip(20 * waveform, -1, 1), RATE), FRONT_END)
    figure, sentence = clip_figure([good, loud])
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sentence == ""
    assert str(good.report) in texts
    assert any(text.startswith("Mind: ") and "clipped" in text for text in texts)
    picture = np.ma.masked_invalid(figure.axes[1].images[0].get_array())
    is_empty = np.ma.getmaskarray(picture).all(axis=0)
    assert is_empty.mean() == pytest.approx(good.is_silence.mean(), abs=0.01)
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys == ["speech", "other sound", "digital silence, dropped", "at full scale"]


def test_without_torch_a_spectrum_is_drawn(
    waveform: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    tone = 0.1 * np.sin(2 * np.pi * 1000.0 * np.arange(RATE) / RATE).astype(np.float32)
    view = look_at_clip((tone, RATE), FRONT_END)
    assert view.what == SPECTRUM
    assert (view.features.argmax(axis=1)[:90] == 25).all()  # bins of 40 Hz
