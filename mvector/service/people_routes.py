"""Routes that enrol, list, change and forget people."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request

from mvector.errors import AudioError, ClipTooBadError
from mvector.service import schemas
from mvector.service.caller import Caller
from mvector.service.errors import RequestError
from mvector.service.keys import SCOPES
from mvector.service.problems import of_clip
from mvector.service.route_parts import QUALITY, answers, asking, quality
from mvector.service.service import Service
from mvector.service.uploads import clips_body, json_body, named_clips, read_clips, read_json
from mvector.speakers.people import Person

_FILES = ("file",)
_PERSON = {
    "name": "Ada Lovelace",
    "num_clips": 3,
    "groups": ["staff"],
    "metadata": {"id": 7},
    "enrolled_at": "2026-03-01T09:30:00+00:00",
    "has_voiceprint": True,
}
_KEY = "of the client's choice: sent again with the same clips, they are enrolled once"


def build_router(service: Service) -> APIRouter:
    """The routes."""
    router, library = APIRouter(tags=["people"]), service.library
    reader, enroller, admin = (Depends(asking(service, scope)) for scope in SCOPES)

    @router.post(
        "/v1/people/{name:path}/clips",
        status_code=201,
        responses=answers(
            {
                "name": "Ada Lovelace",
                "enrolled": [{"clip": 1, "quality": QUALITY, "reasons": []}],
                "refused": [],
            },
            201,
        ),
        openapi_extra=clips_body(_FILES),
    )
    async def enrol(
        name: str,
        request: Request,
        query: Annotated[schemas.EnrolQuery, Query()],
        idempotency_key: Annotated[
            str | None, Header(min_length=1, max_length=200, description=_KEY)
        ] = None,
        caller: Caller = enroller,
    ) -> schemas.Enrolled:
        """Enrol clips of a person, who may have clips already.

        Clips of too bad a quality are refused with the reasons, and the others enrolled; where all
        are refused, the answer is 422.
        """
        clips = await read_clips(request, _FILES, service.settings)
        service.metrics.clips(len(clips))

        async def do(before: list[Caller]) -> schemas.Enrolled:
            return await service.run(
                caller, lambda: _enrol(service, name, clips, query.groups, before)
            )

        if idempotency_key is None:
            return await do([])
        # The id may be the client's, and the same each time: what it enrolled before is not this.
        caller = replace(caller, request_id=f"{caller.request_id}.{secrets.token_hex(4)}")
        parts = [name.encode(), *(group.encode() for group in query.groups), *clips]
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
        return await service.enrolments.do(caller, idempotency_key, digest.hexdigest(), do)

    @router.get(
        "/v1/people", responses=answers({"people": [_PERSON], "next_after": "Ada Lovelace"})
    )
    async def list_people(
        query: Annotated[schemas.PeopleQuery, Query()], caller: Caller = reader
    ) -> schemas.People:
        """Who is enrolled, in alphabetical order, page by page."""
        found = await service.run(
            caller, lambda: library.people(after=query.after, most=query.limit)
        )
        is_last = len(found) < query.limit
        return schemas.People(
            people=[_answer(person) for person in found],
            next_after=None if is_last else found[-1].name,
        )

    @router.get("/v1/people/{name:path}", responses=answers(_PERSON))
    async def get_person(name: str, caller: Caller = reader) -> schemas.PersonAnswer:
        """What is known of a person."""
        return _answer(await service.run(caller, lambda: library.person(name)))

    @router.patch(
        "/v1/people/{name:path}",
        responses=answers(_PERSON),
        openapi_extra=json_body(schemas.Change, {"groups": ["staff"], "metadata": {"id": 7}}),
    )
    async def change_person(
        name: str, request: Request, caller: Caller = admin
    ) -> schemas.PersonAnswer:
        """Replace a person's groups or metadata; what is left out stays as it is."""
        change = await read_json(request, schemas.Change)

        def work() -> Person:
            library.change(name, metadata=change.metadata, groups=change.groups)
            return library.person(name)

        return _answer(await service.run(caller, work))

    @router.delete(
        "/v1/people/{name:path}", responses=answers({"name": "Ada Lovelace", "num_clips": 3})
    )
    async def remove_person(name: str, caller: Caller = admin) -> schemas.Removed:
        """Forget a person: clips and voiceprints are deleted."""
        num_clips = await service.run(caller, lambda: library.remove(name))
        return schemas.Removed(name=name, num_clips=num_clips)

    return router


def _enrol(
    service: Service, name: str, clips: list[bytes], groups: list[str], before: list[Caller]
) -> schemas.Enrolled:
    """Enrol the clips that can be, but for those that killed processes enrolled for ``before``.

    Raises:
        AudioError: the only clip cannot be.
        RequestError: none of several can be.
    """
    enrolled: list[schemas.EnrolledClip] = []
    refused: list[schemas.RefusedClip] = []
    num_done = 0
    if before:  # the audit tells what was enrolled, of the same transaction
        num_done = service.library.num_done_for([str(one) for one in before], "register")
    for number, clip in enumerate(named_clips(clips, _FILES), 1):
        try:
            done = service.predictor.register(
                clip, name, groups=groups, dry_run=len(enrolled) < num_done
            )
        except AudioError as error:
            if len(clips) == 1:
                raise
            reasons = error.reasons if isinstance(error, ClipTooBadError) else ()
            refused.append(
                schemas.RefusedClip(
                    clip=number, code=error.code, detail=of_clip(error), reasons=list(reasons)
                )
            )
            continue
        enrolled.append(
            schemas.EnrolledClip(
                clip=number, quality=quality(done.quality), reasons=list(done.reasons)
            )
        )
        name = done.name
    if not enrolled:
        told = (f"{one.clip}: {'; '.join(one.reasons) or one.detail}" for one in refused)
        raise RequestError(
            f"None of the clips can be enrolled. {' '.join(told)}",
            code="clips-refused",
            status=422,
        )
    return schemas.Enrolled(name=name, enrolled=enrolled, refused=refused)


def _answer(person: Person) -> schemas.PersonAnswer:
    return schemas.PersonAnswer(
        name=person.name,
        num_clips=person.num_clips,
        groups=list(person.groups),
        metadata=person.metadata,
        enrolled_at=person.enrolled_at,
        has_voiceprint=person.has_voiceprint,
    )
