"""Verdicts: what a score means, decided in one place.

A threshold is a cosine for the very clips that were compared, and a score at or above it is the
same person: nothing else decides.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mvector.audio.clip_report import ENROLMENT_FLOOR
from mvector.audio.quality import SpeechQuality
from mvector.errors import MVectorError
from mvector.evaluation.calibration import CONCLUSIVE_RATIO, Calibration
from mvector.evaluation.quality import pair_quality
from mvector.recognition.arguments import is_number

logger = logging.getLogger(__name__)

_CONCLUSIVE_LLR = math.log(CONCLUSIVE_RATIO)
#: Seconds of speech below which a clip is not enrolled, and no score of it is conclusive.
LEAST_SPEECH_S = ENROLMENT_FLOOR.min_speech_s or 0.0


class Limits(NamedTuple):
    """Cosines at which a verdict changes, for one comparison or ``(N,)`` of N comparisons.

    Attributes:
        threshold: scores at or above it are the same person; in [-1, 1].
        low: scores from here to ``high`` are inconclusive, no lower than -1.
        high: no higher than 1. Below ``low`` where no score is inconclusive.
    """

    threshold: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray


@dataclass(frozen=True)
class Decision:
    """What a score means.

    Attributes:
        score: cosine similarity in [-1, 1].
        threshold: scores at or above it are the same person; in [-1, 1].
        threshold_source: where the threshold comes from, in few words.
        llr: natural-log likelihood ratio, of two clips or a clip and a person; ``None`` for a model
            without calibration.
        probability: that it is the same person, if that was as likely as not before the clips were
            heard, or 1/N as likely where N people are compared; ``None`` without calibration.
        inconclusive_band: scores within it, ends included, are weak evidence for these clips: less
            than ten to one for either answer, the number of people accounted for. All cosines where
            a side has less than 0.3 s of speech. Else ``None`` without calibration, or if no cosine
            lies there.
        num_people: how many people the clip was compared with.
        calibrated_on: the trials behind the model's calibration, in words.
        reasons: why the clips may not be worth trusting, in words.
    """

    score: float
    threshold: float
    threshold_source: str
    llr: float | None = None
    probability: float | None = None
    inconclusive_band: tuple[float, float] | None = None
    num_people: int = 1
    calibrated_on: str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """The verdict."""
        return self.score >= self.threshold

    @property
    def inconclusive(self) -> bool | None:
        """Whether the score is weak evidence; ``None`` where no calibration says it."""
        band = self.inconclusive_band
        if band is None:
            return None if self.llr is None else False
        return band[0] <= self.score <= band[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {**vars(self), "same": self.same, "inconclusive": self.inconclusive}
        return {key: list(own) if isinstance(own, tuple) else own for key, own in values.items()}

    def as_text(self) -> tuple[str, str]:
        """Score and threshold with as many decimals as it takes to show which is higher."""
        for digits in range(4, 17):
            score, threshold = f"{self.score:.{digits}f}", f"{self.threshold:.{digits}f}"
            if (float(score) >= float(threshold)) == self.same:
                return score, threshold
        return repr(self.score), repr(self.threshold)

    def details(self) -> list[str]:
        """What few ask for, a line each: where the threshold comes from, and probabilities."""
        lines = [f"threshold: {self.threshold_source}"]
        if self.calibrated_on is not None:
            lines.append(f"calibrated on: {self.calibrated_on}")
        if self.llr is not None and self.probability is not None:
            lines.append(
                f"probability of the same person: {self.probability:.3f} (log-likelihood ratio "
                f"{self.llr:.2f}, {self.num_people:,} compared)"
            )
        return lines

    def __str__(self) -> str:
        verdict = "same person" if self.same else "different people"
        score, threshold = self.as_text()
        doubt = ", inconclusive" if self.inconclusive else ""
        figures = f" (similarity {score}, threshold {threshold})"
        return f"{verdict}{doubt}{figures}{format_reasons(self.reasons)}"


@dataclass(frozen=True)
class Judge:
    """A model's threshold and calibration: turns cosines into verdicts.

    Attributes:
        calibration: of the model's cosines, or ``None`` if never measured.
        given: the caller's threshold, which takes the place of the calibrated one.
        model: the model's name in messages.

    Raises:
        MVectorError: the threshold given is not a cosine.
    """

    calibration: Calibration | None
    given: float | None
    model: str

    def __post_init__(self) -> None:
        if self.given is None:
            return
        if not (is_number(self.given) and -1.0 <= self.given <= 1.0):
            raise MVectorError(
                f"The threshold {self.given!r} is not a cosine: it must lie between -1 and 1.",
                code="threshold-invalid",
            )

    def with_threshold(self, threshold: float | None) -> Judge:
        """A judge for one call; ``None`` is this one."""
        return self if threshold is None else replace(self, given=threshold)

    @property
    def threshold(self) -> float:
        """The threshold for two clips whose quality is not known.

        Raises:
            MVectorError: none was given and the model has no calibration.
        """
        return float(self.limits().threshold)

    @property
    def uses_quality(self) -> bool:
        """Whether the quality of the clips plays a part in likelihood ratios."""
        known = self.calibration
        return known is not None and known.slope > 0 and known.knows_quality

    def limits(
        self,
        measures: np.ndarray | None = None,
        num_people: int = 1,
        least_speech_s: float | np.ndarray | None = None,
    ) -> Limits:
        """Threshold and inconclusive band of comparisons: the rule behind every verdict.

        A threshold given by the caller decides as it is. A calibrated one is the cosine that means
        as much as the calibration's threshold does: its log-likelihood ratio, corrected for the
        quality of both sides where that is known, reaches that of the threshold, plus log N.

        Args:
            measures: what is known of the quality of both sides, ``(N, 4)`` or ``(4,)`` of
                :func:`mvector.evaluation.quality.pair_quality`; ``None`` if nothing.
            num_people: how many people the clip is compared with.
            least_speech_s: of the side with less speech, seconds, one or ``(N,)``; ``None`` if not
                known. Below :data:`LEAST_SPEECH_S` there is no voice to go by: whatever the score,
                it is inconclusive.

        Returns:
            One of each, or arrays ``(N,)`` where the quality of N comparisons plays a part.

        Raises:
            MVectorError: there is no threshold.
        """
        threshold, low, high = self._limits_of_scores(measures, num_people)
        if least_speech_s is None:
            return Limits(threshold, low, high)
        is_mute = np.less(least_speech_s, LEAST_SPEECH_S)
        return Limits(threshold, np.where(is_mute, -1.0, low), np.where(is_mute, 1.0, high))

    def _limits_of_scores(self, measures: np.ndarray | None, num_people: int) -> Limits:
        known, given = self.calibration, self.given
        if known is None:
            if given is None:
                raise MVectorError(
                    f"The model '{self.model}' has no calibrated threshold: measure one with "
                    f"eval.py --model_path '{self.model}', or give --threshold.",
                    code="threshold-not-calibrated",
                )
            return Limits(given, math.inf, -math.inf)
        if known.slope <= 0:  # higher scores mean nothing: there is no ratio to reach
            limit = known.threshold_eer if given is None else given
            return Limits(max(-1.0, min(1.0, limit)), -1.0, 1.0)
        measures = measures if self.uses_quality else None
        # A stranger has N chances to be taken for somebody: among N people each is the speaker with
        # 1/N of the prior odds, so that the ratio must be N times as high.
        raised = math.log(num_people)
        threshold: float | np.ndarray
        if given is not None:
            threshold = given
        elif measures is None:
            threshold = known.threshold_eer + raised / known.slope
        else:
            threshold = known.score_at(known.llr(known.threshold_eer) + raised, measures)
        return Limits(
            np.clip(threshold, -1.0, 1.0),
            np.maximum(known.score_at(raised - _CONCLUSIVE_LLR, measures), -1.0),
            np.minimum(known.score_at(raised + _CONCLUSIVE_LLR, measures), 1.0),
        )

    def decide(
        self,
        score: float,
        one: SpeechQuality | None = None,
        other: SpeechQuality | None = None,
        *,
        num_people: int = 1,
        reasons: tuple[str, ...] = (),
    ) -> Decision:
        """Turn a cosine into a verdict.

        Args:
            score: of two clips, or of a clip and the voiceprint that is most alike.
            one: quality of one side; ``None`` if not known.
            other: quality of the other side; which is which makes no difference.
            num_people: how many people the clip was compared with.
            reasons: why the clips may not be worth trusting.

        Raises:
            MVectorError: there is no threshold.
        """
        measures = None
        # Where one side's quality is not known, the score alone is judged: the ratio that knows no
        # quality. To take the other side to be as good would ask more of a clip the better it is.
        if self.uses_quality and one is not None and other is not None:
            measures = pair_quality(np.array([one[:2]]), np.array([other[:2]]))[0]
        score, known = float(score), self.calibration
        least = min((side.speech_s for side in (one, other) if side is not None), default=None)
        limits = self.limits(measures, num_people, least)
        threshold, low, high = (float(limit) for limit in limits)
        source = self.threshold_source(num_people, is_adjusted=measures is not None)
        about: dict[str, Any] = {"num_people": num_people, "reasons": reasons}
        about["inconclusive_band"] = (low, high) if low <= high else None
        if known is not None:
            about["llr"] = known.llr(score, measures)
            about["probability"] = known.probability(score, 1.0 / (1.0 + num_people), measures)
            about["calibrated_on"] = known.description
        return Decision(score, threshold, source, **about)

    def threshold_source(self, num_people: int = 1, *, is_adjusted: bool = False) -> str:
        """Where a threshold comes from, in few words; ``is_adjusted`` to the clips' quality."""
        if self.given is not None or self.calibration is None:
            return "given"
        known, changes = self.calibration, []
        if num_people > 1 and known.slope > 0:
            changes.append(f"raised for {num_people:,} people")
        if is_adjusted:
            changes.append("adjusted to the clips' quality")
        if changes:
            return ", ".join(changes)
        if known.num_speakers is not None:
            return f"calibrated on {known.num_speakers:,} speakers"
        return f"calibrated on {known.num_target + known.num_nontarget:,} trials"


def format_reasons(reasons: tuple[str, ...]) -> str:
    """Reasons as the end of a sentence; nothing where there are none."""
    return f" [be careful: {'; '.join(reasons)}]" if reasons else ""
