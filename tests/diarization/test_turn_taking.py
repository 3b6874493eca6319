"""Conversations drawn at random take turns as the real ones do that their numbers are of."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mvector.diarization.turn_taking import STYLES, PlannedTurn, draw_turns


def conversations(style: str, num_people: int = 4) -> list[list[PlannedTurn]]:
    return [
        draw_turns(STYLES[style], num_people, 600.0, np.random.default_rng(seed))
        for seed in range(20)
    ]


def holders(turns: list[PlannedTurn]) -> list[PlannedTurn]:
    """The turns that end later than all before them."""
    ends = np.maximum.accumulate([turn.end_s for turn in turns])
    return [
        turns[0],
        *(turn for turn, end in zip(turns[1:], ends[:-1], strict=True) if turn.end_s > end),
    ]


@pytest.mark.parametrize("num_people", [1, 2, 10])
def test_nobody_speaks_over_themselves_or_beyond_the_end(num_people: int) -> None:
    for turns in conversations("meeting", num_people):
        assert {turn.person for turn in turns} <= set(range(num_people))
        for person in range(num_people):
            own = [turn for turn in turns if turn.person == person]
            assert all(a.end_s < b.start_s for a, b in pairwise(own))
        assert all(0 <= turn.start_s < turn.end_s <= 600.0 for turn in turns)
        assert turns == sorted(turns, key=lambda turn: turn.start_s)


@pytest.mark.parametrize("style", STYLES)
def test_turns_are_as_long_and_change_as_often_as_real_ones(style: str) -> None:
    expected = STYLES[style]
    floors = [holders(turns) for turns in conversations(style)]
    lengths = [turn.end_s - turn.start_s for each in floors for turn in each]
    assert np.median(lengths) == pytest.approx(expected.turns_s[6], rel=0.2)
    next_to = [pair for each in floors for pair in pairwise(each)]
    same = np.array([before.person == after.person for before, after in next_to])
    assert same.mean() == pytest.approx(expected.goes_on, abs=0.04)
    pauses = np.array([after.start_s - before.end_s for before, after in next_to])
    assert np.median(pauses[same]) == pytest.approx(expected.pauses_s[6], rel=0.2)
    assert np.median(pauses[~same]) == pytest.approx(expected.changes_s[6], abs=0.1)
    answers = [
        first.person == third.person
        for each in floors
        for first, second, third in zip(each, each[1:], each[2:], strict=False)
        if first.person != second.person != third.person
    ]
    assert np.mean(answers) == pytest.approx(expected.answers, abs=0.05)


def test_a_lively_meeting_has_more_speech_at_once_than_a_broadcast() -> None:
    """13.6 % of AMI's speech, and 3.3 % of VoxConverse's, is of several people."""
    shares = {}
    for style in STYLES:
        steps = np.zeros((20, 6001), dtype=int)
        for number, turns in enumerate(conversations(style)):
            for turn in turns:
                steps[number, round(10 * turn.start_s)] += 1
                steps[number, round(10 * turn.end_s)] -= 1
        speaking = steps.cumsum(axis=1)
        shares[style] = (speaking > 1).sum() / (speaking > 0).sum()
    assert 0.08 < shares["meeting"] < 0.16
    assert 0.01 < shares["broadcast"] < 0.05
