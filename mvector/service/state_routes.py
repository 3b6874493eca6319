"""Routes that tell how the service is."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends, Response

from mvector.service import schemas
from mvector.service.caller import Caller
from mvector.service.route_parts import answers, asking
from mvector.service.service import Service

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def build_router(service: Service) -> APIRouter:
    """The routes."""
    router, reader = APIRouter(tags=["state"]), Depends(asking(service, "read"))

    @router.get("/v1/health")
    async def health() -> schemas.Health:
        """Whether the process answers; needs no key."""
        return schemas.Health()

    @router.get(
        "/v1/ready",
        responses=answers({"status": "ready", "model": "0123456789abcdef", "num_people": 12}),
    )
    async def ready() -> schemas.Ready:
        """Whether model and library can be used; needs no key."""

        def work() -> int:
            service.library.require_model()  # another process may have taken the library over
            return service.library.num_people()

        count = await asyncio.to_thread(work)
        return schemas.Ready(model=service.library.fingerprint, num_people=count)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {_TEXT: {}}}})
    async def metrics(caller: Caller = reader) -> Response:
        """What was counted, for Prometheus."""
        num_jobs = await service.aside(service.jobs.count)
        return Response(service.metrics.text(num_jobs), media_type=_TEXT)

    return router
