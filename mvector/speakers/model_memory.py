"""Which model a library was made with: its fingerprint, its name, and where its folder was.

The folder is kept by its own path and by the way from the library to it, so that both can be moved
together. Only the fingerprint counts: a folder that holds another model now is not the library's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mvector.errors import LibraryError, MVectorError
from mvector.models.description import DESCRIPTION, read_model_info
from mvector.models.named import BOX, is_default_model, model_folder, model_name
from mvector.published.places import models_folder, published_name
from mvector.speakers.access import library_folder
from mvector.speakers.people import get_meta, set_meta
from mvector.speakers.postgres_address import is_address, parse_address
from mvector.speakers.sqlite_store import DATABASE, SqliteStore
from mvector.speakers.store import Database, Store

_PLACE = "model_place"


def remember_model(
    database: Database, library: Path | None, fingerprint: str, folder: Path | None
) -> None:
    """Write down the model that the library's voiceprints are of, inside a transaction.

    A place that is known of the same model and still there stays; ``folder`` is ``None`` for a
    model without one.
    """
    is_same = get_meta(database, "model") == fingerprint
    set_meta(database, "model", fingerprint)
    if is_same and (folder is None or is_model_there(database, library)):
        return
    database.execute("DELETE FROM meta WHERE key = ?", (_PLACE,))
    if folder is not None:
        set_meta(database, _PLACE, json.dumps(_describe(library, folder)))


def is_model_there(database: Database, library: Path | None) -> bool:
    """Whether there is still a model where the library's was."""
    return any((path / DESCRIPTION).is_file() for path in _places(database, library))


def remembered_name(database: Database, library: Path | None) -> str | None:
    """What ``--model_path`` is to name the library's model by; ``None`` if that is not known."""
    places = _places(database, library)
    there = [path for path in places if (path / DESCRIPTION).is_file()]
    return model_name([*there, *places][0]) if places else None


def model_of_library(path: str | os.PathLike[str], others: Iterable[Path]) -> Path | None:
    """The folder of the model that the people of a library were enrolled with.

    Args:
        path: of the library.
        others: model folders to look into where it is not in its place.

    Returns:
        ``None`` where there is no library, nobody in it, or no telling: opening it says why.

    Raises:
        LibraryError: the model is not to be found any more.
    """
    address = parse_address(path) if is_address(path) else None
    if address is None and not os.path.isfile(library_folder(path) / DATABASE):
        return None
    try:
        store: Store
        if address is None:
            store = SqliteStore(library_folder(path), read_only=True, is_checked=False)
        else:
            from mvector.speakers.postgres_store import PostgresStore

            store = PostgresStore(address, read_only=True, create=False)
        library = store.folder
        with store.snapshot() as database:
            is_empty = database.execute("SELECT 1 FROM embeddings LIMIT 1").fetchone() is None
            fingerprint, places = get_meta(database, "model"), _places(database, library)
            name = remembered_name(database, library)
        store.close()
    except LibraryError:
        return None
    if fingerprint is None or is_empty:
        return None
    wanted = fingerprint.partition("-")[0]  # behind it stands how much of clips is heard
    for folder in [*places, model_folder(BOX), *others]:
        if _fingerprint_of(folder) == wanted:
            return folder
    what = f"the model '{name}'" if name else "a model"
    is_another = any(_fingerprint_of(folder) is not None for folder in places)
    gone = "holds another model now" if is_another else "is not there any more"
    raise LibraryError(
        f"The people in '{store.name}' were enrolled with {what} ({wanted}), which {gone}: name "
        "the folder that has it by --model_path, or compute their voiceprints anew with another "
        "model by --reembed.",
        code="library-model-missing",
    )


def _describe(library: Path | None, folder: Path) -> dict[str, str]:
    if is_default_model(folder):
        return {"name": BOX}
    if (name := published_name(folder)) is not None:
        return {"name": name}
    place = {"path": str(folder.absolute())}
    if library is None:  # many servers have it, each with folders of its own
        return place
    with suppress(ValueError):  # on another drive of Windows
        place["relative"] = Path(os.path.relpath(folder.resolve(), library.resolve())).as_posix()
    return place


def _places(database: Database, library: Path | None) -> list[Path]:
    """Where the model may be, the most likely first."""
    try:
        place = json.loads(get_meta(database, _PLACE) or "{}")
        if place.get("name") == BOX:
            return [model_folder(BOX)]
        if "name" in place:  # in whatever home of the user it lies now
            return [models_folder() / str(place["name"])]
        moved = [library.resolve() / place["relative"]] if library and "relative" in place else []
        return [*(Path(os.path.normpath(path)) for path in moved), Path(place["path"])]
    except (ValueError, TypeError, AttributeError, KeyError):
        return []


def _fingerprint_of(folder: Path) -> str | None:
    try:
        return read_model_info(folder).fingerprint
    except MVectorError:
        return None
