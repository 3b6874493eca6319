"""``infer_recognition.py --watch``: who speaks from when to when, or who is heard now."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli.clips import RecordingOptions, open_clip
from mvector.cli.common import (
    ANSWER_CODES,
    JsonOption,
    LibraryFolder,
    SearchOptions,
    make_predictor,
    parse_length,
)
from mvector.cli.identify import answer_line
from mvector.cli.library_actions import predictor_with_library
from mvector.cli.options import Condition, optional, required
from mvector.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy as np

    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.recognition.live import LiveDiarizer, LiveTurn
    from mvector.recognition.predictor import MVectorPredictor
    from mvector.recognition.watching import Moment, Watcher

_BEST_FIRST = ("same", "cannot tell", "different")
_BLOCK_S = 0.5  # of a file, as it is read


@dataclass(frozen=True, kw_only=True)
class Watch(SearchOptions, RecordingOptions, JsonOption):
    watch: str = required(
        "tell who speaks from when to when, from the microphone or in a file: a turn half a second "
        "to a second after it has ended; who is not enrolled is Speaker 1, Speaker 2, ...",
        "FILE",
        nargs="?",
        const="",
    )
    hop_seconds: float | None = optional(
        "in place of turns, tell with --watch every S seconds who is heard in the last "
        "--record_seconds",
        "S",
        parse_length,
    )

    def conditions(self) -> tuple[Condition, ...]:
        in_windows = self.hop_seconds is not None
        nowhere = f"without a speaker library: there is no {self.audio_db_path}"
        return (
            *super().conditions(),
            ("device", not self.watch, "with a file to --watch"),
            ("channel", bool(self.watch), "with a microphone, which records one"),
            ("top_k record_seconds", in_windows, "with --watch and without --hop_seconds"),
            ("top_k", self.json, "with --watch and without --json: a line names one person"),
            ("within threshold purpose audit_days", self.library is not None, nowhere),
        )

    @property
    def library(self) -> str | None:
        """The speaker library, which turns can be told without."""
        from mvector.speakers.folder_opening import holds_library

        path = self.audio_db_path
        is_wanted = self.hop_seconds is not None or path != LibraryFolder.audio_db_path
        return path if is_wanted or holds_library(Path(path)) else None


def watch(args: Watch) -> int:
    """Print who is heard until the file ends or the user stops.

    Returns:
        0 if somebody enrolled was heard, 3 if that cannot be told of somebody who was, else 1.
    """
    listen = _listen_for_turns if args.hop_seconds is None else _listen_in_windows
    codes = {ANSWER_CODES["different"], *listen(args)}
    return next(ANSWER_CODES[best] for best in _BEST_FIRST if ANSWER_CODES[best] in codes)


def _listen_for_turns(args: Watch) -> set[int]:
    predictor = make_predictor(args, args.library)
    try:
        live = predictor.diarize_live(within=args.within)
    except MissingDependencyError as error:
        cure = "Without it, --hop_seconds 1 tells each second who is heard"
        raise MissingDependencyError(f"{error} {cure}.") from error
    return _listen(args, predictor, live, _BLOCK_S, _print_turn)


def _listen_in_windows(args: Watch) -> set[int]:
    from mvector.recognition.watching import Watcher

    predictor = predictor_with_library(args)
    # what is missing is said before it listens
    _ = predictor.threshold, predictor.open_library(create=False)
    hop_s = args.hop_seconds or _BLOCK_S
    watcher = Watcher(
        predictor,
        predictor.encoder.sample_rate,
        window_s=args.record_seconds,
        hop_s=hop_s,
        top_k=args.top_k,
        within=args.within,
    )
    return _listen(args, predictor, watcher, hop_s, _print_moment)


def _listen(
    args: Watch,
    predictor: MVectorPredictor,
    listener: LiveDiarizer | Watcher,
    block_s: float,
    show: Callable[[Watch, MVectorPredictor, Any], None],
) -> set[int]:
    """Print what a listener tells of what is heard; gives the exit codes of what it told."""
    codes = set()

    def tell(news: Iterator[LiveTurn] | Iterator[Moment]) -> None:
        for told in news:
            show(args, predictor, told)
            if told.result is not None:
                codes.add(ANSWER_CODES[told.result.decision.answer])

    with _stopped_by_user(), _open_blocks(args, predictor.encoder, block_s) as blocks:
        for block in blocks:
            tell(listener.hear(block))
        if args.hop_seconds is not None:
            tell(listener.end())
    if args.hop_seconds is None:  # who stops it ends a turn as well
        tell(listener.end())
    return codes


@contextmanager
def _stopped_by_user() -> Iterator[None]:
    """Ctrl-C ends the listening, and not the command."""
    try:
        yield
    except KeyboardInterrupt:
        print(file=sys.stderr)


@contextmanager
def _open_blocks(
    args: Watch, encoder: SpeakerEncoder, block_s: float
) -> Iterator[Iterator[np.ndarray]]:
    rate = encoder.sample_rate
    if args.watch:
        from mvector.audio import audio_windows

        yield audio_windows(
            open_clip(args.watch, args.channel),
            rate,
            window_s=block_s,
            channel=encoder.channel,
            mono_as_is=True,
        )
        return
    from mvector.audio.microphone import open_microphone

    with open_microphone(rate, device=args.device) as blocks:
        yield blocks


def _print_turn(args: Watch, predictor: MVectorPredictor, told: LiveTurn) -> None:
    from mvector.diarization.result import turn_lines

    turn = told.turn
    if args.json:
        answer = {**told.to_dict(), "model": str(predictor.model_path)}
        print(json.dumps(answer, ensure_ascii=False), flush=True)
        return
    if told.earlier is not None:
        words = "{0} is {1}" if turn.name else "{1} was taken for {0}"
        print(words.format(told.earlier, turn.label), flush=True)
    print(turn_lines([turn])[0], flush=True)


def _print_moment(args: Watch, predictor: MVectorPredictor, moment: Moment) -> None:
    result = moment.result
    if args.json:
        values = result.to_dict() if result else {"speaker": None, "score": None}
        answer = {"time_s": round(moment.end_s, 2), "model": str(predictor.model_path), **values}
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    else:
        words = "  no speech" if result is None else answer_line(result)
        print(f"{moment.end_s:8.1f} s  {words}", flush=True)
