"""``mvector library``: what is done with whole libraries."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mvector.cli.common import JsonOption
from mvector.cli.options import Action, Command, required
from mvector.errors import LibraryError, count_of

_DESCRIPTION = """\
Copy a speaker library to another place, from a folder to PostgreSQL or back: people, groups,
metadata, clips, embeddings and audit. The copy goes on where an earlier run was stopped; in the end
both are compared. FROM stays as it is. Stop whoever enrols people there first, and use TO when the
command has said that it is done.
"""

_EPILOG = """\
examples:
  mvector library copy audio_db postgresql://ada@db.example/people
  mvector library copy 'postgresql://ada@db.example/people?schema=berlin' audio_db_berlin

exit code: 0 the copy is whole, 2 it is not
"""


@dataclass(frozen=True, kw_only=True)
class Copy(JsonOption):
    action: str = required("copy", "copy", positional=True, choices=("copy",))
    source: str = required("the library: a folder, or postgresql://…", "FROM", positional=True)
    target: str = required("where the copy is to be, the same", "TO", positional=True)


def _copy(args: Copy) -> int:
    from mvector.speakers import SpeakerLibrary

    _require_apart(args.source, args.target)
    with (
        SpeakerLibrary(args.source, None, create=False, audit=False) as source,
        SpeakerLibrary(args.target, None) as target,
    ):
        copied = source.copy_to(target, progress=True)
    if args.json:
        print(json.dumps(asdict(copied)))
        return 0
    who = count_of(copied.num_people, "person", "people")
    clips = count_of(copied.num_clips, "clip")
    embeddings = count_of(copied.num_embeddings, "embedding")
    print(f"Copied to '{target.name}' and compared: {who} with {clips} and {embeddings}.")
    return 0


def _require_apart(source: str, target: str) -> None:
    """Refuse a library within another one, whose folders are those of people.

    Raises:
        LibraryError: one place lies within the other.
    """
    from mvector.speakers.postgres_address import is_address

    if is_address(source) or is_address(target):
        return
    ours, theirs = Path(source).resolve(), Path(target).resolve()
    if ours in theirs.parents or theirs in ours.parents:
        raise LibraryError(
            f"'{source}' and '{target}' lie within each other, and folders in a library are those "
            "of people; name another place."
        )


COMMAND = Command("mvector library", _DESCRIPTION, _EPILOG, (Action("a copy", Copy, _copy),))
