"""The voices of a recording: how many, and who of them is heard from when to when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvector.diarization.clustering import cluster_windows, cores_of, in_order
from mvector.diarization.hearing import Heard, stretch_of
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.resegmentation import find_boundaries
from mvector.errors import AudioError, count_of

#: Resemblance from which two clusters are one voice: that of the fewest errors in simulated
#: meetings and calls, of other people than those reported on.
LIMIT = 0.68
#: A shorter voice is part of the most alike one.
MIN_VOICE_S = 3.0
#: Windows of a stretch from which it tells whether it may be of the person that its voice is.
SOME_WINDOWS = 2


@dataclass(frozen=True)
class Voices:
    """Stretches of single voices.

    Attributes:
        places: ``(S, 2)`` begin and end of each stretch in seconds, in order, without overlap.
        voices: ``(S,)`` the voice of each, from 0 in the order in which they are heard first.
        cores: ``(voices, embd_dim)`` direction of the core of each voice.
    """

    places: np.ndarray
    voices: np.ndarray
    cores: np.ndarray

    def renumbered(self, numbers: np.ndarray, heard: Heard) -> Voices:
        """The same stretches of other voices: ``(S,)``, a number for each."""
        voices = in_order(numbers)
        labels = voices[stretch_of(self.places, heard.windows)]
        return Voices(self.places, voices, cores_of(heard.units, labels))


def find_voices(heard: Heard, options: DiarizationOptions, name: str = "It") -> Voices:
    """Divide what was heard of a recording into voices.

    Args:
        heard: the recording.
        options: how many voices there may be, and how closely to look.
        name: how messages call the recording.

    Raises:
        AudioError: there is less speech than the number of people asked for takes.
    """
    units, number = heard.units, len(heard.units)
    least, most = options.bounds
    if number == 0:
        return Voices(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros((0, units.shape[1])))
    if least > number:
        raise AudioError(
            f"{name} has speech for {count_of(number, 'voice')} at most, and {least} were asked "
            "for; give a smaller number.",
            code="audio-too-short",
        )
    labels = cluster_windows(
        units,
        limit=LIMIT,
        least=least,
        most=most,
        min_windows=max(1, round(MIN_VOICE_S / options.hop_s)),
    )
    (places, voices), labels = find_boundaries(heard, labels)
    return Voices(places, voices, cores_of(units, labels))
