"""``infer_recognition.py``: enrol people, and tell who of them is speaking."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mvector.cli.clips import (
    STANDARD_INPUT,
    add_microphone_options,
    ask_for_clip,
    check_positive,
    good_recording,
    list_devices,
    open_clip,
)
from mvector.cli.common import add_model_options, log_arguments, parse_count
from mvector.errors import AudioError, MVectorError

if TYPE_CHECKING:
    from mvector.audio import AudioSource
    from mvector.recognition.predictor import MVectorPredictor

logger = logging.getLogger(__name__)

KNOWN, UNKNOWN, MISTAKE = 0, 1, 2

_EPILOG = """\
examples:
  python infer_recognition.py                                  menu, with microphone or files
  python infer_recognition.py --register "Ada Lovelace" ada1.wav ada2.wav
  python infer_recognition.py --identify clip.wav --top_k 3
  arecord -f S16_LE -r 16000 -d 3 | python infer_recognition.py --identify -
  python infer_recognition.py --watch                          the microphone, until Ctrl-C
  python infer_recognition.py --list
  python infer_recognition.py --remove "Ada Lovelace"

Clips put by hand into audio_db/<name>/ are enrolled at the next start; deleted clips are gone.
exit code: 0 done; of --identify and --watch: 0 an enrolled person, 1 nobody enrolled; 2 a mistake
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="infer_recognition.py",
        description="Enrol people in a speaker library and recognise who is speaking.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_actions(parser.add_mutually_exclusive_group())
    add_model_options(parser)
    add = parser.add_argument
    add("--audio_db_path", default="audio_db/", metavar="DIR", help="the speaker library")
    add("--force", action="store_true", help="enrol clips of too bad a quality too")
    add("--groups", nargs="+", default=[], metavar="GROUP", help="that --register puts people in")
    add("--within", nargs="+", metavar="GROUP", help="recognise people of these groups only")
    add("--top_k", type=parse_count, default=1, metavar="N", help="tell the N most alike people")
    add(
        "--hop_seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="how often --watch answers, of the last --record_seconds (default 1)",
    )
    add(
        "--no_audio",
        action="store_true",
        help="keep voiceprints only: for another model people then have to be enrolled anew",
    )
    add_microphone_options(parser)
    add("--json", action="store_true", help="print JSON objects instead of sentences")
    return parser


def _add_actions(actions: argparse._MutuallyExclusiveGroup) -> None:
    add = actions.add_argument
    add(
        "--register",
        nargs="+",
        metavar=("NAME", "FILE"),
        help="enrol clips of a person; without a file, a recording",
    )
    add("--identify", metavar="FILE", help="tell who is speaking in a clip; - is standard input")
    add(
        "--watch",
        nargs="?",
        const="",
        metavar="FILE",
        help="tell who is speaking, again and again, from the microphone or in a file",
    )
    add("--list", action="store_true", help="print who is enrolled")
    add("--remove", metavar="NAME", help="forget a person")
    add("--export", metavar="FILE", help="write the library to one file")
    add("--import", dest="import_file", metavar="FILE", help="read such a file, into a new library")
    add("--reembed", action="store_true", help="take over a library of another model")


def run(args: argparse.Namespace) -> int:
    """Do one thing, or offer the menu."""
    if args.list_devices:
        return list_devices(args.json)
    if not args.json:
        log_arguments(args)
    check_positive(args, "record_seconds", "hop_seconds")
    from mvector.recognition.predictor import MVectorPredictor

    predictor = MVectorPredictor(
        args.model_path,
        configs=args.configs,
        threshold=args.threshold,
        audio_db_path=args.audio_db_path,
        use_gpu=args.use_gpu,
        library_options={"keep_audio": False} if args.no_audio else None,
    )
    if args.import_file:
        return _import(args, predictor)
    if args.register:
        return _register(args, predictor)
    if args.remove:
        count = predictor.remove_user(args.remove)
        _say(
            args.json, f"Removed '{args.remove}' ({count} clips)", removed=args.remove, clips=count
        )
        return 0
    if args.export:
        predictor.library.export(args.export)
        _say(args.json, f"Exported to '{args.export}'", exported=args.export)
        return 0
    if args.reembed:
        count = predictor.library.reembed(progress=not args.json)
        _say(args.json, f"Computed {count} voiceprints anew", reembedded=count)
        return 0
    if args.identify:
        return _identify(args, predictor, open_clip(args.identify))
    if args.watch is not None:
        from mvector.cli.watch import watch

        _ = predictor.threshold, predictor.library
        return watch(args, predictor)
    users = predictor.get_users()
    if args.list:
        text = "\n".join(users) if users else f"Nobody is enrolled in {args.audio_db_path}"
        _say(args.json, text, users=users)
        return 0
    for name in users:
        print(f"Loaded: {name}")
    return _menu(args, predictor)


