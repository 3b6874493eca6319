"""What every operation on a library works with."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mvector.audio import AudioSource
from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError, count_of
from mvector.speakers import audit, people
from mvector.speakers.encryption import ENCRYPTED_SUFFIX, LibraryCipher
from mvector.speakers.obstacles import Obstacles
from mvector.speakers.store import Database, Store
from mvector.speakers.stored_clips import Clips

if TYPE_CHECKING:  # it brings torch, which reading a library does without
    from mvector.embedding.encoder import SpeakerEncoder

logger = logging.getLogger(__name__)

_AUDIT_WAIT_S = 0.2


@dataclass(frozen=True)
class LibraryContext:
    """Database, clips, key and model of an open library."""

    store: Store
    clips: Clips
    cipher: LibraryCipher
    model: SpeakerEncoder | None  # none: it lists, removes and exports
    fingerprint: str  # of the model and how much of clips it hears; without, that of the library
    is_audited: bool
    obstacles: Obstacles = field(default_factory=Obstacles)

    @property
    def name(self) -> str:
        """As messages call the library."""
        return self.store.name

    @property
    def folder(self) -> Path:
        """Where clips may be put by hand; a ``LibraryError`` where the database is the truth."""
        if self.store.folder is None:
            raise LibraryError(
                f"The library '{self.name}' is in a database, which alone says who is enrolled: "
                "clips are registered, and not put into folders by hand."
            )
        return self.store.folder

    @property
    def encoder(self) -> SpeakerEncoder:
        """The model; a ``LibraryError`` where the library was opened without one."""
        if self.model is None:
            raise LibraryError(
                f"The speaker library '{self.name}' was opened without a model; open it with "
                "one to enrol and recognise people.",
                code="library-without-model",
            )
        return self.model

    @property
    def embd_dim(self) -> int:
        """Size of the model's embeddings; 0 without a model."""
        return 0 if self.model is None else self.model.embd_dim

    @property
    def model_folder(self) -> Path | None:
        """Where the model was read from; ``None`` if that is not known, or there is no model."""
        info = None if self.model is None else self.model.info
        return None if info is None else info.folder

    def apply_committed_changes(self) -> None:
        """Do to the clips' files what was committed to the database."""
        self.clips.apply_committed_changes()

    @contextmanager
    def clip_transaction(self) -> Iterator[Database]:
        """A transaction that adds or removes clips, and behind it the same done to the folders."""
        try:
            with self.store.transaction() as database:
                yield database
                self.clips.before_commit(database)
        except BaseException:
            with suppress(LibraryError):  # the clips that were staged are not wanted any more
                self.apply_committed_changes()
            raise
        self.apply_committed_changes()

    def append_audit(
        self,
        database: Database,
        action: str,
        name: str | None = None,
        score: float | None = None,
    ) -> None:
        """Write down what is done, unless that is turned off."""
        if self.is_audited:
            audit.append(database, action, name, score)

    def record(self, action: str, name: str | None, score: float | None) -> None:
        """Write down what was asked, if that can be done at once: no answer fails for it."""
        if not self.is_audited:
            return
        try:
            with self.store.transaction(wait_s=_AUDIT_WAIT_S, alone=False) as database:
                self.append_audit(database, action, name, score)
        except LibraryError as error:
            self.obstacles.tell_once("audit", f"The audit misses what is asked now: {error}")

    def is_of_this_model(self, database: Database) -> bool:
        """Whether the library's voiceprints are this model's, or there are none."""
        model = people.get_meta(database, "model")
        if model is None or model == self.fingerprint:
            return True
        return database.execute("SELECT 1 FROM embeddings LIMIT 1").fetchone() is None

    def require_model(self, database: Database) -> None:
        """Refuse to mix voiceprints of two models, or of two parts of the same clips.

        Raises:
            LibraryError: the library is another model's.
        """
        _ = self.encoder  # is there one?
        if self.is_of_this_model(database):
            return
        from mvector.models.named import model_name
        from mvector.speakers.model_memory import remembered_name

        library = people.get_meta(database, "model") or ""
        is_same_model = library.partition("-")[0] == self.fingerprint.partition("-")[0]
        name = remembered_name(database, self.store.folder)
        what = "another model" + (f", '{name}'" if name else "")
        cure = f"give --model_path '{name}', or " if name else "use that model, or "
        if is_same_model:
            what = "this model, hearing another part of clips"
            cure = "evaluate the model with the eval_conf.max_duration of dataset_conf it had, or "
        this = self.model_folder
        option = "--reembed" + (f" --model_path '{model_name(this)}'" if this else "")
        if this and name == model_name(this) and not is_same_model:  # of another version of mvector
            what, cure = f"an earlier '{name}'", ""
        raise LibraryError(
            f"The people in '{self.name}' were enrolled with {what} ({library}; this one is "
            f"{self.fingerprint}): {cure}compute their voiceprints anew by {option}.",
            code="library-of-another-model",
        )

    def claim_model(self, database: Database) -> None:
        """Make the library this model's, or refuse, inside a transaction that adds a voiceprint."""
        self.require_model(database)
        self.remember_model(database)

    def remember_model(self, database: Database) -> None:
        """Write down that the voiceprints are of this model, and where it is."""
        from mvector.speakers.model_memory import remember_model

        remember_model(database, self.store.folder, self.fingerprint, self.model_folder)

    def add_clip(
        self,
        database: Database,
        name: str,
        embedding: np.ndarray,
        data: bytes | None,
        suffix: str = ".wav",
        quality: SpeechQuality | None = None,
    ) -> str | None:
        """Add a clip of a person, whose name was checked, inside a :meth:`clip_transaction`.

        Without ``data``, what the clip's file holds, its embedding ``(embd_dim,)`` alone is kept.

        Returns:
            The clip's place, relative to the library.
        """
        file = sha256 = None
        if data is not None:
            file, sha256 = self.stage_clip(database, name, data, suffix)
        person = people.ensure_person(database, name)
        clip = people.insert_clip(database, person, file, sha256)
        self.add_embedding(database, clip, person, embedding, quality)
        return file

    def stage_clip(
        self, database: Database, name: str, data: bytes, suffix: str
    ) -> tuple[str, str]:
        """Stage a clip of a person, encrypted where the library is: its place and SHA-256."""
        suffix += ENCRYPTED_SUFFIX if self.cipher.is_enabled else ""
        return self.clips.stage(database, name, self.cipher.encrypt(data), suffix)

    def add_embedding(
        self,
        database: Database,
        clip: int,
        person: int,
        embedding: np.ndarray,
        quality: SpeechQuality | None = None,
    ) -> None:
        """Add the embedding of a clip under this model."""
        people.insert_embedding(
            database, clip, person, self.fingerprint, embedding, quality, self.cipher
        )

    def delete_damaged_embeddings(self, clips: list[int]) -> None:
        """Delete embeddings that are damaged; what has audio is then embedded again."""
        damaged = count_of(len(clips), "damaged embedding")
        logger.warning("'%s' has %s.", self.name, damaged)
        query = "SELECT name FROM clips JOIN people ON people.id = person WHERE clips.id = ? "
        with self.store.transaction() as database:
            for clip in clips:
                database.execute("DELETE FROM embeddings WHERE clip = ?", (clip,))
                row = database.execute(query + "AND file IS NULL", (clip,)).fetchone()
                if row is not None:
                    logger.warning("'%s' has no stored audio and has to be enrolled anew.", row[0])
                    database.execute("DELETE FROM clips WHERE id = ?", (clip,))
            people.delete_people_without_clips(database)

    def open_stored_clip(self, file: str) -> AudioSource:
        """A stored clip as the encoder reads it; an encrypted one is decrypted in memory.

        Raises:
            LibraryError: an encrypted clip is damaged, or something lies in the clip's way.
            OSError: it cannot be read.
        """
        source, is_sealed = self.clips.source(file), file.endswith(ENCRYPTED_SUFFIX)
        if isinstance(source, Path):
            if not is_sealed:
                return source
            source, file = source.read_bytes(), str(source)
        return named_stream(self.cipher.decrypt(source) if is_sealed else source, file)


def named_stream(data: bytes, name: str) -> io.BytesIO:
    """Bytes as a file that messages call by a name."""
    stream = io.BytesIO(data)
    stream.name = name
    return stream


def unit_vector(embedding: np.ndarray, dim: int) -> np.ndarray:
    """The unit vector ``(dim,)`` of an embedding.

    Raises:
        LibraryError: it is of another size, zero or not finite.
    """
    vector = np.asarray(embedding, dtype=np.float32)
    if vector.shape != (dim,):
        raise LibraryError(f"The embedding has shape {vector.shape}; the model's have ({dim},).")
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(norm) or norm == 0.0:
        raise LibraryError("The embedding is zero or not finite; it has no direction.")
    return (vector / norm).astype(np.float32)
