"""The speaker library: who is enrolled, and who of them is speaking.

``<folder>/<name>/<clip>.wav`` is the truth a person can read: drop a clip in and it is enrolled
when the library is opened next; delete it and it is gone. ``<folder>/voiceprints.db`` (SQLite)
keeps embeddings, names, groups and metadata. A library that many servers share is in PostgreSQL,
clips and all. ``docs/library.md`` tells about both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mvector.audio import AudioSource
from mvector.audio.quality import SpeechQuality
from mvector.speakers import audit, copying, people, reembedding, registration, transfer
from mvector.speakers.audit import AuditEntry
from mvector.speakers.clip_files import folder_of_person, make_person_folder
from mvector.speakers.hearing import HeardClip, hear
from mvector.speakers.identification import Identification, Match
from mvector.speakers.names import checked_groups, checked_name, encode_metadata, normalise_name
from mvector.speakers.opening import catch_up, nothing_left_if_it_fails, open_context
from mvector.speakers.people import Person
from mvector.speakers.reconciliation import Reconciled, reconcile

if TYPE_CHECKING:  # it brings torch, which reading a library does without
    from mvector.embedding.encoder import SpeakerEncoder


class SpeakerLibrary:
    """Enrolled people and their voiceprints; usable from several threads and processes at once.

    Args:
        path: folder of the library, made if it does not exist; or
            ``postgresql://user@host/database?schema=NAME``.
        encoder: the model; embeddings of another model, or of one that hears another part of clips,
            are never compared with its own. ``None``: list, remove and export only.
        progress: show a bar while clips are embedded.
        keep_audio: store the clips that are registered; without them a person has to be enrolled
            anew for another model.
        audit: write down who did what and when.
        audit_days: how long that is kept, from now on; ``None``: as it was, 90 days at first.
        read_only: list and identify only; so is by itself what cannot be written to.
        look_at_folders: find clips that were added, changed, moved or deleted by hand. Without, a
            library of very many clips opens faster; :meth:`reconcile` does it at any time.
        create: make the library if there is none; folders with clips are one.

    Raises:
        LibraryError: the folder or its database cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        encoder: SpeakerEncoder | None,
        *,
        progress: bool = False,
        keep_audio: bool = True,
        audit: bool = True,
        audit_days: float | None = None,
        read_only: bool = False,
        look_at_folders: bool = True,
        create: bool = True,
    ) -> None:
        self.keep_audio = keep_audio
        self._context = context = open_context(
            path, encoder, is_audited=audit, read_only=read_only, create=create
        )
        self._store, self.fingerprint = context.store, context.fingerprint
        self._identification = Identification(context)
        catch_up(context, audit_days, look_at_folders=look_at_folders, progress=progress)

    # ---- enrolment --------------------------------------------------------------------------

    def register(
        self,
        name: str,
        source: AudioSource | HeardClip,
        *,
        metadata: Mapping[str, Any] | None = None,
        groups: Sequence[str] = (),
    ) -> Path | None:
        """Enrol a clip of a person, who may have clips already.

        Args:
            name: any text of 1 to 200 characters.
            source: the clip, or what :func:`mvector.speakers.hearing.hear` made of it.
            metadata: what else to know of the person, JSON values; keys not named stay as they are.
            groups: that the person joins.

        Returns:
            The file of the clip; ``None`` where audio is not kept, or is kept in a database.

        Raises:
            AudioError: the clip cannot be used.
            LibraryError: the name is no name, the library is another model's, or cannot be written
                to; nothing is enrolled then.
        """
        name, groups = checked_name(name), checked_groups(groups)
        encode_metadata(metadata or {})  # nothing is done where it is refused
        clip = source if isinstance(source, HeardClip) else hear(self.encoder, source)
        with self._context.clip_transaction() as database:
            self._context.claim_model(database)
            kept = clip.data if self.keep_audio else None
            quality = clip.report.quality
            file = self._context.add_clip(database, name, clip.embedding, kept, quality=quality)
            person = people.find_person(database, name)
            if metadata:
                people.set_metadata(database, person, metadata, keep=True)
            people.set_groups(database, person, groups, keep=True)
            self._context.append_audit(database, "register", name)
        return None if file is None else self._context.clips.path(file)

    def register_embeddings(
        self,
        names: Sequence[str],
        embeddings: np.ndarray,
        quality: Sequence[SpeechQuality | None] | None = None,
    ) -> None:
        """Enrol people by embeddings of this model, without audio, in one transaction.

        ``embeddings`` are ``(len(names), embd_dim)``; a name may come more than once. ``quality``
        is that of the clip behind each embedding, where it is known.

        Raises:
            LibraryError: as :meth:`register`; nobody is enrolled then.
        """
        registration.register_embeddings(self._context, names, embeddings, quality)

    def register_files(self, clips: Sequence[tuple[str, Path]]) -> list[str]:
        """Enrol clips of people as the files are, all in one transaction, unless they are there.

        Args:
            clips: names and files; of a person enrolled in an encrypted library nothing is added,
                for encrypted clips cannot be compared.

        Returns:
            Why clips were left out that cannot be used or came twice, one sentence each.

        Raises:
            LibraryError: as :meth:`register`; nothing is enrolled then.
        """
        return registration.register_files(self._context, clips)

    def remove(self, name: str) -> int:
        """Forget a person: voiceprints and stored clips are deleted, and not to be found any more.

        The result is how many clips were removed.

        Raises:
            LibraryError: there is nobody of that name, or the library cannot be written to.
        """
        with self._context.clip_transaction() as database:
            count = people.delete_person(database, people.find_person(database, name))
            self._context.append_audit(database, "remove", normalise_name(name))
        self._store.erase_deleted()
        return count

    def set_metadata(self, name: str, metadata: Mapping[str, Any]) -> None:
        """Replace what is known of a person: JSON values, or a ``LibraryError`` is raised."""
        self.change(name, metadata=metadata)

    def set_groups(self, name: str, groups: Sequence[str]) -> None:
        """Replace the groups that a person is in; a ``LibraryError`` where a name is none."""
        self.change(name, groups=groups)

    def change(
        self,
        name: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        """Replace metadata and groups of a person, both or neither; ``None`` leaves one as it is.

        Raises:
            LibraryError: there is nobody of that name, or what is given can be none.
        """
        with self._store.transaction() as database:
            person = people.find_person(database, name)
            if metadata is not None:
                people.set_metadata(database, person, metadata, keep=False)
                self._context.append_audit(database, "metadata", normalise_name(name))
            if groups is not None:
                people.set_groups(database, person, groups, keep=False)
                self._context.append_audit(database, "groups", normalise_name(name))

    # ---- who is it? -------------------------------------------------------------------------

    def identify(
        self, source: AudioSource, top_k: int = 1, *, within: Sequence[str] | None = None
    ) -> list[Match]:
        """The enrolled people whose voices are most alike, best first.

        Whether the best is alike enough to be that person is for a threshold to say.

        ``within`` names groups, whose members alone are compared.

        Raises:
            AudioError: the clip cannot be used.
            LibraryError: nobody is enrolled, or with another model only.
        """
        self._identification.require_people()
        return self.identify_embedding(self.encoder.embed(source), top_k, within=within)

    def identify_embedding(
        self, embedding: np.ndarray, top_k: int = 1, *, within: Sequence[str] | None = None
    ) -> list[Match]:
        """As :meth:`identify`, of an embedding ``(embd_dim,)`` that this model computed."""
        return self._identification.nearest(embedding, top_k, within)

    def match_embedding(self, embedding: np.ndarray, name: str) -> Match:
        """How alike an embedding ``(embd_dim,)`` that this model computed is to one person.

        Raises:
            LibraryError: there is nobody of that name, or without a voiceprint of this model.
        """
        return self._identification.of_person(embedding, name)

    def require_model(self) -> None:
        """Refuse, before anything is asked, what another model enrolled.

        Raises:
            LibraryError: people are enrolled, and with another model; or there is no model.
        """
        with self._store.snapshot() as database:
            self._context.require_model(database)

    # ---- who is there? ----------------------------------------------------------------------

    @property
    def encoder(self) -> SpeakerEncoder:
        """The model; without one, a :class:`LibraryError`."""
        return self._context.encoder

    @property
    def name(self) -> str:
        """The folder, or the address without its password."""
        return self._store.name

    @property
    def folder(self) -> Path:
        """Where clips may be put by hand.

        Raises:
            LibraryError: the library is in a database.
        """
        return self._context.folder

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed."""
        return self._store.read_only

    def names(self) -> list[str]:
        """Who is enrolled, in alphabetical order."""
        return [name for (name,) in self._store.rows("SELECT name FROM people ORDER BY name")]

    def people(self, *, after: str | None = None, most: int | None = None) -> list[Person]:
        """Who is enrolled, in alphabetical order: ``most`` people behind a name, or everybody."""
        with self._store.snapshot() as database:
            return people.all_people(database, self.fingerprint, after=after, most=most)

    def person(self, name: str) -> Person:
        """Somebody who is enrolled; a ``LibraryError`` where there is nobody of that name."""
        with self._store.snapshot() as database:
            return people.one_person(database, self.fingerprint, name)

    def num_people(self, within: Sequence[str] | None = None) -> int:
        """How many people are enrolled, or are in any of some groups."""
        with self._store.snapshot() as database:
            if within is not None:
                return len(people.members(database, within))
            return int(database.execute("SELECT count(*) FROM people").fetchone()[0])

    def audit_log(self, limit: int = 100) -> list[AuditEntry]:
        """What was done last, the newest first."""
        with self._store.snapshot() as database:
            return audit.latest(database, limit)

    def num_done_for(self, callers: Sequence[str], action: str) -> int:
        """How often the audit has it that something was done for callers of ``acting_for``."""
        with self._store.snapshot() as database:
            return audit.count(database, action, callers)

    def record(self, action: str, name: str | None = None, score: float | None = None) -> None:
        """Write down what the caller did, if it can be done at once; not where audit is off."""
        self._context.record(action, name, score)

    # ---- folders, models, files -------------------------------------------------------------

    def reconcile(self, *, progress: bool = False) -> Reconciled:
        """As opening does, find clips that were added, changed, moved or deleted by hand.

        Opening measures the quality of some thousand older clips at most, this method of all.
        """
        return reconcile(self._context, progress=progress, measure_all=True)

    def make_folder(self, name: str) -> Path:
        """The folder of a person, to put clips into by hand."""
        with self._store.transaction() as database:
            folder = self.folder / folder_of_person(database, self.folder, checked_name(name))
            make_person_folder(folder, normalise_name(name))
        return folder

    def reembed(self, *, progress: bool = False) -> int:
        """Take over a library of another model: compute all voiceprints anew from stored audio.

        The other model can be used until all are done; what a killed process had done is not done
        again. People without stored audio are told of; they have to be enrolled anew.
        The result is how many embeddings were computed.

        Raises:
            LibraryError: no audio is stored at all, or the library cannot be written to.
        """
        return reembedding.reembed(self._context, progress=progress)

    def export(self, file: str | os.PathLike[str]) -> None:
        """Write the library to one file, which :meth:`import_file` reads.

        Raises:
            LibraryError: it cannot be written.
        """
        transfer.export(self._context, Path(file))

    def copy_to(self, other: SpeakerLibrary, *, progress: bool = False) -> copying.Copied:
        """Make another library hold what this one does: clips, embeddings of all models, audit.

        It goes on where an earlier copy was stopped, and both are compared in the end.

        Raises:
            LibraryError: the other holds other people, or cannot be written to; or the two differ,
                for somebody enrolled meanwhile.
        """
        return copying.copy_library(self._context, other._context, progress=progress)

    @classmethod
    def import_file(
        cls,
        file: str | os.PathLike[str],
        path: str | os.PathLike[str],
        encoder: SpeakerEncoder | None,
        **options: Any,
    ) -> SpeakerLibrary:
        """A new library with what :meth:`export` wrote.

        Args:
            file: what :meth:`export` wrote; nothing in it is executed or trusted.
            path: of the library, in which nobody is enrolled yet.
            encoder: the model, if any; if not the one of the file, :meth:`reembed` comes next.
            options: of :class:`SpeakerLibrary`.

        Raises:
            LibraryError: the file is no exported library or damaged, or people are enrolled
                already; nothing is imported then.
        """
        with nothing_left_if_it_fails(path):
            library = cls(path, encoder, **options)
            try:
                transfer.import_into(library._context, Path(file), keep_audio=library.keep_audio)
            except BaseException:
                library.close()
                raise
        return library

    def close(self) -> None:
        """Close the database; a large matrix is kept as a file for the next start."""
        self._identification.close()
        self._store.close()

    def __enter__(self) -> SpeakerLibrary:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
