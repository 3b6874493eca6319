"""What the clip report tells of a channel: the band of the voice, and the holes of codecs.

    python benchmarks/channels.py --data DIR [--clips FOLDER]

Clips of the development lists of DIR (lists/dev_*.txt), and those in FOLDER, are sent through every
channel, once. The table tells how many are recognised as which band, the holes found, and how many
are told to be from a telephone or heavily compressed. Needs PyAV, whose FFmpeg has libmp3lame and
libopus.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import scipy.signal
import soundfile
import soxr

from mvector.audio import read_audio
from mvector.audio.clip_report import TRUSTED, ClipReport, measure_clip
from mvector.data.augmentation.codec import telephone_band, telephone_line

RATE = 16000
MOST_S = 10.0  # of each clip
LISTS = ("librispeech", "an4", "dspspeech20", "arabic_speech_commands", "alphanumeric")

#: Bands by the highest frequency that counts as one, in Hz.
BANDS = {"telephone": 4300, "5.5 kHz": 5800, "6 kHz": 6500, "7 kHz": 7450, "full": 8001}

Channel = Callable[[np.ndarray], np.ndarray]


def coded(codec: str, file_format: str, kbps: int) -> Channel:
    """By way of an encoder of FFmpeg at 16 kHz, and back."""

    def channel(clip: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=file_format) as file:
            stream = file.add_stream(codec, rate=RATE, layout="mono")
            stream.bit_rate = 1000 * kbps
            pcm = np.clip(np.rint(clip * 32767), -32768, 32767).astype(np.int16)
            whole = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
            whole.sample_rate = RATE
            to_codec = av.AudioResampler(format=stream.codec_context.format, rate=RATE)
            fifo = av.AudioFifo()
            for piece in to_codec.resample(whole) + to_codec.resample(None):
                piece.pts = None
                fifo.write(piece)
            size = stream.codec_context.frame_size or 1024
            while (piece := fifo.read(size, partial=True)) is not None:
                file.mux(stream.encode(piece))
            file.mux(stream.encode(None))
        buffer.seek(0)
        return read_audio(buffer, RATE)

    return channel


def gsm(clip: np.ndarray) -> np.ndarray:
    """By way of GSM 06.10 at 8 kHz."""
    buffer = io.BytesIO()
    soundfile.write(buffer, kept(soxr.resample(clip, RATE, 8000)), 8000, "GSM610", format="WAV")
    buffer.seek(0)
    return read_audio(buffer, RATE)


def at_rate(rate: int) -> Channel:
    """Kept as 16-bit samples at a lower rate."""
    return lambda clip: kept(soxr.resample(kept(soxr.resample(clip, RATE, rate)), rate, RATE))


def low_pass(cut_hz: float) -> Channel:
    """Nothing kept above a frequency, by a steep filter."""
    taps = scipy.signal.firwin(401, cut_hz, fs=RATE)
    return lambda clip: kept(np.convolve(clip, taps, "same").astype(np.float32))


def room(response: np.ndarray) -> Channel:
    """In a room, by its impulse response."""
    return lambda clip: kept(scipy.signal.fftconvolve(clip, response)[: len(clip)])


def with_noise(channel: Channel, snr_db: float, noise: np.ndarray | None = None) -> Channel:
    """Noise behind a channel: white, or of a recording."""

    def noisy(clip: np.ndarray) -> np.ndarray:
        clip = channel(clip)
        found = np.random.default_rng(len(clip)).normal(size=len(clip)) if noise is None else noise
        found = np.resize(found, len(clip))
        gain = np.sqrt(np.mean(clip**2) / np.mean(found**2) / 10.0 ** (snr_db / 10.0))
        return kept((clip + gain * found).astype(np.float32))

    return noisy


def kept(samples: np.ndarray) -> np.ndarray:
    """As a file of 16 bits keeps samples; what exceeds full scale is brought down."""
    samples = samples / max(1.0, float(np.abs(samples).max()))
    return (np.rint(samples * 32767) / 32768).astype(np.float32)


def channels(data: Path) -> dict[str, Channel]:
    """All channels by name."""
    plain: dict[str, Channel] = {
        "as it is": lambda clip: clip,
        "300 to 3400 Hz": lambda clip: kept(telephone_band(clip, RATE)),
        "300 to 3400 Hz, mu-law": lambda clip: kept(telephone_line(clip, RATE)),
        "GSM": gsm,
        **{f"{rate / 1000:g} kHz PCM": at_rate(rate) for rate in (8000, 11025)},
        **{f"low pass {hz / 1000:g} kHz": low_pass(hz) for hz in (5500, 6000, 7000)},
        **{f"mp3 {kbps}": coded("libmp3lame", "mp3", kbps) for kbps in (16, 24, 32, 64)},
        **{f"Opus {kbps}": coded("libopus", "ogg", kbps) for kbps in (8, 16, 24)},
        **{f"AAC {kbps}": coded("aac", "adts", kbps) for kbps in (16, 32)},
    }
    noise = read_audio(sorted((data / "noise" / "dev").rglob("*.flac"))[0], RATE)
    plain["a room"] = room(read_audio(sorted((data / "rir" / "dev").rglob("*.flac"))[0], RATE))
    noisy = {
        f"{name}, white noise {snr_db} dB": with_noise(plain[name], snr_db)
        for name in ("as it is", "300 to 3400 Hz, mu-law", "low pass 5.5 kHz", "mp3 24")
        for snr_db in (20, 10)
    }
    recorded = {
        f"{name}, recorded noise 10 dB": with_noise(plain[name], 10, noise)
        for name in ("as it is", "300 to 3400 Hz, mu-law")
    }
    beginning: dict[str, Channel] = {
        f"{name}, 1.5 s": lambda clip, name=name: plain[name](clip)[: RATE * 3 // 2]  # type: ignore[misc]
        for name in ("as it is", "300 to 3400 Hz, mu-law", "low pass 5.5 kHz", "mp3 24")
    }
    return {**plain, **noisy, **recorded, **beginning}


def read_clips(data: Path, folder: Path | None, per_list: int) -> list[np.ndarray]:
    """Clips of the lists, drawn at random, and all of the folder."""
    rng = np.random.default_rng(0)
    paths = sorted(folder.rglob("*.*")) if folder is not None else []
    for name in LISTS:
        lines = (data / "lists" / f"dev_{name}.txt").read_text(encoding="utf-8").splitlines()
        drawn = rng.permutation(len(lines))[:per_list]
        paths += [data / lines[k].split("\t")[0] for k in drawn]
    return [read_audio(path, RATE, duration_s=MOST_S) for path in paths]


def row(name: str, reports: list[ClipReport]) -> str:
    """A line of the table."""
    tops = np.array([report.bandwidth_hz for report in reports])
    which = np.searchsorted(list(BANDS.values()), tops, side="right")
    shares = [f"{100 * np.mean(which == k):.0f}" for k in range(len(BANDS))]
    holes = 100 * np.array([report.hole_share for report in reports])
    lows = [report.low_edge_hz for report in reports]
    told = [" ".join(TRUSTED.reasons(report)) for report in reports]
    words = [
        f"{100 * np.mean([word in reasons for reasons in told]):.0f}"
        for word in ("telephone", "compressed")
    ]
    percentiles = " / ".join(f"{value:.1f}" for value in np.percentile(holes, [5, 50, 95]))
    return f"| {' | '.join([name, *shares, f'{np.median(lows):.0f}', percentiles, *words])} |"


def main() -> None:
    """Send every clip through every channel, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--clips", type=Path, help="folder of further clips")
    parser.add_argument("--per_list", type=int, default=12, help="clips of each list")
    args = parser.parse_args()
    clips = read_clips(args.data, args.clips, args.per_list)
    print(f"{len(clips)} clips")
    header = ["channel", *(f"{name}, %" for name in BANDS), "low edge, Hz"]
    header += ["holes, % (5 / 50 / 95)", "told: telephone, %", "told: compressed, %"]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for name, channel in channels(args.data).items():
        print(row(name, [measure_clip(channel(clip), RATE) for clip in clips]), flush=True)


if __name__ == "__main__":
    main()
