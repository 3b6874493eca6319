"""What routes share: who asks, what can go wrong, and examples."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mvector.audio.clip_report import ClipReport
from mvector.recognition.decision import Decision
from mvector.service.caller import Caller
from mvector.service.keys import Scope
from mvector.service.problems import MEDIA_TYPE
from mvector.service.schemas import Problem, Quality, Verdict
from mvector.service.service import Service

_BEARER = HTTPBearer(auto_error=False, description="a key of mvector keys add")
#: Examples of what is told of a clip, and of a verdict.
QUALITY = {
    "duration_s": 3.2,
    "speech_s": 2.7,
    "snr_db": 31.0,
    "clipped_share": 0.0,
    "bandwidth_hz": 7600.0,
    "level_db": -23.5,
}
VERDICT = {
    "answer": "same",
    "score": 0.71,
    "threshold": 0.42,
    "threshold_source": "calibrated on 2,000 speakers",
    "llr": 5.3,
    "probability": 0.995,
    "reason": None,
    "reasons": [],
}


def asking(service: Service, scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, who may do what asks for a scope."""

    async def admit(
        request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Caller:
        address = request.client.host if request.client else "unknown"
        token = None if given is None else given.credentials
        return await service.admit(token, address, request.scope["request_id"], scope)

    return admit


def answers(example: dict[str, Any], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the answers of a route."""
    problem = {"content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    return {
        status: {"content": {"application/json": {"example": example}}},
        "4XX": {**problem, "description": "What the caller can mend"},
        "5XX": {**problem, "description": "The service is overloaded, or failed"},
    }


def verdict(decision: Decision) -> dict[str, Any]:
    """The fields of a verdict."""
    told = decision.to_dict()
    return {name: told[name] for name in Verdict.model_fields}


def quality(report: ClipReport) -> Quality:
    """What is told of a clip."""
    return Quality.model_validate(report.to_dict())
