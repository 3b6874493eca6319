"""Embeddings kept on disk, so that a clip that one model has heard need not be heard again.

A folder belongs to one model and one way of reading clips. Each process that adds embeddings
appends records to a file of its own. A record has a checksum: what a killed process left half
written, or a failing disk changed, is not found and computed again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mvector.audio import Channel, split_channel
from mvector.data.packed import PackedClip
from mvector.errors import DataError, count_of
from mvector.files import check_writable, write_errors_as

logger = logging.getLogger(__name__)

_KEY_BYTES = 16
_BLOCK_BYTES = 1 << 20
_NO_KEY = bytes(_KEY_BYTES)


class ClipKey(NamedTuple):
    """What a clip is known by.

    Attributes:
        place: digest of path, size and time of the last change; of a packed clip, of what its
            index says.
        num_bytes: size of the file; of several files together, their sum.
        content: digest of the bytes; ``None`` as long as it was not needed.
    """

    place: bytes
    num_bytes: int
    content: bytes | None = None


def cache_folder(cache: str | os.PathLike[str], fingerprint: str) -> Path:
    """Where in a cache the embeddings lie that an encoder of this fingerprint makes."""
    return Path(cache) / fingerprint


def clip_key(paths: Sequence[str]) -> ClipKey | None:
    """The key of a clip's files, without their content; ``None`` if one cannot be found."""
    digest, num_bytes = hashlib.blake2b(digest_size=_KEY_BYTES), 0
    try:
        for path in paths:
            file, channel = split_channel(path)
            state = os.stat(file)
            place = (os.path.abspath(file), state.st_size, state.st_mtime_ns)
            digest.update(repr(place).encode("utf-8", "surrogateescape"))
            digest.update(_channel_bytes(channel))
            num_bytes += state.st_size
    except (OSError, ValueError):
        return None
    return ClipKey(digest.digest(), num_bytes)


def packed_clip_key(clip: PackedClip) -> ClipKey:
    """The key of a clip of a packed corpus, wherever that lies: the index knows its content."""
    corpus, index = clip.corpus, clip.index
    length = int(corpus.lengths[index])
    known = (clip.path, corpus.sample_rate, length, int(corpus.crc32[index]))
    digest = hashlib.blake2b(repr(known).encode(), digest_size=_KEY_BYTES).digest()
    return ClipKey(digest, 2 * length, digest)


