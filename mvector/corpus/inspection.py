"""Every clip of a list decoded once and measured: what a corpus holds, before training on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import soundfile

from mvector.audio import audio_info, read_audio, split_channel
from mvector.corpus.inspection_measures import MEASURES, clipped_share, measure_waveform
from mvector.data.lists import read_list
from mvector.data.packed import PackedCorpus, is_packed
from mvector.data.packing import why_unusable
from mvector.data.workers import map_in_order
from mvector.errors import DataError
from mvector.progress import progress_bar

_CLIPS_PER_TASK = 32
_CRASHED = "ends the process that decodes it (a fault of the decoder, or want of memory)."

# A batch is a slice of the list's paths, or a range of numbers of clips in a packed corpus.
_Batch = Sequence[Any]
_Result = tuple[np.ndarray, dict[int, str]]  # records, and reasons by place in the batch
_Task = Callable[[_Batch], _Result]


@dataclass(frozen=True)
class Inspection:
    """Clips of a list and what was measured of each.

    Attributes:
        source: the list file or packed corpus.
        paths: where each clip lies.
        labels: int64 ``(clips,)``, speaker of each clip.
        measures: records of type :data:`MEASURES`, ``(clips,)``, of 71 bytes each.
        reasons: why a clip is unreadable, by its place in the list.
    """

    source: str
    paths: Sequence[str]
    labels: np.ndarray
    measures: np.ndarray
    reasons: dict[int, str]


def inspect_list(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> Inspection:
    """Decode and measure every clip of a list, or of a packed corpus.

    A clip that cannot be decoded is recorded with its reason and never ends the run, not even one
    that kills its process (where there are processes: ``num_workers`` above 0).

    Args:
        path: a list file, or the folder of a packed corpus.
        root: folder that relative clip paths of a list start from.
        num_workers: processes; 0 works in this one, ``None`` takes one per processor.
        show_progress: tell on standard error how far it is.

    Raises:
        DataError: the list or the packed corpus cannot be read, or not one of its clips can.
    """
    task, items, paths, labels = _open(path, root)
    batches = (items[i : i + _CLIPS_PER_TASK] for i in range(0, len(items), _CLIPS_PER_TASK))
    num_batches = -(-len(items) // _CLIPS_PER_TASK)
    when_lost = partial(_measure_isolated, task)
    results = map_in_order(task, batches, num_workers, num_items=num_batches, when_lost=when_lost)
    measures = np.zeros(len(items), MEASURES)
    reasons: dict[int, str] = {}
    done = 0
    bar = progress_bar(total=len(items), desc="Inspecting", unit="clip", show=show_progress)
    with bar, closing(results):
        for records, bad in results:
            measures[done : done + len(records)] = records
            reasons.update((done + place, reason) for place, reason in bad.items())
            done += len(records)
            bar.update(len(records))
    if len(reasons) == len(items):
        raise DataError(
            f"None of the {len(items)} clips of '{os.fspath(path)}' can be read; the first, "
            f"'{paths[0]}', {reasons[0]} (--data_root says where relative paths start.)"
        )
    return Inspection(os.fspath(path), paths, labels, measures, reasons)


def _open(
    path: str | os.PathLike[str], root: str | os.PathLike[str] | None
) -> tuple[_Task, _Batch, Sequence[str], np.ndarray]:
    if is_packed(path):
        folder = os.fspath(path)
        _open_packed.cache_clear()  # the folder may have been packed anew since
        corpus = _open_packed(folder)
        return partial(_measure_packed, folder), range(len(corpus)), corpus.paths, corpus.labels
    clips = read_list(path, root=root)
    return _measure_paths, clips.paths, clips.paths, clips.labels


def _measure_paths(paths: _Batch) -> _Result:
    return _measure_batch(_measure_path, paths)


def _measure_path(path: str) -> np.ndarray:
    file, channel = split_channel(path)
    try:
        header = soundfile.info(file) if os.path.isfile(file) else None
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
        header = None
    if header is None:  # read_audio knows more formats, and the reasons of what is none
        info = audio_info(path)
        rate, num_channels = info.sample_rate, info.num_channels
        kind = f"{os.path.splitext(file)[1][1:].upper()} (FFmpeg)"
    else:
        rate, num_channels = header.samplerate, header.channels
        kind = f"{header.format}/{header.subtype}"
    record = measure_waveform(read_audio(path, rate), rate)
    if header is not None and num_channels > 1 and not isinstance(channel, int):
        # the mean of channels hides what one of them cut
        record["clipped_share"] = clipped_share(soundfile.read(file, dtype="float32")[0])
    record["num_channels"] = num_channels
    record["format"] = kind.encode("ascii", "replace")
    return record


@lru_cache(maxsize=1)
def _open_packed(folder: str) -> PackedCorpus:
    return PackedCorpus(folder)  # checks its whole index: once a process, not once a batch


def _measure_packed(folder: str, numbers: _Batch) -> _Result:
    corpus = _open_packed(folder)

    def measure(number: int) -> np.ndarray:
        record = measure_waveform(read_audio((corpus.read(number), rate), rate), rate)
        record["num_channels"] = 1
        record["format"] = b"packed"
        return record

    rate = corpus.sample_rate
    return _measure_batch(measure, numbers)


def _measure_batch(measure: Callable[[Any], np.ndarray], items: _Batch) -> _Result:
    records = np.zeros(len(items), MEASURES)
    reasons: dict[int, str] = {}
    for place, item in enumerate(items):
        try:
            records[place] = measure(item)
        except Exception as error:  # one odd file must not end hours of inspection
            reasons[place] = why_unusable(str(item), error)
    return records, reasons


def _measure_isolated(task: _Task, batch: _Batch) -> _Result:
    """Measure a batch in a process of its own, halving it until the fatal clip stands alone."""
    halve = partial(_measure_halves, task)
    (result,) = map_in_order(task, [batch], 1, when_lost=halve)
    return result


def _measure_halves(task: _Task, batch: _Batch) -> _Result:
    if len(batch) == 1:
        return np.zeros(1, MEASURES), {0: _CRASHED}
    half = len(batch) // 2
    first, first_reasons = _measure_isolated(task, batch[:half])
    second, second_reasons = _measure_isolated(task, batch[half:])
    moved = {half + place: reason for place, reason in second_reasons.items()}
    return np.concatenate([first, second]), first_reasons | moved
