"""``infer_recognition.py``: enrol people, and tell who of them is speaking."""

from __future__ import annotations

import json
import shlex
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
    AuditDaysOption,
    JsonOption,
    LibraryOptions,
    NoAudioOption,
    SearchOptions,
)
from mvector.cli.identify import MISTAKE, Identify, identify, recognise
from mvector.cli.library_actions import (
    Audit,
    Export,
    Import,
    ListPeople,
    Reembed,
    Remove,
    export,
    import_people,
    list_people,
    predictor_with_library,
    print_audit,
    reembed,
    remove,
)
from mvector.cli.options import Action, Command, Condition, OptionError, flag, option, required
from mvector.cli.terminal import Mark, marked, mind_lines
from mvector.cli.watch import Watch, watch
from mvector.errors import AudioError, LibraryError, MVectorError, shorten_list

if TYPE_CHECKING:
    from mvector.audio import AudioSource
    from mvector.recognition.answers import Registration
    from mvector.recognition.predictor import MVectorPredictor

_MOST_NAMED = 10

_EPILOG = """\
examples:
  python infer_recognition.py                                  menu, with microphone or files
  python infer_recognition.py --register "Ada Lovelace" ada1.wav ada2.wav
  python infer_recognition.py --identify clip.wav --top_k 3
  python infer_recognition.py --identify *.wav                 a line for each clip
  arecord -f S16_LE -r 16000 -d 3 | python infer_recognition.py --identify -
  python infer_recognition.py --watch                          the microphone, until Ctrl-C: turns
  python infer_recognition.py --watch meeting.wav --json       an object for each turn of a file
  python infer_recognition.py --watch --hop_seconds 1          who is heard now, each second
  python infer_recognition.py --list
  python infer_recognition.py --remove "Ada Lovelace"
  python infer_recognition.py --audit                          who did and asked what, and when
  python infer_recognition.py --reembed --model_path models/…  another model from now on

Clips put by hand into audio_db/<name>/ are enrolled when somebody is registered or recognised next;
deleted clips are gone.
exit code: 0 done; of --identify, the last of these that a clip gives: 1 nobody enrolled speaks,
3 it cannot be told, 2 it cannot be used; of --watch: 1 nobody enrolled was heard, 3 it cannot be
told; 2 any other mistake
"""


# ---- options --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EnrolOptions(LibraryOptions, NoAudioOption, AuditDaysOption):
    force: bool = flag("enrol clips of too bad a quality too")
    groups: Sequence[str] = option((), "that people are put in", "GROUP", nargs="+")


@dataclass(frozen=True, kw_only=True)
class Register(EnrolOptions, RecordingOptions, JsonOption):
    register: Sequence[str] = required(
        "enrol clips of a person; without a file, a recording", ("NAME", "FILE"), nargs="+"
    )

    def conditions(self) -> tuple[Condition, ...]:
        names, records = "record_seconds device", len(self.register) == 1
        return (
            *super().conditions(),
            (names, records, "with files to --register"),
            ("channel", not records, "with a recording, which has one"),
        )


@dataclass(frozen=True, kw_only=True)
class Menu(EnrolOptions, SearchOptions, RecordingOptions):
    """Register and recognise by hand."""


# ---- actions --------------------------------------------------------------------------------


def _identify(args: Identify) -> int:
    return identify(args, predictor_with_library(args))


def _register(args: Register) -> int:
    """Enrol every clip that can be; tell of the others, and leave with code 2 if there are any."""
    name, *files = args.register
    _require_name_first(name, files)
    predictor = predictor_with_library(args)
    require_one_standard_input(files)
    clips: list[AudioSource] = [open_clip(file, args.channel) for file in files]
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
        more = {"refused": refused, "model": str(predictor.model_path)}
        print(json.dumps({**single, **more}, ensure_ascii=False))
    for reason in refused:
        print(f"Not enrolled: {reason}", file=sys.stderr)
    return MISTAKE if refused else 0


def _require_name_first(name: str, files: Sequence[str]) -> None:
    """Refuse a clip in the place of the name.

    Raises:
        OptionError: its suffix says so, or its content.
    """
    from mvector.audio.formats import is_audio

    others = [file for file in files if not is_audio(file)]
    if is_audio(name):
        person = shlex.quote(others[0]) if len(others) == len(files) == 1 else "NAME"
        raise OptionError(
            f"'{name}' is a clip, and the name comes first: --register {person} {shlex.quote(name)}"
        )


def _registration_lines(result: Registration) -> list[str]:
    kept = "" if result.clip is None else f" ({result.clip})"
    return [marked(Mark.YES, f"enrolled {result.name}{kept}"), *mind_lines(result.reasons)]


def _run_menu(args: Menu) -> int:
    """Register and recognise until the user leaves; a mistake is told and the menu goes on."""
    predictor = predictor_with_library(args)
    names = _names_enrolled(predictor)
    if names:
        print(f"Enrolled: {shorten_list(names, _MOST_NAMED)}")
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


def _names_enrolled(predictor: MVectorPredictor) -> list[str]:
    """Who is enrolled; nobody where there is no library yet, which registering makes."""
    try:
        return predictor.get_users()
    except LibraryError as error:
        if error.code != "library-not-found":
            raise
        return []


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
        Action("--watch", Watch, watch),
        Action("--list", ListPeople, list_people),
        Action("--remove", Remove, remove),
        Action("--export", Export, export),
        Action("--import", Import, import_people),
        Action("--reembed", Reembed, reembed),
        Action("--audit", Audit, print_audit),
        Action("--list_devices", ListDevices, list_devices),
        Action("the menu", Menu, _run_menu),
    ),
    stray="identify",
    guesses={
        **dict.fromkeys(("enrol", "enroll", "add"), "--register NAME FILE"),
        **dict.fromkeys(("recognise", "recognize", "whois", "who"), "--identify FILE"),
        **dict.fromkeys(("delete", "forget"), "--remove NAME"),
        "listen": "--watch",
        "users": "--list",
        "devices": "--list_devices",
    },
)
