"""Turns while they are spoken: when they end, what labels they have, and who is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_model import RATE, small_model, speech

from mvector import MVectorPredictor
from mvector.audio.clip_report import ClipReport
from mvector.diarization.live import Stretch
from mvector.diarization.live_hearing import Piece
from mvector.diarization.options import DiarizationOptions
from mvector.recognition import live as live_module
from mvector.recognition.answers import Recognition
from mvector.recognition.decision import Decision
from mvector.recognition.live import LiveDiarizer, LiveTurn
from mvector.speakers.identification import Match

ADA, BOB, EVE = np.eye(3)
REPORT = ClipReport(20.0, 15.0, 40.0, 0.0, 60.0, 8000.0, 0.0, -20.0, 20.0)


class Script:
    """Stands for ears, voices and library: what is said, by whom, and who each voice resembles."""

    def __init__(self, *stretches: tuple[float, float, int]) -> None:
        self.stretches = [Stretch(*each) for each in stretches]
        self.cores: dict[int, np.ndarray] = {}
        self.directions = [ADA, BOB, EVE]
        self.answers: dict[int, list[tuple[str, str, float]]] = {}
        self.noted: list[str | None] = []
        self.named: list[list[int]] = []  # voices that have a name, before each piece
        self.heard_s = self.quiet_until_s = 0.0
        self.library = SimpleNamespace(record=lambda what, name, score: self.noted.append(name))

    # what hears
    def hear(self, samples: np.ndarray) -> Iterator[Piece]:
        begin_s, self.heard_s = self.heard_s, self.heard_s + 0.5
        self.quiet_until_s = self.heard_s
        for each in self.stretches:
            if each.start_s < self.heard_s < each.end_s + 0.5:
                self.quiet_until_s = each.start_s
            if begin_s < each.end_s + 0.5 <= self.heard_s:
                nothing = np.zeros((0, 2))
                yield Piece(each.start_s, each.end_s, nothing, nothing, np.zeros(10, np.float32))

    def end(self) -> Iterator[Piece]:
        return self.hear(np.zeros(0, np.float32))

    # the voices
    def add(
        self, place: tuple[float, float], _: Any, units: Any, voiceprints: dict[int, np.ndarray]
    ) -> list[Stretch]:
        self.named.append([*voiceprints])
        own = [each for each in self.stretches if (each.start_s, each.end_s) == place]
        self.cores |= {each.voice: self.directions[each.voice] for each in own}
        return own

    # the library
    def nearest_to_voice(self, core: np.ndarray, report: ClipReport) -> Recognition:
        voice = next(k for k, own in self.cores.items() if own is core)
        answers = self.answers.get(voice, [("different", "Ada", 0.1)])
        answer, name, score = answers.pop(0) if len(answers) > 1 else answers[0]
        threshold = {"same": score - 0.1}.get(answer, score + 0.1)
        band = (score, score) if answer == "cannot tell" else None
        decision = Decision(score, threshold, "given", inconclusive_band=band)
        return Recognition(decision, (Match(name, score, voiceprint=core),), None, report)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(script: Script) -> list[LiveTurn]:
        monkeypatch.setattr(live_module, "LiveHearing", lambda *_: script)
        monkeypatch.setattr(live_module, "LiveVoices", lambda *_: script)
        encoder: Any = SimpleNamespace(sample_rate=10, embd_dim=3, measure=lambda clip: REPORT)
        live = LiveDiarizer(encoder, script)  # type: ignore[arg-type]
        blocks = range(round(2 * max(each.end_s for each in script.stretches)))
        told = [each for _ in blocks for each in live.hear(np.zeros(5, np.float32))]
        return [*told, *live.end()]

    return run


def labels(told: list[LiveTurn]) -> list[str]:
    return [each.turn.label for each in told]


def test_a_turn_goes_on_over_a_short_pause_and_ends_with_a_long_one(play: Any) -> None:
    told = play(Script((0.0, 2.0, 0), (2.4, 4.0, 0), (5.0, 6.0, 0)))
    assert [(each.turn.start_s, each.turn.end_s) for each in told] == [(0.0, 4.0), (5.0, 6.0)]
    assert told[0].told_s == 4.5
    assert labels(told) == ["Speaker 1"] * 2


def test_a_turn_ends_where_somebody_else_speaks(play: Any) -> None:
    told = play(Script((0.0, 2.0, 0), (2.0, 4.0, 1), (4.0, 5.0, 0)))
    assert labels(told) == ["Speaker 1", "Speaker 2", "Speaker 1"]
    assert [each.earlier for each in told] == [None] * 3


def test_a_name_that_comes_later_is_told_once_and_the_speaker_stays(play: Any) -> None:
    script = Script((0.0, 2.0, 0), (4.0, 6.0, 0), (8.0, 9.0, 0))
    script.answers[0] = [("different", "Ada", 0.3), ("same", "Ada", 0.8)]
    told = play(script)
    assert labels(told) == ["Speaker 1", "Ada", "Ada"]
    assert [each.earlier for each in told] == [None, "Speaker 1", None]
    assert {each.turn.speaker for each in told} == {"Speaker 1"}
    assert [each.turn.score for each in told] == [None, 0.8, 0.8]
    assert script.noted == [None, "Ada"]


def test_only_who_is_unknown_has_a_number(play: Any) -> None:
    script = Script((0.0, 2.0, 0), (4.0, 6.0, 1))
    script.answers[0] = [("same", "Ada", 0.8)]
    told = play(script)
    assert labels(told) == ["Ada", "Speaker 1"]
    assert told[0].turn.speaker == "Ada"


def test_a_doubt_leaves_a_name_and_a_clear_answer_takes_it(play: Any) -> None:
    script = Script(*((4.0 * k, 4.0 * k + 2.0, 0) for k in range(3)))
    script.answers[0] = [("same", "Ada", 0.8), ("cannot tell", "Ada", 0.5), ("different", "A", 0.1)]
    told = play(script)
    assert labels(told) == ["Ada", "Ada", "Speaker 1"]
    assert told[2].earlier == "Ada"


def test_a_name_that_is_doubted_again_and_again_goes_and_this_is_told_once(play: Any) -> None:
    script = Script(*((4.0 * k, 4.0 * k + 2.0, 0) for k in range(6)))
    script.answers[0] = [("same", "Ada", 0.8), ("cannot tell", "Ada", 0.5)]
    told = play(script)
    assert labels(told) == ["Ada"] * 3 + ["Speaker 1"] * 3
    assert [each.earlier for each in told] == [None] * 3 + ["Ada", None, None]
    assert script.named == [[], [0], [0], [0], [], []]


def test_a_name_that_was_certain_for_long_stays_for_as_many_doubts(play: Any) -> None:
    script = Script(*((4.0 * k, 4.0 * k + 2.0, 0) for k in range(7)))
    script.answers[0] = [("same", "Ada", 0.8)] * 3 + [("cannot tell", "Ada", 0.5)]
    assert labels(play(script)) == ["Ada"] * 7


@pytest.mark.parametrize(("direction", "second"), [(BOB, "Speaker 1"), (ADA, "Ada")])
def test_a_name_goes_to_one_voice_unless_both_are_alike(
    play: Any, direction: np.ndarray, second: str
) -> None:
    script = Script((0.0, 2.0, 0), (4.0, 6.0, 1))
    script.directions[1] = direction.copy()
    script.answers = {0: [("same", "Ada", 0.7)], 1: [("same", "Ada", 0.8)]}
    assert labels(play(script)) == ["Ada", second]


def test_what_the_microphone_gives_becomes_turns_in_any_blocks(tmp_path: Path) -> None:
    pytest.importorskip("librosa", reason="finds the speech by its level")
    predictor = MVectorPredictor(small_model(tmp_path / "model"), threshold=0.9, use_gpu=False)
    pause = np.zeros(RATE, np.float32)
    sound = np.concatenate([np.r_[speech(k % 2, 3.2, seed=k), pause] for k in range(3)])

    def turns(block_s: float) -> list[Any]:
        live = predictor.diarize_live(options=DiarizationOptions(vad_method="energy"))
        size = round(block_s * RATE)
        blocks = [sound[first : first + size] for first in range(0, len(sound), size)]
        return [each.turn for each in (*(t for b in blocks for t in live.hear(b)), *live.end())]

    found = turns(0.1)
    assert found == turns(5.0)
    assert found[0].label == "Speaker 1"
    assert sum(turn.duration_s for turn in found) == pytest.approx(9.6, abs=0.6)
