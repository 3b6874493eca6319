"""``infer_recognition.py --watch``: who is speaking, again and again, in a sliding window."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mvector.cli.clips import RecordingOptions, open_clip
from mvector.cli.common import ANSWER_CODES, JsonOption, SearchOptions, parse_length
from mvector.cli.identify import answer_line
from mvector.cli.options import Condition, option, required

if TYPE_CHECKING:
    import numpy as np

    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.recognition.predictor import MVectorPredictor
    from mvector.recognition.watching import Moment, Watcher

_BEST_FIRST = ("same", "cannot tell", "different")


@dataclass(frozen=True, kw_only=True)
class Watch(SearchOptions, RecordingOptions, JsonOption):
    watch: str = required(
        "tell who is speaking, again and again, from the microphone or in a file",
        "FILE",
        nargs="?",
        const="",
    )
    hop_seconds: float = option(
        1.0,
        "how often --watch answers, of the last --record_seconds (default %(default)s)",
        "S",
        parse_length,
    )

    def conditions(self) -> tuple[Condition, ...]:
        return (
            *super().conditions(),
            ("device", not self.watch, "with a file to --watch"),
            ("channel", bool(self.watch), "with a microphone, which records one"),
            ("top_k", self.json, "with --watch and without --json: a line names one person"),
        )


def watch(args: Watch, predictor: MVectorPredictor) -> int:
    """Print who is heard until the file ends or the user stops.

    Returns:
        0 if somebody enrolled was heard, 3 if that cannot be told of somebody who was, else 1.
    """
    from mvector.recognition.watching import Watcher

    watcher = Watcher(
        predictor,
        predictor.encoder.sample_rate,
        window_s=args.record_seconds,
        hop_s=args.hop_seconds,
        top_k=args.top_k,
        within=args.within,
    )
    codes = {ANSWER_CODES["different"]}
    try:
        with _open_blocks(args, predictor.encoder) as blocks:
            for moment in _moments(watcher, blocks):
                _tell(args, predictor, moment)
                if moment.result is not None:
                    codes.add(ANSWER_CODES[moment.result.decision.answer])
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return next(ANSWER_CODES[best] for best in _BEST_FIRST if ANSWER_CODES[best] in codes)


def _moments(watcher: Watcher, blocks: Iterator[np.ndarray]) -> Iterator[Moment]:
    for block in blocks:
        yield from watcher.hear(block)
    yield from watcher.end()


@contextmanager
def _open_blocks(args: Watch, encoder: SpeakerEncoder) -> Iterator[Iterator[np.ndarray]]:
    rate = encoder.sample_rate
    if args.watch:
        from mvector.audio import audio_windows

        yield audio_windows(
            open_clip(args.watch, args.channel),
            rate,
            window_s=args.hop_seconds,
            channel=encoder.channel,
            mono_as_is=True,
        )
        return
    from mvector.audio.microphone import open_microphone

    with open_microphone(rate, device=args.device) as blocks:
        yield blocks


def _tell(args: Watch, predictor: MVectorPredictor, moment: Moment) -> None:
    result = moment.result
    if args.json:
        values = result.to_dict() if result else {"speaker": None, "score": None}
        answer = {"time_s": round(moment.end_s, 2), "model": str(predictor.model_path), **values}
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    else:
        words = "  no speech" if result is None else answer_line(result)
        print(f"{moment.end_s:8.1f} s  {words}", flush=True)
