"""A corpus of synthetic speakers on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.random import SeedSequence, default_rng

from mvector.audio import write_wav
from mvector.demo.voices import Voice, check_request, random_voice, synthesise
from mvector.errors import AudioError, DataError
from mvector.files import write_errors_as, write_text
from mvector.progress import progress_bar

_README = """These recordings are SYNTHETIC. No person spoke them.

They were computed by mvector.demo.voices, a small source-filter synthesiser: {voices} invented
voices with {clips} clips each (seed {seed}). The babble in them means nothing. They serve
demonstrations and tests; error rates measured on them say nothing about real speech.

One folder holds one voice: <speaker>/<clip>.wav, {sample_rate} Hz, mono, 16 bit.
"""


def write_corpus(
    folder: str | os.PathLike[str],
    *,
    num_speakers: int,
    clips_per_speaker: int,
    duration_s: tuple[float, float] = (2.0, 4.0),
    sample_rate: int = 16000,
    seed: int = 0,
    first_speaker: int = 0,
    progress: bool = True,
) -> None:
    """Write a corpus of synthetic speakers: ``<folder>/speaker_000/clip_00.wav`` and so on.

    A ``README.txt`` beside the speakers says that the voices are synthetic. A clip depends on
    ``seed`` and on its own two numbers alone, so that a larger corpus contains the smaller one,
    and corpora of one seed that share no speaker number share no voice.

    Args:
        folder: where to write; made if it is missing.
        num_speakers: how many voices.
        clips_per_speaker: clips of each voice, every one in a session of its own.
        duration_s: shortest and longest clip.
        sample_rate: at least 8000 Hz.
        seed: not negative.
        first_speaker: number of the first speaker.
        progress: show how far it is, on standard error.

    Raises:
        DataError: the folder cannot be written to, or a count is out of range.
        AudioError: a clip cannot be written, or durations, rate or seed are out of range.
    """
    if num_speakers < 1 or clips_per_speaker < 1 or first_speaker < 0:
        raise DataError(
            f"Cannot write {num_speakers} speakers from number {first_speaker} with "
            f"{clips_per_speaker} clips each: at least one of both is needed, counted from 0."
        )
    shortest_s, longest_s = duration_s
    if shortest_s > longest_s:
        raise AudioError(f"duration_s {duration_s} must be (shortest, longest).")
    check_request(Voice(), shortest_s, sample_rate, seed)
    root = Path(folder)
    readme = _README.format(
        voices=num_speakers, clips=clips_per_speaker, seed=seed, sample_rate=sample_rate
    )
    with write_errors_as(DataError, f"to '{root}'", "choose a folder you may write to"):
        write_text(root / "README.txt", readme)

    speakers = range(first_speaker, first_speaker + num_speakers)
    jobs = [(speaker, clip) for speaker in speakers for clip in range(clips_per_speaker)]
    for speaker, clip in progress_bar(jobs, desc="Voices", unit="clip", show=progress):
        voice = random_voice(_derive_seed(seed, speaker))
        clip_seed = _derive_seed(seed, speaker, clip)
        clip_s = default_rng(clip_seed).uniform(shortest_s, longest_s)
        waveform = synthesise(voice, clip_s, sample_rate, seed=clip_seed)
        write_wav(root / f"speaker_{speaker:03d}" / f"clip_{clip:02d}.wav", waveform, sample_rate)


def _derive_seed(*numbers: int) -> int:
    return int(SeedSequence(numbers).generate_state(1, np.uint64)[0])
