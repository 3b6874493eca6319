"""Training samples: what one holds is a function of (seed, epoch, place in the epoch) alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from mvector.audio import SILENCE_DB, check_duration, source_name
from mvector.audio.level import sound_of
from mvector.audio.silence import drop_digital_silence
from mvector.config.augment_options import SpecAugConf
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.features import num_draws
from mvector.data.augmentation.speed import SPEEDS, change_speed
from mvector.data.lists import ClipList
from mvector.data.samplers import SampleKey
from mvector.data.sources import ClipSource
from mvector.data.streams import RandomStreams
from mvector.errors import MVectorError
from mvector.features.front_end import FrontEnd


@dataclass(frozen=True)
class TrainingSample:
    """One crop, its class, its clip's index in the list, and the random numbers of its masks.

    The crop is a waveform ``(samples,)`` or, from cached features, ``(frames, bins)``.
    """

    inputs: np.ndarray
    label: int
    clip: int
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
        inputs: float32 ``(batch, samples)`` in [-1, 1]; or ``(batch, frames, bins)``, features to
            be normalised.
        labels: ``(batch,)`` int64.
        clips: ``(batch,)`` int64, index of each crop's clip in the list.
        mask_draws: ``(batch, draws)`` uniform numbers for
            :func:`mvector.data.augmentation.features.mask_features`.
        skipped: clips of this batch that could not be read.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    clips: torch.Tensor
    mask_draws: torch.Tensor
    skipped: list[SkippedClip]

    def pin_memory(self) -> TrainingBatch:
        """The batch where a GPU can fetch it from by itself; a ``DataLoader`` asks for it."""
        return TrainingBatch(
            self.inputs.pin_memory(),
            self.labels.pin_memory(),
            self.clips.pin_memory(),
            self.mask_draws.pin_memory(),
            self.skipped,
        )


class TrainingClips(Dataset):
    """Random crops of clips, indexed by :class:`mvector.data.samplers.SampleKey`.

    A clip shorter than the crop is repeated until it fills it, so that batches hold no padding; so
    is what is left of a crop without its digital silence, where the front end drops that.

    Args:
        clips: labels, and paths for messages.
        source: where the audio comes from.
        num_speakers: classes before any speed classes.
        front_end: how clips are checked, and what of them is dropped.
        crop_s: length of a crop in seconds, unless the key has another.
        augmentor: changes the waveforms.
        spec_aug: feature masks, for which random numbers are drawn here.
        seed: of the whole run.
        copies: of the source, with the same clips: where ``augment_conf.copies`` draws crops from.
    """

    def __init__(
        self,
        clips: ClipList,
        source: ClipSource,
        num_speakers: int,
        front_end: FrontEnd,
        *,
        crop_s: float,
        augmentor: WaveformAugmentor,
        spec_aug: SpecAugConf,
        seed: int,
        copies: Sequence[ClipSource] = (),
    ) -> None:
        self.clips = clips
        self.copies = copies
        self.source = source
        self.num_speakers = num_speakers
        self.front_end = front_end
        self.crop_s = crop_s
        self.augmentor = augmentor
        self.num_mask_draws = num_draws(spec_aug)
        self.streams = RandomStreams(seed)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: SampleKey) -> TrainingSample | SkippedClip:
        rng = self.streams.at(key.epoch, key.position)
        speed = self.augmentor.draw_speed(rng)
        crop_s = self.crop_s if key.crop_s is None else key.crop_s
        num_samples = round(crop_s * self.front_end.sample_rate)
        try:
            source = self._draw_source(rng)
            waveform = self._crop(source, key.clip, crop_s * SPEEDS[speed], rng)
            waveform = change_speed(waveform, SPEEDS[speed])
            if len(waveform) != num_samples:
                waveform = np.resize(waveform, num_samples)
            waveform = self.augmentor(waveform, rng)
        except MVectorError as error:
            return SkippedClip(self.clips.paths[key.clip], str(error))
        except (OSError, ValueError) as error:
            path = self.clips.paths[key.clip]
            return SkippedClip(path, f"'{path}' cannot be used: {error}.")
        label = int(self.clips.labels[key.clip])
        if self.augmentor.config.speed.speed_perturb_3_class:
            label += speed * self.num_speakers
        draws = rng.random(self.num_mask_draws, dtype=np.float32)
        return TrainingSample(waveform.astype(np.float32, copy=False), label, key.clip, draws)

    def _draw_source(self, rng: np.random.Generator) -> ClipSource:
        if self.copies and rng.random() < self.augmentor.config.copies.prob:
            return self.copies[int(rng.integers(len(self.copies)))]
        return self.source

    def _crop(
        self, source: ClipSource, index: int, crop_s: float, rng: np.random.Generator
    ) -> np.ndarray:
        place = rng.random()
        num_samples = round(crop_s * self.front_end.sample_rate)
        if self.front_end.do_vad:  # where speech is shows only after decoding the whole clip
            whole = source.read_whole(index)
            return _slice_within(whole, int(place * (len(whole) - num_samples)), num_samples)
        duration_s = source.duration_s(index)
        check_duration(
            duration_s,
            name=source_name(self.clips.paths[index]),
            min_duration_s=self.front_end.min_duration,
        )
        crop = source.read_stretch(index, place * max(duration_s - crop_s, 0.0), crop_s)
        rate = self.front_end.sample_rate
        heard = drop_digital_silence(crop, rate) if self.front_end.drop_silence else crop
        is_short = len(heard) < min(len(crop), round(self.front_end.min_duration * rate))
        if is_short or sound_of(heard, rate).level_db < SILENCE_DB:
            whole = source.read_whole(index)  # a pause: speech may be elsewhere in the clip
            loudest = int(np.argmax(np.abs(sound_of(whole, rate).placed)))
            return _slice_within(whole, loudest - num_samples // 2, num_samples)
        return heard


def _slice_within(waveform: np.ndarray, start: int, num_samples: int) -> np.ndarray:
    start = max(0, min(start, len(waveform) - num_samples))
    return waveform[start : start + num_samples]


def collate(samples: list[TrainingSample | SkippedClip]) -> TrainingBatch:
    """Stack what could be read (in a worker: in shared memory), and list what could not."""
    good = [sample for sample in samples if isinstance(sample, TrainingSample)]
    skipped = [sample for sample in samples if isinstance(sample, SkippedClip)]
    if not good:
        none = torch.empty(0)
        return TrainingBatch(torch.empty(0, 0), none, none, torch.empty(0, 0), skipped)
    return TrainingBatch(
        default_collate([sample.inputs for sample in good]),
        torch.tensor([sample.label for sample in good], dtype=torch.int64),
        torch.tensor([sample.clip for sample in good], dtype=torch.int64),
        default_collate([sample.mask_draws for sample in good]),
        skipped,
    )
