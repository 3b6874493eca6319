"""Routes that answer questions about clips."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request

from mvector.recognition.answers import Recognition, Verification
from mvector.service import schemas
from mvector.service.caller import Caller
from mvector.service.errors import RequestError
from mvector.service.route_parts import QUALITY, VERDICT, answers, asking, quality, verdict
from mvector.service.service import Service
from mvector.service.uploads import clips_body, named_clips, read_clips

_ONE, _TWO = ("file",), ("file1", "file2")


def build_router(service: Service) -> APIRouter:
    """The routes."""
    router, predictor = APIRouter(tags=["voices"]), service.predictor
    reader = Depends(asking(service, "read"))

    @router.post(
        "/v1/compare",
        responses=answers({**VERDICT, "quality": [QUALITY, QUALITY]}),
        openapi_extra=clips_body(_TWO),
    )
    async def compare(request: Request, caller: Caller = reader) -> schemas.Comparison:
        """Are two clips of the same person?"""
        clips = named_clips(await read_clips(request, _TWO, service.settings), _TWO)
        service.metrics.clips(2)

        score = await service.run(caller, lambda: predictor.contrast(clips[0], clips[1]))
        both = [quality(report) for report in score.quality]
        return schemas.Comparison(**verdict(score.decide()), quality=both)

    @router.post(
        "/v1/identify",
        responses=answers(
            {
                **VERDICT,
                "name": "Ada Lovelace",
                "candidates": [{"name": "Ada Lovelace", "score": 0.71}],
                "num_people": 12,
                "quality": QUALITY,
            }
        ),
        openapi_extra=clips_body(_ONE),
    )
    async def identify(
        request: Request,
        query: Annotated[schemas.IdentifyQuery, Query()],
        caller: Caller = reader,
    ) -> schemas.Identified:
        """Who of the enrolled people is speaking, if any of them is?"""
        clip = await _one_clip(service, request)

        def work() -> Recognition:
            return predictor.recognition(clip, top_k=query.top_k, within=query.within or None)

        found = await service.run(caller, work)
        return schemas.Identified(
            **verdict(found.decision),
            name=found.name,
            candidates=[schemas.Candidate(name=m.name, score=m.score) for m in found.candidates],
            num_people=found.num_people,
            quality=quality(found.quality),
        )

    @router.post(
        "/v1/verify/{name:path}",
        responses=answers(
            {
                **VERDICT,
                "name": "Ada Lovelace",
                "verified": True,
                "purpose": "login",
                "num_clips": 2,
                "quality": QUALITY,
                "warning": schemas.NOT_DETECTED,
            }
        ),
        openapi_extra=clips_body(_ONE),
    )
    async def verify(
        name: str,
        request: Request,
        query: Annotated[schemas.VerifyQuery, Query()],
        caller: Caller = reader,
    ) -> schemas.Verified:
        """Voice login: is it this person? Replayed and synthetic voices are not detected.

        After some failures within some minutes, as the service is set, 429 is the answer.
        """
        clips = named_clips(await read_clips(request, _ONE, service.settings), _ONE)
        service.metrics.clips(len(clips))
        if len(clips) < query.min_clips:
            raise RequestError(
                f"There are {len(clips)} clips, and {query.min_clips} are asked for.",
                code="too-few-clips",
                status=422,
            )
        purpose = query.purpose or service.login_purpose

        def work() -> Verification:
            return predictor.verify(clips, name, purpose=purpose, min_speech_s=query.min_speech_s)

        found: Verification | None = None
        async with service.one_try(name, lambda: None if found is None else found.decision.same):
            found = await service.run(caller, work)
        return schemas.Verified(
            **verdict(found.decision),
            name=found.name,
            verified=found.decision.same,
            purpose=purpose,
            num_clips=found.num_clips,
            quality=quality(found.quality),
        )

    @router.post(
        "/v1/embed",
        responses=answers(
            {"model": "0123456789abcdef", "embedding": [0.12, -0.03], "quality": QUALITY}
        ),
        openapi_extra=clips_body(_ONE),
    )
    async def embed(
        request: Request,
        query: Annotated[schemas.EmbedQuery, Query()],
        caller: Caller = reader,
    ) -> schemas.Embedding:
        """A clip's embedding, whose cosine to others of the same model says how alike they are."""
        clip = await _one_clip(service, request)

        def work() -> tuple[np.ndarray, schemas.Quality | None]:
            if not query.quality:
                return predictor.encoder.embed(clip), None
            embedding, report = predictor.encoder.embed_measured(clip)
            return embedding, quality(report)

        embedding, measured = await service.run(caller, work)
        return schemas.Embedding(
            model=service.library.fingerprint, embedding=embedding.tolist(), quality=measured
        )

    return router


async def _one_clip(service: Service, request: Request) -> io.BytesIO:
    clips = named_clips(await read_clips(request, _ONE, service.settings), _ONE)
    if len(clips) > 1:
        raise RequestError("Send one clip; there are several.", code="request-invalid")
    service.metrics.clips(1)
    return clips[0]
