"""Training batches as a configuration describes them."""

from __future__ import annotations

import numpy as np
from torch.utils.data import DataLoader

from mvector.config import Config
from mvector.data.augmentation import WaveformAugmentor
from mvector.data.dataset import EpochBatches, TrainingClips, collate
from mvector.data.lists import ClipList, read_list
from mvector.data.samplers import SpeakerBatches
from mvector.errors import DataError
from mvector.features.front_end import FrontEnd


class TrainingData:
    """The training list as batches.

    Attributes:
        clips: the list.
        num_speakers: speakers in it, as configured or as counted.
        num_classes: classes for the classifier: speakers times speed classes.
        batches: chooses the epoch that ``loader`` yields next.
        loader: yields :class:`mvector.data.dataset.TrainingBatch`.

    Raises:
        DataError: the list is missing, malformed, has one speaker, or less than a batch of clips.
    """

    def __init__(self, config: Config, *, pin_memory: bool = False) -> None:
        data, seed = config.dataset_conf, config.train_conf.seed
        self.clips: ClipList = read_list(
            data.train_list, root=data.data_root, num_speakers=data.num_speakers
        )
        self.num_speakers = data.num_speakers or self.clips.num_speakers
        if len(np.unique(self.clips.labels)) < 2:
            raise DataError(
                f"The list '{data.train_list}' has a single speaker; training needs at least two."
            )
        augmentor = WaveformAugmentor(config.augment_conf, data.sample_rate)
        self.num_classes = self.num_speakers * augmentor.num_speed_classes
        conf = data.dataLoader
        self.batches: EpochBatches | SpeakerBatches
        if data.is_use_pksampler:
            self.batches = SpeakerBatches(
                self.clips.labels,
                speakers_per_batch=conf.batch_size // data.sample_per_id,
                clips_per_speaker=data.sample_per_id,
                seed=seed,
            )
        else:
            self.batches = EpochBatches(
                len(self.clips), conf.batch_size, drop_last=conf.drop_last, seed=seed
            )
        self.loader = DataLoader(
            TrainingClips(
                self.clips,
                self.num_speakers,
                FrontEnd.from_config(config),
                crop_s=data.max_duration,
                augmentor=augmentor,
                spec_aug=config.augment_conf.spec_aug,
                seed=seed,
            ),
            batch_sampler=self.batches,
            collate_fn=collate,
            num_workers=conf.num_workers,
            persistent_workers=conf.num_workers > 0,
            pin_memory=pin_memory,
        )
