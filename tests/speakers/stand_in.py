"""An encoder that costs nothing, for tests of what becomes of its embeddings."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from mvector.audio import AudioSource, read_audio, source_name
from mvector.audio.clip_report import ClipReport, measure_clip
from mvector.embedding.encoder import EmbeddedClips
from mvector.embedding.listening import Listening
from mvector.errors import AudioError

RATE = 8000
_SAMPLES = 256


class StandInEncoder:
    """Hears the spectrum of a clip's beginning; ``seed`` makes another model of it.

    ``heard`` counts the clips that were embedded, ``measured`` those whose quality was measured.
    """

    sample_rate = RATE
    channel = "auto"
    listening = Listening()

    def __init__(self, seed: int = 0, embd_dim: int = 16) -> None:
        self.embd_dim, self.heard, self.measured, self.info = embd_dim, 0, 0, None
        rng = np.random.default_rng(seed)
        self._projection = rng.standard_normal((_SAMPLES // 2 + 1, embd_dim))
        self.fingerprint = f"{seed:016x}"

    def embed(self, source: AudioSource) -> np.ndarray:
        self.heard += 1
        spectrum = np.abs(np.fft.rfft(_read(source)[:_SAMPLES], _SAMPLES))
        return (np.log(spectrum + 1e-3) @ self._projection).astype(np.float32)

    def embed_measured(self, source: AudioSource) -> tuple[np.ndarray, ClipReport]:
        embedding = self.embed(source)
        source.seek(0)  # type: ignore[union-attr]
        return embedding, self.measure(source)

    def measure(self, source: AudioSource) -> ClipReport:
        self.measured += 1
        return measure_clip(_read(source), RATE)

    def embed_readable(self, sources: Sequence[AudioSource], **_: object) -> EmbeddedClips:
        good, embeddings, failures = [], [], []
        for position, source in enumerate(sources):
            try:
                embeddings.append(self.embed(source))
                good.append(position)
            except AudioError as error:
                failures.append((position, str(error)))
        table = np.array(embeddings, dtype=np.float32).reshape(len(good), self.embd_dim)
        return EmbeddedClips(table, np.array(good, dtype=np.int64), failures)


def _read(source: AudioSource) -> np.ndarray:
    waveform = read_audio(source, RATE)
    if len(waveform) < _SAMPLES:
        raise AudioError(f"{source_name(source)} is too short.")
    return waveform


def clip_of(number: int, take: int = 0) -> bytes:
    """A wav file of somebody's voice: noise of a colour that belongs to the person."""
    colour = np.random.default_rng(number).standard_normal(12)
    noise = np.random.default_rng(100_000 + 1000 * number + take).standard_normal(400)
    stream = io.BytesIO()
    samples = 0.02 * np.convolve(noise, colour, mode="same")
    soundfile.write(stream, np.clip(samples, -1, 1), RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def write_clip(path: Path, number: int, take: int = 0) -> Path:
    """The same as a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(clip_of(number, take))
    return path


def stored_clips(folder: Path) -> set[str]:
    """All files of a library that are clips, pending ones and leftovers included."""
    kept = ("voiceprints.", "name.txt")
    files = (path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix() for p in files if not p.name.startswith(kept)}


@contextmanager
def nobody() -> Iterator[None]:
    """The rights of an ordinary user, for a superuser can write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
