"""``infer_recognition.py``: enrol people, and tell who of them is speaking."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mvector.cli.clips import (
    STANDARD_INPUT,
    JsonOption,
    ListDevices,
    ThresholdOption,
    ask_for_clip,
    good_recording,
    list_devices,
    open_clip,
)
from mvector.cli.common import log_arguments
from mvector.cli.options import Action, Command
from mvector.cli.recognition_options import (
    Export,
    Identify,
    Import,
    LibraryOptions,
    ListPeople,
    Menu,
    NoAudioOption,
    Reembed,
    Register,
    Remove,
    SearchOptions,
    Watch,
)
from mvector.cli.watch import watch
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


def _predictor(args: LibraryOptions) -> MVectorPredictor:
    from mvector.recognition.predictor import MVectorPredictor

    if not (isinstance(args, JsonOption) and args.json):
        log_arguments(args)
    return MVectorPredictor(
        args.model_path,
        configs=args.configs,
        threshold=args.threshold if isinstance(args, ThresholdOption) else None,
        audio_db_path=args.audio_db_path,
        use_gpu=args.use_gpu,
        library_options=_library_options(args),
    )


def _library_options(args: LibraryOptions) -> dict[str, bool]:
    return {"keep_audio": False} if isinstance(args, NoAudioOption) and args.no_audio else {}


def _watch(args: Watch) -> int:
    predictor = _predictor(args)
    _ = predictor.threshold, predictor.library
    return watch(args, predictor)


def _list(args: ListPeople) -> int:
    users = _predictor(args).get_users()
    text = "\n".join(users) if users else f"Nobody is enrolled in {args.audio_db_path}"
    _say(args.json, text, users=users)
    return 0


def _remove(args: Remove) -> int:
    count = _predictor(args).remove_user(args.remove)
    _say(args.json, f"Removed '{args.remove}' ({count} clips)", removed=args.remove, clips=count)
    return 0


def _export(args: Export) -> int:
    _predictor(args).library.export(args.export)
    _say(args.json, f"Exported to '{args.export}'", exported=args.export)
    return 0


def _import(args: Import) -> int:
    from mvector.speakers import SpeakerLibrary

    library = SpeakerLibrary.import_file(
        args.import_file, args.audio_db_path, _predictor(args).encoder, **_library_options(args)
    )
    count = library.num_people()
    _say(args.json, f"Imported {count} people", imported=count)
    return 0


def _reembed(args: Reembed) -> int:
    count = _predictor(args).library.reembed(progress=not args.json)
    _say(args.json, f"Computed {count} voiceprints anew", reembedded=count)
    return 0


def _register(args: Register) -> int:
    """Enrol every clip that can be; tell of the others, and leave with code 2 if there are any."""
    predictor = _predictor(args)
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


def _identify(args: Identify) -> int:
    return _recognise(args, _predictor(args), open_clip(args.identify), as_json=args.json)


def _recognise(
    args: SearchOptions, predictor: MVectorPredictor, audio: AudioSource, *, as_json: bool = False
) -> int:
    result = predictor.recognition(audio, top_k=args.top_k, within=args.within)
    lines = [str(result)]
    if args.top_k > 1:
        lines += [f"  {match.score:.4f}  {match.name}" for match in result.candidates]
    _say(as_json, "\n".join(lines), **result.to_dict())
    return KNOWN if result.is_known else UNKNOWN


def _say(as_json: bool, text: str, **values: object) -> None:
    print(json.dumps(values, ensure_ascii=False) if as_json else text)


# ---- the menu -------------------------------------------------------------------------------


def _menu(args: Menu) -> int:
    """Register and recognise until the user leaves; a mistake is told and the menu goes on."""
    predictor = _predictor(args)
    for name in predictor.get_users():
        print(f"Loaded: {name}")
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


def _register_by_hand(args: Menu, predictor: MVectorPredictor) -> None:
    clip = ask_for_clip(args, predictor.encoder.sample_rate)
    name = input("Name of the speaker: ")
    result = predictor.register(clip, name, force=args.force, groups=args.groups)
    print(f"Registered: {result.name}")
    for reason in result.reasons:
        print(f"Be careful: {reason}")


def _recognise_by_hand(args: Menu, predictor: MVectorPredictor) -> None:
    _recognise(args, predictor, ask_for_clip(args, predictor.encoder.sample_rate))


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
        Action("the menu", Menu, _menu),
    ),
)
