"""Conversations drawn at random, and a diarization of each with the usual faults."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mvector.diarization import Turn


def conversation(seed: int, num_people: int, turns_each: int = 8) -> list[Turn]:
    """Turns to the millisecond; people speak over each other, and nobody over themselves."""
    rng = random.Random(seed)
    turns = []
    for person in range(num_people):
        at = rng.randint(0, 8000)
        for _ in range(turns_each):
            end = at + rng.randint(200, 6000)
            turns.append(Turn(at / 1000, end / 1000, f"person {person}"))
            at = end + rng.randint(600, 10000)
    return turns


def diarization(seed: int, reference: Sequence[Turn]) -> list[Turn]:
    """Boundaries are moved, a turn in six goes to the wrong label, one in ten is missed."""
    rng = random.Random(seed)
    labels = {turn.speaker: f"label {n}" for n, turn in enumerate(reference)}
    turns = []
    for turn in reference:
        start, end = round(turn.start_s * 1000), round(turn.end_s * 1000)
        start, end = max(0, start + rng.randint(-300, 90)), end + rng.randint(-90, 300)
        fault = rng.random()
        label = "label X" if fault < 1 / 6 else labels[turn.speaker]
        if fault < 0.9:
            turns.append(Turn(start / 1000, end / 1000, label))
    return turns
