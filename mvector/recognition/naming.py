"""The voices of a recording by name: who each is, and whether all that it says is theirs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from mvector.audio import AudioSource
from mvector.diarization.hearing import Heard, stretch_of
from mvector.diarization.voice_clips import voice_clips
from mvector.diarization.voices import MIN_VOICE_S, SOME_WINDOWS, Voices
from mvector.embedding.encoder import SpeakerEncoder
from mvector.errors import AudioError
from mvector.recognition.answers import Recognition
from mvector.recognition.searching import Search

logger = logging.getLogger(__name__)

# Of the cosine that the windows of a voice have with the person it is, as a rule: stretches below
# are of somebody else. Of right ones hardly any are, if they have some windows.
_UNEXPLAINED = 0.6


def name_voices(
    encoder: SpeakerEncoder,
    source: AudioSource,
    heard: Heard,
    voices: Voices,
    search: Search,
    bounds: tuple[int, int],
) -> tuple[Voices, list[Recognition | None]]:
    """Who the voices of a recording are.

    Names tell more of the voices than the recording alone: two that are one person become one, and
    stretches that the named person does not explain become a voice of their own.

    Args:
        encoder: the model.
        source: the recording.
        heard: what was heard of it.
        voices: what it was divided into.
        search: names people.
        bounds: least and largest number of voices.

    Returns:
        The voices, and who of the library each is, or ``None`` where too little is left of it.
    """
    found = _recognise(encoder, source, voices, search)
    least, most = bounds
    joined = _joined(voices, found)
    numbers = joined if len(np.unique(joined)) >= least else voices.voices
    divided = _without_strangers(numbers, heard, voices, found)
    numbers = divided if len(np.unique(divided)) <= most else numbers
    if (numbers == voices.voices).all():
        return voices, found
    revised = voices.renumbered(numbers, heard)
    return revised, _recognise(encoder, source, revised, search)


def _recognise(
    encoder: SpeakerEncoder, source: AudioSource, voices: Voices, search: Search
) -> list[Recognition | None]:
    stretches = [
        [(start, stop) for start, stop in voices.places[voices.voices == number].tolist()]
        for number in range(len(voices.cores))
    ]
    found: list[Recognition | None] = []
    for core, clip in zip(voices.cores, voice_clips(encoder, source, stretches), strict=True):
        try:
            report = encoder.measure((clip, encoder.sample_rate))
            found.append(search.nearest_to_voice(core, report))
        except AudioError as error:  # too little is left of it
            logger.info("A voice was not compared with the library: %s", error)
            found.append(None)
    return found


def _joined(voices: Voices, found: Sequence[Recognition | None]) -> np.ndarray:
    """The voice of each stretch ``(S,)``, where voices of one person are one.

    That is, where both are named so, and no less alike to each other than either is to that person,
    whose clips are of another room: two people of one recording are alike enough for less.
    """
    numbers = voices.voices.copy()
    first: dict[str, int] = {}
    for number, result in enumerate(found):
        if result is None or result.name is None:
            continue
        earlier = first.setdefault(result.name, number)
        scores = [each.score for each in (result, found[earlier]) if each is not None]
        if voices.cores[earlier] @ voices.cores[number] >= max(scores):
            numbers[numbers == number] = earlier
    return numbers


def _without_strangers(
    numbers: np.ndarray, heard: Heard, voices: Voices, found: Sequence[Recognition | None]
) -> np.ndarray:
    """The voice of each stretch, where what a named person does not explain is another voice."""
    numbers = numbers.copy()
    stretch = stretch_of(voices.places, heard.windows)
    num_windows = np.bincount(stretch, minlength=len(numbers))
    lengths = voices.places[:, 1] - voices.places[:, 0]
    for number in np.unique(numbers).tolist():
        result = found[number]
        if result is None or result.name is None:
            continue
        voiceprint = result.candidates[0].voiceprint
        if voiceprint is None:
            continue
        own = numbers == number
        cosines = heard.units @ voiceprint
        means = np.bincount(stretch, cosines, minlength=len(numbers)) / np.maximum(num_windows, 1)
        usual = float(np.median(cosines[own[stretch]]))
        foreign = own & (num_windows >= SOME_WINDOWS) & (means < _UNEXPLAINED * usual)
        if lengths[foreign].sum() >= MIN_VOICE_S:
            numbers[foreign] = numbers.max() + 1
    return numbers
