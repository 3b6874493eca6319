"""Verdicts: what a score means, decided in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mvector.audio.clip_report import ClipReport
from mvector.errors import MVectorError
from mvector.evaluation.calibration import Calibration
from mvector.evaluation.quality import pair_quality


@dataclass(frozen=True)
class Decision:
    """What a score means.

    Attributes:
        score: cosine similarity in [-1, 1].
        threshold: scores at or above it are the same person.
        threshold_source: where the threshold comes from, in words.
        same: the verdict.
        llr: natural-log likelihood ratio, or ``None`` for a model without calibration.
        inconclusive: the likelihood ratio is less than ten to one either way; ``None`` for a model
            without calibration.
        probability: that it is the same person, if that was as likely as not before the clips were
            heard; ``None`` for a model without calibration.
        reasons: why the clips may not be worth trusting, in words.
    """

    score: float
    threshold: float
    threshold_source: str
    same: bool
    llr: float | None
    inconclusive: bool | None = None
    probability: float | None = None
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**self.__dict__, "reasons": list(self.reasons)}

    def __str__(self) -> str:
        verdict = "the same person" if self.same else "different people"
        lines = f"{verdict}, similarity {self.score:.4f} (threshold {self.threshold:.4f}, "
        lines += f"{self.threshold_source})"
        if self.probability is not None:
            lines += f", probability of the same person {self.probability:.3f}"
        return lines + (", inconclusive" if self.inconclusive else "") + in_brackets(self.reasons)


@dataclass(frozen=True)
class Judge:
    """A model's threshold and calibration: turns cosines into verdicts.

    Attributes:
        calibration: of the model's cosines, or ``None`` if never measured.
        given: the caller's threshold, which takes the place of the calibrated one.
        model: the model's name in messages.
    """

    calibration: Calibration | None
    given: float | None
    model: str

    def __post_init__(self) -> None:
        if self.given is not None and not -1.0 <= self.given <= 1.0:
            raise MVectorError(
                f"The threshold {self.given:g} is not a cosine: it must lie between -1 and 1.",
                code="threshold-invalid",
            )

    def with_threshold(self, threshold: float | None) -> Judge:
        """A judge for one call; ``None`` is this one."""
        return self if threshold is None else replace(self, given=threshold)

    @property
    def threshold(self) -> float:
        """Scores at or above it are the same person.

        Raises:
            MVectorError: none was given and the model has no calibration.
        """
        if self.given is not None:
            return self.given
        if self.calibration is None:
            raise MVectorError(
                f"The model '{self.model}' has no calibrated threshold: measure one with "
                f"eval.py --model_path '{self.model}', or give --threshold.",
                code="threshold-not-calibrated",
            )
        return self.calibration.threshold_eer

    @property
    def source(self) -> str:
        """Where the threshold comes from, in words."""
        if self.given is not None or self.calibration is None:
            return "given by the caller"
        return f"equal error rate on {self.calibration.description}"

    def open_set_threshold(
        self, num_people: int, heard: ClipReport | None = None
    ) -> tuple[float, str]:
        """Threshold, and where it comes from, for the best of several enrolled people.

        A stranger has so many chances to be taken for somebody as people are enrolled. With N of
        them each is the speaker with a prior of 1/N of what it is for one, so that the
        log-likelihood ratio must be higher by log N, which is log(N) / slope of the calibration in
        cosines. A calibration that knows how good clips are asks for the cosine that means as much
        on clips as good as the one heard. A threshold given by the caller stays what it is.

        Args:
            num_people: how many the clip is compared with.
            heard: what was measured on the clip.

        Raises:
            MVectorError: there is no threshold.
        """
        threshold, source, calibration = self.threshold, self.source, self.calibration
        if self.given is not None or calibration is None or calibration.slope <= 0:
            return threshold, source
        measured = self._measures(None if heard is None else (heard, heard))
        if measured is not None:
            source = f"{source}, corrected for the quality of the clip"
        if num_people > 1:
            source = f"{source}, {threshold:.4f} raised for {num_people} people"
        elif measured is None:
            return threshold, source
        needed = calibration.llr(threshold) + math.log(max(num_people, 1))
        return max(-1.0, min(1.0, calibration.score_at(needed, measured))), source

    def decide(
        self,
        score: float,
        reasons: tuple[str, ...] = (),
        quality: tuple[ClipReport, ClipReport] | None = None,
    ) -> Decision:
        """Turn a cosine into a verdict.

        A calibration that knows how good clips are corrects the likelihood ratio by their quality,
        and the verdict with it, unless the caller gave the threshold.

        Raises:
            MVectorError: there is no threshold.
        """
        score, threshold, source = float(score), self.threshold, self.source
        calibration, same = self.calibration, score >= threshold
        if calibration is None:
            return Decision(score, threshold, source, same, None, reasons=reasons)
        measured = self._measures(quality)
        llr = calibration.llr(score, measured)
        if measured is not None and self.given is None:
            same = llr >= calibration.llr(threshold)
            source = f"{source}, corrected for the quality of the clips"
        return Decision(
            score,
            threshold,
            source,
            same,
            llr,
            calibration.is_inconclusive(score, measured),
            calibration.probability(score, quality=measured),
            reasons,
        )

    def llr(self, score: float, heard: ClipReport) -> float | None:
        """Natural-log likelihood ratio of a clip and a person; ``None`` without calibration.

        Args:
            score: cosine of clip and voiceprint.
            heard: what was measured on the clip; the enrolled ones are taken to be as good.
        """
        if self.calibration is None:
            return None
        return self.calibration.llr(score, self._measures((heard, heard)))

    def _measures(self, quality: tuple[ClipReport, ClipReport] | None) -> np.ndarray | None:
        """What the calibration knows of the quality of two clips; ``None`` if nothing."""
        if quality is None or self.calibration is None or not self.calibration.knows_quality:
            return None
        one, other = (np.array([[report.speech_s, report.snr_db]]) for report in quality)
        return pair_quality(one, other)[0]


def in_brackets(reasons: tuple[str, ...]) -> str:
    """Reasons as the end of a sentence; nothing where there are none."""
    return f" [be careful: {'; '.join(reasons)}]" if reasons else ""
