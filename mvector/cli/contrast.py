"""``infer_contrast.py``: are two clips of the same person?"""

from __future__ import annotations

import argparse
import json
import time

from mvector.cli.clips import (
    STANDARD_INPUT,
    add_microphone_options,
    ask_for_clip,
    check_positive,
    list_devices,
    open_clip,
)
from mvector.cli.common import add_model_options, log_arguments
from mvector.errors import AudioError, MVectorError

SAME, DIFFERENT = 0, 1

_EPILOG = """\
examples:
  python infer_contrast.py --audio_path1 a.wav --audio_path2 b.wav
  python infer_contrast.py --audio_path1 a.wav            asks for the second, or records it
  cat b.wav | python infer_contrast.py --audio_path1 a.wav --audio_path2 -

exit code: 0 the same person, 1 different people, 2 a mistake (a clip that cannot be read, …)
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="infer_contrast.py",
        description="Compare two clips: cosine similarity of their voices, and a verdict.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--audio_path1", metavar="FILE", help="first clip; - is standard input; asks without it")
    add("--audio_path2", metavar="FILE", help="second clip, likewise")
    add_model_options(parser)
    add_microphone_options(parser)
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare, print, and answer by exit code."""
    if args.list_devices:
        return list_devices(args.json)
    check_positive(args, "record_seconds")
    paths = {1: args.audio_path1, 2: args.audio_path2}
    if paths[1] == paths[2] == STANDARD_INPUT:
        raise AudioError("Standard input holds one clip; give the other one as a file.")
    if args.json and None in paths.values():
        raise MVectorError("--json asks no questions; give --audio_path1 and --audio_path2.")
    from mvector.recognition.predictor import MVectorPredictor

    if not args.json:
        log_arguments(args)
    predictor = MVectorPredictor(
        args.model_path, configs=args.configs, threshold=args.threshold, use_gpu=args.use_gpu
    )
    _ = predictor.threshold  # without one there is no verdict: say so before working
    try:
        first, second = (
            open_clip(path)
            if path is not None
            else ask_for_clip(args, predictor.encoder.sample_rate, f"Clip {number}. ")
            for number, path in paths.items()
        )
    except EOFError as error:
        raise MVectorError("There is no answer; give --audio_path1 and --audio_path2.") from error
    started = time.monotonic()
    score = predictor.contrast(first, second)
    elapsed_ms = 1000.0 * (time.monotonic() - started)
    decision = score.decide()
    if args.json:
        answer = {
            "audio_path1": args.audio_path1,
            "audio_path2": args.audio_path2,
            "model": str(predictor.model_path),
            **score.to_dict(),
            "time_ms": round(elapsed_ms, 1),
        }
        print(json.dumps(answer, ensure_ascii=False))
        return SAME if decision.same else DIFFERENT
    verdict = "are the same person" if decision.same else "are not the same person"
    names = [path or "the clip" for path in paths.values()]
    similarity, threshold = decision.as_text()
    print(f"{names[0]} and {names[1]} {verdict}, similarity: {similarity}")
    print(f"Threshold: {threshold} ({decision.threshold_source})")
    if decision.inconclusive and decision.inconclusive_band:
        low, high = decision.inconclusive_band
        print(f"Inconclusive: for these clips {low:.4f} to {high:.4f} is weak evidence either way")
    for reason in score.reasons:
        print(f"Be careful: {reason}")
    print(f"Time: {elapsed_ms:.0f} ms for two clips")
    return SAME if decision.same else DIFFERENT
