"""Training samples from cached features: crops of frames, without decoding or waveforms."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from mvector.config.augment_options import SpecAugConf
from mvector.data.augmentation.features import num_draws
from mvector.data.dataset import SkippedClip, TrainingSample
from mvector.data.packed_features import PackedFeatures
from mvector.data.samplers import SampleKey
from mvector.data.streams import RandomStreams
from mvector.features import build_featurizer
from mvector.features.front_end import FrontEnd


class TrainingFeatures(Dataset):
    """Random stretches of cached features, indexed by :class:`mvector.data.samplers.SampleKey`.

    They are not normalised yet: a stretch is normalised by its own mean, as a crop of audio is. A
    clip shorter than the crop is repeated. ``crop_s``, ``spec_aug`` and ``seed`` are as for
    :class:`mvector.data.dataset.TrainingClips`.

    Raises:
        DataError: the features were not computed by this front end.
    """

    def __init__(
        self,
        packed: PackedFeatures,
        front_end: FrontEnd,
        *,
        crop_s: float,
        spec_aug: SpecAugConf,
        seed: int,
    ) -> None:
        packed.check(front_end)
        self.packed = packed
        self.crop_s = crop_s
        self.sample_rate = front_end.sample_rate
        self.frames_of = build_featurizer(front_end.preprocess).num_frames
        self.num_mask_draws = num_draws(spec_aug)
        self.streams = RandomStreams(seed)

    def __len__(self) -> int:
        return len(self.packed)

    def durations_s(self) -> np.ndarray:
        """Lengths of all clips in seconds, ``(clips,)``, to within a frame."""
        seconds = 10
        one, more = (self.frames_of(s * self.sample_rate) for s in (1, 1 + seconds))
        return np.asarray(self.packed.num_frames) * (seconds / (more - one))

    def __getitem__(self, key: SampleKey) -> TrainingSample | SkippedClip:
        rng = self.streams.at(key.epoch, key.position)
        crop_s = self.crop_s if key.crop_s is None else key.crop_s
        num_frames = self.frames_of(round(crop_s * self.sample_rate))
        spare = max(int(self.packed.num_frames[key.clip]) - num_frames, 0)
        start = int(rng.integers(spare + 1))
        features = self.packed.read(key.clip, start, start + num_frames)
        if len(features) < num_frames:
            features = np.resize(features, (num_frames, features.shape[1]))
        draws = rng.random(self.num_mask_draws, dtype=np.float32)
        return TrainingSample(features, int(self.packed.labels[key.clip]), key.clip, draws)
