"""What the header of an uncompressed file says about the length of its samples.

libsndfile and FFmpeg read such a file to its end, wherever that is. Whether it ought to be longer
stands in the size of one chunk.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mvector.audio.sources import ClipStream

_Order = Literal["little", "big"]

_MOST_CHUNKS = 1000
# Writers to a pipe cannot come back to fill in the size: they leave it 0, all ones or a little
# less, 2 GiB, or, as SoX does, somewhat below that.
_NO_SIZE_32 = range(0x7F000000, 0x100000000)
_ALL_ONES_32 = 0xFFFFFFFF
_NO_SIZE_64 = 1 << 62


@dataclass(frozen=True)
class DataSize:
    """The bytes of samples that a header promises, and those that are there.

    Attributes:
        promised: ``None`` where the header leaves it open.
        present: bytes from the first sample to the end of the file.
        place: where in the file the size stands.
        field: what stands there if all that is present counts.
    """

    promised: int | None
    present: int
    place: int
    field: bytes

    @property
    def is_open(self) -> bool:
        """Whether there are samples, and the header leaves open how many."""
        return self.promised is None and self.present > 0

    @property
    def ratio(self) -> float:
        """How many times as long as it is the file ought to be; 1 for a whole one."""
        if self.promised is None or not self.present:
            return 1.0
        return max(1.0, self.promised / self.present)


def read_data_size(stream: ClipStream) -> DataSize | None:
    """What a wav, RF64, W64, AIFF, 8SVX, AU, CAF, VOC or SPHERE header promises, or ``None``.

    The stream is left at its beginning.
    """
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(48)
    try:
        return _data_size(stream, head, end)
    finally:
        stream.seek(0)


def _data_size(stream: ClipStream, head: bytes, end: int) -> DataSize | None:
    magic = head[:4]
    if magic in (b"RIFF", b"RF64", b"BW64", b"RIFX"):
        order: _Order = "big" if magic == b"RIFX" else "little"
        return _of_chunks(stream, 12, end, _Layout(b"data", order))
    if magic == b"FORM":
        return _of_chunks(stream, 12, end, _Layout(_IFF_DATA.get(head[8:12], b"SSND"), "big"))
    if magic == b"caff":
        return _of_chunks(stream, 8, end, _Layout(b"data", "big", 8, align=1))
    if head[:8] == b"riff\x2e\x91\xcf\x11":
        layout = _Layout(b"data", "little", 8, id_width=16, align=8, counts_itself=True)
        return _of_chunks(stream, 40, end, layout)
    if magic in (b".snd", b"dns.") and len(head) >= 12:
        order = "big" if magic == b".snd" else "little"
        first, size = (int.from_bytes(head[k : k + 4], order) for k in (4, 8))
        return _data_size_of(_Chunk(b"", size, 8, first), end, _Layout(b"", order))
    if head[:19] == b"Creative Voice File":
        first = int.from_bytes(head[20:22], "little")
        layout = _Layout((b"\x01", b"\x09"), "little", 3, id_width=1, align=1)
        return _of_chunks(stream, first, end, layout)
    if head[:8] == b"NIST_1A\n":
        return _of_sphere(head + stream.read(1 << 14), end)
    return None


_IFF_DATA = {b"8SVX": b"BODY", b"16SV": b"BODY"}


class _Layout(NamedTuple):
    """How a container writes its chunks."""

    data_id: bytes | tuple[bytes, ...]  # how the identity of the chunk with the samples begins
    order: _Order
    size_width: int = 4
    id_width: int = 4
    align: int = 2
    counts_itself: bool = False  # whether a chunk's size includes its header

    @property
    def header(self) -> int:
        """Bytes before the content of a chunk."""
        return self.id_width + self.size_width


class _Chunk(NamedTuple):
    name: bytes
    size: int
    place: int  # of the size
    first: int  # of the content


def _chunks(stream: ClipStream, place: int, end: int, layout: _Layout) -> Iterator[_Chunk]:
    for _ in range(_MOST_CHUNKS):
        stream.seek(place)
        head = stream.read(layout.header)
        if len(head) < layout.header:
            return
        size = int.from_bytes(head[layout.id_width :], layout.order)
        first = place + layout.header
        yield _Chunk(head[: layout.id_width], size, place + layout.id_width, first)
        size = max(0, size - layout.header) if layout.counts_itself else size
        place = first + -(-size // layout.align) * layout.align
        if place > end:
            return


def _of_chunks(stream: ClipStream, place: int, end: int, layout: _Layout) -> DataSize | None:
    size_of_rf64 = None
    for chunk in _chunks(stream, place, end, layout):
        if chunk.name == b"ds64":
            stream.seek(chunk.first + 8)
            size_of_rf64 = int.from_bytes(stream.read(8), "little")
        if not chunk.name.startswith(layout.data_id):
            continue
        if chunk.size == _ALL_ONES_32 and size_of_rf64:
            chunk = chunk._replace(size=size_of_rf64)
        elif chunk.size == 0 and _is_followed_by_chunks(stream, chunk, end, layout):
            return None
        return _data_size_of(chunk, end, layout)
    return None


def _is_followed_by_chunks(stream: ClipStream, chunk: _Chunk, end: int, layout: _Layout) -> bool:
    """Whether a chunk of no samples is really one, and what is behind it are other chunks."""
    place = chunk.first
    for other in _chunks(stream, place, end, layout):
        place = other.first + -(-other.size // layout.align) * layout.align
    return abs(place - end) < layout.align


def _of_sphere(head: bytes, length: int) -> DataSize | None:
    fields = dict(re.findall(rb"^(\w+) -\w+ (\S+)", head, re.MULTILINE))
    try:
        first = int(head[8:16])
        count, width = int(fields[b"sample_count"]), int(fields[b"sample_n_bytes"])
        size = count * width * int(fields.get(b"channel_count", b"1"))
    except (KeyError, ValueError):
        return None
    is_packed = b"," in fields.get(b"sample_coding", b"")  # as in pcm,embedded-shorten-v2.00
    return None if is_packed else DataSize(size or None, length - first, 0, b"")


def _data_size_of(chunk: _Chunk, end: int, layout: _Layout) -> DataSize:
    present, size = max(0, end - chunk.first), chunk.size
    is_open = size == 0 or size >= _NO_SIZE_64 or (size in _NO_SIZE_32 and size > present)
    header = layout.header if layout.counts_itself else 0
    most = (1 << 8 * layout.size_width) - 1
    field = min(present + header, most).to_bytes(layout.size_width, layout.order)
    return DataSize(None if is_open else size - header, present, chunk.place, field)
