"""``infer_recognition.py``: enrol people, and tell who of them is speaking."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mvector.cli.common import add_model_options, log_arguments
from mvector.errors import MVectorError

if TYPE_CHECKING:
    from mvector.audio import AudioSource
    from mvector.predict import MVectorPredictor

KNOWN, UNKNOWN = 0, 1

_EPILOG = """\
examples:
  python infer_recognition.py                                  menu, with microphone or files
  python infer_recognition.py --register "Ada Lovelace" ada.wav
  python infer_recognition.py --identify clip.wav
  python infer_recognition.py --list
  python infer_recognition.py --remove "Ada Lovelace"

Clips put by hand into audio_db/<name>/ are enrolled at the next start; deleted clips are gone.
exit code of --identify: 0 an enrolled person, 1 nobody enrolled, 2 a mistake
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="infer_recognition.py",
        description="Enrol people in a speaker library and recognise who is speaking.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument(
        "--register", nargs=2, metavar=("NAME", "FILE"), help="enrol a clip of a person"
    )
    actions.add_argument("--identify", metavar="FILE", help="tell who is speaking in a clip")
    actions.add_argument("--list", action="store_true", help="print who is enrolled")
    actions.add_argument("--remove", metavar="NAME", help="forget a person")
    add_model_options(parser)
    add("--audio_db_path", default="audio_db/", metavar="DIR", help="the speaker library")
    add(
        "--record_seconds",
        type=float,
        default=3.0,
        metavar="S",
        help="how long to record from the microphone (default 3)",
    )
    add("--json", action="store_true", help="print one JSON object instead of sentences")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do one thing, or offer the menu."""
    from mvector.predict import MVectorPredictor

    if not args.json:
        log_arguments(args)
    if args.record_seconds <= 0:
        raise MVectorError(f"--record_seconds must be positive; got {args.record_seconds:g}.")
    predictor = MVectorPredictor(
        args.model_path,
        configs=args.configs,
        threshold=args.threshold,
        audio_db_path=args.audio_db_path,
        use_gpu=args.use_gpu,
    )
    if args.register:
        name, file = args.register
        clip = predictor.register(file, name)
        _say(args.json, f"Registered '{name}' ({clip})", registered=name, clip=str(clip))
        return 0
    if args.remove:
        count = predictor.remove_user(args.remove)
        _say(
            args.json, f"Removed '{args.remove}' ({count} clips)", removed=args.remove, clips=count
        )
        return 0
    users = predictor.get_users()
    if args.list:
        text = "\n".join(users) if users else f"Nobody is enrolled in {args.audio_db_path}"
        _say(args.json, text, users=users)
        return 0
    if args.identify:
        return _identify(predictor, args.identify, args.json)
    for name in users:
        print(f"Loaded: {name}")
    return _menu(predictor, args.record_seconds)


def _identify(predictor: MVectorPredictor, audio: AudioSource, as_json: bool = False) -> int:
    name, score = predictor.recognition(audio)
    if name is None:
        text = (
            f"Unknown speaker: the nearest enrolled voice has similarity {score:.4f}, below the "
            f"threshold {predictor.threshold:.4f} ({predictor.threshold_source})"
        )
    else:
        text = (
            f"Speaker: {name}, similarity: {score:.4f} "
            f"(threshold {predictor.threshold:.4f}, {predictor.threshold_source})"
        )
    _say(as_json, text, speaker=name, score=score, threshold=predictor.threshold)
    return UNKNOWN if name is None else KNOWN


def _say(as_json: bool, text: str, **values: object) -> None:
    print(json.dumps(values, ensure_ascii=False) if as_json else text)


# ---- the menu -------------------------------------------------------------------------------


def _menu(predictor: MVectorPredictor, record_s: float) -> int:
    """Register and recognise until the user leaves; a mistake is told and the menu goes on."""
    actions: dict[str, Callable[[], None]] = {
        "0": lambda: _register_by_hand(predictor, record_s),
        "1": lambda: _recognise_by_hand(predictor, record_s),
    }
    while True:
        try:
            choice = input(
                "Choose: 0 register a clip in the library, 1 recognise, q quit: "
            ).strip()
        except EOFError:
            print()
            return 0
        if choice.lower() in ("q", "quit", "exit"):
            return 0
        if choice not in actions:
            print("Type 0, 1 or q.")
            continue
        try:
            actions[choice]()
        except MVectorError as error:
            print(error, file=sys.stderr)
        except EOFError:
            print()
            return 0


def _register_by_hand(predictor: MVectorPredictor, record_s: float) -> None:
    clip = _get_clip(predictor, record_s)
    name = input("Name of the speaker: ")
    predictor.register(clip, name)
    print(f"Registered: {name.strip()}")


def _recognise_by_hand(predictor: MVectorPredictor, record_s: float) -> None:
    _identify(predictor, _get_clip(predictor, record_s))


def _get_clip(predictor: MVectorPredictor, record_s: float) -> AudioSource:
    from mvector.audio.microphone import record

    answer = input(f"Press Enter to record {record_s:g} s, or type the path of a clip: ").strip()
    if answer:
        return answer.strip("'\"")
    print("recording…", flush=True)
    rate = predictor.encoder.sample_rate
    waveform = record(record_s, rate)
    print("done")
    return waveform, rate
