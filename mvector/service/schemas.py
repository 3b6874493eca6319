"""What the service takes and gives, as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Answer = Literal["same", "different", "cannot tell"]
Purpose = Literal["default", "login", "search"]
State = Literal["queued", "running", "done", "failed"]
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
    quality: Quality | None


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


class Turn(BaseModel):
    """One person who speaks without a break."""

    start_s: float
    end_s: float
    speaker: str = Field(description="label of the person in this recording")
    name: str | None = Field(description="null: not enrolled, or it cannot be told")
    score: float | None = Field(description="cosine of the person's voice with that of `name`")
    overlap: bool = Field(description="whether somebody else speaks too")


class Voice(BaseModel):
    """A person of a recording."""

    label: str
    name: str | None
    time_s: float = Field(description="seconds of speech")
    match: str | None = Field(description="the enrolled person who is most alike")
    score: float | None = Field(description="cosine with `match`")
    threshold: float | None = Field(description="cosine from which it would be `match`")
    quality: Quality | None
    reasons: list[str] = Field(description="why it may not be worth trusting")
    channel: int | None = Field(description="of a recording with one person a channel")


class Diarized(BaseModel):
    """Who spoke when."""

    recording: str
    duration_s: float
    speakers: list[Voice] = Field(description="in the order of their first words")
    turns: list[Turn] = Field(description="by their starts")
    notes: list[str] = Field(description="what there is to know of how it was heard")


class Job(BaseModel):
    """Work that is done behind the answer."""

    id: str
    state: State
    progress: float | None = Field(description="from 0 to 1; null: not known")
    result: Diarized | None = Field(None, description="where it is done")
    problem: Problem | None = Field(None, description="where it failed")


class Health(BaseModel):
    """That the process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """That it can do its work."""

    status: Literal["ready"] = "ready"
    model: str
    num_people: int


# ---- what stands behind the question mark --------------------------------------------------------


class EmbedQuery(Strict):
    """Of ``/v1/embed``."""

    quality: bool = Field(True, description="measure it too, which takes a fifth of the time")


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


class DiarizeQuery(Strict):
    """Of ``/v1/diarize``."""

    name: str = Field(
        "recording", min_length=1, max_length=200, description="of the recording, for its result"
    )
    num_speakers: int | None = Field(
        None, ge=1, le=100, description="how many people speak, if that is known"
    )
    min_speakers: int = Field(1, ge=1, le=100, description="at least so many people speak")
    max_speakers: int = Field(20, ge=1, le=100, description="at most so many people speak")
    within: list[str] = Field([], description="recognise people of these groups only")
    exclusive: bool = Field(False, description="one person at a time, to join with a transcript")


class StreamQuery(Strict):
    """Of ``/v1/stream``, or of its first message."""

    rate: int = Field(ge=8000, le=48000, description="of the sound, in Hz")
    window_s: float = Field(3.0, ge=1, le=10, description="what `now` tells of")
    hop_s: float = Field(1.0, ge=0.25, le=10, description="from one `now` to the next")
    top_k: int = Field(1, ge=1, le=20, description="how many of the most alike people to tell")
    within: list[str] = Field([], description="compare with people of these groups only")
    person: str | None = Field(None, description="is it this person? Nobody else is looked for")
    purpose: Purpose | None = Field(None, description="as of /v1/verify, with `person`")
    min_speech_s: float = Field(2.0, ge=0, le=30, description="for a verdict to be certain")


class StreamStart(StreamQuery):
    """The first message of a stream whose settings or key do not come with the request."""

    key: str | None = None


class JobQuery(Strict):
    """Of ``/v1/jobs``."""

    format: Literal["json", "rttm", "srt", "vtt", "csv"] | None = Field(
        None, description="of the result, default as `Accept` says: json, or the turns as text"
    )
