"""``tools/import_library.py``: a library of folders with clips, enrolled with today's model."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.cli.common import LibraryOptions, NoAudioOption, named_or_chosen_model
from mvector.cli.options import Action, Command, required
from mvector.errors import DataError, LibraryError, count_of

if TYPE_CHECKING:
    from mvector.speakers import SpeakerLibrary

logger = logging.getLogger(__name__)

_CLIPS_AT_ONCE = 256

_DESCRIPTION = """\
Enrol the people of a library that other software kept as folders, one folder of clips for each
person, as mvector 1.x has its audio_db/. Their index of embeddings is a pickle and of another
model: it is not read, and all clips are embedded anew.

A run that was stopped goes on where it was; clips that cannot be used are told of and left out.
"""

_EPILOG = """\
examples:
  python tools/import_library.py old/audio_db --audio_db_path audio_db --model_path models/…
  python tools/import_library.py old/audio_db --audio_db_path audio_db --no_audio
"""


@dataclass(frozen=True, kw_only=True)
class ImportLibrary(LibraryOptions, NoAudioOption):
    source: str = required(
        "folder with one folder of clips for each person", "DIR", positional=True
    )


def run(args: ImportLibrary) -> int:
    """Copy the clips and let the library find them, or embed them where they are."""
    from mvector.compute.device import requested_device
    from mvector.embedding import SpeakerEncoder
    from mvector.speakers import SpeakerLibrary
    from mvector.speakers.postgres_address import is_address

    source, target = Path(args.source), args.audio_db_path
    clips = find_clips_of_people(source)
    is_in_database = is_address(target)
    if not is_in_database and source.resolve() == Path(target).resolve():
        raise DataError(
            f"'{source}' is the library itself; its clips are enrolled whenever it is opened."
        )
    folder = named_or_chosen_model(args, args.audio_db_path)
    encoder = SpeakerEncoder.from_folder(folder, requested_device(args.use_gpu), engine=args.engine)
    keep_audio = not args.no_audio
    with SpeakerLibrary(target, encoder, progress=True, keep_audio=keep_audio) as library:
        if not keep_audio:
            enrol_embeddings(clips, library)
        elif is_in_database:
            enrol_files(clips, library)
        else:
            enrol_copies(clips, library)
        people = library.people()
    num_clips = sum(person.num_clips for person in people)
    who = count_of(len(people), "person", "people")
    print(f"Enrolled in '{library.name}': {who} with {count_of(num_clips, 'clip')}.")
    return 0


def find_clips_of_people(source: Path) -> dict[str, list[Path]]:
    """Clips of each person; folders whose name is none are left out.

    Raises:
        DataError: there is no such folder, or no clip in it.
    """
    from mvector.audio import PassedOver
    from mvector.speakers.names import checked_name

    if not source.exists():
        raise DataError(f"'{source}' does not exist; give the folder of the older library.")
    clips: dict[str, list[Path]] = {}
    passed_over = PassedOver()
    for folder in sorted(source.iterdir()) if source.is_dir() else []:
        files = sorted(folder.iterdir()) if folder.is_dir() and folder.name[0] != "." else []
        files = [path for path in files if path.is_file() and passed_over.takes(path)]
        if not files:
            continue
        try:
            clips.setdefault(checked_name(folder.name), []).extend(files)
        except LibraryError as error:
            logger.warning("'%s' is left out: %s", folder, error)
    passed_over.report(source, {paths[0].parent.name for paths in clips.values()})
    if not clips:
        raise DataError(f"'{source}' holds no clips; it needs one folder for each person.")
    return clips


def enrol_copies(clips: dict[str, list[Path]], library: SpeakerLibrary) -> None:
    """Copy what the library does not have yet, and let it find the copies."""
    from mvector.files import file_sha256, write_atomically
    from mvector.speakers.encryption import LibraryCipher
    from mvector.speakers.names import folder_key

    # encrypted clips have other names: there, who is enrolled is taken to be complete
    complete = set(library.names()) if LibraryCipher.from_environment().is_enabled else set()
    taken: set[str] = set()  # folders that the copies of this round use
    origins: dict[Path, Path] = {}  # of the copies
    for name, paths in clips.items():
        if folder_key(name) in taken:  # some file system takes both folders for one
            _enrol_and_drop_refused(library, origins)
            taken.clear()
        taken.add(folder_key(name))
        folder = library.make_folder(name)
        for path in paths:
            copy = folder / f"{file_sha256(path)[:16]}{path.suffix.lower()}"
            if name in complete or copy.exists():
                continue
            write_atomically(copy, partial(shutil.copyfile, path))
            copy.chmod(0o600)
            origins[copy] = path
    _enrol_and_drop_refused(library, origins)


def _enrol_and_drop_refused(library: SpeakerLibrary, origins: dict[Path, Path]) -> None:
    """Enrol the copies; those that cannot be used are deleted again, and told by their origins."""
    refused = [library.folder / file for file in library.reconcile(progress=True).refused]
    for copy in refused:
        if copy in origins:
            copy.unlink(missing_ok=True)
            logger.warning("'%s' cannot be used, and is left out.", origins[copy])
            with suppress(OSError):  # others of the person are in it
                copy.parent.rmdir()
    if refused:
        library.reconcile()


def enrol_files(clips: dict[str, list[Path]], library: SpeakerLibrary) -> None:
    """Enrol clips as they are in a library that is in a database."""
    from mvector.progress import progress_bar

    pairs = [(name, path) for name, paths in clips.items() for path in paths]
    with progress_bar(total=len(pairs), desc="Enrolling", unit="clip") as bar:
        for start in range(0, len(pairs), _CLIPS_AT_ONCE):
            batch = pairs[start : start + _CLIPS_AT_ONCE]
            for reason in library.register_files(batch):
                logger.warning("Not enrolled: %s", reason)
            bar.update(len(batch))


def enrol_embeddings(clips: dict[str, list[Path]], library: SpeakerLibrary) -> None:
    """Enrol by embeddings alone those who are not enrolled yet."""
    from mvector.progress import progress_bar

    enrolled = set(library.names())
    waiting: list[tuple[str, Path]] = []
    people = [name for name in clips if name not in enrolled]
    for name in progress_bar(people, desc="Enrolling", unit="person"):
        waiting += [(name, path) for path in clips[name]]
        if len(waiting) < _CLIPS_AT_ONCE and name != people[-1]:
            continue
        table = library.encoder.embed_readable([path for _, path in waiting], measured=True)
        good = [waiting[k] for k in table.good]
        quality = [report.quality for report in table.reports or ()]
        library.register_embeddings([name for name, _ in good], table.embeddings, quality)
        for _, reason in table.failures:
            logger.warning("Not enrolled: %s", reason)
        waiting.clear()


COMMAND = Command(
    "import_library.py", _DESCRIPTION, _EPILOG, (Action("a library", ImportLibrary, run),)
)
