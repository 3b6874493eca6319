"""Training batches as a configuration describes them."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mvector.config import Config
from mvector.config.augment_options import AugmentConf
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.speed import num_speed_classes
from mvector.data.batch_plans import BalancedBatches, DomainBatches, RandomBatches, SpeakerBatches
from mvector.data.dataset import TrainingClips, collate
from mvector.data.domains import Domains, read_domains
from mvector.data.feature_dataset import TrainingFeatures
from mvector.data.length_plans import DurationBatches, MixedLengths
from mvector.data.lists import ClipList, clips_of_each_speaker, label_doubts, read_list
from mvector.data.packed import PackedCorpus, is_packed, packed_kind
from mvector.data.packed_features import PackedFeatures
from mvector.data.samplers import BatchPlan, SampleKey, TrainingBatches
from mvector.data.sources import ClipSource, FileClips, PackedClips, open_copies
from mvector.data.workers import end_daemons, end_with_parent
from mvector.errors import DataError
from mvector.features.front_end import FrontEnd

logger = logging.getLogger(__name__)

Durations = Callable[[], np.ndarray]  # seconds of each clip, ``(clips,)``; reads all headers


class TrainingData:
    """The training list as batches.

    Args:
        config: its sections ``dataset_conf``, ``augment_conf`` and ``train_conf.seed``.
        pin_memory: put batches where a GPU can fetch them from.
        rank: which of ``world_size`` processes this is; ``batch_size`` is that of one process.

    Attributes:
        clips: the list.
        num_speakers: speakers in it, as configured or as counted.
        num_classes: classes for the classifier: speakers times speed classes.
        domain_of_class: ``(classes,)`` int64, if speakers are told apart within domains: that of
            each class, or -1 for a class without clips.
        batches: chooses the epoch and the batch that ``loader`` yields next.
        loader: yields :class:`mvector.data.dataset.TrainingBatch`.

    Raises:
        DataError: the list is missing, malformed, has one speaker, or less than a batch of clips.
    """

    def __init__(
        self, config: Config, *, pin_memory: bool = False, rank: int = 0, world_size: int = 1
    ) -> None:
        data = config.dataset_conf
        self._config, self._pin_memory = config, pin_memory
        self.clips, durations_s, dataset = _open_list(config)
        self.num_speakers = data.num_speakers or self.clips.num_speakers
        if len(np.unique(self.clips.labels)) < 2:
            raise DataError(
                f"The list '{data.train_list}' has a single speaker; training needs at least two."
            )
        if rank == 0:
            for doubt in label_doubts(self.clips, self.num_speakers):
                logger.warning(doubt)
        self.num_classes = self.num_speakers * num_speed_classes(config.augment_conf.speed)
        domains, self.domain_of_class = None, None
        if data.domains is not None:
            domains = read_domains(data.domains, self.clips, self.num_speakers)
            of_speaker = torch.from_numpy(domains.of_speaker)
            self.domain_of_class = of_speaker.repeat(self.num_classes // self.num_speakers)
        plan = _build_plan(config, self.clips.labels, durations_s, domains, world_size)
        logger.info(plan.describe())
        self.batches = TrainingBatches(plan, rank=rank, world_size=world_size)
        atexit.register(end_daemons)
        self.loader = self._load(dataset, self.batches, keep_workers=True)

    def plain_crops(self, clips_per_speaker: int) -> DataLoader:
        """Batches of unaugmented crops, one each of at most so many clips of every speaker.

        Those of this process, of all that share them; crops of a clip are the same in any number.
        """
        config = self._config.model_copy(update={"augment_conf": AugmentConf()})
        chosen = np.concatenate(clips_of_each_speaker(self.clips.labels, clips_per_speaker))
        keys = [SampleKey(0, clip, clip) for clip in chosen.tolist()]
        own = keys[self.batches.rank :: self.batches.world_size]
        size = config.dataset_conf.dataLoader.batch_size
        batches = [own[start : start + size] for start in range(0, len(own), size)]
        return self._load(_open_list(config)[2], batches, keep_workers=False)

    def _load(
        self, dataset: Dataset, batches: Iterable[list[SampleKey]], *, keep_workers: bool
    ) -> DataLoader:
        num_workers = self._config.dataset_conf.dataLoader.num_workers
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=keep_workers and num_workers > 0,
            pin_memory=self._pin_memory,
            worker_init_fn=_set_up_worker,
            multiprocessing_context=_start_method() if num_workers else None,
            generator=torch.Generator(),  # or an iteration would draw from the run's own
        )


def _start_method() -> str:
    """How workers start: as the program has it, but forked where a server would fork them.

    That server is the default on Linux since Python 3.14. What it forks has to import torch, and
    to decode and keep noises and impulse responses for itself; a fork of this process has them.
    """
    method = multiprocessing.get_start_method()
    return "fork" if method == "forkserver" else method


def _set_up_worker(number: int) -> None:
    """A worker ends with its parent; what stops a run is for the parent to hear."""
    end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)


def _open_list(config: Config) -> tuple[ClipList, Durations, Dataset]:
    """The training list, a text file or a packed folder; lengths of its clips; its samples."""
    data = config.dataset_conf
    front_end = FrontEnd.from_config(config)
    options: dict[str, Any] = {
        "crop_s": data.max_duration,
        "spec_aug": config.augment_conf.spec_aug,
        "seed": config.train_conf.seed,
    }
    if not is_packed(data.train_list):
        clips = read_list(data.train_list, root=data.data_root, num_speakers=data.num_speakers)
        source: ClipSource = FileClips(clips, front_end)
    elif packed_kind(data.train_list) == PackedFeatures.kind:
        features = PackedFeatures(data.train_list)
        _refuse_waveform_augmentation(config)
        cached = TrainingFeatures(features, front_end, **options)
        clips = features.as_clip_list()
        _check_labels(clips, data.num_speakers)
        return clips, cached.durations_s, cached
    else:
        corpus = PackedCorpus(data.train_list)
        clips = corpus.as_clip_list()
        _check_labels(clips, data.num_speakers)
        source = PackedClips(corpus, front_end)
    options["copies"] = _open_copies(config, source)
    num_speakers = data.num_speakers or clips.num_speakers
    augmentor = WaveformAugmentor(config.augment_conf, data.sample_rate)
    dataset = TrainingClips(clips, source, num_speakers, front_end, augmentor=augmentor, **options)
    return clips, source.durations_s, dataset


def _open_copies(config: Config, source: ClipSource) -> list[PackedClips]:
    conf = config.augment_conf.copies
    if conf.prob == 0:
        return []
    if isinstance(source, PackedClips):
        return open_copies(conf.folders, source)
    raise DataError(
        "augment_conf.copies needs a packed training corpus, and "
        f"'{config.dataset_conf.train_list}' is a list; pack it with tools/pack_corpus.py, as the "
        "copies, or set prob to 0."
    )


def _refuse_waveform_augmentation(config: Config) -> None:
    """Features that are computed already can be masked, and nothing else."""
    wanted = [
        name
        for name in type(config.augment_conf).model_fields
        if name != "spec_aug" and getattr(config.augment_conf, name).prob > 0
    ]
    if wanted:
        raise DataError(
            f"'{config.dataset_conf.train_list}' holds features, to which augmentation of "
            f"waveforms ({', '.join(wanted)}) comes too late; set the prob of each in augment_conf "
            "to 0, or train on a list of clips or a packed corpus."
        )


def _build_plan(
    config: Config,
    labels: np.ndarray,
    durations_s: Durations,
    domains: Domains | None,
    world_size: int,
) -> BatchPlan:
    data, seed = config.dataset_conf, config.train_conf.seed
    lengths_s = durations_s() if data.batch_sampler == "duration" else None
    if domains is None or not data.domain_batches:
        plan = _plan_of_sampler(config, labels, lengths_s, world_size)
    else:
        parts: dict[str, tuple[np.ndarray, BatchPlan]] = {}
        for name, clips in domains.clips(labels).items():
            own_s = None if lengths_s is None else lengths_s[clips]
            try:
                own = _plan_of_sampler(config, labels[clips], own_s, world_size, may_be_few=True)
            except DataError as error:
                raise DataError(f"In the domain '{name}' of {data.domains}: {error}") from error
            parts[name] = clips, own
        plan = DomainBatches(parts, seed=seed)
    if data.min_crop_duration is None:
        return plan
    return MixedLengths(
        plan, shortest_s=data.min_crop_duration, longest_s=data.max_duration, seed=seed
    )


def _plan_of_sampler(
    config: Config,
    labels: np.ndarray,
    lengths_s: np.ndarray | None,
    world_size: int,
    *,
    may_be_few: bool = False,
) -> BatchPlan:
    """What ``batch_sampler`` names, over clips with ``labels (clips,)``.

    With ``may_be_few``, clips or speakers too few for a batch make a smaller one.
    """
    data, seed, conf = config.dataset_conf, config.train_conf.seed, config.dataset_conf.dataLoader
    batch_size = conf.batch_size * world_size
    if lengths_s is not None:
        batch_s = (data.batch_duration or conf.batch_size * data.max_duration) * world_size
        return DurationBatches(
            lengths_s,
            batch_s=batch_s,
            min_s=data.min_duration,
            max_s=data.max_duration,
            multiple=world_size,
            seed=seed,
        )
    if data.batch_sampler == "speakers":
        speakers_per_batch = batch_size // data.sample_per_id
        if may_be_few:
            own = len(np.unique(labels)) // world_size * world_size
            speakers_per_batch = min(speakers_per_batch, max(own, 2 * world_size))
        return SpeakerBatches(
            labels,
            speakers_per_batch=speakers_per_batch,
            clips_per_speaker=data.sample_per_id,
            seed=seed,
            num_processes=world_size,
        )
    drop_last = conf.drop_last and not (may_be_few and len(labels) < batch_size)
    if data.batch_sampler == "balanced":
        return BalancedBatches(
            labels, batch_size, drop_last=drop_last, multiple=world_size, seed=seed
        )
    return RandomBatches(
        len(labels), batch_size, drop_last=drop_last, multiple=world_size, seed=seed
    )


def _check_labels(clips: ClipList, num_speakers: int | None) -> None:
    if num_speakers is not None and clips.num_speakers > num_speakers:
        raise DataError(
            f"'{clips.source}' has labels up to {clips.num_speakers - 1}, out of range for "
            f"num_speakers {num_speakers}; leave dataset_conf.num_speakers out to count them."
        )
