"""``infer_recognition.py``: what is done with a library and needs nobody's voice."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mvector.cli.common import (
    AuditDaysOption,
    JsonOption,
    LibraryFolder,
    LibraryOptions,
    NoAudioOption,
    audit_days,
    make_predictor,
    parse_number,
)
from mvector.cli.options import Condition, required
from mvector.cli.terminal import in_columns
from mvector.errors import count_of

if TYPE_CHECKING:
    from mvector.recognition.predictor import MVectorPredictor
    from mvector.speakers import AuditEntry, SpeakerLibrary

logger = logging.getLogger(__name__)

_ENTRIES = 100


# ---- options --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class KeepOptions(LibraryOptions, JsonOption):
    """Of what needs no model; with one, clips put in by hand are enrolled before."""

    @property
    def names_model(self) -> bool:
        """Whether a model is to be loaded."""
        return self.model_path is not None or self.configs is not None

    def conditions(self) -> tuple[Condition, ...]:
        without = "without --model_path or --configs: no model is loaded"
        return (*super().conditions(), ("use_gpu engine", self.names_model, without))


@dataclass(frozen=True, kw_only=True)
class ListPeople(KeepOptions):
    list_people: bool = required("print who is enrolled", flags=("--list",), action="store_true")


@dataclass(frozen=True, kw_only=True)
class Remove(KeepOptions, AuditDaysOption):
    remove: str = required("forget a person", "NAME")


@dataclass(frozen=True, kw_only=True)
class Export(KeepOptions, AuditDaysOption):
    export: str = required("write the library to one file", "FILE")


@dataclass(frozen=True, kw_only=True)
class Import(KeepOptions, NoAudioOption, AuditDaysOption):
    import_file: str = required("read such a file, into a new library", "FILE", flags=("--import",))


@dataclass(frozen=True, kw_only=True)
class Reembed(LibraryOptions, JsonOption, AuditDaysOption):
    reembed: bool = required("take over a library of another model", action="store_true")


@dataclass(frozen=True, kw_only=True)
class Audit(LibraryFolder, JsonOption):
    audit: int = required(
        f"print what was done and asked last, N entries, the newest first (default: {_ENTRIES})",
        "N",
        nargs="?",
        const=_ENTRIES,
        type=parse_number,
    )


# ---- actions --------------------------------------------------------------------------------


def predictor_with_library(args: LibraryOptions, *, as_enrolled: bool = True) -> MVectorPredictor:
    """The model that is asked for, with the library to be opened, and told of by ``-v``."""
    predictor = make_predictor(args, args.audio_db_path, as_enrolled=as_enrolled)
    logger.info("model: %s", predictor.model_path)
    return predictor


def _open_library(args: KeepOptions) -> SpeakerLibrary:
    """The library, without a model unless one is named: then clips put in by hand are enrolled."""
    if args.names_model:
        return predictor_with_library(args).open_library(create=False)
    from mvector.speakers import SpeakerLibrary

    days = audit_days(args)
    return SpeakerLibrary(args.audio_db_path, None, create=False, audit_days=days)


def list_people(args: ListPeople) -> int:
    """Print who is enrolled."""
    library = _open_library(args)
    users = library.names()
    text = "\n".join(users) if users else f"Nobody is enrolled in {library.name}"
    _print_answer(args.json, text, users=users)
    return 0


def remove(args: Remove) -> int:
    """Forget a person."""
    count = _open_library(args).remove(args.remove)
    text = f"Removed '{args.remove}' ({count_of(count, 'clip')})"
    _print_answer(args.json, text, removed=args.remove, clips=count)
    return 0


def export(args: Export) -> int:
    """Write the library to one file."""
    _open_library(args).export(args.export)
    _print_answer(args.json, f"Exported to '{args.export}'", exported=args.export)
    return 0


def import_people(args: Import) -> int:
    """Fill a new library from such a file."""
    from mvector.speakers import SpeakerLibrary

    library = SpeakerLibrary.import_file(
        args.import_file,
        args.audio_db_path,
        predictor_with_library(args).encoder if args.names_model else None,
        keep_audio=not args.no_audio,
        audit_days=args.audit_days,
    )
    count = library.num_people()
    _print_answer(args.json, f"Imported {count_of(count, 'person', 'people')}", imported=count)
    return 0


def reembed(args: Reembed) -> int:
    """Go over to another model."""
    predictor = predictor_with_library(args, as_enrolled=False)
    count = predictor.open_library(create=False).reembed(progress=True)
    _print_answer(args.json, f"Computed {count_of(count, 'voiceprint')} anew", reembedded=count)
    return 0


def print_audit(args: Audit) -> int:
    """Print what was done and asked last."""
    from mvector.speakers import SpeakerLibrary

    with SpeakerLibrary(args.audio_db_path, None, read_only=True) as library:
        entries = library.audit_log(args.audit)
        nothing = f"Nothing is noted in {library.name}"
    text = "\n".join(_audit_lines(entries)) or nothing
    _print_answer(args.json, text, audit=[entry.to_dict() for entry in entries])
    return 0


def _audit_lines(entries: Sequence[AuditEntry]) -> list[str]:
    """A line for each, in columns: time, what, whose name, score, and who did it."""
    return in_columns(
        [
            (
                entry.at.replace("T", " ").replace("+00:00", " UTC"),
                entry.action,
                entry.name or "-",
                "-" if entry.score is None else f"{entry.score:.4f}",
                entry.who,
            )
            for entry in entries
        ]
    )


def _print_answer(as_json: bool, text: str, **values: object) -> None:
    print(json.dumps(values, ensure_ascii=False) if as_json else text)
