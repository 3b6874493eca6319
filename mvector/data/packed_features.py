"""Features of whole clips, computed once and kept in one packed file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from mvector.audio import AudioSource
from mvector.data.lists import ClipList, read_list
from mvector.data.pack_writer import PackProgress, PackWriter
from mvector.data.packed import META_NAME, PackedCorpus, PackedFolder, is_packed
from mvector.data.packing import log_resumed, why_unusable
from mvector.data.resumable import describe_changes
from mvector.data.workers import map_in_order
from mvector.errors import DataError
from mvector.features import Featurizer, build_featurizer
from mvector.features.front_end import FrontEnd
from mvector.features.level import bring_to_level
from mvector.files import file_sha256
from mvector.progress import progress_bar

DTYPES = ("float16", "float32")

# A group of clips is sorted by length, so that those of one batch need little padding. Where
# groups end depends on the clips alone, and each is committed: so a resumed run computes the very
# same batches.
_CLIPS_PER_GROUP = 256
_SAMPLES_PER_GROUP = 1 << 25
_SAMPLES_PER_BATCH = 1 << 23
_NORMALISATION = ("normalize_mean", "normalize_variance")

_Item = TypeVar("_Item")
_ArrayOrReason: TypeAlias = np.ndarray | str  # of a clip: an array, or why it cannot be used


class PackedFeatures(PackedFolder):
    """Features of clips before normalisation, which ``tools/extract_features.py`` packed.

    A crop of frames is normalised like features of a crop of audio, by
    :meth:`mvector.features.Featurizer.normalise`. What differs from these: the level is that of
    the whole clip, frames at the edges of the crop saw its surroundings, MFCC's and
    SpeechbrainFbank's 80 dB range is the clip's, and there is no dither.

    Attributes:
        feature_dim: bins of a frame.
        num_frames: ``(clips,)`` int32, length of each clip.
        front_end: the settings that the features were computed with.
    """

    kind = "features"
    tool = "tools/extract_features.py"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.feature_dim = int(self.meta["row_shape"][0])
        self.num_frames = self.lengths
        self.front_end: dict[str, Any] = self.meta["front_end"]

    def read(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A stretch of a clip as a new float32 array ``(frames, feature_dim)``; slice bounds."""
        return self.rows(index, start, stop).astype(np.float32)

    def check(self, front_end: FrontEnd) -> None:
        """Refuse features that this front end would not have computed.

        Mean and variance normalisation may differ: it is done when the features are used.

        Raises:
            DataError: settings differ; all of them are named.
        """
        differences = describe_changes(_settings(self.front_end), _settings(front_end.to_dict()))
        if differences:
            raise DataError(
                f"The features in '{self.path}' were computed with other settings "
                f"({'; '.join(differences)}): extract them again with {self.tool}, or set the "
                "configuration to what it was.",
                code="packed-other-settings",
            )


def extract_features(
    list_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    front_end: FrontEnd,
    *,
    data_root: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    dtype: str = "float16",
    batch_size: int = 16,
    num_workers: int | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
) -> PackProgress:
    """Compute the features of every clip of a list into one file.

    They are taken behind the level normalisation and before mean and variance normalisation. Bad
    clips, and work that was cut off, are treated as by :func:`mvector.data.packing.pack_corpus`.

    Args:
        list_path: a list of clips, or a packed corpus.
        out: folder to make.
        front_end: how clips are read, and features computed.
        data_root: folder that relative clip paths start from.
        device: where to compute.
        dtype: ``float16`` or ``float32``.
        batch_size: clips computed at once, at most.
        num_workers, overwrite, show_progress: as for :func:`mvector.data.packing.pack_corpus`.

    Raises:
        DataError: the list or the folder cannot be used, no clip is good, features exceed the
            range of float16, or the disk is full.
    """
    if dtype not in DTYPES:
        raise DataError(f"dtype is {dtype!r}; choose one of: {', '.join(DTYPES)}.")
    preprocess = {**front_end.preprocess, **dict.fromkeys(_NORMALISATION, False)}
    featurizer = build_featurizer(preprocess).to(device).eval()
    corpus = PackedCorpus(list_path) if is_packed(list_path) else None
    clips = corpus.as_clip_list() if corpus else read_list(list_path, root=data_root)
    hashed = os.path.join(list_path, META_NAME) if corpus else list_path
    origin = {
        "list_sha256": file_sha256(hashed),
        "data_root": None if data_root is None else os.fspath(data_root),
    }
    writer = PackWriter(
        Path(out),
        kind="features",
        dtype=np.dtype(dtype).newbyteorder("<"),
        row_shape=(featurizer.feature_dim,),
        job={**origin, **_settings(front_end.to_dict())},
        overwrite=overwrite,
    )
    with closing(writer):
        log_resumed(writer.progress, len(clips))
        read = partial(_read_clip, front_end=front_end, min_samples=featurizer.min_samples)
        first = writer.progress.num_listed
        sources: Iterable[AudioSource] = (
            ((corpus.rows(clip), corpus.sample_rate) for clip in range(first, len(corpus)))
            if corpus
            else clips.paths[first:]
        )
        waveforms = map_in_order(read, sources, 0 if corpus else num_workers)
        bar = progress_bar(
            total=len(clips), initial=first, desc="Extracting", unit="clip", show=show_progress
        )
        with bar, closing(waveforms), closing(_prefetched(_in_groups(waveforms))) as groups:
            for group in groups:
                features = _features_of_group(group, featurizer, front_end, dtype, batch_size)
                _write_group(writer, clips, features)
                bar.update(len(group))
        source = {"list": os.fspath(list_path), "num_listed": len(clips), **origin}
        writer.finish({"front_end": front_end.to_dict(), "source": source})
    return writer.progress


