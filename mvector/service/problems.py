"""Failures as RFC 9457 problem JSON: a code, a sentence and a cure, and nothing of the server."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mvector.errors import AudioError, ClipTooBadError, MVectorError, without_python
from mvector.service.errors import RequestError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_BUSY_S = 1.0
# Failures whose own sentence may name places of the server or options of commands: code ->
# status, sentence and cure. Others but those of clips and requests are told as internal.
_TOLD: dict[str, tuple[int, str, str]] = {
    "speaker-not-found": (
        404,
        "Nobody of this name is enrolled.",
        "Check the name, or enrol a clip of the person first.",
    ),
    "library-empty": (
        409,
        "Nobody is there to compare with who has a voiceprint of this model.",
        "Enrol a clip of each person first.",
    ),
    "library-of-another-model": (
        409,
        "The people of the library were enrolled with another model.",
        "Whoever runs the service can start it with that model, or take the library over.",
    ),
    "library-read-only": (
        409,
        "The library of this service can be read and not changed.",
        "Ask whoever runs the service.",
    ),
    "library": (
        503,
        "The library cannot be used at the moment.",
        "Try again in a while.",
    ),
    "library-unwritable": (
        503,
        "The library cannot be written to at the moment.",
        "Try again in a while.",
    ),
    "library-unreachable": (
        503,
        "The library cannot be reached at the moment.",
        "Try again in a while.",
    ),
    "clips-unreachable": (
        503,
        "The place where clips are kept cannot be reached at the moment.",
        "Try again in a while; nothing was enrolled.",
    ),
    "threshold-not-calibrated": (
        409,
        "The model of this service has no measured threshold for this purpose.",
        "Choose another purpose; whoever runs the service can calibrate the model.",
    ),
    "missing-dependency": (
        422,
        "This service cannot read clips of this format.",
        "Send wav, flac, ogg or mp3; whoever runs the service can install more.",
    ),
}
_OF_REQUESTS = {"group-not-found": 422, "name-invalid": 400, "metadata-invalid": 400}
_CURES = {
    "audio-too-short": "Send a longer clip.",
    "audio-silent": "Record it again.",
    "audio-empty": "Record it again.",
    "audio-no-speech": "Listen to it, and speak longer.",
    "audio-too-little-speech": "Speak longer, or send more clips.",
    "audio-too-bad": "Record it again: closer, louder or longer, as the reasons say.",
    "audio-undecodable": "Export or record it again, in a usual format.",
    "audio-beyond-limits": "Cut or convert it.",
    "group-not-found": "Check the groups.",
}
_INTERNAL = (
    500,
    "The service failed.",
    "Try again; whoever runs the service finds the request id in its log.",
)


def problem_of(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, content and headers for a failure; what is internal is not told."""
    code = error.code if isinstance(error, MVectorError) else "internal"
    headers: dict[str, str] = {}
    more: dict[str, Any] = {}
    status, sentence, cure = _INTERNAL
    if isinstance(error, RequestError):
        status, sentence, cure = error.status, str(error), ""
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, AudioError):
        status, sentence, cure = 422, of_clip(error), _CURES.get(code, "Send another clip.")
        if isinstance(error, ClipTooBadError):
            more["reasons"] = list(error.reasons)
    elif code in _TOLD:
        status, sentence, cure = _TOLD[code]
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(math.ceil(_BUSY_S))
    elif code in _OF_REQUESTS:
        status, sentence, cure = _OF_REQUESTS[code], str(error), _CURES.get(code, "")
    else:
        code = "internal"
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": sentence,
        "code": code,
        **({"cure": cure} if cure else {}),
        **more,
    }
    return status, content, headers


def of_clip(error: AudioError) -> str:
    """What is wrong with a clip, without what only callers in Python can do about it."""
    if isinstance(error, ClipTooBadError):
        return "The clip is too bad to be enrolled."
    return without_python(str(error))


def invalid(error: ValidationError | RequestValidationError) -> RequestError:
    """What is wrong with fields of a request, each by its name."""
    mistakes = []
    for one in error.errors():
        place = [str(part) for part in one["loc"] if part not in ("query", "body", "path")]
        said = "there is no such field" if one["type"] == "extra_forbidden" else one["msg"]
        mistakes.append(f"{'.'.join(place) or 'the request'}: {said}")
    return RequestError(f"Not valid: {'; '.join(mistakes[:10])}.", code="request-invalid")


def failed(error: Exception, request_id: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """As :func:`problem_of`, of a request; what is internal is logged."""
    status, content, headers = problem_of(error)
    if content["code"] == "internal" or (status >= 500 and not isinstance(error, RequestError)):
        logger.error("request %s: %s: %s", request_id, type(error).__name__, error)
        logger.debug("request %s", request_id, exc_info=error)
    return status, {**content, "request_id": request_id}, headers


def respond(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that failed."""
    status, content, headers = failed(error, request.scope.get("request_id", ""))
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let all failures of an app be told so."""

    async def of_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return respond(request, invalid(error))

    async def of_starlette(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        told = RequestError(str(error.detail), code="request-invalid", status=error.status_code)
        if error.status_code == HTTPStatus.NOT_FOUND:
            told = RequestError(
                "There is nothing at this path; see /v1/openapi.json.",
                code="no-such-path",
                status=404,
            )
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            told = RequestError(
                "This path does not take this method; see /v1/openapi.json.",
                code="no-such-method",
                status=405,
            )
        answer = respond(request, told)
        answer.headers.update(error.headers or {})
        return answer

    async def of_any(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, ClientDisconnect):
            error = RequestError("The request was cut off.", code="request-invalid")
        return respond(request, error)

    app.add_exception_handler(Exception, of_any)
    app.add_exception_handler(ClientDisconnect, of_any)
    app.add_exception_handler(MVectorError, of_any)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(HTTPException, of_starlette)
