"""Embeddings of many clips: each heard once, by all processes of a run together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from mvector.compute.distributed import (
    all_gather_rows,
    any_rank,
    current_world,
    from_main,
    gather_objects,
)
from mvector.data.packed import PackedClip
from mvector.embedding.cache import (
    ClipKey,
    EmbeddingCache,
    cache_folder,
    clip_key,
    packed_clip_key,
    with_content_digest,
)
from mvector.embedding.encoder import EmbeddedClips, SpeakerEncoder
from mvector.embedding.listening import clip_name
from mvector.embedding.reading import ClipAudio
from mvector.models.onnx_model import OnnxModel
from mvector.progress import progress_bar

ListedClip: TypeAlias = "str | tuple[str, ...] | PackedClip"

T = TypeVar("T")
# Processes meet so often that none takes another, which has longer clips, for lost.
_SYNC_INTERVAL_S = 10.0


def extract_embeddings(
    encoder: SpeakerEncoder,
    clips: Sequence[ListedClip],
    *,
    batch_size: int = 16,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> EmbeddedClips:
    """Embeddings of those clips that can be used, the same table in every process of the run.

    Where the caller has joined several processes, all must call this together; each computes its
    part of the clips, with the weights of rank 0.

    Args:
        encoder: the model.
        clips: paths, or clips of a packed corpus; a tuple of paths is one clip, heard one behind
            the other.
        batch_size: clips computed at once.
        cache: folder in which embeddings are kept as soon as they are computed, under the
            encoder's fingerprint: a run that was cut off goes on where it ended, and a clip that
            was moved or copied is not computed twice. ``None`` keeps nothing.
        progress: show a bar.

    Raises:
        DataError: the cache cannot be written to.
        DistributedError: another process was lost.
    """
    world = current_world()
    if world.size > 1 and not isinstance(encoder.model, OnnxModel):  # which is one file for all
        from mvector.compute.exchange import broadcast_module

        broadcast_module(encoder.model)
    own = np.arange(world.rank, len(clips), world.size)
    part = _RankShare(encoder, clips[world.rank :: world.size], cache)
    show = progress and world.is_main
    with progress_bar(total=len(own), desc="Embedding", unit="clip", show=show) as bar:
        bar.update(len(own) - len(part.missing))
        for batch in until_all_ranks_finish(part.compute(batch_size)):
            bar.update(len(batch.good) + len(batch.failures))
    return _gather_ranks(own, part)


class _RankShare:
    """The clips of this process: those known, and those still to compute."""

    def __init__(
        self,
        encoder: SpeakerEncoder,
        clips: Sequence[ListedClip],
        cache: str | os.PathLike[str] | None,
    ) -> None:
        self.encoder, self.clips = encoder, clips
        self.embeddings = np.zeros((len(clips), encoder.embd_dim), dtype=np.float32)
        self.is_good = np.zeros(len(clips), dtype=bool)
        self.failures: list[tuple[int, str]] = []
        self.cache: EmbeddingCache | None = None
        self.keys: list[ClipKey | None] = [None] * len(clips)
        if cache is not None:
            folder = cache_folder(cache, encoder.fingerprint)
            self.cache = EmbeddingCache(folder, encoder.embd_dim)
            files = [_clip_files(clip) for clip in clips]
            self.keys = [
                packed_clip_key(clip) if isinstance(clip, PackedClip) else clip_key(paths)
                for clip, paths in zip(clips, files, strict=True)
            ]
            self.embeddings, self.is_good = self.cache.find(self.keys, files)
        self.missing = np.flatnonzero(~self.is_good)

    def compute(self, batch_size: int) -> Iterator[EmbeddedClips]:
        """Fill the table batch by batch."""
        names = [clip_name(self.clips[position]) for position in self.missing.tolist()]
        try:
            for batch in self.encoder.embed_stream(names, self._read, batch_size=batch_size):
                done = self.missing[batch.good]
                self.embeddings[done] = batch.embeddings
                self.is_good[done] = True
                self.failures += [
                    (int(self.missing[row]), reason) for row, reason in batch.failures
                ]
                self._add_to_cache(done, batch.embeddings)
                yield batch
        finally:
            if self.cache is not None:
                self.cache.close()

    def _read(self, row: int) -> ClipAudio:
        position = int(self.missing[row])
        clip, key = self.clips[position], self.keys[position]
        if key is not None:
            self.keys[position] = with_content_digest(key, _clip_files(clip))

        def forget_key() -> None:
            self.keys[position] = None  # the file may be mended later

        front_end = self.encoder.model.front_end
        return self.encoder.listening.read(front_end, clip, on_file_skipped=forget_key)

    def _add_to_cache(self, positions: np.ndarray, embeddings: np.ndarray) -> None:
        if self.cache is not None:
            keyed = [
                (row, key)
                for row, position in enumerate(positions)
                if (key := self.keys[position]) is not None
            ]
            self.cache.add([key for _, key in keyed], embeddings[[row for row, _ in keyed]])


def _clip_files(clip: ListedClip) -> tuple[str, ...]:
    if isinstance(clip, PackedClip):
        return ()
    return (clip,) if isinstance(clip, str) else clip


def _gather_ranks(own: np.ndarray, part: _RankShare) -> EmbeddedClips:
    """The tables of all processes as one, in the order of the clips."""
    failures = [(int(own[position]), reason) for position, reason in part.failures]
    if current_world().size == 1:
        good = np.flatnonzero(part.is_good)
        return EmbeddedClips(part.embeddings[good], good, sorted(failures))
    good = all_gather_rows(own[part.is_good])
    embeddings = all_gather_rows(part.embeddings[part.is_good])
    failures = [failure for of_rank in gather_objects(failures) for failure in of_rank]
    order = np.argsort(good)
    return EmbeddedClips(embeddings[order], good[order], from_main(sorted(failures)))


def until_all_ranks_finish(items: Iterator[T]) -> Iterator[T]:
    """The items of this process, until every process has come to the end of its own.

    They are made meanwhile, and however long that takes none of the others gives up waiting.
    """
    is_done = False
    while any_rank(not is_done):
        until_s = time.monotonic() + _SYNC_INTERVAL_S
        while not is_done and time.monotonic() < until_s:
            try:
                item = next(items)
            except StopIteration:
                is_done = True
            else:
                yield item
