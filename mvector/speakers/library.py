"""The speaker library: who is enrolled, and who of them is speaking.

``<folder>/<name>/<clip>.wav`` is the truth a person can read: drop a clip in and it is enrolled
when the library is opened next; delete it and it is gone. ``<folder>/voiceprints.db`` (SQLite)
keeps the embeddings, so that opening does not compute them again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import sqlite3
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from mvector.audio import AUDIO_SUFFIXES, AudioSource, write_wav
from mvector.errors import LibraryError
from mvector.models.folder import fingerprint_of
from mvector.speakers.encoder import SpeakerEncoder

logger = logging.getLogger(__name__)

DATABASE = "voiceprints.db"
_NAME_FILE = "name.txt"  # in the folder of a person whose name no folder can have
_MAX_NAME = 200
_SCHEMA = """
CREATE TABLE IF NOT EXISTS clips (
    file TEXT NOT NULL,             -- relative to the library, forward slashes
    name TEXT NOT NULL,             -- of the person, as data
    sha256 TEXT NOT NULL,           -- of the file
    fingerprint TEXT NOT NULL,      -- of the model that made the embedding
    embedding BLOB NOT NULL,        -- float32, little-endian
    PRIMARY KEY (file, fingerprint)
)
"""


@dataclass(frozen=True)
class Match:
    """An enrolled person and how alike the voice is: the cosine, in [-1, 1]."""

    name: str
    score: float


class SpeakerLibrary:
    """Enrolled people and their voiceprints.

    Args:
        path: folder of the library; made if it does not exist.
        encoder: the model; embeddings of another model are computed anew, never compared.
        progress: show a bar while clips are embedded.

    Raises:
        LibraryError: the folder or its database cannot be used.
    """

    def __init__(
        self, path: str | os.PathLike[str], encoder: SpeakerEncoder, *, progress: bool = False
    ) -> None:
        self.folder = Path(path)
        self.encoder = encoder
        self.fingerprint = fingerprint_of(encoder.model)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(
                f"Cannot make the speaker library '{self.folder}': {error.strerror}."
            ) from error
        self._open_database()
        self._reconcile(progress)

    def register(self, name: str, source: AudioSource) -> Path:
        """Enrol a clip of a person, who may have clips already.

        Returns:
            The stored clip.

        Raises:
            AudioError: the clip cannot be used.
            LibraryError: the name is empty or too long, or the library cannot be written to.
        """
        name = _checked_name(name)
        waveform = self.encoder.model.front_end.read_clip(source)
        clip = self.folder / _folder_of(name) / f"{uuid.uuid4().hex[:12]}.wav"
        write_wav(clip, waveform, self.encoder.sample_rate)
        try:
            if _name_of(clip.parent) != name:  # a name too long for a folder
                (clip.parent / _NAME_FILE).write_text(name, encoding="utf-8")
            embedding = self.encoder.embed(clip)  # of what is stored, 16 bits and all
            with self._transaction() as database:
                self._insert(database, clip, name, _sha256(clip), embedding)
        except Exception:
            clip.unlink(missing_ok=True)
            raise
        self._people = None
        return clip

    def identify(self, source: AudioSource, top_k: int = 1) -> list[Match]:
        """The enrolled people whose voices are most alike, best first.

        Whether the best is alike enough to be that person is for a threshold to say.

        Raises:
            AudioError: the clip cannot be used.
            LibraryError: nobody is enrolled.
        """
        return self.identify_embedding(self.encoder.embed(source), top_k)

    def identify_embedding(
        self, embedding: np.ndarray, top_k: int = 1, *, within: Sequence[str] | None = None
    ) -> list[Match]:
        """As :meth:`identify`, of an embedding ``(embd_dim,)`` that this model computed."""
        names, voiceprints = self._voiceprints()
        if not names:
            raise LibraryError(
                f"Nobody is enrolled in '{self.folder}'; register a clip of each person first."
            )
        scores = voiceprints @ (embedding / np.linalg.norm(embedding))
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [Match(names[i], float(np.clip(scores[i], -1.0, 1.0))) for i in best]

    def num_people(self, within: Sequence[str] | None = None) -> int:
        """How many people are enrolled."""
        return len(self._voiceprints()[0])

    def record(self, action: str, name: str | None = None, score: float | None = None) -> None:
        """Nothing is written down yet."""

    def remove(self, name: str) -> int:
        """Forget a person: voiceprints and stored clips.

        Returns:
            How many clips were removed.

        Raises:
            LibraryError: there is nobody of that name.
        """
        name = _normalised(name)
        with self._transaction() as database:
            rows = database.execute("SELECT file FROM clips WHERE name = ?", (name,)).fetchall()
            if not rows:
                raise LibraryError(
                    f"'{name}' is not in the library '{self.folder}'; it holds: "
                    f"{', '.join(self.names()) or 'nobody'}."
                )
            database.execute("DELETE FROM clips WHERE name = ?", (name,))
        for (file,) in rows:
            (self.folder / file).unlink(missing_ok=True)
        for folder in {(self.folder / file).parent for (file,) in rows}:
            left = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            if folder != self.folder and left <= {_NAME_FILE}:
                shutil.rmtree(folder, ignore_errors=True)
        self._people = None
        return len(rows)

    def names(self) -> list[str]:
        """Who is enrolled, in alphabetical order."""
        with self._transaction() as database:
            rows = database.execute("SELECT DISTINCT name FROM clips ORDER BY name").fetchall()
        return [name for (name,) in rows]

    # ---- voiceprints ------------------------------------------------------------------------

    _people: tuple[list[str], np.ndarray] | None = None

    def _voiceprints(self) -> tuple[list[str], np.ndarray]:
        """Names, and one unit vector ``(people, embd_dim)`` each: the mean of unit vectors."""
        if self._people is None:
            with self._transaction() as database:
                rows = database.execute(
                    "SELECT name, embedding FROM clips WHERE fingerprint = ? ORDER BY name",
                    (self.fingerprint,),
                ).fetchall()
            clips = np.array(
                [np.frombuffer(blob, dtype="<f4") for _, blob in rows], dtype=np.float32
            ).reshape(len(rows), self.encoder.embd_dim)
            clips /= np.linalg.norm(clips, axis=1, keepdims=True)
            names, person = np.unique([name for name, _ in rows], return_inverse=True)
            means = np.zeros((len(names), self.encoder.embd_dim), dtype=np.float32)
            np.add.at(means, person, clips)
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            self._people = [str(name) for name in names], means
        return self._people

    # ---- folder and database ----------------------------------------------------------------

    def _reconcile(self, progress: bool) -> None:
        """Make the database say what the folders hold."""
        hashes = self._hash_clips()
        with self._transaction() as database:
            known = {
                file: (sha256, len(embedding))
                for file, sha256, embedding in database.execute(
                    "SELECT file, sha256, embedding FROM clips WHERE fingerprint = ?",
                    (self.fingerprint,),
                )
            }
            files = [file for (file,) in database.execute("SELECT DISTINCT file FROM clips")]
            # asked of the disk anew: another process may have enrolled since the folders were read
            gone = [(file,) for file in files if not (self.folder / file).is_file()]
            database.executemany("DELETE FROM clips WHERE file = ?", gone)
        size = 4 * self.encoder.embd_dim
        new = [file for file, sha256 in hashes.items() if known.get(file) != (sha256, size)]
        if not new:
            return
        logger.info("Embedding %d clips of '%s' …", len(new), self.folder)
        clips = [self.folder / file for file in new]
        table = self.encoder.embed_readable(clips, progress=progress)
        with self._transaction() as database:
            for position, embedding in zip(table.good, table.embeddings, strict=True):
                clip = clips[position]
                sha256 = hashes[new[position]]
                self._insert(database, clip, _name_of(clip.parent), sha256, embedding)
            for position, reason in table.failures:
                database.execute("DELETE FROM clips WHERE file = ?", (new[position],))
                logger.warning("Not enrolled: %s", reason)

    def _hash_clips(self) -> dict[str, str]:
        """SHA-256 of each clip in the folders, by its path in the library."""
        hashes = {}
        for path in sorted(self.folder.glob("*/*")):
            file = path.relative_to(self.folder).as_posix()
            if path.suffix.lower() not in AUDIO_SUFFIXES or file[0] == "." or path.name[0] == ".":
                continue
            try:
                file.encode()
                hashes[file] = _sha256(path)
            except (OSError, UnicodeEncodeError) as error:
                logger.warning("Not enrolled: %r cannot be read: %s", file, error)
        return hashes

    def _insert(
        self,
        database: sqlite3.Connection,
        clip: Path,
        name: str,
        sha256: str,
        embedding: np.ndarray,
    ) -> None:
        file = clip.relative_to(self.folder).as_posix()
        blob = embedding.astype("<f4").tobytes()
        database.execute(
            "INSERT OR REPLACE INTO clips VALUES (?, ?, ?, ?, ?)",
            (file, name, sha256, self.fingerprint, blob),
        )

    def _open_database(self) -> None:
        """Make the table; a database that is damaged is set aside, for the folders have it all."""
        try:
            self._create_table()
        except LibraryError as error:
            path = self.folder / DATABASE
            # OperationalError (locked, read-only, full) is not damage, though it is derived from it
            if type(error.__cause__) is not sqlite3.DatabaseError:
                raise
            aside = path.with_suffix(".damaged")
            os.replace(path, aside)
            logger.warning("'%s' is damaged and now called '%s'; it is made anew.", path, aside)
            self._create_table()

    def _create_table(self) -> None:
        with self._transaction() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(_SCHEMA)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One connection an operation: usable from any thread, committed or rolled back whole."""
        path = self.folder / DATABASE
        try:
            with closing(sqlite3.connect(path, timeout=30.0)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise LibraryError(f"The speaker database '{path}' cannot be used: {error}.") from error


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _checked_name(name: str) -> str:
    name = _normalised(name)
    if not name or len(name) > _MAX_NAME:
        raise LibraryError(f"A name needs 1 to {_MAX_NAME} characters; this one has {len(name)}.")
    if not name.isprintable():
        raise LibraryError(f"The name {name!r} holds control characters; leave them out.")
    return name


def _folder_of(name: str) -> str:
    """A folder name for any name: what could be a path, or no file system takes, is escaped."""
    escaped = re.sub(r'[<>:"/\\|?*%]|^\.|[. ]$', lambda match: f"%{ord(match[0]):02X}", name)
    if len(escaped.encode()) > 240:  # file systems take 255 bytes; the database has the whole name
        escaped = f"%{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return escaped


def _name_of(folder: Path) -> str:
    """Whose clips a folder holds."""
    try:
        return _normalised((folder / _NAME_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return _normalised(unquote(folder.name))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
