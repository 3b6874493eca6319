"""``infer_contrast.py``: are two clips of the same person?"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from mvector.cli.clips import (
    STANDARD_INPUT,
    ListDevices,
    RecordingOptions,
    ask_for_clip,
    list_devices,
    open_clip,
)
from mvector.cli.common import JsonOption, ModelOptions, ThresholdOption, log_arguments
from mvector.cli.options import Action, Command, Condition, optional
from mvector.errors import AudioError, MVectorError

SAME, DIFFERENT = 0, 1

_EPILOG = """\
examples:
  python infer_contrast.py --audio_path1 a.wav --audio_path2 b.wav
  python infer_contrast.py --audio_path1 a.wav            asks for the second, or records it
  cat b.wav | python infer_contrast.py --audio_path1 a.wav --audio_path2 -

exit code: 0 the same person, 1 different people, 2 a mistake (a clip that cannot be read, …)
"""


@dataclass(frozen=True, kw_only=True)
class Compare(ModelOptions, ThresholdOption, RecordingOptions, JsonOption):
    audio_path1: str | None = optional("first clip; - is standard input; asks without it", "FILE")
    audio_path2: str | None = optional("second clip, likewise", "FILE")

    def conditions(self) -> tuple[Condition, ...]:
        has_both = None not in (self.audio_path1, self.audio_path2)
        return (
            *super().conditions(),
            ("record_seconds device", not has_both, "with two files"),
            ("json", has_both, "without --audio_path1 and --audio_path2: it asks no questions"),
        )


def compare(args: Compare) -> int:
    """Compare, print, and answer by exit code."""
    paths = {1: args.audio_path1, 2: args.audio_path2}
    if paths[1] == paths[2] == STANDARD_INPUT:
        raise AudioError("Standard input holds one clip; give the other one as a file.")
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


COMMAND = Command(
    "infer_contrast.py",
    "Compare two clips: cosine similarity of their voices, and a verdict.",
    _EPILOG,
    (Action("--list_devices", ListDevices, list_devices), Action("a comparison", Compare, compare)),
)
