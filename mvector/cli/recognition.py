"""``infer_recognition.py``: enrol people, and tell who of them is speaking."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mvector.cli.clips import (
    ListDevices,
    RecordingOptions,
    ask,
    ask_for_clip,
    list_devices,
    open_clip,
    record_good_clip,
    require_one_standard_input,
)
from mvector.cli.common import (
    JsonOption,
    LibraryOptions,
    NoAudioOption,
    SearchOptions,
)
from mvector.cli.identify import Identify, identify, recognise
from mvector.cli.options import Action, Command, Condition, flag, option, required
from mvector.cli.terminal import Mark, count_of, marked, mind_lines
from mvector.cli.watch import Watch, watch
from mvector.errors import AudioError, MVectorError

if TYPE_CHECKING:
    from pathlib import Path

    from mvector.audio import AudioSource
    from mvector.recognition.answers import Registration
    from mvector.recognition.predictor import MVectorPredictor
    from mvector.speakers import SpeakerLibrary

logger = logging.getLogger(__name__)

KNOWN, UNKNOWN, MISTAKE = 0, 1, 2
_MOST_NAMED = 10

_EPILOG = """\
examples:
  python infer_recognition.py                                  menu, with microphone or files
  python infer_recognition.py --register "Ada Lovelace" ada1.wav ada2.wav
  python infer_recognition.py --identify clip.wav --top_k 3
  python infer_recognition.py --identify *.wav                 a line for each clip
  arecord -f S16_LE -r 16000 -d 3 | python infer_recognition.py --identify -
  python infer_recognition.py --watch                          the microphone, until Ctrl-C
  python infer_recognition.py --list
  python infer_recognition.py --remove "Ada Lovelace"
  python infer_recognition.py --reembed --model_path models/…  another model from now on

