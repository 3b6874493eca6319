"""``infer_contrast.py``: are two clips of the same person?"""

from __future__ import annotations

import argparse
import json
import time

from mvector.cli.common import add_model_options, log_arguments

SAME, DIFFERENT = 0, 1

_EPILOG = """\
example:
  python infer_contrast.py --audio_path1 a.wav --audio_path2 b.wav

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
    add("--audio_path1", required=True, metavar="FILE", help="first clip")
    add("--audio_path2", required=True, metavar="FILE", help="second clip")
    add_model_options(parser)
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare, print, and answer by exit code."""
    from mvector.predict import MVectorPredictor

    if not args.json:
        log_arguments(args)
    predictor = MVectorPredictor(
        args.model_path, configs=args.configs, threshold=args.threshold, use_gpu=args.use_gpu
    )
    _ = predictor.threshold  # without one there is no verdict: say so before working
    started = time.monotonic()
    decision = predictor.decide(predictor.contrast(args.audio_path1, args.audio_path2))
    elapsed_ms = 1000.0 * (time.monotonic() - started)
    if args.json:
        answer = {
            "audio_path1": args.audio_path1,
            "audio_path2": args.audio_path2,
            "model": str(predictor.model_path),
            **decision.to_dict(),
            "time_ms": round(elapsed_ms, 1),
        }
        print(json.dumps(answer, ensure_ascii=False))
    else:
        verdict = "are the same person" if decision.same else "are not the same person"
        print(
            f"{args.audio_path1} and {args.audio_path2} {verdict}, similarity: {decision.score:.4f}"
        )
        print(f"Threshold: {decision.threshold:.4f} ({decision.threshold_source})")
        if decision.inconclusive:
            print("Inconclusive: the clips are less than ten times likelier under one answer.")
        print(f"Time: {elapsed_ms:.0f} ms for two clips")
    return SAME if decision.same else DIFFERENT
