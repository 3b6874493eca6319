"""Recordings of requests, which go to a file as they arrive."""

from __future__ import annotations

import asyncio
import io
import logging
import shutil
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartParser

from mvector.service.errors import RequestError, overloaded
from mvector.service.settings import ServiceSettings
from mvector.service.uploads import RAW_KINDS, kind_of, read_clips, read_form
from mvector.speakers.clip_files import create_private

logger = logging.getLogger(__name__)

_FIELDS = ("file",)
_PIECE = 1 << 20
_FULL_S = 60.0  # after which a full disk may have room again


async def save_recording(request: Request, file: Path, settings: ServiceSettings) -> None:
    """Write the recording of a request to a file, as it is encoded.

    Raises:
        RequestError: there is none or are several, the body is of another kind, or the disk is
            full.
    """
    kind = kind_of(request)
    try:
        with create_private(file) as stream:
            if kind.startswith(RAW_KINDS):
                await _save_body(request, stream)
            elif kind == "multipart/form-data":
                await _save_form(request, stream)
            else:  # JSON, or what is refused by its type
                clips = await read_clips(request, _FIELDS, settings)
                _check_number(len(clips))
                await asyncio.to_thread(stream.write, clips[0])
            if not stream.tell():
                raise RequestError(
                    "'file' holds nothing; send a recording.", code="request-invalid"
                )
    except OSError as error:
        logger.error("A recording cannot be written: %s", error)
        raise overloaded(_FULL_S) from error


def open_recording(file: Path) -> BinaryIO:
    """A recording as a stream that messages do not call by its place."""
    stream = io.FileIO(file)
    stream.name = "file"
    return io.BufferedReader(stream)


async def _save_body(request: Request, stream: BinaryIO) -> None:
    pieces = bytearray()
    async for piece in request.stream():
        pieces += piece
        if len(pieces) >= _PIECE:
            await asyncio.to_thread(stream.write, pieces)
            pieces = bytearray()
    await asyncio.to_thread(stream.write, pieces)


async def _save_form(request: Request, stream: BinaryIO) -> None:
    """By a temporary file without a name, which a killed process does not leave behind."""
    form = await read_form(MultiPartParser(request.headers, request.stream(), max_files=2))
    try:
        files = [(name, one) for name, one in form.multi_items() if isinstance(one, UploadFile)]
        for name, _ in files:
            if name not in _FIELDS:
                raise RequestError(
                    f"There is no field '{name[:60]}'; send 'file'.", code="request-invalid"
                )
        _check_number(len(files))
        await asyncio.to_thread(shutil.copyfileobj, files[0][1].file, stream, _PIECE)
    finally:
        await form.close()


def _check_number(count: int) -> None:
    if count != 1:
        raise RequestError(
            f"The request has {count} recordings; send one in 'file'.", code="request-invalid"
        )
