"""Who of a library a voice is: the open-set rule, for clips and for voices of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mvector.audio.clip_report import ClipReport, QualityLimits
from mvector.recognition.answers import Recognition
from mvector.recognition.judge import Judge
from mvector.recognition.sides import match_sides
from mvector.scoring.strangers import Strangers

if TYPE_CHECKING:
    from mvector.speakers.library import SpeakerLibrary


@dataclass(frozen=True)
class Search:
    """A library, and by which rule somebody in it is recognised.

    Attributes:
        library: who is enrolled.
        judge: the rule of verdicts.
        strangers: of the model.
        quality: what clips are to be trusted.
        within: groups whose members are compared; ``None`` is everybody.
    """

    library: SpeakerLibrary
    judge: Judge
    strangers: Strangers
    quality: QualityLimits
    within: Sequence[str] | None = None

    def nearest(self, embedding: np.ndarray, report: ClipReport, top_k: int = 1) -> Recognition:
        """Whether the most alike enrolled person is the speaker of a clip.

        Args:
            embedding: ``(embd_dim,)`` of the clip.
            report: what was measured on it.
            top_k: how many of the most alike people to tell.

        Raises:
            LibraryError: nobody is enrolled.
            MVectorError: there is no threshold.
        """
        matches = self.library.identify_embedding(embedding, max(top_k, 2), within=self.within)
        best = matches[0]
        decision = self.judge.decide(
            best.score,
            *match_sides(best, embedding, report, self.strangers),
            num_people=self.library.num_people(self.within),
            reasons=self.quality.reasons(report),
        )
        margin = best.score - matches[1].score if len(matches) > 1 else None
        return Recognition(decision, tuple(matches[:top_k]), margin, report)
