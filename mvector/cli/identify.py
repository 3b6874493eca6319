"""``infer_recognition.py --identify``: who is speaking in clips."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from mvector.cli.clips import ChannelOption, open_clip, require_one_standard_input
from mvector.cli.common import ANSWER_CODES, JsonOption, SearchOptions
from mvector.cli.options import required
from mvector.cli.terminal import MARK_OF, marked, mind_lines
from mvector.errors import AudioError

if TYPE_CHECKING:
    from mvector.audio import AudioSource
    from mvector.recognition.answers import Recognition
    from mvector.recognition.predictor import MVectorPredictor

logger = logging.getLogger(__name__)

MISTAKE = 2
_WORSE_AND_WORSE = (*ANSWER_CODES.values(), MISTAKE)


@dataclass(frozen=True, kw_only=True)
class Identify(SearchOptions, ChannelOption, JsonOption):
    identify: Sequence[str] = required(
        "tell who is speaking, in each clip; - is standard input", "FILE", nargs="+"
    )


def identify(args: Identify, predictor: MVectorPredictor) -> int:
    """Recognise every clip that can be heard; the worst of their exit codes."""
    files = [*args.identify]
    require_one_standard_input(files)
    codes, width = set(), max(map(len, files))
    for file in files:
        label = file.ljust(width) if len(files) > 1 else ""
        try:
            clip = open_clip(file, args.channel)
            codes.add(recognise(args, predictor, clip, label=label, about={"clip": file}))
        except AudioError as error:
            if len(files) == 1:
                raise
            codes.add(MISTAKE)
            print(f"Not heard: {error}", file=sys.stderr)
            if args.json:
                answer = {"clip": file, "error": {"code": error.code, "message": str(error)}}
                print(json.dumps(answer, ensure_ascii=False))
    return max(codes, key=_WORSE_AND_WORSE.index)


def recognise(
    args: SearchOptions,
    predictor: MVectorPredictor,
    audio: AudioSource,
    *,
    label: str = "",
    about: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Recognise a clip, tell who it is, and give the exit code.

    ``label`` stands before the answer, and ``about`` joins the object of ``--json``.
    """
    started = time.monotonic()
    result = predictor.recognition(audio, top_k=args.top_k, within=args.within)
    elapsed_ms = 1000.0 * (time.monotonic() - started)
    if isinstance(args, JsonOption) and args.json:
        model = {"model": str(predictor.model_path)}
        print(json.dumps({**about, **model, **result.to_dict()}, ensure_ascii=False), flush=True)
    else:
        print("\n".join(_recognition_lines(result, label, args.top_k)), flush=True)
        for line in result.decision.details():
            logger.info(line)
        logger.info("time: %.0f ms", elapsed_ms)
    return ANSWER_CODES[result.decision.answer]


def answer_line(result: Recognition, label: str = "") -> str:
    """Who it is, with a mark; ``label`` stands before the answer."""
    sign = MARK_OF[result.decision.answer]
    return marked(sign, f"{label}  {result.as_text()}" if label else result.as_text())


def _recognition_lines(result: Recognition, label: str, top_k: int) -> list[str]:
    """Who it is, the nearest if more than one is asked for, and what to mind."""
    lines = [answer_line(result, label)]
    if top_k > 1:
        lines += [f"  {match.score:7.4f}  {match.name}" for match in result.candidates]
    return [*lines, *mind_lines(result.decision.cautions)]
