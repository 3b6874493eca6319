"""When people take turns: conversations drawn from the statistics of real ones.

A turn *holds the floor* if it ends later than all before it. Between two of them there is a pause
or, where another person begins early, an overlap. A turn that lies within another's is an
interjection. The numbers are quantiles over public reference turns, of which nothing else is kept:

- *meeting*: AMI, 170 meetings of 3 to 5 people, words only, in the repository
  pyannote/AMI-diarization-setup on GitHub (commit 5182c80), from the AMI Corpus (Carletta et al.,
  2005; CC BY 4.0).
- *broadcast*: VoxConverse 0.3, 448 videos of debates and news, in joonson/voxconverse on GitHub
  (commit 24bf60b; Chung et al., *Spot the conversation*, Interspeech 2020; CC BY 4.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_BREATH_S = 0.1  # at least, between two turns of one person
_LEAD_S = 0.2  # at least, from the beginning of one turn to that of the next
_LIVELINESS = 2.0  # shape of the gamma distribution of how much people like to talk


@dataclass(frozen=True)
class TurnTaking:
    """How people of one kind of conversation take turns.

    Attributes:
        goes_on: probability that the next to hold the floor is the same person.
        answers: that it is the one before, where it is another and there are three or more.
        interjections_per_s: how often others put something in while somebody holds the floor.
        turns_s: quantiles of the length of turns that hold the floor.
        pauses_s: of the pause before the same person goes on.
        changes_s: of the pause before another person begins; below zero, they overlap.
        interjections_s: of the length of interjections.
    """

    goes_on: float
    answers: float
    interjections_per_s: float
    turns_s: tuple[float, ...]
    pauses_s: tuple[float, ...]
    changes_s: tuple[float, ...]
    interjections_s: tuple[float, ...]


STYLES = {
    "meeting": TurnTaking(
        goes_on=0.202,
        answers=0.497,
        interjections_per_s=0.0968,
        turns_s=(0.18, 0.31, 0.45, 0.92, 1.52, 2.23, 3.12, 4.31, 5.99, 8.76, 14.67, 21.54, 38.38),
        pauses_s=(0.27, 0.58, 0.92, 1.15, 1.27, 1.43, 1.62, 1.86, 2.22, 2.86, 4.42, 6.58, 15.35),
        changes_s=(
            *(-3.97, -2.11, -1.45, -0.8, -0.41, -0.09, 0.13),
            *(0.33, 0.57, 0.93, 1.61, 2.64, 7.35),
        ),
        interjections_s=(
            *(0.12, 0.18, 0.22, 0.28, 0.33, 0.39, 0.46, 0.59, 0.83, 1.21, 1.88, 2.61, 4.58),
        ),
    ),
    "broadcast": TurnTaking(
        goes_on=0.416,
        answers=0.528,
        interjections_per_s=0.0188,
        turns_s=(0.38, 0.58, 0.81, 1.28, 1.92, 2.88, 4.17, 5.92, 8.45, 12.84, 22.6, 34.06, 62.78),
        pauses_s=(0.04, 0.16, 0.34, 0.48, 0.6, 0.69, 0.8, 0.92, 1.12, 1.4, 2.07, 3.14, 7.88),
        changes_s=(
            *(-2.86, -1.28, -0.73, -0.26, -0.04, 0.02, 0.12),
            *(0.24, 0.44, 0.76, 1.42, 2.18, 5.99),
        ),
        interjections_s=(
            *(0.26, 0.32, 0.37, 0.44, 0.51, 0.6, 0.7, 0.85, 1.0, 1.33, 1.92, 2.8, 4.83),
        ),
    ),
}


class PlannedTurn(NamedTuple):
    """Who speaks, by number from 0, and from when to when, in seconds."""

    person: int
    start_s: float
    end_s: float


def draw_turns(
    style: TurnTaking, num_people: int, duration_s: float, rng: np.random.Generator
) -> list[PlannedTurn]:
    """Turns of a conversation, by their starts, none of which ends behind ``duration_s``.

    People like to talk to different degrees; one who does little may not come to say anything.
    Nobody speaks over themselves.
    """
    liveliness = rng.gamma(_LIVELINESS, size=num_people) + 0.1
    free_from_s = np.zeros(num_people)  # when each person has ended their last turn
    turns: list[PlannedTurn] = []
    person, before = int(rng.choice(num_people, p=_normalised(liveliness))), None
    start_s, floor_end_s = abs(_draw(style.changes_s, rng)), 0.0
    while start_s < duration_s:
        # who takes the floor speaks on when the other has ended
        end_s = max(start_s + _draw(style.turns_s, rng), floor_end_s + _LEAD_S)
        floor = PlannedTurn(person, start_s, min(end_s, duration_s))
        floor_end_s = free_from_s[person] = floor.end_s
        turns += [floor, *_draw_interjections(style, floor, free_from_s, rng)]
        if num_people == 1 or rng.random() < style.goes_on:
            start_s = floor_end_s + max(_draw(style.pauses_s, rng), _BREATH_S)
            continue
        person, before = _draw_other(style, person, before, liveliness, rng), person
        start_s = floor_end_s + _draw(style.changes_s, rng)
        start_s = max(start_s, floor.start_s + _LEAD_S, free_from_s[person] + _BREATH_S)
    return sorted(turns, key=lambda turn: turn.start_s)


def _draw_interjections(
    style: TurnTaking, floor: PlannedTurn, free_from_s: np.ndarray, rng: np.random.Generator
) -> list[PlannedTurn]:
    """What others put in during a turn; ``free_from_s`` is brought up to date."""
    turns = []
    length_s = floor.end_s - floor.start_s
    others = [person for person in range(len(free_from_s)) if person != floor.person]
    starts = np.sort(
        rng.uniform(
            floor.start_s,
            floor.end_s,
            rng.poisson(style.interjections_per_s * length_s if others else 0.0),
        )
    )
    for start_s in starts:
        person = int(rng.choice(others))
        end_s = start_s + _draw(style.interjections_s, rng)
        if end_s < floor.end_s and start_s > free_from_s[person] + _BREATH_S:
            turns.append(PlannedTurn(person, float(start_s), float(end_s)))
            free_from_s[person] = end_s
    return turns


def _draw_other(
    style: TurnTaking,
    person: int,
    before: int | None,
    liveliness: np.ndarray,
    rng: np.random.Generator,
) -> int:
    """Who takes the floor from a person."""
    weights = liveliness.copy()
    weights[person] = 0.0
    if before is not None and before != person and len(weights) > 2:
        if rng.random() < style.answers:
            return before
        weights[before] = 0.0
    return int(rng.choice(len(weights), p=_normalised(weights)))


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def _draw(quantiles: tuple[float, ...], rng: np.random.Generator) -> float:
    return float(np.interp(rng.random(), _SHARES, quantiles))