def with_content_digest(key: ClipKey, paths: Sequence[str]) -> ClipKey:
    """The key with the digest of the content. An ``OSError`` says that a file cannot be read."""
    if key.content is not None:
        return key
    whole = hashlib.blake2b(digest_size=_KEY_BYTES)
    for path in paths:
        digest = hashlib.blake2b(digest_size=_KEY_BYTES)
        file, channel = split_channel(path)
        digest.update(_channel_bytes(channel))
        with open(file, "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
        whole.update(digest.digest())
    return key._replace(content=whole.digest())


def _channel_bytes(channel: Channel | None) -> bytes:
    """What the name of a channel adds to a digest: nothing where there is none."""
    return b"" if channel is None else f"#channel={channel}".encode()


class EmbeddingCache:
    """Embeddings of one model in a folder; several processes may use it at once.

    Args:
        folder: where they lie; made if it is not there.
        embd_dim: size of the embeddings.

    Raises:
        DataError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, embd_dim: int) -> None:
        self.folder = folder
        self._record = np.dtype(
            [
                ("place", f"V{_KEY_BYTES}"),
                ("content", f"V{_KEY_BYTES}"),
                ("num_bytes", "<i8"),
                ("embedding", "<f4", (embd_dim,)),
                ("checksum", "<u4"),
            ]
        )
        with write_errors_as(DataError, f"embeddings to '{folder}'", "choose another folder"):
            check_writable(folder)
        self._stream: BinaryIO | None = None
        self._is_full = False
        self._parts = [self._map_records(path) for path in sorted(folder.glob("*.embeddings"))]
        self._row_of: dict[bytes, tuple[int, int]] = {}
        self._sizes: set[int] = set()
        for part, records in enumerate(self._parts):
            for field in ("place", "content"):
                keys = records[field].tolist()
                self._row_of.update({key: (part, row) for row, key in enumerate(keys)})
            self._sizes.update(records["num_bytes"].tolist())

    def find(
        self, keys: Sequence[ClipKey | None], clips: Sequence[Sequence[str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings of those clips that are known.

        A clip at another place, or with another time of change, is known by its content, which is
        read only where a known clip has the same size.

        Args:
            keys: of the clips, as :func:`clip_key` and :func:`packed_clip_key` give them.
            clips: the files of each clip; none of a packed one.

        Returns:
            float32 ``(clips, embd_dim)``, and bool ``(clips,)``: whether the clip is known.
        """
        embeddings = np.zeros((len(keys), self._record["embedding"].shape[0]), dtype=np.float32)
        is_known = np.zeros(len(keys), dtype=bool)
        if not self._row_of:
            return embeddings, is_known
        unknown: list[int] = []
        num_damaged = 0
        for position, key in enumerate(keys):
            if key is None:
                continue
            state = self._look_up(key.place, embeddings[position])
            is_known[position] = state is True
            num_damaged += state is False
            if state is None and key.num_bytes in self._sizes:
                unknown.append(position)
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            contents = pool.map(
                lambda position: _content_digest(keys[position], clips[position]), unknown
            )
            for position, content in zip(unknown, contents, strict=True):
                if content is not None:
                    is_known[position] = self._look_up(content, embeddings[position]) is True
        if num_damaged:
            logger.warning(
                "Damaged in '%s', and computed again: %s.",
                self.folder,
                count_of(num_damaged, "embedding"),
            )
        return embeddings, is_known

    def add(self, keys: Sequence[ClipKey], embeddings: np.ndarray) -> None:
        """Append embeddings; where the disk is full, do without them from then on.

        Args:
            keys: with content, of C clips.
            embeddings: ``(C, embd_dim)`` float32.
        """
        if self._is_full or not keys:
            return
        records = np.zeros(len(keys), dtype=self._record)
        for row, key in enumerate(keys):
            records["place"][row] = np.void(key.place)
            records["content"][row] = np.void(key.content or _NO_KEY)
            records["num_bytes"][row] = key.num_bytes
        records["embedding"] = embeddings
        records["checksum"] = [_checksum(record) for record in records]
        try:
            if self._stream is None:
                name = f"{time.time_ns():x}-{os.getpid()}.embeddings"
                self._stream = open(self.folder / name, "xb", buffering=0)  # noqa: SIM115
            self._stream.write(records.tobytes())
        except OSError as error:
            self._is_full = True
            logger.warning(
                "Cannot keep more embeddings in '%s' (%s); the work goes on without.",
                self.folder,
                error.strerror or error,
            )

    def close(self) -> None:
        """Close the file of this process."""
        if self._stream is not None:
            self._stream.close()

    def _map_records(self, path: Path) -> np.ndarray:
        num_records = path.stat().st_size // self._record.itemsize  # the last may be cut off
        if num_records == 0:
            return np.zeros(0, dtype=self._record)
        return np.memmap(path, dtype=self._record, mode="r", shape=(num_records,))

    def _look_up(self, key: bytes, target: np.ndarray) -> bool | None:
        """Put an embedding into ``target``; ``None`` if it is not there, False if damaged."""
        place = self._row_of.get(key)
        if place is None:
            return None
        record = self._parts[place[0]][place[1]]
        if _checksum(record) != record["checksum"]:
            return False
        target[:] = record["embedding"]
        return True


def _content_digest(key: ClipKey | None, paths: Sequence[str]) -> bytes | None:
    try:
        return None if key is None else with_content_digest(key, paths).content
    except OSError:
        return None


def _checksum(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[:-4])
