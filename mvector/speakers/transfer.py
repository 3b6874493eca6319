"""A library as one file, and back.

The file is a zip archive in which nothing is compressed: ``library.json`` (people, groups,
metadata, clips), ``embeddings.npy`` and the clips, all encrypted where the library is. When it is
read, sizes are compared with the file's own before anything is allocated, nothing is unpickled, and
places on disk are chosen anew: no name in the file becomes a path.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mvector.audio import AUDIO_SUFFIXES
from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError
from mvector.files import write_atomically, write_errors_as
from mvector.speakers import people
from mvector.speakers.clip_files import create_private
from mvector.speakers.context import LibraryContext
from mvector.speakers.encryption import LibraryCipher, plain_suffix
from mvector.speakers.names import checked_name, encode_metadata
from mvector.speakers.store import Database

_FORMAT = "mvector-library-1"
_TABLE, _EMBEDDINGS = "library.json", "embeddings.npy"
_MOST_DIMENSIONS = 65_536


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Clip(_StrictModel):
    member: str | None = None  # of the archive; None: no audio
    suffix: str = ".wav"
    sha256: str | None = None
    embedding: int | None = None  # row of the embeddings; None: there is none of the model
    speech_s: float | None = Field(None, ge=0, allow_inf_nan=False)  # None: not measured
    snr_db: float | None = Field(None, ge=0, allow_inf_nan=False)
    low_edge_hz: float | None = Field(None, ge=0, allow_inf_nan=False)
    bandwidth_hz: float | None = Field(None, ge=0, allow_inf_nan=False)
    hole_share: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)


class _Person(_StrictModel):
    name: str
    metadata: dict[str, Any]
    groups: list[str]
    enrolled_at: str = Field(max_length=40)
    clips: list[_Clip]


class _Table(_StrictModel):
    format: str
    fingerprint: str = Field(max_length=64)
    dimensions: int = Field(ge=1, le=_MOST_DIMENSIONS)
    num_embeddings: int = Field(ge=0)
    people: list[_Person]


# ---- writing --------------------------------------------------------------------------------


def export(context: LibraryContext, file: Path) -> None:
    """As :meth:`mvector.speakers.SpeakerLibrary.export`; the file appears whole or not at all."""

    def write(path: Path) -> None:
        with (
            create_private(path) as stream,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive,
            context.store.snapshot() as database,
        ):
            archive.comment = context.cipher.proof().encode("latin-1")
            _write_archive(context, database, archive)

    cure = "choose another place"
    if file.is_file() and file.stat().st_size and not _is_export(file):
        raise LibraryError(f"'{file}' is there already and is no exported library; {cure}.")
    with write_errors_as(LibraryError, f"'{file}'", cure, also=(zipfile.LargeZipFile,)):
        write_atomically(file, write)
    if not context.store.read_only:
        with context.store.transaction() as database:
            context.append_audit(database, "export")


def _is_export(file: Path) -> bool:
    """Whether a file is an earlier export, which a later one may replace."""
    try:
        with zipfile.ZipFile(file) as archive:
            return {_TABLE, _EMBEDDINGS} <= {*archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return False


def _write_archive(context: LibraryContext, database: Database, archive: zipfile.ZipFile) -> None:
    model = people.get_meta(database, "model") or context.fingerprint
    clips: dict[int, list[_Clip]] = {}
    vectors: list[bytes] = []
    query = f"""SELECT clips.person, file, vector, {context.store.quality_columns} FROM clips
        LEFT JOIN embeddings e ON e.clip = clips.id AND e.fingerprint = ? ORDER BY clips.id"""
    for person, place, vector, *quality in database.execute(query, (model,)):
        clip = _Clip(**dict(zip(SpeechQuality._fields, quality, strict=True)))
        if place is not None:
            suffix = plain_suffix(place) or ".wav"
            clip.member, clip.suffix = f"clips/{len(archive.filelist):08d}", suffix.lower()
            data = context.clips.read(place)
            if data is None:
                clip.member = None
            else:
                clip.sha256 = hashlib.sha256(data).hexdigest()
                archive.writestr(clip.member, data)
        if vector is not None:
            clip.embedding = len(vectors)
            vectors.append(context.cipher.decrypt(vector))
        clips.setdefault(person, []).append(clip)
    dim = len(vectors[0]) // 4 if vectors else max(1, context.embd_dim)
    table = _Table(
        format=_FORMAT,
        fingerprint=model,
        dimensions=dim,
        num_embeddings=len(vectors),
        people=_read_people(database, clips),
    )
    stream = io.BytesIO()
    np.save(stream, np.frombuffer(b"".join(vectors), dtype="<f4").reshape(-1, dim))
    archive.writestr(_EMBEDDINGS, context.cipher.encrypt(stream.getvalue()))
    archive.writestr(_TABLE, context.cipher.encrypt(table.model_dump_json().encode()))


def _read_people(database: Database, clips: dict[int, list[_Clip]]) -> list[_Person]:
    groups = people.groups_of_people(database)
    query = "SELECT id, name, metadata, enrolled_at FROM people ORDER BY id"
    return [
        _Person(
            name=name,
            metadata=people.decode_metadata(metadata),
            groups=groups.get(number, []),
            enrolled_at=at,
            clips=clips.get(number, []),
        )
        for number, name, metadata, at in database.execute(query)
    ]


# ---- reading --------------------------------------------------------------------------------


def import_into(context: LibraryContext, file: Path, *, keep_audio: bool) -> None:
    """As :meth:`mvector.speakers.SpeakerLibrary.import_file`, in one transaction."""
    try:
        with zipfile.ZipFile(file) as archive:
            cipher = _cipher_for(context, archive, file)
            _check_sizes(archive, file)
            table = _Table.model_validate_json(cipher.decrypt(archive.read(_TABLE)))
            if table.format != _FORMAT:
                raise ValueError(f"it has the format {table.format!r}")
            vectors = _read_vectors(cipher.decrypt(archive.read(_EMBEDDINGS)), table)
            with context.clip_transaction() as database:
                if database.execute("SELECT 1 FROM people LIMIT 1").fetchone():
                    raise LibraryError(
                        f"People are enrolled in '{context.name}' already; import into a new "
                        "library."
                    )
                people.set_meta(database, "model", table.fingerprint)
                if context.model is not None and table.fingerprint == context.fingerprint:
                    context.remember_model(database)
                for person in table.people:
                    _insert_person(
                        context, database, archive, cipher, person, vectors, table, keep_audio
                    )
                context.append_audit(database, "import")
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise LibraryError(f"'{file}' is no exported library: '{where}' is wrong.") from error
    except (
        *(OSError, zipfile.BadZipFile, KeyError, ValueError, EOFError),
        *(NotImplementedError, RuntimeError, RecursionError, OverflowError),
    ) as error:
        reason = getattr(error, "strerror", None) or error
        raise LibraryError(f"'{file}' cannot be imported: {reason}.") from error


def _cipher_for(context: LibraryContext, archive: zipfile.ZipFile, file: Path) -> LibraryCipher:
    """The key of the file, which is the library's; a plain file can fill an encrypted library."""
    proof = archive.comment.decode("latin-1")
    if not proof:
        return LibraryCipher()
    context.cipher.check(proof, f"The exported library '{file}'")
    return context.cipher


