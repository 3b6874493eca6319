"""A clip as a library takes it: how it is stored, and what a model hears of that."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from mvector.audio import AudioSource, audio_windows, source_name
from mvector.audio.channels import ChannelChoice
from mvector.audio.clip_report import ClipReport
from mvector.speakers.context import named_stream, unit_vector

if TYPE_CHECKING:  # it brings torch, which reading a library does without
    from mvector.embedding.encoder import SpeakerEncoder

_PIECE_S = 30.0


@dataclass(frozen=True)
class HeardClip:
    """A clip that can be enrolled.

    Attributes:
        data: all of it as a 16-bit mono wav file, at the rate of the model.
        embedding: of that, float32 ``(embd_dim,)``.
        report: how good it is.
    """

    data: bytes
    embedding: np.ndarray
    report: ClipReport


def hear(encoder: SpeakerEncoder, source: AudioSource) -> HeardClip:
    """Decode a clip, once, to what is stored, and embed that.

    Raises:
        AudioError: the clip cannot be used.
        LibraryError: the embedding has no direction.
    """
    choices: list[ChannelChoice] = []
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", encoder.sample_rate, 1, "PCM_16", format="WAV"
    ) as file:  # piece by piece: decoded clips are large
        for samples in audio_windows(
            source,
            encoder.sample_rate,
            window_s=_PIECE_S,
            channel=encoder.channel,
            mono_as_is=True,
            on_choice=choices.append,
            limits=encoder.listening.limits,
        ):
            file.write(samples)
    data = stream.getvalue()
    stored = named_stream(data, source_name(source).strip("'"))
    embedding, report = encoder.embed_measured(stored)  # 16 bits and all
    unit_vector(embedding, encoder.embd_dim)
    odd = next((choice for choice in choices if choice.caution), None)
    return HeardClip(data, embedding, replace(report, channels=odd))
