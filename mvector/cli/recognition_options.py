"""The options of ``infer_recognition.py``: a class for each thing that it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvector.cli.clips import JsonOption, RecordingOptions, ThresholdOption
from mvector.cli.common import ModelOptions, parse_length, parse_number
from mvector.cli.options import Condition, Options, flag, option, optional, required


@dataclass(frozen=True, kw_only=True)
class LibraryOptions(ModelOptions):
    """Which people, and the model that knows them."""

    TITLE = "speaker library"

    audio_db_path: str = option("audio_db/", "the speaker library (default: %(default)s)", "DIR")


@dataclass(frozen=True, kw_only=True)
class NoAudioOption(Options):
    """What is kept of clips."""

    no_audio: bool = flag(
        "keep voiceprints only: for another model people then have to be enrolled anew"
    )


@dataclass(frozen=True, kw_only=True)
class EnrolOptions(LibraryOptions, NoAudioOption):
    """How clips are enrolled."""

    force: bool = flag("enrol clips of too bad a quality too")
    groups: Sequence[str] = option((), "that people are put in", "GROUP", nargs="+")


@dataclass(frozen=True, kw_only=True)
class SearchOptions(LibraryOptions, ThresholdOption):
    """How somebody is searched for."""

    within: Sequence[str] | None = optional(
        "recognise people of these groups only", "GROUP", nargs="+"
    )
    top_k: int = option(1, "tell the N most alike people", "N", parse_number)


@dataclass(frozen=True, kw_only=True)
class Register(EnrolOptions, RecordingOptions, JsonOption):
    register: Sequence[str] = required(
        "enrol clips of a person; without a file, a recording", ("NAME", "FILE"), nargs="+"
    )

    def conditions(self) -> tuple[Condition, ...]:
        names, records = "record_seconds device", len(self.register) == 1
        return (*super().conditions(), (names, records, "with files to --register"))


@dataclass(frozen=True, kw_only=True)
class Identify(SearchOptions, JsonOption):
    identify: str = required("tell who is speaking in a clip; - is standard input", "FILE")


@dataclass(frozen=True, kw_only=True)
class Watch(SearchOptions, RecordingOptions, JsonOption):
    watch: str = required(
        "tell who is speaking, again and again, from the microphone or in a file",
        "FILE",
        nargs="?",
        const="",
    )
    hop_seconds: float = option(
        1.0,
        "how often --watch answers, of the last --record_seconds (default %(default)s)",
        "S",
        parse_length,
    )

    def conditions(self) -> tuple[Condition, ...]:
        return (
            *super().conditions(),
            ("device", not self.watch, "with a file to --watch"),
            ("top_k", self.json, "with --watch and without --json: a line names one person"),
        )


@dataclass(frozen=True, kw_only=True)
class ListPeople(LibraryOptions, JsonOption):
    list_people: bool = required("print who is enrolled", flags=("--list",), action="store_true")


@dataclass(frozen=True, kw_only=True)
class Remove(LibraryOptions, JsonOption):
    remove: str = required("forget a person", "NAME")


@dataclass(frozen=True, kw_only=True)
class Export(LibraryOptions, JsonOption):
    export: str = required("write the library to one file", "FILE")


@dataclass(frozen=True, kw_only=True)
class Import(LibraryOptions, NoAudioOption, JsonOption):
    import_file: str = required("read such a file, into a new library", "FILE", flags=("--import",))


@dataclass(frozen=True, kw_only=True)
class Reembed(LibraryOptions, JsonOption):
    reembed: bool = required("take over a library of another model", action="store_true")


@dataclass(frozen=True, kw_only=True)
class Menu(EnrolOptions, SearchOptions, RecordingOptions):
    """Register and recognise by hand."""
