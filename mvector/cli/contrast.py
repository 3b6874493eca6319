"""``infer_contrast.py``: are two clips of the same person?"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mvector.cli.clips import (
    STANDARD_INPUT,
    ListDevices,
    RecordingOptions,
    ask_for_clip,
    list_devices,
    open_clip,
    require_one_standard_input,
)
from mvector.cli.common import (
    ANSWER_CODES,
    JsonOption,
    ModelOptions,
    ThresholdOption,
    make_predictor,
)
from mvector.cli.options import Action, Command, Condition, OptionError, option, optional
from mvector.cli.terminal import MARK_OF, marked, mind_lines
from mvector.errors import MVectorError

if TYPE_CHECKING:
    from mvector.recognition.decision import Decision

logger = logging.getLogger(__name__)

_EPILOG = """\
examples:
  python infer_contrast.py a.wav b.wav
  python infer_contrast.py a.wav                  asks for the second, or records it
  cat b.wav | python infer_contrast.py a.wav -

exit code: 0 the same person, 1 different people, 3 it cannot be told, 2 a mistake (a clip that
cannot be read, …)
"""


@dataclass(frozen=True, kw_only=True)
class Compare(ModelOptions, ThresholdOption, RecordingOptions, JsonOption):
    clips: Sequence[str] = option(
        (),
        "the two clips; - is standard input; asks for those missing",
        "CLIP",
        positional=True,
        nargs="*",
    )
    audio_path1: str | None = optional("first clip, where none is given by its place", "FILE")
    audio_path2: str | None = optional("second clip, likewise", "FILE")

    def conditions(self) -> tuple[Condition, ...]:
        has_both = None not in self.paths()
        return (
            *super().conditions(),
            ("audio_path1 audio_path2", not self.clips, "beside clips that are given by place"),
            ("record_seconds device", not has_both, "with two files"),
            ("json", has_both, "without two clips: it asks no questions"),
        )

    def paths(self) -> tuple[str | None, str | None]:
        """The clips, however they were given; ``None`` is to be asked for."""
        if len(self.clips) > 2:
            raise OptionError(f"Two clips are compared; {len(self.clips)} were given.")
        first, second = [*self.clips, None, None][:2]
        return first or self.audio_path1, second or self.audio_path2


def compare(args: Compare) -> int:
    """Compare, print, and answer by exit code."""
    paths = args.paths()
    require_one_standard_input(paths)
    from mvector.audio import audio_info

    predictor = make_predictor(args)
    _ = predictor.threshold  # without one there is no verdict: say so before working
    if None in paths:  # nobody is asked for a clip beside one that cannot be read
        for path in paths:
            if path not in (None, STANDARD_INPUT):
                audio_info(path)
    try:
        first, second = (
            open_clip(path, args.channel)
            if path is not None
            else ask_for_clip(args, predictor.encoder.sample_rate, f"Clip {number}. ")
            for number, path in enumerate(paths, 1)
        )
    except EOFError as error:
        raise MVectorError("There is no answer; give two clips.") from error
    started = time.monotonic()
    score = predictor.contrast(first, second)
    elapsed_ms = 1000.0 * (time.monotonic() - started)
    decision = score.decide()
    if args.json:
        answer = {
            "audio_path1": paths[0],
            "audio_path2": paths[1],
            "model": str(predictor.model_path),
            **score.to_dict(),
            "time_ms": round(elapsed_ms, 1),
        }
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print("\n".join(_verdict_lines(decision)))
        logger.info("model: %s", predictor.model_path)
        for line in decision.details():
            logger.info(line)
        logger.info("time: %.0f ms for two clips", elapsed_ms)
    return ANSWER_CODES[decision.answer]


def _verdict_lines(decision: Decision) -> list[str]:
    """The verdict, the figures behind it, and what to mind."""
    from mvector.recognition.decision import ANSWER_WORDS

    score, threshold = decision.as_text()
    figures = f"  similarity {score:>7}   threshold {threshold:>7}"
    headline = ANSWER_WORDS[decision.answer]
    if decision.reason is not None and decision.inconclusive_band:
        headline += f": {decision.reason}"
        low, _ = decision.inconclusive_band
        if low > -1.0:
            figures += f"   different below {low:>7.4f}"
    return [marked(MARK_OF[decision.answer], headline), figures, *mind_lines(decision.cautions)]


COMMAND = Command(
    "infer_contrast.py",
    "Compare two clips: cosine similarity of their voices, and a verdict.",
    _EPILOG,
    (Action("--list_devices", ListDevices, list_devices), Action("a comparison", Compare, compare)),
)
