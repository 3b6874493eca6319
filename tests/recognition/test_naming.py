"""What names tell of the voices of a recording: which are one person, and what is somebody else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from small_model import small_calibration

from mvector.audio.clip_report import ClipReport, QualityLimits
from mvector.diarization.hearing import Heard
from mvector.diarization.voices import Voices
from mvector.recognition.answers import Recognition
from mvector.recognition.decision import Decision
from mvector.recognition.judge import Judge
from mvector.recognition.naming import _joined, _without_strangers
from mvector.recognition.searching import _MUCH_THE_BEST, Search
from mvector.scoring.strangers import Strangers
from mvector.speakers.identification import Match

ADA, BOB, EVE = np.eye(3)
REPORT = ClipReport(20.0, 15.0, 40.0, 0.0, 60.0, 8000.0, 0.0, -20.0, 20.0)


def unit(*parts: float) -> np.ndarray:
    return np.array(parts) / np.linalg.norm(parts)


def recognition(name: str, voiceprint: np.ndarray, score: float, threshold: float) -> Recognition:
    match = Match(name, score, voiceprint=voiceprint)
    return Recognition(Decision(score, threshold, "given"), (match,), None, REPORT)


def heard_as(voices: list[np.ndarray]) -> tuple[Heard, np.ndarray]:
    """A second of each, with a window every 0.25 s; the stretches."""
    places = np.array([[float(k), k + 1.0] for k in range(len(voices))])
    starts = np.arange(0.0, len(voices), 0.25)
    units = np.repeat(np.array(voices), 4, axis=0)
    return Heard(len(voices), places, np.stack([starts, starts + 0.25], 1), units), places


def test_two_voices_that_are_one_person_are_joined() -> None:
    near, also_near = unit(1, 0.5, 0), unit(1, 0, 0.5)
    voices = Voices(np.zeros((3, 2)), np.array([0, 1, 2]), np.stack([near, also_near, BOB]))
    as_ada = [recognition("Ada", ADA, float(near @ ADA), 0.5)] * 2
    assert near @ also_near < near @ ADA  # less alike to each other than to her
    assert _joined(voices, [*as_ada, None]).tolist() == [0, 1, 2]
    uneven = [as_ada[0], recognition("Ada", ADA, 0.6, 0.5)]  # it may be who shares her room
    assert _joined(voices, [*uneven, None]).tolist() == [0, 1, 2]
    alike = Voices(voices.places, voices.voices, np.stack([near, unit(1, 0.6, 0), BOB]))
    assert _joined(alike, [*as_ada, None]).tolist() == [0, 0, 2]
    unsure = recognition("Ada", ADA, 0.8, 0.9)
    assert _joined(alike, [as_ada[0], unsure, None]).tolist() == [0, 1, 2]


def test_what_a_named_person_does_not_explain_is_another_voice() -> None:
    hers, foreign = unit(1, 0.3, 0), unit(0.3, 0, 1)
    heard, places = heard_as([hers] * 8 + [foreign] * 3 + [BOB])
    numbers = np.array([0] * 11 + [1])
    voices = Voices(places, numbers, np.stack([hers, BOB]))
    found = [recognition("Ada", ADA, 0.9, 0.5), None]
    divided = _without_strangers(numbers, heard, voices, found)
    assert divided.tolist() == [0] * 8 + [2] * 3 + [1]
    revised = voices.renumbered(divided, heard)
    assert revised.voices.tolist() == [0] * 8 + [1] * 3 + [2]
    assert revised.cores == pytest.approx(np.stack([hers, foreign, BOB]))
    unnamed = [recognition("Ada", ADA, 0.4, 0.5), None]
    assert _without_strangers(numbers, heard, voices, unnamed).tolist() == numbers.tolist()


def test_two_seconds_of_somebody_else_are_no_voice() -> None:
    heard, places = heard_as([ADA] * 6 + [EVE] * 2)
    voices = Voices(places, np.zeros(8, np.int64), ADA[None])
    found = [recognition("Ada", ADA, 1.0, 0.5)]
    assert _without_strangers(voices.voices, heard, voices, found).tolist() == [0] * 8


@dataclass
class Library:
    """People of whom is known how alike they are."""

    scores: tuple[float, ...]

    def identify_embedding(self, embedding: Any, top_k: int, within: Any) -> list[Match]:
        return [Match(f"person {k}", score) for k, score in enumerate(self.scores)][:top_k]

    def num_people(self, within: Any) -> int:
        return len(self.scores)


@pytest.mark.parametrize("people", [3, 20, 80])
def test_who_is_much_the_best_is_named_with_less_evidence_and_who_is_not_with_more(
    people: int,
) -> None:
    """Of N people a voice takes what √(20 · N) take of a clip, give or take the worth of that."""
    calibration = small_calibration()
    judge = Judge(calibration, None, "m")
    worth = _MUCH_THE_BEST / calibration.slope
    counted = math.sqrt(20 * people)
    asked = calibration.llr(calibration.limits()[0]) + math.log(counted)
    plain = (asked - calibration.offset) / calibration.slope
    of_search = Judge(calibration, None, "m", "search").limits(num_people=people)
    least = max(plain - worth, float(of_search.threshold))
    margin = math.log(people) / calibration.slope

    def decided(score: float, runner_up: float, judge: Judge = judge) -> Decision:
        library: Any = Library((score, runner_up, *[-1.0] * (people - 2)))
        search = Search(library, judge, Strangers(None), QualityLimits())
        return search.nearest_to_voice(np.ones(3), REPORT).decision

    ahead, behind = margin + 0.001, margin - 0.001
    assert decided(least + 0.001, least - ahead).same
    assert not decided(least - 0.001, least - 0.001 - ahead).same
    assert decided(plain + worth + 0.001, plain + worth - behind).same
    assert not decided(plain + worth - 0.001, plain + worth - 0.001 - behind).same
    given = Judge(calibration, plain, "m")  # decides as it is, without a calibration's evidence
    assert decided(plain, -1.0, given).same
    assert not decided(plain - 0.001, -1.0, given).same
