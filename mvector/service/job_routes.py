"""Routes of work that is done behind the answer: who spoke when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from mvector.service import schemas
from mvector.service.caller import Caller
from mvector.service.diarization import FORMATS, as_text, require_detector
from mvector.service.errors import RequestError
from mvector.service.guard import RECORDINGS
from mvector.service.jobs import Job, new_id
from mvector.service.recordings import save_recording
from mvector.service.route_parts import answers, asking
from mvector.service.service import Service
from mvector.service.uploads import clips_body

_ID = "5f0c7b6e2d9a41c38e7f6a5b4c3d2e1f"
_TURN = {
    "start_s": 0.4,
    "end_s": 5.1,
    "speaker": "Ada Lovelace",
    "name": "Ada Lovelace",
    "score": 0.71,
    "overlap": False,
}
_VOICE = {
    "label": "Ada Lovelace",
    "name": "Ada Lovelace",
    "time_s": 4.7,
    "match": "Ada Lovelace",
    "score": 0.71,
    "threshold": 0.42,
    "quality": None,
    "reasons": [],
    "channel": None,
}
_RESULT = {
    "recording": "meeting",
    "duration_s": 61.2,
    "speakers": [_VOICE],
    "turns": [_TURN],
    "notes": [],
}
_QUEUED = {"id": _ID, "state": "queued", "progress": None, "result": None, "problem": None}
_DONE = {**_QUEUED, "state": "done", "progress": 1.0, "result": _RESULT}
_BOUNDS = {"min_speakers", "max_speakers"}
_TEXT = {own: {"schema": {"type": "string"}} for _, own in FORMATS.values()}


def build_router(service: Service) -> APIRouter:
    """The routes."""
    router, reader = APIRouter(tags=["jobs"]), Depends(asking(service, "read"))
    jobs = service.jobs

    @router.post(
        RECORDINGS,
        status_code=202,
        responses=answers(_QUEUED, 202),
        openapi_extra=clips_body(("file",)),
    )
    async def diarize(
        request: Request,
        response: Response,
        query: Annotated[schemas.DiarizeQuery, Query()],
        caller: Caller = reader,
    ) -> schemas.Job:
        """Who spoke when in a recording? A job does it: `Location` is where to ask for it.

        The recording is deleted when the job is done, fails or is cancelled.
        """
        if query.num_speakers is not None and query.model_fields_set & _BOUNDS:
            raise RequestError(
                "Not valid: min_speakers and max_speakers have no use beside num_speakers, which "
                "says it all.",
                code="request-invalid",
            )
        if query.min_speakers > query.max_speakers:
            raise RequestError(
                "Not valid: min_speakers is larger than max_speakers.", code="request-invalid"
            )
        require_detector()
        job = new_id()
        try:
            await service.aside(lambda: jobs.reserve(caller, job))
            await save_recording(request, jobs.recording(job), service.settings)
            await service.aside(lambda: jobs.submit(job, query.model_dump()))
        except BaseException:  # also a request that ends while its place is reserved
            await service.aside(lambda: jobs.drop(job))
            raise
        service.runner.wake()
        response.headers["Location"] = f"/v1/jobs/{job}"
        return _answer(await service.aside(lambda: jobs.get(caller.who, job)))

    described = answers(_DONE)
    described[200]["content"].update(_TEXT)

    @router.get("/v1/jobs/{job_id}", response_model=schemas.Job, responses=described)
    async def get_job(
        job_id: str,
        query: Annotated[schemas.JobQuery, Query()],
        accept: Annotated[str, Header()] = "",
        caller: Caller = reader,
    ) -> schemas.Job | Response:
        """How far a job is, and its result, as JSON or as text: RTTM, SRT, WebVTT, CSV.

        Results are kept for a while, and only for who made the job.
        """
        answer = _answer(await service.aside(lambda: jobs.get(caller.who, job_id)))
        kind = query.format or _wanted(accept)
        if kind == "json":
            return answer
        if answer.result is None:
            is_over = answer.state == "failed"
            how = "failed, and has no turns" if is_over else f"is {answer.state}, and has none yet"
            raise RequestError(
                f"The turns cannot be had: the job {how}.",
                code="job-not-done",
                status=409,
                retry_after_s=None if is_over else 1.0,
            )
        return Response(as_text(answer.result, kind), media_type=FORMATS[kind][1])

    @router.delete("/v1/jobs/{job_id}", responses=answers({**_QUEUED, "state": "running"}))
    async def remove_job(job_id: str, caller: Caller = reader) -> schemas.Job:
        """Cancel a job, or forget its result; the answer says what it was."""
        return _answer(await service.aside(lambda: jobs.remove(caller.who, job_id)))

    return router


def _wanted(accept: str) -> str:
    """The format that a client asks for by type, where it asks for no other first."""
    first = accept.split(",")[0].partition(";")[0].strip().lower()
    return next((name for name, (_, own) in FORMATS.items() if own == first), "json")


def _answer(job: Job) -> schemas.Job:
    field = "result" if job.state == "done" else "problem"
    return schemas.Job.model_validate(
        {"id": job.id, "state": job.state, "progress": job.progress, field: job.answer}
    )
