"""``tools/import_library.py``: a library of folders with clips, enrolled with today's model."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.cli.options import Action, Command, required
from mvector.cli.recognition_options import LibraryOptions, NoAudioOption
from mvector.errors import DataError, LibraryError

if TYPE_CHECKING:
    from mvector.embedding import SpeakerEncoder

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
    from mvector.compute.device import choose_device
    from mvector.embedding import SpeakerEncoder
    from mvector.recognition.model_choice import find_model

    source, target = Path(args.source), Path(args.audio_db_path)
    clips = people_in(source)
    if source.resolve() == target.resolve():
        raise DataError(
            f"'{source}' is the library itself; its clips are enrolled whenever it is opened."
        )
    folder = args.model_path or find_model(args.configs)
    encoder = SpeakerEncoder.from_folder(folder, choose_device(args.use_gpu))
    enrol = embed_in_place if args.no_audio else copy_and_open
    num_people, num_clips = enrol(clips, target, encoder)
    print(f"{num_people} people with {num_clips} clips are enrolled in '{target}'.")
    return 0


def people_in(source: Path) -> dict[str, list[Path]]:
    """Clips of each person; folders whose name is none are left out.

    Raises:
        DataError: there is no clip.
    """
    from mvector.speakers.clip_files import is_clip_name
    from mvector.speakers.names import checked_name

    clips: dict[str, list[Path]] = {}
    for folder in sorted(source.iterdir()) if source.is_dir() else []:
        files = sorted(folder.iterdir()) if folder.is_dir() and folder.name[0] != "." else []
        files = [path for path in files if is_clip_name(path.name) and path.is_file()]
        if not files:
            continue
        try:
            clips.setdefault(checked_name(folder.name), []).extend(files)
        except LibraryError as error:
            logger.warning("'%s' is left out: %s", folder, error)
    if not clips:
        raise DataError(f"'{source}' holds no clips; it needs one folder for each person.")
    return clips


def copy_and_open(
    clips: dict[str, list[Path]], target: Path, encoder: SpeakerEncoder
) -> tuple[int, int]:
    """Copy what the library does not have yet; opening it embeds the copies.

    Returns:
        How many people and clips the library has then.
    """
    from mvector.files import file_sha256, write_atomically
    from mvector.speakers import SpeakerLibrary
    from mvector.speakers.clip_files import name_folder
    from mvector.speakers.names import folder_of
    from mvector.speakers.sealing import Sealer

    with SpeakerLibrary(target, encoder, progress=True) as library:
        # encrypted clips have other names: there, who is enrolled is taken to be complete
        complete = set(library.names()) if Sealer.from_environment().is_on else set()
        for name, paths in clips.items():
            folder = target / folder_of(name)
            for path in paths:
                copy = folder / f"{file_sha256(path)[:16]}{path.suffix.lower()}"
                if name in complete or copy.exists():
                    continue
                name_folder(folder, name)
                write_atomically(copy, partial(shutil.copyfile, path))
                copy.chmod(0o600)
        library.reconcile(progress=True)
        return library.num_people(), sum(person.num_clips for person in library.people())


def embed_in_place(
    clips: dict[str, list[Path]], target: Path, encoder: SpeakerEncoder
) -> tuple[int, int]:
    """Enrol by embeddings alone those who are not enrolled yet.

    Returns:
        How many people and clips the library has then.
    """
    from tqdm import tqdm

    from mvector.speakers import SpeakerLibrary

    with SpeakerLibrary(target, encoder, keep_audio=False) as library:
        enrolled = set(library.names())
        waiting: list[tuple[str, Path]] = []
        people = [name for name in clips if name not in enrolled]
        for name in tqdm(people, unit="person"):
            waiting += [(name, path) for path in clips[name]]
            if len(waiting) < _CLIPS_AT_ONCE and name != people[-1]:
                continue
            table = encoder.embed_readable([path for _, path in waiting])
            good = [waiting[k] for k in table.good]
            quality = [encoder.measure(path).quality for _, path in good]
            library.register_embeddings([name for name, _ in good], table.embeddings, quality)
            for _, reason in table.failures:
                logger.warning("Not enrolled: %s", reason)
            waiting.clear()
        return library.num_people(), sum(person.num_clips for person in library.people())


COMMAND = Command(
    "import_library.py", _DESCRIPTION, _EPILOG, (Action("a library", ImportLibrary, run),)
)
