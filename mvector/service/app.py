"""The service as an ASGI app: routes, failures, documentation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from mvector.service import (
    job_routes,
    page_routes,
    people_routes,
    problems,
    state_routes,
    stream_route,
    voice_routes,
)
from mvector.service.guard import Guard
from mvector.service.reference import reference_page
from mvector.service.schemas import NOT_DETECTED
from mvector.service.service import Service
from mvector.version import __version__

_DESCRIPTION = f"""\
Compares voices, enrols people and recognises them. Clips come as `multipart/form-data`, as a raw
body with a content type such as `audio/wav`, or as base64 in JSON. Failures are problem JSON (RFC
9457) with a `code`. The WebSocket /v1/stream takes sound as it is spoken; docs/service.md tells
what it says. {NOT_DETECTED}"""


def build_app(service: Service) -> FastAPI:
    """The app of a service, which it closes when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="mvector",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # these pages load scripts of other hosts
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    problems.install(app)
    for routes in (voice_routes, people_routes, job_routes, state_routes, stream_route):
        app.include_router(routes.build_router(service))
    if service.settings.has_page:
        app.include_router(page_routes.build_router(service.settings))

    @app.get("/v1/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()))

    app.add_middleware(
        Guard,
        settings=service.settings,
        metrics=service.metrics,
        is_local=service.keys is None,
    )
    return app
