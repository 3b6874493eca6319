"""What is known of both sides of a comparison, beside their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mvector.audio.clip_report import ClipReport, combine_reports
from mvector.errors import AudioError
from mvector.recognition.judge import Side
from mvector.scoring.strangers import Strangers

if TYPE_CHECKING:
    from mvector.speakers.identification import Match


def clip_sides(
    heard: Sequence[tuple[np.ndarray, ClipReport]], strangers: Strangers
) -> tuple[Side, ...]:
    """Of clips that are compared with each other, each an embedding and what was measured on it."""
    embeddings = np.stack([embedding for embedding, _ in heard])
    likeness = strangers.likeness(embeddings), strangers.own_likeness(embeddings)
    return tuple(
        Side(report.quality, _if_known(one), _if_known(own))
        for (_, report), one, own in zip(heard, *likeness, strict=True)
    )


def together(
    heard: Sequence[tuple[np.ndarray, ClipReport]],
) -> tuple[np.ndarray, ClipReport]:
    """Several clips of one speaker as one: the mean of their directions, and a report on all.

    The direction is that of a voiceprint of these clips; the length has no meaning.

    Raises:
        AudioError: the clips have no mean direction.
    """
    if len(heard) == 1:
        return heard[0]
    embeddings = np.stack([embedding for embedding, _ in heard]).astype(np.float64)
    mean = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).mean(axis=0)
    if not mean.any():
        raise AudioError("The clips contradict each other; give clips of one speaker.")
    return mean.astype(np.float32), combine_reports([report for _, report in heard])


def match_sides(
    match: Match, embedding: np.ndarray, report: ClipReport, strangers: Strangers
) -> tuple[Side, Side]:
    """Of an enrolled person, and of the clip ``(embd_dim,)`` that is compared with them.

    Own strangers are the other people of the library; where these are too few, those that the
    model was given.
    """
    if match.voiceprint is None:
        return Side(match.quality), Side(report.quality)
    embeddings = np.stack([match.voiceprint, embedding])
    likeness = strangers.likeness(embeddings)
    own = [match.own_likeness, match.clip_own_likeness]
    if None in own:
        own = [*map(_if_known, strangers.own_likeness(embeddings))]
    return (
        Side(match.quality, _if_known(likeness[0]), own[0]),
        Side(report.quality, _if_known(likeness[1]), own[1]),
    )


def _if_known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