def _settings(front_end: Mapping[str, Any], section: str = "dataset_conf") -> dict[str, Any]:
    """Settings that the stored numbers depend on, by their keys in the configuration."""
    flat: dict[str, Any] = {}
    for key, value in front_end.items():
        if key == "preprocess":
            flat.update(_settings(value, "preprocess_conf"))
        elif isinstance(value, Mapping):
            flat.update(_settings(value, f"{section}.{key}"))
        elif key not in _NORMALISATION:
            flat[f"{section}.{key}"] = value
    return flat


def _read_clip(source: AudioSource, *, front_end: FrontEnd, min_samples: int) -> np.ndarray | str:
    try:
        waveform = front_end.read_clip(source)
    except Exception as error:  # one odd file must not end hours of work
        return why_unusable(source, error)
    if len(waveform) < min_samples:
        return f"is too short: {len(waveform)} samples hold no frame."
    return waveform


def _in_groups(waveforms: Iterable[_ArrayOrReason]) -> Generator[list[_ArrayOrReason], None, None]:
    group: list[_ArrayOrReason] = []
    num_samples = 0
    for waveform in waveforms:
        group.append(waveform)
        num_samples += 0 if isinstance(waveform, str) else len(waveform)
        if len(group) >= _CLIPS_PER_GROUP or num_samples >= _SAMPLES_PER_GROUP:
            yield group
            group, num_samples = [], 0
    if group:
        yield group


def _prefetched(items: Generator[_Item, None, None]) -> Generator[_Item, None, None]:
    """The same items, each made while the caller works on the one before it."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, items, None)
        while (item := following.result()) is not None:
            following = reader.submit(next, items, None)
            yield item


def _features_of_group(
    group: list[_ArrayOrReason],
    featurizer: Featurizer,
    front_end: FrontEnd,
    dtype: str,
    batch_size: int,
) -> list[_ArrayOrReason]:
    """Features of a group, ``(frames, bins)`` each; what is no waveform stays as it is."""
    done = list(group)
    lengths = {row: len(clip) for row, clip in enumerate(group) if not isinstance(clip, str)}
    for rows in _batches_by_length(lengths, batch_size):
        waveforms = torch.zeros(len(rows), max(lengths[row] for row in rows))
        for place, row in enumerate(rows):
            waveforms[place, : lengths[row]] = torch.from_numpy(group[row])
        num_samples = torch.tensor([lengths[row] for row in rows])
        features = _features_of_batch(waveforms, num_samples, featurizer, front_end, dtype)
        for place, row in enumerate(rows):
            done[row] = features[place, : featurizer.num_frames(lengths[row])]
    return done


def _batches_by_length(
    lengths: Mapping[int, int], batch_size: int
) -> Generator[list[int], None, None]:
    """Rows of similar length together, with little enough audio in a batch to fit in memory."""
    batch: list[int] = []
    for row in sorted(lengths, key=lambda row: lengths[row]):
        if len(batch) == batch_size or (len(batch) + 1) * lengths[row] > _SAMPLES_PER_BATCH:
            if batch:
                yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def _features_of_batch(
    waveforms: torch.Tensor,
    lengths: torch.Tensor,
    featurizer: Featurizer,
    front_end: FrontEnd,
    dtype: str,
) -> np.ndarray:
    device = next(featurizer.transform.buffers()).device
    on_device, known = waveforms.to(device), lengths.to(device)
    features, _ = featurizer(bring_to_level(front_end, on_device, known), known)
    stored = features.to(getattr(torch, dtype))
    if not bool(torch.isfinite(stored).all()):
        raise DataError(
            f"Features of up to {float(features.abs().max()):.3g} exceed the range of {dtype}; "
            "delete the unfinished folder and extract with --dtype float32, or set "
            "preprocess_conf.log_spectrum to True."
        )
    return stored.cpu().numpy()


def _write_group(writer: PackWriter, clips: ClipList, group: list[_ArrayOrReason]) -> None:
    for features in group:
        clip = writer.progress.num_listed
        if isinstance(features, str):
            writer.skip(clips.paths[clip], features)
        else:
            crc32 = zlib.crc32(features.data)
            writer.append(features, clips.paths[clip], int(clips.labels[clip]), crc32)
    writer.commit()
