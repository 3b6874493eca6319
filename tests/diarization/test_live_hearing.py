"""Sound as it comes: which stretches of speech have ended, whatever the blocks it comes in."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mvector.audio.live_vad import LiveSilero
from mvector.audio.vad import speech_segments
from mvector.demo.voices import Voice, synthesise
from mvector.diarization import live_hearing
from mvector.diarization.live_hearing import PIECE_S, STEP_S, LiveHearing, Piece
from mvector.diarization.options import DiarizationOptions

RATE = 16000
ENERGY = DiarizationOptions(vad_method="energy")
needs_librosa = pytest.mark.skipif(find_spec("librosa") is None, reason="finds speech by level")
needs_silero = pytest.mark.skipif(
    find_spec("silero_vad") is None or find_spec("onnxruntime") is None, reason="no extra 'vad'"
)


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window has the same embedding."""

    def embed(encoder: Any, sound: np.ndarray, places: np.ndarray, name: str) -> Any:
        assert (places[:, 1] <= len(sound)).all()
        return np.arange(len(places)), np.ones((len(places), 2), np.float32)

    monkeypatch.setattr(live_hearing, "embed_windows", embed)


def encoder(rate: int = RATE) -> Any:
    front_end = SimpleNamespace(min_duration=0.1)
    return SimpleNamespace(sample_rate=rate, model=SimpleNamespace(front_end=front_end))


def spoken(*seconds: float) -> np.ndarray:
    """Speech and silence in turn."""
    voice = synthesise(Voice(), sum(seconds), RATE, seed=0).astype(np.float32)
    edges = np.rint(np.cumsum([0.0, *seconds]) * RATE).astype(int)
    for start, stop in zip(edges[1::2], edges[2::2], strict=False):
        voice[start:stop] = 0.0
    return voice


def heard(sound: np.ndarray, block_s: float, options: DiarizationOptions) -> list[Piece]:
    hearing = LiveHearing(encoder(), options)
    size = round(block_s * RATE)
    blocks = [sound[first : first + size] for first in range(0, len(sound), size)]
    return [*(piece for block in blocks for piece in hearing.hear(block)), *hearing.end()]


@pytest.mark.parametrize(
    "method",
    [pytest.param("energy", marks=needs_librosa), pytest.param("silero", marks=needs_silero)],
)
def test_speech_is_that_of_the_whole_recording_in_any_blocks(method: Any) -> None:
    sound = spoken(2.0, 1.0, 3.0, 0.8, 1.2, 2.0, 4.0, 3.0)
    expected = np.array(speech_segments(sound, RATE, method)) / RATE
    options = DiarizationOptions(vad_method=method)
    small, large = heard(sound, 0.1, options), heard(sound, 7.3, options)
    places = [(piece.start_s, piece.end_s) for piece in small]
    assert places == [(piece.start_s, piece.end_s) for piece in large]
    np.testing.assert_allclose(places, expected, atol=0.15)
    for piece in small:
        assert len(piece.sound) / RATE == pytest.approx(piece.end_s - piece.start_s, abs=1e-3)


@needs_librosa
def test_a_stretch_is_given_when_a_pause_has_followed() -> None:
    sound = spoken(2.0, 3.0)
    hearing = LiveHearing(encoder(), ENERGY)
    until = [hearing.heard_s for piece in hearing.hear(sound)]
    assert len(until) == 1
    assert 2.5 <= until[0] <= 2.5 + STEP_S + 0.1
    assert hearing.quiet_until_s == hearing.heard_s == 5.0


@needs_librosa
def test_long_speech_comes_in_pieces_whose_windows_go_on_over_the_cut() -> None:
    first, second, *_ = heard(spoken(15.0, 1.0), 1.0, ENERGY)
    assert first.end_s - first.start_s == pytest.approx(PIECE_S)
    assert second.start_s == first.end_s
    assert second.windows[0, 0] == pytest.approx(first.end_s - 0.75)
    assert np.diff(second.windows[:, 0]) == pytest.approx(0.75)


@pytest.mark.parametrize("speaks", [True, False])
def test_an_hour_takes_no_more_room_than_a_minute(
    speaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 500
    monkeypatch.setattr(
        live_hearing,
        "speech_in",
        lambda sound, *_: np.array([[0, len(sound)]] if speaks else np.zeros((0, 2)), np.int64),
    )
    hearing = LiveHearing(encoder(rate), ENERGY)
    block = np.random.default_rng(0).normal(size=10 * rate).astype(np.float32)
    num_pieces = 0
    for _ in range(360):
        num_pieces += len([*hearing.hear(block)])
        assert len(hearing._sound) <= (30.0 + PIECE_S + 2 * STEP_S) * rate
        assert len(hearing._powers) <= 600
    assert hearing.heard_s == 3600.0
    assert num_pieces == (599 if speaks else 0)


@needs_silero
@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_network_hears_each_sample_once_and_forgets(rate: int) -> None:
    sound = synthesise(Voice(), 4.0, rate, seed=0).astype(np.float32)
    sound[2 * rate : 3 * rate] = 0.0
    live = LiveSilero(rate)
    for first in range(0, len(sound), 777):
        live.hear(sound[first : first + 777])
    live.hear(sound[:0], is_last=True)
    expected = np.array(speech_segments(sound, rate, "silero"))
    np.testing.assert_allclose(live.segments(len(sound)), expected, atol=0.04 * rate)
    live.forget(int(expected[0, 1]))
    np.testing.assert_allclose(live.segments(len(sound)), expected[1:], atol=0.04 * rate)
    assert len(live._probabilities) < 80
