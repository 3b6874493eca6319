"""Measure both voice activity detectors on clips whose pauses are known.

    python benchmarks/vad.py --data DIR

Clips are built of stretches of clean speech with pauses of digital silence between them; then the
whole clip is left as it is, or noise is added to all of it. The pauses are known to the sample: a
stretch begins at its first and ends at its last frame of 10 ms within 35 dB of its loudest one.
Inside a stretch, frames within 25 dB of the loudest one count as speech; its weaker frames (short
natural pauses among them) are not counted at all. Speech kept and silence removed are shares of
those samples. A pause's two edges are compared with the nearest end and beginning of a detected
segment; an edge is found if that is within 0.3 s. Positive errors keep too much; the detectors keep
0.05 s of padding on purpose, so that +50 ms is the aim. Spread is the median deviation from the
median. The real-time factor is CPU time over duration. "nobody" is 10 s of each noise file.

DIR holds librispeech/ (read speech, any audio files) and noise/dev/; the synthetic voices of
mvector.demo.voices are measured too.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng

from mvector.audio import is_audio, read_audio
from mvector.audio.vad import VadMethod, speech_segments
from mvector.demo.voices import random_voice, synthesise

RATE = 16000
FRAME = RATE // 100
METHODS: tuple[VadMethod, ...] = ("energy", "silero")
SNRS_DB = (None, 20, 10, 5)
LONGEST_ERROR_S = 0.3


@dataclass
class Clip:
    """A clip with what is known about it: masks ``(samples,)`` and the edges of its pauses."""

    waveform: np.ndarray
    is_speech: np.ndarray
    is_pause: np.ndarray
    speech_starts: np.ndarray
    speech_stops: np.ndarray


@dataclass
class Tally:
    """Sums over clips."""

    speech: int = 0
    speech_kept: int = 0
    pause: int = 0
    pause_removed: int = 0
    num_edges: int = 0
    errors_s: list[float] = field(default_factory=list)
    audio_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, clip: Clip, segments: list[tuple[int, int]], cpu_s: float) -> None:
        kept = np.zeros(len(clip.waveform), dtype=bool)
        for start, stop in segments:
            kept[start:stop] = True
        self.speech += int(clip.is_speech.sum())
        self.speech_kept += int((clip.is_speech & kept).sum())
        self.pause += int(clip.is_pause.sum())
        self.pause_removed += int((clip.is_pause & ~kept).sum())
        found = np.array(segments, dtype=float).reshape(-1, 2)
        # Positive errors keep too much, negative ones cut speech.
        for true, detected, sign in (
            (clip.speech_starts, found[:, 0], -1),
            (clip.speech_stops, found[:, 1], 1),
        ):
            for edge in true:
                self.num_edges += 1
                errors_s = sign * (detected - edge) / RATE
                if len(errors_s) and np.abs(errors_s).min() <= LONGEST_ERROR_S:
                    self.errors_s.append(float(errors_s[np.abs(errors_s).argmin()]))
        self.audio_s += len(clip.waveform) / RATE
        self.cpu_s += cpu_s

    def row(self) -> str:
        """Cells of the table."""
        errors_ms = 1000.0 * np.array(self.errors_s)
        middle = float(np.median(errors_ms)) if self.errors_s else 0.0
        spread = float(np.median(np.abs(errors_ms - middle))) if self.errors_s else 0.0
        error = f"{middle:+.0f} | {spread:.0f}" if self.errors_s else "– | –"
        return (
            f"{share(self.speech_kept, self.speech)} | {share(self.pause_removed, self.pause)} | "
            f"{share(len(self.errors_s), self.num_edges)} | {error} | "
            f"{self.cpu_s / self.audio_s:.4f}"
        )


def share(part: float, whole: float) -> str:
    """Percentage, or a dash where there is nothing to take a share of."""
    return f"{100.0 * part / whole:.1f} %" if whole else "–"


def frame_level_db(waveform: np.ndarray) -> np.ndarray:
    """Level of frames of 10 ms relative to the loudest one."""
    frames = waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    power = np.mean(frames**2, axis=1)
    return 10.0 * np.log10(np.maximum(power, 1e-20) / power.max())


def cut_stretch(waveform: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """A stretch of 1 to 3 s from its first to its last audible frame, and where it is speech."""
    length = min(round(rng.uniform(1.0, 3.0) * RATE), len(waveform))
    start = rng.integers(len(waveform) - length + 1)
    stretch = waveform[start : start + length]
    audible = np.flatnonzero(frame_level_db(stretch) > -35.0)
    stretch = stretch[audible[0] * FRAME : (audible[-1] + 1) * FRAME].copy()
    is_speech = np.repeat(frame_level_db(stretch) > -25.0, FRAME)
    fade = np.linspace(0.0, 1.0, 32, dtype=np.float32)  # 2 ms: a cut within a word must not click
    stretch[:32] *= fade
    stretch[-32:] *= fade[::-1]
    return stretch, is_speech


def build_clip(speech: np.ndarray, rng: Generator, num_stretches: int = 4) -> Clip:
    """Stretches of one speaker with 0.5 to 2 s of digital silence before, between and after."""
    waveform, is_speech, is_pause = [], [], []
    starts, stops, position = [], [], 0
    for number in range(num_stretches + 1):
        length = round(rng.uniform(0.5, 2.0) * RATE)
        waveform.append(np.zeros(length, dtype=np.float32))
        is_speech.append(np.zeros(length, dtype=bool))
        is_pause.append(np.ones(length, dtype=bool))
        position += length
        if number < num_stretches:
            stretch, speaking = cut_stretch(speech, rng)
            waveform.append(stretch)
            is_speech.append(speaking)
            is_pause.append(np.zeros(len(stretch), dtype=bool))
            starts.append(position)
            position += len(stretch)
            stops.append(position)
    joined = [np.concatenate(parts) for parts in (waveform, is_speech, is_pause)]
    return Clip(joined[0], joined[1], joined[2], np.array(starts), np.array(stops))


def with_noise(clip: Clip, noise: np.ndarray, snr_db: float, rng: Generator) -> Clip:
    """Noise over the whole clip; its power is set against that of the speech, pauses left out."""
    start = rng.integers(len(noise))
    excerpt = np.resize(np.roll(noise, -start), len(clip.waveform))
    speech_power = np.mean(clip.waveform[~clip.is_pause].astype(np.float64) ** 2)
    noise_power = max(float(np.mean(excerpt.astype(np.float64) ** 2)), 1e-12)
    gain = np.sqrt(speech_power / noise_power * 10.0 ** (-snr_db / 10.0))
    waveform = clip.waveform + (gain * excerpt).astype(np.float32)
    return Clip(waveform, clip.is_speech, clip.is_pause, clip.speech_starts, clip.speech_stops)


def noise_alone(noise: np.ndarray) -> Clip:
    """10 s of a noise file: all of it a pause."""
    waveform = np.resize(noise, 10 * RATE)
    none = np.zeros(len(waveform), dtype=bool)
    return Clip(waveform, none, ~none, np.array([]), np.array([]))


def measure(clips: list[Clip], method: VadMethod) -> Tally:
    """Run one detector over the clips."""
    tally = Tally()
    for clip in clips:
        started = time.process_time()
        segments = speech_segments(clip.waveform, RATE, method)
        tally.add(clip, segments, time.process_time() - started)
    return tally


def audio_files(folder: Path, num_files: int, rng: Generator) -> list[Path]:
    """Some files of a folder, drawn at random."""
    files = sorted(path for path in folder.rglob("*") if is_audio(path))
    if not files:
        raise SystemExit(f"'{folder}' holds no audio; --data names the folder above it.")
    return [files[k] for k in rng.permutation(len(files))[:num_files]]


def main() -> None:
    """Build the clips, run both detectors, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of librispeech and noise")
    parser.add_argument("--clips", type=int, default=40, help="clips of each kind of voice")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = default_rng(args.seed)
    noises = [read_audio(file) for file in audio_files(args.data / "noise" / "dev", 1000, rng)]
    corpora = {
        "read speech": [
            build_clip(read_audio(file), rng)
            for file in audio_files(args.data / "librispeech", args.clips, rng)
        ],
        "synthetic": [
            build_clip(synthesise(random_voice(k), 12.0, RATE, seed=k, noise_db=None), rng)
            for k in range(args.clips)
        ],
    }
    for method in METHODS:  # imports and compiles
        speech_segments(corpora["synthetic"][0].waveform, RATE, method)
    total_s = sum(len(clip.waveform) for clips in corpora.values() for clip in clips) / RATE
    print(
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {total_s:.0f} s of speech clips\n"
    )
    print("| voices | noise | method | speech kept | silence removed | edges found ", end="")
    print("| edge error ms, median | spread | real-time factor |\n" + "|---" * 9 + "|")
    for voices, clips in corpora.items():
        for snr_db in SNRS_DB:
            kind = "none" if snr_db is None else f"{snr_db} dB SNR"
            noisy = [
                c
                if snr_db is None
                else with_noise(c, noises[rng.integers(len(noises))], snr_db, rng)
                for c in clips
            ]
            for method in METHODS:
                print(f"| {voices} | {kind} | {method} | {measure(noisy, method).row()} |")
    for method in METHODS:
        tally = measure([noise_alone(noise) for noise in noises], method)
        print(f"| nobody | noise alone | {method} | {tally.row()} |")


if __name__ == "__main__":
    main()
