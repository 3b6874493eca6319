"""What lies in a library's folders, compared with what its database knows of."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from mvector.audio import PassedOver
from mvector.errors import LibraryError
from mvector.files import file_sha256
from mvector.speakers.clip_files import is_clip_name, is_clip_path
from mvector.speakers.context import LibraryContext
from mvector.speakers.encryption import ENCRYPTED_SUFFIX
from mvector.speakers.names import NAME_FILE, checked_name, person_of_folder
from mvector.speakers.obstacles import is_clip_gone, kind_of, obstacle_at, shown

# A file changed more recently may change again within one clock tick
_CLOCK_TICK_NS = 2_000_000_000


@dataclass(frozen=True)
class KnownClip:
    """A row: number, person's number and name, hash, stamp, and whether it has an embedding."""

    number: int
    person: int
    name: str
    sha256: str
    stamp: str
    has_embedding: bool


@dataclass
class FoundClip:
    """A file: its person's name, its stamp, and its hash where that had to be computed."""

    name: str
    stamp: str
    sha256: str = ""


@dataclass
class FolderChanges:
    """What was found, and what has to be done about it; files relative to the library."""

    found: dict[str, FoundClip]  # in the folders
    known: dict[str, KnownClip]  # to the database
    failures: list[str] = field(default_factory=list)  # why clips are left out
    restamped: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)  # new file -> file in the database
    copied: dict[str, KnownClip] = field(default_factory=dict)
    embedded: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def renamed(self) -> list[str]:
        """Clips in their places that are somebody else's now."""
        return [file for file in self.restamped if self.found[file].name != self.known[file].name]

    @property
    def has_news(self) -> bool:
        """Whether clips are moved, copied or gone, or somebody else's; not only touched."""
        return bool(self.moved or self.copied or self.gone or self.renamed)


def _scan_folders(context: LibraryContext, failures: list[str]) -> dict[str, FoundClip]:
    """The clips in the folders, by file; reasons for those left out are added to ``failures``."""
    found: dict[str, FoundClip] = {}
    passed_over = PassedOver()
    with_clips: set[str] = set()
    for folder, kind in _list_folder(context, context.folder):
        if kind == "link" and os.path.isdir(folder):
            context.obstacles.tell(
                folder, "is a link, which is not followed; put a copy in its place"
            )
        if kind != "folder":
            continue
        clips = _clips_in(context, folder, passed_over)
        if not clips:
            continue
        with_clips.add(folder.name)
        try:
            folder.name.encode()
            name = checked_name(person_of_folder(folder))
        except UnicodeEncodeError:
            context.obstacles.tell(folder, "has a name that is not UTF-8; rename it")
            continue
        except LibraryError as error:
            failures.append(f"'{shown(folder)}': {error}")
            continue
        for path in clips:
            try:
                path.name.encode()
                found[f"{folder.name}/{path.name}"] = FoundClip(name, _file_stamp(path))
            except UnicodeEncodeError:
                context.obstacles.tell(path, "has a name that is not UTF-8; rename it")
            except OSError as error:
                context.obstacles.tell(path, error)
    passed_over.report(context.folder, with_clips)
    return found


def _clips_in(context: LibraryContext, folder: Path, passed_over: PassedOver) -> list[Path]:
    clips = []
    for path, kind in _list_folder(context, folder):
        if path.name.endswith(ENCRYPTED_SUFFIX):
            is_clip = context.cipher.is_enabled and is_clip_path(f"{folder.name}/{path.name}")
        elif kind == "file":
            is_clip = path.name != NAME_FILE and passed_over.takes(path)
        else:
            is_clip = is_clip_name(path.name)
        if is_clip and kind == "file":
            clips.append(path)
        elif is_clip:
            context.obstacles.tell(path, f"is no clip but a {kind}, and is passed over")
    return clips


def _list_folder(context: LibraryContext, folder: Path) -> list[tuple[Path, str]]:
    """What a folder holds, hidden files aside, and what kind of thing each is."""
    listed: list[tuple[Path, str]] = []
    try:
        for place in sorted(folder.iterdir()):
            if not place.name.startswith("."):
                listed.append((place, kind_of(place)))
    except OSError as error:
        context.obstacles.tell(folder, error)
    return listed


def _file_stamp(path: Path) -> str:
    """Size and times; nothing for a file that may still be changing."""
    state = path.stat()
    if abs(time.time_ns() - state.st_ctime_ns) < _CLOCK_TICK_NS:
        return ""
    return f"{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}"


def _known_clips(context: LibraryContext) -> dict[str, KnownClip]:
    """The clips of the database that have files."""
    # a length that does not fit is damage; with a key, the length is that of the encrypted vector
    size = 0 if context.cipher.is_enabled else 4 * context.embd_dim
    query = """SELECT clips.file, clips.id, people.id, name, sha256, stamp, EXISTS (
            SELECT 1 FROM embeddings e WHERE e.clip = clips.id AND e.fingerprint = ?
            AND (? = 0 OR length(e.vector) = ?))
        FROM clips JOIN people ON people.id = clips.person WHERE file IS NOT NULL"""
    rows = context.store.rows(query, (context.fingerprint, size, size))
    return {
        file: KnownClip(number, person, name, sha256, stamp, bool(has_embedding))
        for file, number, person, name, sha256, stamp, has_embedding in rows
    }


def plan_changes(context: LibraryContext) -> FolderChanges:
    """What has to be done to make the database say what the folders hold."""
    failures: list[str] = []
    found, known = _scan_folders(context, failures), _known_clips(context)
    plan = FolderChanges(found, known, failures)
    by_hash: dict[str, list[str]] = {}
    for file, known_clip in known.items():
        by_hash.setdefault(known_clip.sha256, []).append(file)
    missing = known.keys() - found.keys()
    hidden = {file for file in missing if not is_clip_gone(context.folder, file)}
    for obstacle in (obstacle_at(context.folder, file) for file in sorted(hidden)):
        if obstacle is not None:
            context.obstacles.tell(*obstacle)
    for file, state in found.items():
        clip = known.get(file)
        is_unchanged = clip and (state.stamp, state.name) == (clip.stamp, clip.name)
        if clip and state.stamp and is_unchanged:
            if not clip.has_embedding:
                state.sha256 = clip.sha256
                plan.embedded.append(file)
            continue
        try:
            state.sha256 = file_sha256(context.folder / file)
        except OSError as error:
            failures.append(f"'{file}' cannot be read: {error.strerror or error}.")
            continue
        twins = by_hash.get(state.sha256, [])
        origin = next((twin for twin in twins if twin in missing), None)
        if clip is not None and clip.sha256 == state.sha256:
            if state.stamp != clip.stamp or state.name != clip.name:
                plan.restamped.append(file)
            if not clip.has_embedding:
                plan.embedded.append(file)
        elif clip is None and origin is not None:
            missing.remove(origin)
            plan.moved[file] = origin
        elif clip is None and any(known[twin].has_embedding for twin in twins):
            plan.copied[file] = next(known[twin] for twin in twins if known[twin].has_embedding)
        else:
            plan.embedded.append(file)
    plan.gone = sorted(missing - hidden)
    return plan