Clips put by hand into audio_db/<name>/ are enrolled at the next start; deleted clips are gone.
exit code: 0 done; 1 of --identify: nobody enrolled speaks in one clip or more, of --watch: in none;
2 a mistake, such as a clip that cannot be used
"""


# ---- options --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EnrolOptions(LibraryOptions, NoAudioOption):
    force: bool = flag("enrol clips of too bad a quality too")
    groups: Sequence[str] = option((), "that people are put in", "GROUP", nargs="+")


@dataclass(frozen=True, kw_only=True)
class Register(EnrolOptions, RecordingOptions, JsonOption):
    register: Sequence[str] = required(
        "enrol clips of a person; without a file, a recording", ("NAME", "FILE"), nargs="+"
    )

    def conditions(self) -> tuple[Condition, ...]:
        names, records = "record_seconds device", len(self.register) == 1
        return (*super().conditions(), (names, records, "with files to --register"))


@dataclass(frozen=True, kw_only=True)
class KeepOptions(LibraryOptions, JsonOption):
    """Of what needs no model; with one, clips put in by hand are enrolled before."""

    @property
    def names_model(self) -> bool:
        """Whether a model is to be loaded."""
        return self.model_path is not None or self.configs is not None

    def conditions(self) -> tuple[Condition, ...]:
        without = "without --model_path or --configs: no model is loaded"
        return (*super().conditions(), ("use_gpu", self.names_model, without))


@dataclass(frozen=True, kw_only=True)
class ListPeople(KeepOptions):
    list_people: bool = required("print who is enrolled", flags=("--list",), action="store_true")


@dataclass(frozen=True, kw_only=True)
class Remove(KeepOptions):
    remove: str = required("forget a person", "NAME")


@dataclass(frozen=True, kw_only=True)
class Export(KeepOptions):
    export: str = required("write the library to one file", "FILE")


@dataclass(frozen=True, kw_only=True)
class Import(KeepOptions, NoAudioOption):
    import_file: str = required("read such a file, into a new library", "FILE", flags=("--import",))


@dataclass(frozen=True, kw_only=True)
class Reembed(LibraryOptions, JsonOption):
    reembed: bool = required("take over a library of another model", action="store_true")


@dataclass(frozen=True, kw_only=True)
class Menu(EnrolOptions, SearchOptions, RecordingOptions):
    """Register and recognise by hand."""


# ---- actions --------------------------------------------------------------------------------


def _make_predictor(args: LibraryOptions, model_path: Path | None = None) -> MVectorPredictor:
    from mvector.recognition.predictor import MVectorPredictor

    predictor = MVectorPredictor(
        model_path or args.model_path,
        configs=args.configs,
        threshold=args.threshold if isinstance(args, SearchOptions) else None,
        audio_db_path=args.audio_db_path,
        use_gpu=args.use_gpu,
        library_options={"keep_audio": not (isinstance(args, NoAudioOption) and args.no_audio)},
    )
    logger.info("model: %s", predictor.model_path)
    return predictor


def _identify(args: Identify) -> int:
    return identify(args, _make_predictor(args))


def _open_library(args: KeepOptions) -> SpeakerLibrary:
    """The library, without a model unless one is named: then clips put in by hand are enrolled."""
    if args.names_model:
        return _make_predictor(args).open_library(create=False)
    from mvector.speakers import SpeakerLibrary

    return SpeakerLibrary(args.audio_db_path, None, create=False)


def _watch(args: Watch) -> int:
    predictor = _make_predictor(args)
    # what is missing is said before it listens
    _ = predictor.threshold, predictor.open_library(create=False)
    return watch(args, predictor)


def _list(args: ListPeople) -> int:
    users = _open_library(args).names()
    text = "\n".join(users) if users else f"Nobody is enrolled in {args.audio_db_path}"
    _print_answer(args.json, text, users=users)
    return 0


def _remove(args: Remove) -> int:
    count = _open_library(args).remove(args.remove)
    text = f"Removed '{args.remove}' ({count_of(count, 'clip')})"
    _print_answer(args.json, text, removed=args.remove, clips=count)
    return 0


def _export(args: Export) -> int:
    _open_library(args).export(args.export)
    _print_answer(args.json, f"Exported to '{args.export}'", exported=args.export)
    return 0


def _import(args: Import) -> int:
    from mvector.speakers import SpeakerLibrary

    library = SpeakerLibrary.import_file(
        args.import_file,
        args.audio_db_path,
        _make_predictor(args).encoder if args.names_model else None,
        keep_audio=not args.no_audio,
    )
    count = library.num_people()
    _print_answer(args.json, f"Imported {count_of(count, 'person', 'people')}", imported=count)
    return 0


def _reembed(args: Reembed) -> int:
    from mvector.recognition.model_choice import find_model

    model = None if args.model_path else find_model(args.configs)  # and not the library's
    predictor = _make_predictor(args, model)
    count = predictor.open_library(create=False).reembed(progress=not args.json)
    _print_answer(args.json, f"Computed {count_of(count, 'voiceprint')} anew", reembedded=count)
    return 0


def _register(args: Register) -> int:
    """Enrol every clip that can be; tell of the others, and leave with code 2 if there are any."""
    predictor = _make_predictor(args)
    name, *files = args.register
    require_one_standard_input(files)
    clips: list[AudioSource] = [open_clip(file) for file in files]
    if not clips:
        clips = [record_good_clip(args, predictor.encoder.sample_rate)]
    enrolled, refused = [], []
    for clip in clips:
        try:
            result = predictor.register(clip, name, force=args.force, groups=args.groups)
        except AudioError as error:
            if len(clips) == 1:
                raise
            refused.append(str(error))
            continue
        enrolled.append(result)
        if not args.json:
            print("\n".join(_registration_lines(result)), flush=True)
    if args.json:
        answers = [result.to_dict() for result in enrolled]
        single = answers[0] if len(clips) == 1 else {"registered": name, "clips": answers}
        print(json.dumps({**single, "refused": refused}, ensure_ascii=False))
    for reason in refused:
        print(f"Not enrolled: {reason}", file=sys.stderr)
    return MISTAKE if refused else 0


def _registration_lines(result: Registration) -> list[str]:
    kept = "" if result.clip is None else f" ({result.clip})"
    return [marked(Mark.YES, f"enrolled {result.name}{kept}"), *mind_lines(result.reasons)]


def _print_answer(as_json: bool, text: str, **values: object) -> None:
    print(json.dumps(values, ensure_ascii=False) if as_json else text)


def _run_menu(args: Menu) -> int:
    """Register and recognise until the user leaves; a mistake is told and the menu goes on."""
    predictor = _make_predictor(args)
    names = predictor.library.names()
    if names:
        more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        print(f"Enrolled: {', '.join(names[:_MOST_NAMED])}{more}")
    while True:
        try:
            question = "Choose: 0 register a clip in the library, 1 recognise, q quit: "
            choice = ask(question).strip().lower()
            if choice in ("q", "quit", "exit"):
                return 0
            if choice not in ("0", "1"):
                print("Type 0, 1 or q.")
                continue
            clip = ask_for_clip(args, predictor.encoder.sample_rate)
            if choice == "0":
                _register_from_menu(args, predictor, clip)
            else:
                recognise(args, predictor, clip)
        except MVectorError as error:
            print(error, file=sys.stderr)
        except EOFError:
            print()
            return 0


def _register_from_menu(args: Menu, predictor: MVectorPredictor, clip: AudioSource) -> None:
    name = ask("Name of the speaker: ")
    result = predictor.register(clip, name, force=args.force, groups=args.groups)
    print("\n".join(_registration_lines(result)))


COMMAND = Command(
    "infer_recognition.py",
    "Enrol people in a speaker library and recognise who is speaking.",
    _EPILOG,
    (
        Action("--register", Register, _register),
        Action("--identify", Identify, _identify),
        Action("--watch", Watch, _watch),
        Action("--list", ListPeople, _list),
        Action("--remove", Remove, _remove),
        Action("--export", Export, _export),
        Action("--import", Import, _import),
        Action("--reembed", Reembed, _reembed),
        Action("--list_devices", ListDevices, list_devices),
        Action("the menu", Menu, _run_menu),
    ),
)
