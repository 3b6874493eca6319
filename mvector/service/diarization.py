"""Who spoke when, as a job: doing it, and its result in the formats of other programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from mvector.audio import header_duration
from mvector.diarization.hearing import best_vad_method
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.result import Diarization
from mvector.diarization.turns import Turn
from mvector.diarization.writing import to_csv, to_rttm, to_srt, to_vtt
from mvector.recognition.predictor import MVectorPredictor
from mvector.service import schemas
from mvector.service.errors import RequestError
from mvector.service.jobs import Claimed
from mvector.service.recordings import open_recording

_HEARD = 0.9  # share of the work until all is heard; the rest is whose voices these are
#: The result as text: how to write it, and the type it is asked for by.
FORMATS: dict[str, tuple[Callable[[Diarization], str], str]] = {
    "rttm": (to_rttm, "text/plain"),
    "srt": (to_srt, "application/x-subrip"),
    "vtt": (to_vtt, "text/vtt"),
    "csv": (to_csv, "text/csv"),
}


def finds_speech() -> bool:
    """Whether something is installed that finds speech: silero-vad or librosa."""
    return best_vad_method() == "silero" or find_spec("librosa") is not None


def require_detector() -> None:
    """Refuse recordings where nothing is installed that finds speech.

    Raises:
        RequestError: there is neither silero-vad nor librosa.
    """
    if not finds_speech():
        raise RequestError(
            "This service has nothing that finds speech in recordings; whoever runs it can install "
            "silero-vad.",
            code="diarization-unavailable",
            status=501,
        )


def diarize(
    predictor: MVectorPredictor, claimed: Claimed, note: Callable[[float | None], None]
) -> dict[str, Any]:
    """Do a job; gives :class:`mvector.service.schemas.Diarized` as plain values.

    Args:
        predictor: with the limits of recordings.
        claimed: the job.
        note: is told how far it is.

    Raises:
        AudioError: the recording cannot be used.
        LibraryError: there is no group that was named, or the library cannot be used.
    """
    asked = schemas.DiarizeQuery.model_validate(claimed.options)
    options = DiarizationOptions(
        num_speakers=asked.num_speakers,
        min_speakers=asked.min_speakers,
        max_speakers=asked.max_speakers,
    )
    with open_recording(claimed.recording) as stream:
        duration_s = header_duration(stream, limits=predictor.encoder.listening.limits)

        def on_heard(heard_s: float) -> None:
            note(min(1.0, heard_s / duration_s) * _HEARD if duration_s else None)

        found = predictor.diarize(
            stream, options=options, within=asked.within or None, on_heard=on_heard
        )
    found = replace(found.exclusive() if asked.exclusive else found, recording=asked.name)
    for speaker in found.speakers:
        if speaker.name is not None:
            predictor.library.record("diarization", speaker.name, speaker.score)
    return schemas.Diarized.model_validate(found.to_dict()).model_dump()


def as_text(result: schemas.Diarized, kind: str) -> str:
    """The turns of a result in a format of :data:`FORMATS`."""
    turns = tuple(Turn(**turn.model_dump()) for turn in result.turns)
    return FORMATS[kind][0](Diarization(result.recording, result.duration_s, turns, ()))
