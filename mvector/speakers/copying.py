"""A library copied to another place, person by person: from folders to PostgreSQL, or back.

A person is copied in one transaction, with all clips and the embeddings of all models. Who is in
the copy already, and the same, is passed over, so that a copy that was stopped goes on where it
was. In the end both libraries are read again and compared.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from mvector.errors import LibraryError, count_of
from mvector.progress import progress_bar
from mvector.speakers import people
from mvector.speakers.context import LibraryContext
from mvector.speakers.encryption import ENCRYPTED_SUFFIX, plain_suffix
from mvector.speakers.store import ALL_ROWS, Database

logger = logging.getLogger(__name__)

_PEOPLE_AT_ONCE = 256  # read, compared and committed together: what a kill costs
_COPY_OF = "copy_of"  # in ``meta`` of a copy that is not finished: the number of its library
_ABOUT = ("model", "model_place", "audit_days", "audit_from")  # of ``meta``, what goes along


@dataclass(frozen=True)
class Copied:
    """What a copy consists of.

    Attributes:
        num_people: people, all of them, those copied by an earlier run included.
        num_clips: of these.
        num_embeddings: of these, of all models.
        num_new: people copied by this run.
        num_without_audio: clips of this run whose audio is gone: their embeddings are kept.
    """

    num_people: int
    num_clips: int
    num_embeddings: int
    num_new: int
    num_without_audio: int


@dataclass
class _Clip:
    file: str | None = field(compare=False)
    added_at: str
    embeddings: list[tuple[str, bytes, tuple[float | None, ...]]] = field(default_factory=list)


@dataclass
class _Person:
    """Equal to another of whom all is the same, wherever it is kept."""

    name: str
    metadata: str
    enrolled_at: str
    groups: list[str]
    clips: list[_Clip] = field(default_factory=list)


def copy_library(
    source: LibraryContext, target: LibraryContext, *, progress: bool = False
) -> Copied:
    """Make ``target`` hold what ``source`` does, and nobody else; the same model can use it.

    Raises:
        LibraryError: it holds other people already, is the library itself, cannot be written to,
            or the two differ in the end, as when people are enrolled meanwhile.
    """
    _claim(source, target)
    num_new = num_without_audio = 0
    names: set[str] = set()
    (total,) = source.store.rows("SELECT count(*) FROM people")[0]
    with progress_bar(total=total, desc="Copying", unit="person", show=progress) as bar:
        for ours, theirs in _pages(source, target):
            names.update(ours)
            wanted = [person for name, person in ours.items() if person != theirs.get(name)]
            if wanted:
                with target.clip_transaction() as database:
                    for person in wanted:
                        num_without_audio += _write(source, target, database, person)
            num_new += len(wanted)
            bar.update(len(ours))
    _remove_others(target, names)
    num_people, num_clips, num_embeddings = _verified(source, target, progress=progress)
    _finish(source, target)
    if num_without_audio:
        clips = count_of(num_without_audio, "clip")
        logger.warning("%s had no audio any more, and went along as embeddings.", clips)
    return Copied(num_people, num_clips, num_embeddings, num_new, num_without_audio)


def _claim(source: LibraryContext, target: LibraryContext) -> None:
    with source.store.snapshot() as database:
        library = people.get_meta(database, "library") or ""
        model = people.get_meta(database, "model")
    with target.store.transaction() as database:
        if people.get_meta(database, "library") == library:
            raise LibraryError(f"'{target.name}' is the library itself; name another place.")
        is_begun = people.get_meta(database, _COPY_OF) == library
        if not is_begun and database.execute("SELECT 1 FROM people LIMIT 1").fetchone():
            raise LibraryError(
                f"People are enrolled in '{target.name}' already; copy into a new library."
            )
        people.set_meta(database, _COPY_OF, library)
        if model is not None:
            people.set_meta(database, "model", model)


def _pages(
    source: LibraryContext, target: LibraryContext
) -> Iterator[tuple[dict[str, _Person], dict[str, _Person]]]:
    """People of both, by their names: all of the source, and those of the target among them."""
    after = ""
    while True:
        ours = _read(source, "name > ?", (after,), _PEOPLE_AT_ONCE)
        if not ours:
            return
        last = max(ours)  # of Python, which sorts as both databases do
        yield ours, _read(target, "name > ? AND name <= ?", (after, last), ALL_ROWS)
        after = last


def _read(
    context: LibraryContext, where: str, values: tuple[str, ...], most: int
) -> dict[str, _Person]:
    whose = f"SELECT id FROM people WHERE {where} ORDER BY name LIMIT {most}"
    with context.store.snapshot() as database:
        groups = people.groups_of_people(database, whose, values)
        query = f"SELECT id, name, metadata, enrolled_at FROM people WHERE id IN ({whose})"
        found = {
            number: _Person(name, metadata, at, groups.get(number, []))
            for number, name, metadata, at in database.execute(query, values)
        }
        query = (
            f"SELECT id, person, file, added_at FROM clips WHERE person IN ({whose}) ORDER BY id"
        )
        clips = {}
        for number, person, file, added_at in database.execute(query, values):
            clips[number] = _Clip(file, added_at)
            found[person].clips.append(clips[number])
        query = f"""SELECT clip, fingerprint, vector, checksum, {context.store.quality_columns}
            FROM embeddings WHERE person IN ({whose}) ORDER BY fingerprint"""
        for clip, fingerprint, vector, checksum, *quality in database.execute(query, values):
            if zlib.crc32(vector) == checksum:  # a damaged one can be computed anew
                plain = context.cipher.decrypt(vector)
                clips[clip].embeddings.append((fingerprint, plain, tuple(quality)))
    return {person.name: person for person in found.values()}


def _write(
    source: LibraryContext, target: LibraryContext, database: Database, person: _Person
) -> int:
    """Write a person, instead of what was there; returns how many clips had lost their audio."""
    query = "SELECT id FROM people WHERE name = ?"
    row = database.execute(query, (person.name,)).fetchone()
    if row is not None:
        people.delete_person(database, row[0])
    number = people.write_person(
        database, person.name, person.metadata, person.enrolled_at, person.groups
    )
    num_lost = 0
    for clip in person.clips:
        place = sha256 = None
        if clip.file is not None:
            data = source.clips.read(clip.file)
            num_lost += data is None
            if data is not None:
                is_sealed = clip.file.endswith(ENCRYPTED_SUFFIX)
                data = source.cipher.decrypt(data) if is_sealed else data
                suffix = plain_suffix(clip.file) or ".wav"
                place, sha256 = target.stage_clip(database, person.name, data, suffix)
        copied = people.insert_clip(database, number, place, sha256)
        query = "UPDATE clips SET added_at = ? WHERE id = ?"
        database.execute(query, (clip.added_at, copied))
        for fingerprint, vector, quality in clip.embeddings:
            people.insert_stored_embedding(
                database, copied, number, fingerprint, target.cipher.encrypt(vector), quality
            )
    return num_lost


def _remove_others(target: LibraryContext, names: set[str]) -> None:
    """Remove from the copy who was removed from the library since an earlier run."""
    gone = {name for (name,) in target.store.rows("SELECT name FROM people")} - names
    if gone:
        with target.clip_transaction() as database:
            for name in sorted(gone):
                people.delete_person(database, people.find_person(database, name))


def _verified(
    source: LibraryContext, target: LibraryContext, *, progress: bool
) -> tuple[int, int, int]:
    """Compare all of both: how many people, clips and embeddings they have.

    Raises:
        LibraryError: they differ.
    """
    counts = [0, 0, 0]
    with progress_bar(desc="Comparing", unit="person", show=progress) as bar:
        for ours, theirs in _pages(source, target):
            for name, person in ours.items():
                if person != theirs.get(name):
                    raise _unlike(target, f"'{name}' is another there")
                counts[0] += 1
                counts[1] += len(person.clips)
                counts[2] += sum(len(clip.embeddings) for clip in person.clips)
            bar.update(len(ours))
    query = "SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM clips)"
    if target.store.rows(query)[0] != (counts[0], counts[1]):
        raise _unlike(target, "their numbers of people or clips are not the same")
    return counts[0], counts[1], counts[2]


def _unlike(target: LibraryContext, how: str) -> LibraryError:
    return LibraryError(
        f"The copy '{target.name}' differs from its library: {how}. Was somebody enrolled "
        "or removed meanwhile? Run the command again, which copies what differs."
    )


def _finish(source: LibraryContext, target: LibraryContext) -> None:
    """What goes along beside people: model, audit and how long that is kept."""
    with source.store.snapshot() as database:
        about = {key: people.get_meta(database, key) for key in _ABOUT}
        query = "SELECT at, who, action, name, score FROM audit ORDER BY id"
        entries = database.execute(query).fetchall()
    with suppress(ValueError, TypeError, AttributeError):  # no place is known
        place = json.loads(about["model_place"] or "")
        place.pop("relative", None)  # the way from another library
        about["model_place"] = json.dumps(place)
    with target.store.transaction() as database:
        for key, value in about.items():
            if value is not None:
                people.set_meta(database, key, value)
        database.executemany(
            "INSERT INTO audit (at, who, action, name, score) VALUES (?, ?, ?, ?, ?)", entries
        )
        target.append_audit(database, "copy")
        database.execute("DELETE FROM meta WHERE key = ?", (_COPY_OF,))
