"""What the predictor answers: small objects that print well, turn into JSON, and unpack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvector.audio.clip_report import ClipReport
from mvector.recognition.judge import Decision, Judge, in_brackets
from mvector.speakers.library import Match


class Score(float):
    """Cosine similarity of two clips: a float in [-1, 1] that knows what it means.

    Attributes:
        quality: what was measured on the first and the second clip.
        reasons: what they fall short of, in words; empty for good clips.
    """

    _judge: Judge
    quality: tuple[ClipReport, ClipReport]
    reasons: tuple[str, ...]

    def __new__(
        cls,
        value: float,
        judge: Judge,
        quality: tuple[ClipReport, ClipReport],
        reasons: tuple[str, ...] = (),
    ) -> Score:
        score = super().__new__(cls, value)
        score._judge, score.quality, score.reasons = judge, quality, reasons
        return score

    def __getnewargs__(self) -> tuple[Any, ...]:
        return float(self), self._judge, self.quality, self.reasons

    def decide(self, threshold: float | None = None) -> Decision:
        """Verdict, threshold, log-likelihood ratio and probability.

        Args:
            threshold: takes the place of the model's, this once.

        Raises:
            MVectorError: there is no threshold, or it is not a cosine.
        """
        judge = self._judge.with_threshold(threshold)
        return judge.decide(float(self), self.reasons, self.quality)

    def to_dict(self) -> dict[str, Any]:
        """The score, the decision if there is a threshold, and the clips' quality; for JSON."""
        judge = self._judge
        decided = judge.given is not None or judge.calibration is not None
        meaning = self.decide().to_dict() if decided else {"score": float(self)}
        return {
            **meaning,
            "reasons": list(self.reasons),
            "quality": [report.to_dict() for report in self.quality],
        }

    def __repr__(self) -> str:
        return f"Score({float(self)!r})"

    def __str__(self) -> str:
        return float.__repr__(self)


@dataclass(frozen=True)
class Recognition:
    """Who is speaking; unpacks into name and score.

    Attributes:
        name: the person, or ``None`` for nobody enrolled.
        score: cosine of the clip and the most alike enrolled person.
        candidates: the most alike enrolled people, best first, as many as asked for.
        margin: by how much the best is ahead of the runner-up; ``None`` with one person enrolled.
        threshold: that the score was held against.
        threshold_source: where it comes from, in words.
        num_people: how many enrolled people the clip was compared with.
        llr: natural-log likelihood ratio of the best, before the number of people is accounted for;
            ``None`` for a model without calibration.
        quality: what was measured on the clip.
        reasons: what it falls short of, in words; empty for a good clip.
    """

    name: str | None
    score: float
    candidates: tuple[Match, ...]
    margin: float | None
    threshold: float
    threshold_source: str
    num_people: int
    llr: float | None
    quality: ClipReport
    reasons: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter((self.name, self.score))

    def __getitem__(self, index: int) -> Any:
        return (self.name, self.score)[index]

    def __len__(self) -> int:
        return 2

    @property
    def is_known(self) -> bool:
        """Whether somebody enrolled was recognised."""
        return self.name is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {
            **self.__dict__,
            "candidates": [{"name": match.name, "score": match.score} for match in self.candidates],
            "quality": self.quality.to_dict(),
            "reasons": list(self.reasons),
        }
        return {"speaker": values.pop("name"), **values}

    def __str__(self) -> str:
        threshold = f"threshold {self.threshold:.4f}, {self.threshold_source}"
        if self.name is None:
            nearest = f"the nearest enrolled voice has similarity {self.score:.4f}"
            return f"Unknown speaker: {nearest} ({threshold}){in_brackets(self.reasons)}"
        ahead = "" if self.margin is None else f", {self.margin:.4f} ahead of the next"
        words = f"Speaker: {self.name}, similarity: {self.score:.4f}{ahead} ({threshold})"
        return words + in_brackets(self.reasons)


@dataclass(frozen=True)
class Registration(os.PathLike[str]):
    """A clip that was enrolled; stands for the path of the stored clip.

    Attributes:
        name: the person, as the library spells the name.
        clip: the stored clip; ``None`` in a library that keeps embeddings alone.
        quality: what was measured on the clip.
        reasons: what it falls short of, in words; empty for a good clip.
    """

    name: str
    clip: Path | None
    quality: ClipReport
    reasons: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        if self.clip is None:
            raise TypeError("This library keeps no clips.")
        return os.fspath(self.clip)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "registered": self.name,
            "clip": None if self.clip is None else str(self.clip),
            "quality": self.quality.to_dict(),
            "reasons": list(self.reasons),
        }

    def __str__(self) -> str:
        kept = "" if self.clip is None else f" ({self.clip})"
        return f"Registered '{self.name}'{kept}{in_brackets(self.reasons)}"
