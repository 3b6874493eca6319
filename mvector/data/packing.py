"""A list of clips as a packed corpus: several processes decode, this one writes in list order."""

from __future__ import annotations

import logging
import os
import zlib
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mvector.audio import AudioSource, Channel, check_speech, read_audio, source_name
from mvector.config import AugmentConf, ConfigError
from mvector.data.lists import read_list
from mvector.data.pack_writer import PackProgress, PackWriter
from mvector.data.packed import INT16_SCALE
from mvector.data.workers import map_in_order
from mvector.errors import MVectorError
from mvector.files import file_sha256
from mvector.progress import progress_bar

logger = logging.getLogger(__name__)

CLIPS_PER_COMMIT = 256

_SAMPLES_PER_COMMIT = 1 << 28
_MAX_SAMPLES = 2**31 - 1


class _Change:
    """An augmentation of whole clips, which leaves their lengths as they are."""

    def __init__(self, config: AugmentConf, sample_rate: int) -> None:
        # it brings torch, which checking a corpus does without
        from mvector.data.augmentation.augmentor import WaveformAugmentor

        for name in ("copies", "speed", "spec_aug"):
            if getattr(config, name).prob > 0:
                raise ConfigError(
                    f"{name} is for crops in training and not for whole clips that are packed; "
                    f"leave it out of the augmentation, or set its prob to 0."
                )
        self._seed = zlib.crc32(config.model_dump_json().encode())
        self._augmentor = WaveformAugmentor(config, sample_rate)

    def __call__(self, waveform: np.ndarray, path: str) -> np.ndarray:
        rng = np.random.default_rng((self._seed, zlib.crc32(path.encode())))
        return self._augmentor(waveform, rng)


@dataclass(frozen=True)
class _PackedClip:
    samples: np.ndarray  # (samples,) int16
    crc32: int
    num_clipped: int


def pack_corpus(
    list_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    sample_rate: int = 16000,
    channel: Channel = "auto",
    data_root: str | os.PathLike[str] | None = None,
    min_duration_s: float = 0.5,
    augment: AugmentConf | None = None,
    num_workers: int | None = None,
    overwrite: bool = False,
    clips_per_commit: int = CLIPS_PER_COMMIT,
    show_progress: bool = True,
) -> PackProgress:
    """Decode every clip of a list into one file of 16-bit samples.

    A clip that cannot be decoded, is too short or silent is left out and named in
    ``bad_clips.txt``. Work that was cut off goes on where it ended.

    Args:
        list_path: the list, as :func:`mvector.data.lists.read_list` reads it.
        out: folder to make.
        sample_rate: of the packed clips, in Hz.
        channel: which channel is packed of clips with several that do not name their own; see
            :func:`mvector.audio.read_audio`.
        data_root: folder that relative clip paths start from.
        min_duration_s: shortest clip packed, in seconds.
        augment: what is done to every clip; what is drawn depends on it and on the clip's path.
        num_workers: processes that decode; 0 decodes in this one, ``None`` takes one per processor.
        overwrite: replace an earlier packed folder, once the new one is whole.
        clips_per_commit: clips that a crash may cost, at most.
        show_progress: tell on standard error how far it is.

    Raises:
        ConfigError: the augmentation holds what is for crops only, or does not go with the rate.
        DataError: the list or the folder cannot be used, no clip is good, or the disk is full.
    """
    clips = read_list(list_path, root=data_root)
    job = {
        "list_sha256": file_sha256(list_path),
        "data_root": None if data_root is None else os.fspath(data_root),
        "sample_rate": sample_rate,
        "min_duration": min_duration_s,
        **({} if channel == "auto" else {"channel": channel}),
        **({} if augment is None else {"augment": augment.model_dump(mode="json")}),
    }
    decode = partial(
        _decode,
        sample_rate=sample_rate,
        channel=channel,
        min_duration_s=min_duration_s,
        change=None if augment is None else _Change(augment, sample_rate),
    )
    writer = PackWriter(
        Path(out), kind="audio", dtype=np.dtype("<i2"), row_shape=(), job=job, overwrite=overwrite
    )
    with closing(writer):
        done = writer.progress
        log_resumed(done, len(clips))
        paths, labels = clips.paths[done.num_listed :], clips.labels[done.num_listed :]
        num_committed = done.num_rows
        bar = progress_bar(
            total=len(clips),
            initial=done.num_listed,
            desc="Packing",
            unit="clip",
            show=show_progress,
        )
        with bar, closing(map_in_order(decode, paths, num_workers)) as decoded:
            for path, label, clip in zip(paths, labels, decoded, strict=True):
                if isinstance(clip, str):
                    writer.skip(path, clip)
                else:
                    done.num_clipped_samples += clip.num_clipped
                    done.num_clipped_clips += clip.num_clipped > 0
                    writer.append(clip.samples, path, int(label), clip.crc32)
                many = done.num_rows - num_committed >= _SAMPLES_PER_COMMIT
                if many or done.num_listed % clips_per_commit == 0:
                    writer.commit()
                    num_committed = done.num_rows
                bar.update()
        source = {"list": os.fspath(list_path), "num_listed": len(clips), **job}
        clipped = {"num_clipped_samples": done.num_clipped_samples}
        writer.finish({"sample_rate": sample_rate, **clipped, "source": source})
    return done


def log_resumed(done: PackProgress, num_listed: int) -> None:
    """Say that earlier work goes on, if it does."""
    if done.num_listed:
        logger.info(
            "Going on with earlier work: %d of %d clips are done.", done.num_listed, num_listed
        )


def why_unusable(source: AudioSource, error: Exception) -> str:
    """Why a clip is left out, on one line and without its path."""
    if isinstance(error, MVectorError):
        return " ".join(str(error).removeprefix(source_name(source)).split())
    return " ".join(f"cannot be decoded ({type(error).__name__}: {error})".split())


def _decode(
    path: str,
    *,
    sample_rate: int,
    channel: Channel,
    min_duration_s: float,
    change: _Change | None,
) -> _PackedClip | str:
    try:
        waveform = read_audio(path, sample_rate, channel=channel)
        check_speech(waveform, sample_rate, name=source_name(path), min_duration_s=min_duration_s)
        if change is not None:
            waveform = change(waveform, path)
    except Exception as error:  # one odd file must not end hours of packing
        return why_unusable(path, error)
    if len(waveform) > _MAX_SAMPLES:
        return f"is longer than {_MAX_SAMPLES / sample_rate / 3600:.0f} hours; cut it up."
    num_clipped = int(np.count_nonzero(np.abs(waveform) > 1.0))
    steps = np.rint(waveform * INT16_SCALE).clip(-INT16_SCALE, INT16_SCALE - 1)
    samples = steps.astype("<i2")
    return _PackedClip(samples, zlib.crc32(samples.data), num_clipped)
