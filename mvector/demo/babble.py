"""What a synthetic voice says: syllables at random, and how the mouth moves through them.

Sources: Peterson and Barney, "Control methods used in a study of the vowels" (JASA 24, 1952), for
the vowels; Delattre, Liberman and Cooper, "Acoustic loci and transitional cues for consonants"
(JASA 27, 1955), for loci.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

# F1, F2, F3 in Hz, averages of adult male speakers (Peterson and Barney, 1952, table II), of
# heed, hid, head, had, hod, hawed, hood, who'd, hud, heard.
_VOWELS_HZ = np.array(
    [
        *[(270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410)],
        *[(730, 1090, 2440), (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240)],
        *[(640, 1190, 2390), (490, 1350, 1690)],
    ]
)

# Voicing and frication while the consonant lasts and frication at its release (amplitudes relative
# to the vowel), duration in s, F1, F2 and F3 locus in Hz, centre of the frication in Hz.
_CONSONANTS = np.array(
    [
        (0.50, 0.00, 0.00, 0.06, 300, 700, 2200, 3000),  # w
        (0.50, 0.00, 0.00, 0.06, 350, 1300, 2700, 3000),  # l
        (0.35, 0.00, 0.00, 0.07, 250, 900, 2200, 3000),  # m
        (0.35, 0.00, 0.00, 0.07, 250, 1700, 2600, 3000),  # n
        (0.00, 0.00, 0.30, 0.07, 250, 800, 2200, 1200),  # p
        (0.00, 0.00, 0.50, 0.07, 250, 1800, 2700, 4500),  # t
        (0.00, 0.00, 0.40, 0.08, 250, 2200, 2500, 2200),  # k
        (0.08, 0.00, 0.20, 0.06, 250, 800, 2200, 1000),  # b
        (0.08, 0.00, 0.30, 0.06, 250, 1800, 2700, 4000),  # d
        (0.00, 0.10, 0.10, 0.10, 300, 900, 2200, 3800),  # f
        (0.00, 0.35, 0.35, 0.11, 300, 1800, 2600, 6000),  # s
        (0.00, 0.35, 0.35, 0.11, 300, 2000, 2600, 3200),  # sh
        (0.25, 0.20, 0.20, 0.09, 300, 1800, 2600, 5500),  # z
    ]
)
_NUM_SONORANTS = 4  # the first rows: voiced from their beginning


@dataclass(frozen=True)
class Babble:
    """The syllables of one clip in order; a pause is a syllable without stress."""

    start_s: np.ndarray  # (syllables,)
    duration_s: np.ndarray  # (syllables,)
    stress: np.ndarray  # (syllables,), amplitude of the vowel
    pitch: np.ndarray  # (syllables,), phrase and accent in units of the voice's pitch range
    consonant: np.ndarray  # (syllables, 8), rows of _CONSONANTS
    vowel_hz: np.ndarray  # (syllables, 3), rows of _VOWELS_HZ


def invent_babble(rng: Generator, syllables_per_s: float, duration_s: float) -> Babble:
    """Syllables for a clip, more of them than it holds."""
    count = int(1.5 * duration_s * syllables_per_s) + 8  # half as many again as fit on average
    lengthening, accent, loudness = rng.standard_normal((3, count))
    pause = rng.uniform(size=count) < 0.12
    pause[0] = False
    pause_s, syllable_s = rng.uniform(0.15, 0.4, count), np.exp(0.2 * lengthening) / syllables_per_s
    duration = np.where(pause, pause_s, syllable_s)
    index = np.arange(count)
    since_pause = index - np.maximum.accumulate(np.where(pause, index, 0))
    consonant = rng.integers(len(_CONSONANTS), size=count)
    consonant[0] %= _NUM_SONORANTS  # a clip begins with sound, however short it is
    return Babble(
        start_s=np.cumsum(duration) - duration,
        duration_s=duration,
        stress=np.where(pause, 0.0, 10.0 ** (2.5 * loudness / 20.0)),
        pitch=0.5 - np.minimum(since_pause / 8.0, 1.0) + 0.3 * accent,
        consonant=_CONSONANTS[consonant],
        vowel_hz=_VOWELS_HZ[rng.integers(len(_VOWELS_HZ), size=count)],
    )


def articulate(babble: Babble, time_s: np.ndarray) -> tuple[np.ndarray, ...]:
    """Voicing, frication, its centre in Hz (all ``(frames,)``) and F1 to F3 ``(frames, 3)``."""
    held_voicing, held_noise, burst, held_s = babble.consonant.T[:4]
    held_s = np.minimum(held_s, 0.45 * babble.duration_s)
    vowel_s = babble.duration_s - held_s
    release_s = babble.start_s + held_s
    # Five instants of a syllable: closure, just before and at the release, vowel, end of vowel.
    onset_s = release_s + np.minimum(0.05, 0.4 * vowel_s)
    end_s = release_s + 0.8 * vowel_s
    instants_s = np.stack([babble.start_s, release_s - 0.008, release_s, onset_s, end_s], axis=1)
    full, none = np.ones_like(burst), np.zeros_like(burst)
    voicing = np.stack([held_voicing, held_voicing, held_voicing, full, 0.8 * full], axis=1)
    frication = np.stack([held_noise, held_noise, burst, none, none], axis=1)
    locus = 0.7 * babble.consonant[:, 4:7] + 0.3 * babble.vowel_hz  # coarticulation
    formants = np.stack([locus, locus, locus, babble.vowel_hz, babble.vowel_hz], axis=1)

    def track(values: np.ndarray) -> np.ndarray:
        return np.interp(time_s, instants_s.ravel(), values.ravel())

    syllable = np.searchsorted(babble.start_s, time_s, side="right") - 1
    return (
        track(voicing * babble.stress[:, None]),
        track(frication * (babble.stress[:, None] > 0)),
        babble.consonant[syllable, 7],
        np.stack([track(formants[:, :, k]) for k in range(3)], axis=1),
    )