def _import(args: argparse.Namespace, predictor: MVectorPredictor) -> int:
    from mvector.speakers import SpeakerLibrary

    options = {"keep_audio": False} if args.no_audio else {}
    library = SpeakerLibrary.import_file(
        args.import_file, args.audio_db_path, predictor.encoder, **options
    )
    count = library.num_people()
    _say(args.json, f"Imported {count} people", imported=count)
    return 0


def _register(args: argparse.Namespace, predictor: MVectorPredictor) -> int:
    """Enrol every clip that can be; tell of the others, and leave with code 2 if there are any."""
    name, *files = args.register
    if files.count(STANDARD_INPUT) > 1:
        raise AudioError("Standard input holds one clip; name it once.")
    clips: list[AudioSource] = [open_clip(file) for file in files]
    if not clips:
        clips = [good_recording(args, predictor.encoder.sample_rate)]
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
            print(result)
    if args.json:
        answers = [result.to_dict() for result in enrolled]
        single = answers[0] if len(clips) == 1 else {"registered": name, "clips": answers}
        print(json.dumps({**single, "refused": refused}, ensure_ascii=False))
    for reason in refused:
        print(f"Not enrolled: {reason}", file=sys.stderr)
    return MISTAKE if refused else 0


def _identify(args: argparse.Namespace, predictor: MVectorPredictor, audio: AudioSource) -> int:
    result = predictor.recognition(audio, top_k=args.top_k, within=args.within)
    lines = [str(result)]
    if args.top_k > 1:
        lines += [f"  {match.score:.4f}  {match.name}" for match in result.candidates]
    _say(args.json, "\n".join(lines), **result.to_dict())
    return KNOWN if result.is_known else UNKNOWN


def _say(as_json: bool, text: str, **values: object) -> None:
    print(json.dumps(values, ensure_ascii=False) if as_json else text)


# ---- the menu -------------------------------------------------------------------------------


def _menu(args: argparse.Namespace, predictor: MVectorPredictor) -> int:
    """Register and recognise until the user leaves; a mistake is told and the menu goes on."""
    actions: dict[str, Callable[[], None]] = {
        "0": lambda: _register_by_hand(args, predictor),
        "1": lambda: _recognise_by_hand(args, predictor),
    }
    while True:
        try:
            choice = input(
                "Choose: 0 register a clip in the library, 1 recognise, q quit: "
            ).strip()
            if choice.lower() in ("q", "quit", "exit"):
                return 0
            if choice not in actions:
                print("Type 0, 1 or q.")
                continue
            actions[choice]()
        except MVectorError as error:
            print(error, file=sys.stderr)
        except EOFError:
            print()
            return 0


def _register_by_hand(args: argparse.Namespace, predictor: MVectorPredictor) -> None:
    clip = ask_for_clip(args, predictor.encoder.sample_rate)
    name = input("Name of the speaker: ")
    result = predictor.register(clip, name, force=args.force, groups=args.groups)
    print(f"Registered: {result.name}")
    for reason in result.reasons:
        print(f"Be careful: {reason}")


def _recognise_by_hand(args: argparse.Namespace, predictor: MVectorPredictor) -> None:
    _identify(args, predictor, ask_for_clip(args, predictor.encoder.sample_rate))
