"""Training clips as batches: what a batch holds is a function of (seed, epoch, clip) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from mvector.audio import SILENCE_DB, audio_info, check_duration, level_db, source_name
from mvector.config.augment_options import SpecAugConf
from mvector.data.augmentation import SPEEDS, WaveformAugmentor, num_draws
from mvector.data.lists import ClipList
from mvector.errors import DataError, MVectorError
from mvector.features.front_end import FrontEnd


@dataclass(frozen=True)
class TrainingSample:
    """One crop: waveform ``(samples,)``, its class, and the random numbers of its feature masks."""

    waveform: np.ndarray
    label: int
    mask_draws: np.ndarray


@dataclass(frozen=True)
class SkippedClip:
    """A clip that cannot be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class TrainingBatch:
    """Crops of equal length.

    Attributes:
        waveforms: ``(batch, samples)`` float32 in [-1, 1].
        labels: ``(batch,)`` int64.
        mask_draws: ``(batch, draws)`` uniform numbers for
            :func:`mvector.data.augmentation.mask_features`.
        skipped: clips of this batch that could not be read.
    """

    waveforms: torch.Tensor
    labels: torch.Tensor
    mask_draws: torch.Tensor
    skipped: list[SkippedClip]


class TrainingClips(Dataset):
    """Random crops of the clips of a list, indexed by ``(epoch, clip)``.

    A clip shorter than the crop is repeated until it fills it, so that batches hold no padding.

    Args:
        clips: paths and labels.
        num_speakers: classes before any speed classes.
        front_end: how clips are decoded and checked.
        crop_s: length of a crop in seconds.
        augmentor: what is done to the waveforms.
        spec_aug: feature masks, for which random numbers are drawn here.
        seed: of the whole run.
    """

    def __init__(
        self,
        clips: ClipList,
        num_speakers: int,
        front_end: FrontEnd,
        *,
        crop_s: float,
        augmentor: WaveformAugmentor,
        spec_aug: SpecAugConf,
        seed: int,
    ) -> None:
        self.clips = clips
        self.num_speakers = num_speakers
        self.front_end = front_end
        self.crop_s = crop_s
        self.augmentor = augmentor
        self.num_mask_draws = num_draws(spec_aug)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> TrainingSample | SkippedClip:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        speed = self.augmentor.draw_speed(rng)
        path = self.clips.paths[index]
        try:
            waveform = self._read_crop(path, self.crop_s * SPEEDS[speed], rng)
            waveform = self.augmentor.change_speed(waveform, SPEEDS[speed])
            num_samples = round(self.crop_s * self.front_end.sample_rate)
            waveform = np.resize(waveform, num_samples)
            waveform = self.augmentor(waveform, rng)
        except (MVectorError, OSError, ValueError) as error:
            return SkippedClip(path, _reason(path, error))
        speed_class = speed if self.augmentor.num_speed_classes > 1 else 0
        label = int(self.clips.labels[index]) + speed_class * self.num_speakers
        draws = rng.random(self.num_mask_draws, dtype=np.float32)
        return TrainingSample(waveform.astype(np.float32, copy=False), label, draws)

    def _read_crop(self, path: str, crop_s: float, rng: np.random.Generator) -> np.ndarray:
        place = rng.random()
        if self.front_end.do_vad:  # where speech is shows only after decoding the whole clip
            return self._cut(self.front_end.read_clip(path), crop_s, place)
        duration_s = audio_info(path).duration_s
        check_duration(
            duration_s, name=source_name(path), min_duration_s=self.front_end.min_duration
        )
        offset_s = place * max(duration_s - crop_s, 0.0)
        crop = self.front_end.decode(path, offset_s=offset_s, duration_s=crop_s)
        if level_db(crop) < SILENCE_DB:  # a pause: the clip may still hold speech elsewhere
            whole = self.front_end.read_clip(path)
            num_samples = round(crop_s * self.front_end.sample_rate)
            loudest = int(np.argmax(np.abs(whole)))
            start = max(0, min(loudest - num_samples // 2, len(whole) - num_samples))
            crop = whole[start : start + num_samples]
        return crop

    def _cut(self, waveform: np.ndarray, crop_s: float, place: float) -> np.ndarray:
        num_samples = round(crop_s * self.front_end.sample_rate)
        start = int(place * max(len(waveform) - num_samples, 0))
        return waveform[start : start + num_samples]


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of ``(epoch, clip)`` keys; the order depends on (seed, epoch) only.

    Args:
        num_clips: clips to draw from, each once an epoch.
        batch_size: clips in a batch.
        drop_last: leave out a smaller last batch.
        seed: of the whole run.

    Raises:
        DataError: there are too few clips for a single batch.
    """

    def __init__(self, num_clips: int, batch_size: int, *, drop_last: bool, seed: int) -> None:
        self.num_clips = num_clips
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.seed = seed
        self.epoch = 0
        if len(self) == 0:
            raise DataError(
                f"The training list holds {num_clips} clips, fewer than a batch of {batch_size}: "
                "lower dataset_conf.dataLoader.batch_size."
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, that the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(self.num_clips, self.batch_size)
        # batch normalisation cannot work on a single clip
        return full if self.drop_last or rest < 2 else full + 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_clips)
        for batch in range(len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(self.epoch, int(index)) for index in chosen]


def _reason(path: str, error: Exception) -> str:
    return str(error) if isinstance(error, MVectorError) else f"'{path}' cannot be used: {error}."


def collate(samples: list[TrainingSample | SkippedClip]) -> TrainingBatch:
    """Stack what could be read; what could not is listed in the batch."""
    good = [sample for sample in samples if isinstance(sample, TrainingSample)]
    skipped = [sample for sample in samples if isinstance(sample, SkippedClip)]
    if not good:
        return TrainingBatch(torch.empty(0, 0), torch.empty(0), torch.empty(0, 0), skipped)
    return TrainingBatch(
        torch.from_numpy(np.stack([sample.waveform for sample in good])),
        torch.tensor([sample.label for sample in good], dtype=torch.int64),
        torch.from_numpy(np.stack([sample.mask_draws for sample in good])),
        skipped,
    )
