"""Files that repeat what the database holds, in a form that is read fast.

Such a file counts only while the database knows the token it was written with. A removal deletes
the tokens in its own transaction, and the files behind it: nobody who was removed stays in them.
"""

from __future__ import annotations

import logging
import os
import struct
import uuid
import zlib
from pathlib import Path

import numpy as np

from mvector.files import write_atomically
from mvector.speakers.clip_files import DERIVED_FILES, create_private
from mvector.speakers.people import get_meta, set_meta
from mvector.speakers.store import Database, Store

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("<8s32sqqqI")  # magic, token, revision, people, payload bytes, CRC-32
_MAGIC = b"mvprints"
REVISION = "SELECT coalesce(max(revision), 0) FROM changes"


def write_derived(
    store: Store, key: str, fingerprint: str, revision: int, people: np.ndarray, payload: np.ndarray
) -> bool:
    """Write one of the files, which its owner alone can read; it appears whole or not at all.

    Args:
        store: the database that it repeats.
        key: which file, of :data:`DERIVED_FILES`.
        fingerprint: of the model.
        revision: of the database that it repeats.
        people: ``(rows,)`` int64, numbers of the people.
        payload: of any type.

    Returns:
        Whether it was written; not so where the library has no folder, and if the database has
        changed since, for somebody who was removed must not come back.
    """
    if store.folder is None:
        return False
    folder, token = store.folder, uuid.uuid4().hex
    blocks = people.data, np.ascontiguousarray(payload).reshape(-1).view(np.uint8).data
    checksum = zlib.crc32(blocks[1], zlib.crc32(blocks[0]))
    sizes = len(people), blocks[1].nbytes
    header = _HEADER.pack(_MAGIC, token.encode(), revision, *sizes, checksum)

    def write(file: Path) -> None:
        with create_private(file) as stream:
            stream.writelines((header, *blocks))

    with store.transaction() as database:
        if revision_of(database) != revision:
            return False
        write_atomically(folder / DERIVED_FILES[key], write)
        set_meta(database, key, f"{token}:{fingerprint}")
    return True


def read_derived(
    store: Store, database: Database, key: str, fingerprint: str
) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Revision, people and payload (bytes) of a file; ``None`` if there is none that counts."""
    known = get_meta(database, key)
    if known is None or store.folder is None:
        return None
    path = store.folder / DERIVED_FILES[key]
    try:
        with open(path, "rb") as stream:
            header = stream.read(_HEADER.size)
            magic, token, revision, count, size, checksum = _HEADER.unpack(header)
            if magic != _MAGIC or f"{token.decode()}:{fingerprint}" != known:
                return None
            if _HEADER.size + 8 * count + size != os.fstat(stream.fileno()).st_size:
                return None
            people, payload = np.empty(count, dtype=np.int64), np.empty(size, dtype=np.uint8)
            stream.readinto(people.data)
            stream.readinto(payload.data)
    except (OSError, struct.error, UnicodeDecodeError):
        return None
    if zlib.crc32(payload.data, zlib.crc32(people.data)) != checksum:
        logger.warning("'%s' is damaged and made anew.", path)
        return None
    return int(revision), people, payload


def revision_of(database: Database) -> int:
    """A number that grows with every change of an embedding."""
    return int(database.execute(REVISION).fetchone()[0])
