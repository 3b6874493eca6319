"""What the service takes and gives, as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Answer = Literal["same", "different", "cannot tell"]
Purpose = Literal["default", "login", "search"]
NOT_DETECTED = "Replayed and synthetic voices are not detected."


class Strict(BaseModel):
    """What is given has no other fields."""

    model_config = ConfigDict(extra="forbid")


class Quality(BaseModel):
    """What was measured on a clip."""

    duration_s: float
    speech_s: float = Field(description="seconds of speech in it")
    snr_db: float
    clipped_share: float
    bandwidth_hz: float
    level_db: float | None


class Verdict(BaseModel):
    """What a score means."""

    answer: Answer
    score: float = Field(description="cosine, -1 to 1")
    threshold: float = Field(description="scores from here on are the same person")
    threshold_source: str
    llr: float | None = Field(description="natural-log likelihood ratio; null: not calibrated")
    probability: float | None = Field(description="of the same person, at even prior odds")
    reason: str | None = Field(description="why it cannot be told")
    reasons: list[str] = Field(description="why the clips may not be worth trusting")


class Comparison(Verdict):
    """Whether two clips are of one person."""

    quality: list[Quality]


class Candidate(BaseModel):
    """An enrolled person, and how alike the voice is."""

    name: str
    score: float


class Identified(Verdict):
    """Who of the enrolled people is speaking; ``name`` is null for a stranger or a doubt."""

    name: str | None
    candidates: list[Candidate] = Field(description="the most alike people, best first")
    num_people: int = Field(description="how many people the clip was compared with")
    quality: Quality


class Verified(Verdict):
    """Whether the clips are of one enrolled person."""

    name: str
    verified: bool
    purpose: Purpose
    num_clips: int
    quality: Quality
    warning: str = NOT_DETECTED


class Embedding(BaseModel):
    """A clip's embedding, of this model alone."""

    model: str = Field(description="fingerprint: embeddings of another cannot be compared")
    embedding: list[float]
    quality: Quality


class EnrolledClip(BaseModel):
    """A clip that was enrolled."""

    clip: int = Field(description="its place in the request, from 1")
    quality: Quality
    reasons: list[str] = Field(description="what it falls short of")


class RefusedClip(BaseModel):
    """A clip that was not."""

    clip: int = Field(description="its place in the request, from 1")
    code: str
    detail: str
    reasons: list[str] = []


class Enrolled(BaseModel):
    """What became of the clips."""

    name: str
    enrolled: list[EnrolledClip]
    refused: list[RefusedClip]


class PersonAnswer(BaseModel):
    """Somebody who is enrolled."""

    name: str
    num_clips: int
    groups: list[str]
    metadata: dict[str, Any]
    enrolled_at: str
    has_voiceprint: bool = Field(description="whether the model in use can recognise the person")


class People(BaseModel):
    """A page of people, in alphabetical order."""

    people: list[PersonAnswer]
    next_after: str | None = Field(description="give it as `after` for the next page")


class Removed(BaseModel):
    """Somebody who was forgotten."""

    name: str
    num_clips: int


class Change(Strict):
    """What to replace; what is left out stays."""

    groups: list[str] | None = None
    metadata: dict[str, Any] | None = None


class Health(BaseModel):
    """That the process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """That it can do its work."""

    status: Literal["ready"] = "ready"
    model: str
    num_people: int


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="which failure it is; docs/errors.md lists all")
    cure: str | None = None
    reasons: list[str] | None = None
    request_id: str


# ---- what stands behind the question mark --------------------------------------------------------


class IdentifyQuery(Strict):
    """Of ``/v1/identify``."""

    top_k: int = Field(1, ge=1, le=100, description="how many of the most alike people to tell")
    within: list[str] = Field([], description="compare with people of these groups only")


class VerifyQuery(Strict):
    """Of ``/v1/verify``."""

    purpose: Purpose | None = Field(
        None, description="default: login if the model is calibrated for it, and else default"
    )
    min_speech_s: float = Field(0.0, ge=0, le=600, description="of all clips together")
    min_clips: int = Field(1, ge=1, le=16)


class PeopleQuery(Strict):
    """Of ``/v1/people``."""

    after: str = ""
    limit: int = Field(100, ge=1, le=1000)


class EnrolQuery(Strict):
    """Of ``/v1/people/{name}/clips``."""

    groups: list[str] = Field([], description="that the person joins")
