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
from mvector.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.recognition.answers import Recognition
    from mvector.recognition.predictor import MVectorPredictor

_BEST_FIRST = ("same", "cannot tell", "different")
_LEAST_SPEECH = 0.2  # share of the window; with less nobody is speaking


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
    rate = predictor.encoder.sample_rate
    codes = {ANSWER_CODES["different"]}
    noted: str | None = ""  # who spoke last: the audit tells when that changed, not of each window
    try:
        with _open_hops(args, predictor.encoder) as hops:
            for end_s, window in sliding_windows(hops, rate, args.record_seconds):
                result = _recognise_window(args, predictor, end_s, window)
                if result is not None:
                    codes.add(ANSWER_CODES[result.decision.answer])
                if result is not None and result.name != noted:
                    noted = result.name
                    predictor.library.record("watch", noted, result.score)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return next(ANSWER_CODES[best] for best in _BEST_FIRST if ANSWER_CODES[best] in codes)


def sliding_windows(
    hops: Iterator[np.ndarray], sample_rate: int, window_s: float
) -> Iterator[tuple[float, np.ndarray]]:
    """Windows of the last seconds, one for each hop: where it ends in seconds, and its samples."""
    import numpy as np

    size, num_samples = round(window_s * sample_rate), 0
    window = np.zeros(0, dtype=np.float32)
    for hop in hops:
        num_samples += len(hop)
        window = np.concatenate([window, hop])[-size:]
        if len(window) == size:
            yield num_samples / sample_rate, window
    if 0 < num_samples < size:
        yield num_samples / sample_rate, window


@contextmanager
def _open_hops(args: Watch, encoder: SpeakerEncoder) -> Iterator[Iterator[np.ndarray]]:
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
        yield _rechunk(blocks, round(args.hop_seconds * rate))


def _rechunk(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    import numpy as np

    waiting = np.zeros(0, dtype=np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]


def _recognise_window(
    args: Watch, predictor: MVectorPredictor, end_s: float, window: np.ndarray
) -> Recognition | None:
    """Recognise a window and print the answer; ``None`` where nobody speaks."""
    from mvector.audio.clip_report import measure_clip

    rate = predictor.encoder.sample_rate
    result = None
    if measure_clip(window, rate).speech_s >= _LEAST_SPEECH * len(window) / rate:
        try:
            result = predictor.recognition(
                (window, rate), top_k=args.top_k, within=args.within, is_recorded=False
            )
        except AudioError:  # silence, or less than the model can use
            result = None
    if args.json:
        values = result.to_dict() if result else {"speaker": None, "score": None}
        answer = {"time_s": round(end_s, 2), "model": str(predictor.model_path), **values}
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    else:
        words = "  no speech" if result is None else answer_line(result)
        print(f"{end_s:8.1f} s  {words}", flush=True)
    return result
