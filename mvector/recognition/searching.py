"""Who of a library a voice is: the open-set rule, for clips and for voices of a recording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mvector.audio.clip_report import ClipReport, QualityLimits
from mvector.recognition.answers import Recognition
from mvector.recognition.decision import Decision
from mvector.recognition.judge import Judge
from mvector.recognition.sides import match_sides
from mvector.scoring.strangers import Strangers

if TYPE_CHECKING:
    from mvector.speakers.identification import Match
    from mvector.speakers.library import SpeakerLibrary


# Log-likelihood ratio that it is worth if a voice of a recording is much more alike to one person
# than to anybody else who is enrolled, and what it costs if not. Chosen on simulated recordings and
# on longer clips of others, each compared with a library that lacked them.
_MUCH_THE_BEST = 1.6
# People of the libraries that this was chosen with. From there on, either way, what N people ask
# for changes half as fast with N as for clips: the ratio that voices of strangers reach does so.
_USUAL_PEOPLE = 20


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
        matches = self._matches(embedding, top_k)
        return self._recognition(
            matches, self._decide(matches[0], embedding, report), report, top_k
        )

    def nearest_to_voice(self, embedding: np.ndarray, report: ClipReport) -> Recognition:
        """Whether the most alike enrolled person is a voice of a recording.

        A calibration is of single clips, whose scores vary with each; a voice is what many windows
        have in common. If somebody is N times likelier than the next of N people, there is nobody
        else it could well be but a stranger, and it takes less to be named; if not, it takes more.
        And N has half the weight that it has for clips. Arguments and errors as for
        :meth:`nearest`.
        """
        matches = self._matches(embedding, 1)
        decision = self._decide(matches[0], embedding, report)
        if decision.llr is not None and len(matches) > 1:
            other = self._decide(matches[1], embedding, report)
            people = decision.num_people
            is_best = decision.llr - (other.llr or 0.0) >= math.log(people)
            eased_by = _MUCH_THE_BEST if is_best else -_MUCH_THE_BEST
            eased_by += 0.5 * math.log(people / _USUAL_PEOPLE)
            decision = self._decide(matches[0], embedding, report, eased_by)
        return self._recognition(matches, decision, report, 1)

    def _matches(self, embedding: np.ndarray, top_k: int) -> list[Match]:
        return self.library.identify_embedding(embedding, max(top_k, 2), within=self.within)

    def _decide(
        self, match: Match, embedding: np.ndarray, report: ClipReport, eased_by: float = 0.0
    ) -> Decision:
        return self.judge.decide(
            match.score,
            *match_sides(match, embedding, report, self.strangers),
            num_people=self.library.num_people(self.within),
            reasons=self.quality.reasons(report),
            eased_by=eased_by,
        )

    def _recognition(
        self, matches: Sequence[Match], decision: Decision, report: ClipReport, top_k: int
    ) -> Recognition:
        margin = matches[0].score - matches[1].score if len(matches) > 1 else None
        return Recognition(decision, tuple(matches[:top_k]), margin, report)
