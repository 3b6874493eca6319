"""Voices of speech as it comes: all of it is told, by numbers that stay."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mvector.diarization import live
from mvector.diarization.live import LiveVoices, Stretch
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.voices import Voices

DIM, HOP_S, WINDOW_S = 48, 0.75, 1.5
Piece = tuple[tuple[float, float], np.ndarray, np.ndarray]


def pieces(
    people: list[list[int]], *, windows_each: int = 6, pause_s: float = 1.0, seed: int = 0
) -> Iterator[Piece]:
    """Pieces of speech, each of the people in it one behind the other, with pauses between."""
    random = np.random.default_rng(seed)
    common = random.normal(size=DIM)
    voices = random.normal(size=(max(map(max, people)) + 1, DIM))
    start_s = 0.0
    for own in people:
        labels = np.repeat(own, windows_each)
        vectors = voices[labels] + 0.7 * common + 0.8 * random.normal(size=(len(labels), DIM))
        starts = start_s + HOP_S * np.arange(len(labels))
        windows = np.stack([starts, starts + WINDOW_S], axis=1)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        yield (start_s, float(windows[-1, 1])), windows, units.astype(np.float32)
        start_s = float(windows[-1, 1]) + pause_s


def told(voices: LiveVoices, speech: Iterator[Piece]) -> list[list[Stretch]]:
    return [voices.add(*piece) for piece in speech]


def in_turns(num_people: int, num_turns: int, seed: int = 1) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [[int(k)] for k in [*range(num_people), *random.integers(0, num_people, num_turns)]]


@pytest.mark.parametrize("pause_s", [0.0, 1.0])
def test_all_speech_is_somebodys(pause_s: float) -> None:
    order = [[0], [1], [0, 1], [2, 0], [1], [2], [0, 2, 1], [1, 0]]
    speech = [*pieces(order, pause_s=pause_s)]
    for (segment, _, _), stretches in zip(speech, told(LiveVoices(DIM), iter(speech)), strict=True):
        edges = [segment[0], *(each.end_s for each in stretches)]
        assert [each.start_s for each in stretches] == edges[:-1]
        assert edges[-1] == segment[1]


def test_who_speaks_again_has_the_same_number_and_people_have_different_ones() -> None:
    order = in_turns(3, 25)
    found = told(LiveVoices(DIM), pieces(order))
    pairs = {
        (people[0], each.voice) for people, own in zip(order, found, strict=True) for each in own
    }
    assert pairs == {(0, 0), (1, 1), (2, 2)}


def test_a_change_of_voice_without_a_pause_is_found() -> None:
    order = [[0], [1], [0], [1], [0, 1]]
    *_, last = told(LiveVoices(DIM), pieces(order, windows_each=8))
    assert [each.voice for each in last] == [0, 1]
    assert last[0].end_s - last[0].start_s == pytest.approx(8 * HOP_S, abs=WINDOW_S)


def test_who_comes_back_after_long_is_known_by_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEPT", 40)
    voices = LiveVoices(DIM)
    found = told(voices, pieces([[0], [0], [1], [2], *[[1], [2]] * 6, [0], [1]]))
    assert [own[0].voice for own in found[-2:]] == [0, 1]
    assert set(voices.cores) == {0, 1, 2}


def piece_of(directions: list[np.ndarray], start_s: float, *, noise: float = 0.3) -> Piece:
    """A piece of windows along directions, each with some noise."""
    random = np.random.default_rng(round(start_s))
    vectors = np.stack(directions) + noise / np.sqrt(DIM) * random.normal(
        size=(len(directions), DIM)
    )
    starts = start_s + HOP_S * np.arange(len(vectors))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    windows = np.stack([starts, starts + WINDOW_S], axis=1)
    return (start_s, float(windows[-1, 1])), windows, units.astype(np.float32)


@pytest.mark.parametrize(("is_named", "number"), [(False, 0), (True, 1)])
def test_what_a_named_person_does_not_explain_is_another_voice(is_named: bool, number: int) -> None:
    voice, own, *_ = np.eye(DIM)
    ada, alike = voice + own, voice
    voices = LiveVoices(DIM)
    for start_s in (0.0, 10.0):
        voices.add(*piece_of([ada] * 6, start_s))
    named = {0: own} if is_named else {}
    assert [each.voice for each in voices.add(*piece_of([alike] * 6, 20.0), named)] == [number]
    assert [each.voice for each in voices.add(*piece_of([ada] * 6, 30.0), named)] == [0]


def test_a_stretch_is_whom_it_is_much_liker_whatever_cluster_it_is_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada, bob, *_ = np.eye(DIM)
    voices = LiveVoices(DIM)
    told(voices, iter([piece_of([ada] * 6, 0.0), piece_of([bob] * 6, 10.0)]))
    monkeypatch.setattr(
        live,
        "find_voices",
        lambda heard, _: Voices(heard.segments, np.array([0, 1, 0]), np.stack([ada, bob])),
    )
    assert [each.voice for each in voices.add(*piece_of([0.6 * ada + bob] * 6, 20.0))] == [1]


@pytest.mark.parametrize(("known", "new"), [(5, 1), (5, 8), (60, 1), (60, 8)])
def test_likeness_is_1_on_average_however_few_windows_there_are(known: int, new: int) -> None:
    random = np.random.default_rng(0)
    found = []
    for _ in range(40):
        voice = random.normal(size=DIM)
        vectors = voice + 1.2 * random.normal(size=(known + new, DIM))
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        voices = LiveVoices(DIM)
        windows = HOP_S * np.arange(known)[:, None] + [0.0, WINDOW_S]
        voices.add((0.0, HOP_S * known + WINDOW_S), windows, units[:known].astype(np.float32))
        found.append(voices._likeness(units[known:])[0])
    assert np.mean(found) == pytest.approx(1.0, abs=0.1)


def test_where_the_number_of_people_is_known_there_are_no_more() -> None:
    found = told(LiveVoices(DIM, DiarizationOptions(num_speakers=2)), pieces(in_turns(4, 12)))
    assert {each.voice for own in found for each in own} <= {0, 1}


def test_an_hour_of_ever_new_people_takes_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEPT", 24)
    monkeypatch.setattr(live, "MOST_KNOWN", 3)
    voices = LiveVoices(DIM)
    for piece in pieces([[k // 4] for k in range(600)]):
        voices.add(*piece)
        assert len(voices._units) == len(voices._windows) == len(voices._numbers) <= 24
        assert len(voices._segments) <= 24
        assert len(voices.cores) <= 3
    assert piece[0][1] > 3600.0


def test_a_piece_without_a_window_is_nobodys() -> None:
    voices = LiveVoices(DIM)
    assert voices.add((0.0, 0.2), np.zeros((0, 2)), np.zeros((0, DIM), np.float32)) == []