def _check_sizes(archive: zipfile.ZipFile, file: Path) -> None:
    """Refuse what would unpack to more than the file itself holds."""
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
        raise ValueError("its members are compressed or encrypted, as no export is")
    if total > file.stat().st_size or len({m.filename for m in members}) != len(members):
        raise ValueError("its members overlap")


def _read_vectors(data: bytes, table: _Table) -> np.ndarray:
    stream = io.BytesIO(data)
    np.lib.format.read_magic(stream)
    shape, is_transposed, dtype = np.lib.format.read_array_header_1_0(stream)
    expected = (table.num_embeddings, table.dimensions)
    if shape != expected or dtype != np.dtype("<f4") or is_transposed:
        raise ValueError(f"its embeddings are {shape} {dtype} and not {expected} float32")
    vectors = np.frombuffer(data, dtype="<f4", offset=stream.tell()).reshape(shape)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not np.all(np.isfinite(norms) & (norms > 0)):
        raise ValueError("an embedding is zero or not finite")
    return vectors


def _insert_person(
    context: LibraryContext,
    database: Database,
    archive: zipfile.ZipFile,
    cipher: LibraryCipher,
    person: _Person,
    vectors: np.ndarray,
    table: _Table,
    keep_audio: bool,
) -> None:
    name = checked_name(person.name)
    metadata = encode_metadata(person.metadata)
    number = people.write_person(database, name, metadata, person.enrolled_at, person.groups)
    if not person.clips:
        raise ValueError(f"{person.name!r} has no clips")
    for clip in person.clips:
        place = sha256 = None
        if clip.member is not None and keep_audio:
            data = archive.read(clip.member)
            if hashlib.sha256(data).hexdigest() != clip.sha256:
                raise ValueError(f"the clip {clip.member!r} is damaged")
            if clip.suffix not in AUDIO_SUFFIXES:
                raise ValueError(f"the clip {clip.member!r} has the suffix {clip.suffix!r}")
            data = cipher.decrypt(data)
            place, sha256 = context.stage_clip(database, name, data, clip.suffix)
        if place is None and clip.embedding is None:
            continue
        row = people.insert_clip(database, number, place, sha256)
        if clip.embedding is not None:
            if not 0 <= clip.embedding < len(vectors):
                raise ValueError("an embedding is missing")
            vector, quality = vectors[clip.embedding], None
            if clip.speech_s is not None and clip.snr_db is not None:
                quality = SpeechQuality(*(getattr(clip, name) for name in SpeechQuality._fields))
            people.insert_embedding(
                database, row, number, table.fingerprint, vector, quality, context.cipher
            )
