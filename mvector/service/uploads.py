"""Clips of a request: multipart, a raw body, or base64 in JSON."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mvector.service.errors import RequestError
from mvector.service.problems import invalid
from mvector.service.settings import ServiceSettings
from mvector.speakers.context import named_stream

#: What the type of a clip begins with.
RAW_KINDS = ("audio/", "video/", "application/octet-stream", "application/ogg")
_HOW = (
    "send multipart/form-data, a clip itself with its type (such as audio/wav), or "
    "application/json with base64"
)
_Model = TypeVar("_Model", bound=BaseModel)


class _InMemoryParser(MultiPartParser):
    """Keeps clips in memory, which the size of the body bounds: none is written to a disk."""

    spool_max_size = max_file_size = 1 << 62  # the name it has, and the one it had


def clips_body(fields: Sequence[str]) -> dict[str, Any]:
    """What OpenAPI says of a body with clips: in ``fields``, or several in the only one."""
    properties: dict[str, Any] = {}
    encoded: dict[str, Any] = {}
    for name in fields:
        binary: dict[str, Any] = {"type": "string", "format": "binary"}
        text: dict[str, Any] = {"type": "string", "format": "byte", "description": "base64"}
        several = len(fields) == 1
        properties[name] = {"type": "array", "items": binary} if several else binary
        encoded[name] = {"oneOf": [text, {"type": "array", "items": text}]} if several else text
    form = {"type": "object", "properties": properties, "required": list(fields)}
    json = {
        "type": "object",
        "properties": encoded,
        "required": list(fields),
        "additionalProperties": False,
    }
    example = dict.fromkeys(fields, "UklGRiQAAABXQVZFZm10IBAAAAABAAEA…")
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": json, "example": example},
    }
    if len(fields) == 1:
        content["audio/*"] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


async def read_clips(
    request: Request, fields: Sequence[str], settings: ServiceSettings
) -> list[bytes]:
    """The clips of a request, encoded as they came: one of each field, or several of the only one.

    Raises:
        RequestError: there is none, or the body is of another kind.
    """
    kind = kind_of(request)
    if kind == "multipart/form-data":
        found = await _of_form(request, settings)
    elif kind == "application/json":
        found = await _of_json(request, fields)
    elif kind.startswith(RAW_KINDS) and len(fields) == 1:
        found = [(fields[0], await request.body())]
    else:
        how = _HOW if len(fields) == 1 else _HOW.replace("a clip itself", "no clip itself")
        what = f"the content type '{kind}'" if kind else "no content type"
        raise RequestError(
            f"The request has {what}; {how}.", code="content-type-unknown", status=415
        )
    _check_fields(found, fields, settings)
    return [data for field in fields for name, data in found if name == field]


def named_clips(clips: Sequence[bytes], fields: Sequence[str]) -> list[io.BytesIO]:
    """Clips as files that messages call by their fields."""
    if len(fields) == 1:
        names = [
            fields[0] if len(clips) == 1 else f"{fields[0]} {k + 1}" for k in range(len(clips))
        ]
    else:
        names = list(fields)
    return [named_stream(data, name) for data, name in zip(clips, names, strict=True)]


async def read_json(request: Request, model: type[_Model]) -> _Model:
    """The body of a request, which is JSON of a model.

    Raises:
        RequestError: it is of another type, or no such JSON.
    """
    if kind_of(request) != "application/json":
        raise RequestError(
            "Send JSON with the content type application/json.",
            code="content-type-unknown",
            status=415,
        )
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise invalid(error) from error


def json_body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a body that :func:`read_json` reads."""
    schema = model.model_json_schema()
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def kind_of(request: Request) -> str:
    """The type of a request's body, without parameters, in small letters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()[:100]


async def read_form(parser: MultiPartParser) -> FormData:
    """The files of a form, which the caller closes.

    Raises:
        RequestError: it is damaged, or holds fields that are no files.
    """
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        reason = getattr(error, "message", "it is damaged").rstrip(".")
        raise RequestError(
            f"The multipart body cannot be read: {reason}.", code="request-invalid"
        ) from error
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            await form.close()
            raise RequestError(
                f"The field '{name[:60]}' is text; send a file.", code="request-invalid"
            )
    return form


async def _of_form(request: Request, settings: ServiceSettings) -> list[tuple[str, bytes]]:
    most = settings.max_clips + 1  # one more is refused by a better sentence
    parser = _InMemoryParser(request.headers, request.stream(), max_files=most, max_fields=most)
    form = await read_form(parser)
    try:
        return [(n, await v.read()) for n, v in form.multi_items() if isinstance(v, UploadFile)]
    finally:
        await form.close()


@cache
def _clips_model(*fields: str) -> type[BaseModel]:
    """What JSON with clips is; pydantic builds it once, and not for each request."""
    kind: Any = str | list[str] if len(fields) == 1 else str
    entries: dict[str, Any] = {name: (kind, Field()) for name in fields}
    return create_model("Clips", __config__=ConfigDict(extra="forbid", strict=True), **entries)


async def _of_json(request: Request, fields: Sequence[str]) -> list[tuple[str, bytes]]:
    given = await read_json(request, _clips_model(*fields))
    found = []
    for name in fields:
        value = getattr(given, name)
        for text in [value] if isinstance(value, str) else value:
            try:
                found.append((name, base64.b64decode(text, validate=True)))
            except (binascii.Error, ValueError) as error:
                raise RequestError(f"{name} is not base64.", code="request-invalid") from error
    return found


def _check_fields(
    found: Sequence[tuple[str, bytes]], fields: Sequence[str], settings: ServiceSettings
) -> None:
    named = " and ".join(f"'{name}'" for name in fields)
    for name, data in found:
        if name not in fields:
            raise RequestError(
                f"There is no field '{name[:60]}'; send {named}.", code="request-invalid"
            )
        if not data:
            raise RequestError(f"'{name}' holds nothing; send a clip.", code="request-invalid")
    most = settings.max_clips if len(fields) == 1 else len(fields)
    names = {name for name, _ in found}
    if len(names) < len(fields) or len(found) > most:
        how_many = f"1 to {most} clips" if len(fields) == 1 else "one clip each"
        raise RequestError(
            f"The request has {len(found)} clips; send {how_many} in {named}.",
            code="request-invalid",
        )
