"""Codecs of FFmpeg, through PyAV: AAC, AMR (narrow band) and G.722."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from mvector.errors import MissingDependencyError, import_errors_as

# kbit/s of AMR narrow band (3GPP TS 26.071)
AMR_KBPS = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)


class _Codec(NamedTuple):
    name: str  # FFmpeg's, of encoder and decoder
    delay: int  # samples by which what is decoded comes too late


_CODECS = {
    "aac": _Codec("aac", 1024),
    "amr": _Codec("libopencore_amrnb", 39),
    "g722": _Codec("g722", 22),
}


def require_media_codec(kind: str, key: str) -> None:
    """See that a codec is there.

    Args:
        kind: ``aac``, ``amr`` or ``g722``.
        key: the setting that asks for it.

    Raises:
        MissingDependencyError: PyAV is not installed, or its FFmpeg lacks the codec.
    """
    with import_errors_as(
        f"{key} needs PyAV: pip install av (it is in the extra 'media'), or set its weight to 0."
    ):
        import av
    try:
        for mode in ("w", "r"):
            av.codec.Codec(_CODECS[kind].name, mode)
    except av.codec.codec.UnknownCodecError:
        raise MissingDependencyError(
            f"{key} needs FFmpeg's codec {_CODECS[kind].name}, which this PyAV lacks: "
            "pip install --upgrade av, or set its weight to 0."
        ) from None


def through_media_codec(waveform: np.ndarray, rate: int, kind: str, kbps: float) -> np.ndarray:
    """Encode and decode, with the codec's delay taken out.

    Args:
        waveform: ``(samples,)`` within full scale.
        rate: one that the codec knows, in Hz.
        kind: ``aac``, ``amr`` or ``g722``.
        kbps: bit rate in kbit/s; of AMR one of :data:`AMR_KBPS`, of G.722 always 64.

    Returns:
        ``(samples,)`` float32.
    """
    import av

    codec = _CODECS[kind]
    encoder = _context(codec.name, "w", rate)
    encoder.bit_rate = round(1000 * kbps)
    padded = np.concatenate([waveform, np.zeros(codec.delay, np.float32)])
    is_float = encoder.format.name == "fltp"
    samples = padded if is_float else np.rint(padded * np.float32(32767)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], encoder.format.name, "mono")
    frame.sample_rate, frame.pts = rate, 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = _context(codec.name, "r", rate)
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    blocks = [decoded.to_ndarray()[0] for packet in packets for decoded in decoder.decode(packet)]
    result = np.concatenate(blocks)[codec.delay : codec.delay + len(waveform)]
    return result if result.dtype == np.float32 else result / np.float32(32768)


def _context(name: str, mode: str, rate: int) -> Any:
    import av

    context = av.CodecContext.create(name, mode)
    context.sample_rate, context.layout = rate, "mono"
    context.thread_count = 1
    if mode == "w":
        context.format = context.codec.audio_formats[0]
        context.time_base = Fraction(1, rate)
    return context
