"""The page for people: its files, as they lie in the package, and what they may do."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Response

from mvector.service.settings import ServiceSettings

_FOLDER = Path(__file__).with_name("page")
_TYPES = {  # told here, for some systems' tables make plain text of scripts
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


def build_router(settings: ServiceSettings) -> APIRouter:
    """The routes; they need no key, for nothing of the library is in what they give."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    bounds = {"max_body": settings.max_body_bytes, "max_recording": settings.max_recording_bytes}
    start = files.pop("index.html").decode("utf-8").format(**bounds)

    @router.get("/")
    async def page() -> Response:
        return Response(start, media_type=_TYPES[".html"], headers=_HEADERS)

    @router.get("/page/{name}")
    async def asset(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return Response(files[name], media_type=_TYPES[Path(name).suffix], headers=_HEADERS)

    return router
