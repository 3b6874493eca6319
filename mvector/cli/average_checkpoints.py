"""``tools/average_checkpoints.py``: one model from the mean of the weights of several."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mvector.cli.common import gpu_option, parse_count, parse_length
from mvector.cli.options import Action, Command, Options, option, optional, required
from mvector.cli.subcommand import as_started
from mvector.errors import DataError, MVectorError, count_of

if TYPE_CHECKING:
    import numpy as np
    import torch

    from mvector.models.speaker_model import SpeakerModel

logger = logging.getLogger(__name__)

_BATCH_SIZE = 32
_READERS = 4
_MOST_NAMED = 5

_DESCRIPTION = """\
Write the model whose weights are the mean of those of several model folders.

The mean of models from the late epochs of one run, or of several fine-tunings that began at the
same model, is often better than each of them, and costs nothing when it is used. Models that were
trained from different beginnings have no useful mean.

All models must have the same architecture and front end; the command names what differs. The
new folder says which models it is the mean of. It has no thresholds: eval.py measures them.
"""

_EPILOG = """\
batch normalisation:
  Its running mean and variance are averaged like weights. That is close enough for models of one
  run. For models further apart give --recompute_bn: both are then measured anew on crops of the
  clips of a list (of their beginnings, without augmentation), best those of the training.

examples:
  python tools/average_checkpoints.py epoch_08 epoch_09 epoch_10 --output models/averaged
  python tools/average_checkpoints.py runs/*/EcapaTdnn_Fbank/best_model --output models/averaged \\
      --recompute_bn dataset/train_list.txt
  python eval.py --model_path models/averaged --configs ecapa_tdnn
"""


@dataclass(frozen=True, kw_only=True)
class Average(Options):
    models: Sequence[str] = required(
        "model folders, two or more; one is enough with --recompute_bn",
        "MODEL",
        positional=True,
        nargs="+",
    )
    output: str = required("model folder to write", "DIR")


@dataclass(frozen=True, kw_only=True)
class AverageAndMeasure(Average):
    recompute_bn: str = required(
        "list of clips, or a packed corpus, to measure batch normalisation on", "LIST"
    )
    use_gpu: bool | None = gpu_option()
    data_root: str | None = optional("where relative paths of LIST start", "DIR")
    num_clips: int = option(
        4000,
        "clips of LIST to use, chosen at random, the same each time (default: %(default)s)",
        "N",
        parse_count,
    )
    duration: float = option(
        3.0,
        "length of a crop, best that of the training (default: %(default)s)",
        "SECONDS",
        parse_length,
    )


def run(args: Average) -> int:
    """Average and say what was written."""
    from mvector.training.averaging import average_model_folders

    adjust = partial(_recompute_batch_norm, args) if isinstance(args, AverageAndMeasure) else None
    fingerprint = average_model_folders(args.models, args.output, adjust=adjust)
    print(
        f"Mean of {count_of(len(args.models), 'model')} written to {args.output} ({fingerprint})."
    )
    eval_script = as_started("python eval.py")
    print(f"Next:    {eval_script} --model_path {args.output} measures it and its thresholds.")
    return 0


def _recompute_batch_norm(args: AverageAndMeasure, model: SpeakerModel) -> dict[str, Any]:
    from mvector.compute.device import choose_device
    from mvector.training.averaging import recompute_batch_norm

    device = choose_device(args.use_gpu)
    model.to(device)
    waveforms = _WaveformBatches(model, args)
    features = (model.features(batch.to(device))[0] for batch in waveforms)
    if not recompute_batch_norm(model.backbone, features):
        raise DataError(
            f"'{args.recompute_bn}' gave no batch of {_BATCH_SIZE} clips to measure batch "
            "normalisation on; name a list with more clips that can be read."
        )
    model.cpu()
    used = f"recomputed on {waveforms.num_used} clips of {args.recompute_bn}"
    print(f"Batch normalisation {used}; {waveforms.num_bad} clips could not be used.")
    return {"batch_norm": used}


class _WaveformBatches:
    """Batches ``(32, samples)`` of crops of equal length; what is left over is not used."""

    def __init__(self, model: SpeakerModel, args: AverageAndMeasure) -> None:
        import numpy as np

        from mvector.data.lists import read_list
        from mvector.data.packed import PackedCorpus, is_packed
        from mvector.data.sources import ClipSource, FileClips, PackedClips

        front_end = model.front_end
        self.num_samples = round(args.duration * front_end.sample_rate)
        if is_packed(args.recompute_bn):
            corpus = PackedCorpus(args.recompute_bn)
            num_clips = len(corpus)
            self.source: ClipSource = PackedClips(corpus, front_end)
        else:
            clips = read_list(args.recompute_bn, root=args.data_root)
            num_clips, self.source = len(clips), FileClips(clips, front_end)
        # in random order: a batch of one speaker has other statistics
        self.chosen = np.random.default_rng(0).permutation(num_clips)[: args.num_clips]
        self.num_used = self.num_bad = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        import numpy as np
        import torch

        from mvector.progress import progress_bar

        ready: list[np.ndarray] = []
        with (
            ThreadPoolExecutor(_READERS) as pool,
            progress_bar(total=len(self.chosen), desc="Clips", unit="clip") as bar,
        ):
            for start in range(0, len(self.chosen), _BATCH_SIZE):
                group = self.chosen[start : start + _BATCH_SIZE]
                for crop in pool.map(self._read, group):
                    if isinstance(crop, Exception):
                        self._note_bad(crop)
                    else:
                        ready.append(crop)
                bar.update(len(group))
                if len(ready) >= _BATCH_SIZE:
                    self.num_used += _BATCH_SIZE
                    yield torch.from_numpy(np.stack(ready[:_BATCH_SIZE]))
                    del ready[:_BATCH_SIZE]

    def _read(self, index: int) -> np.ndarray | Exception:
        """The beginning of a clip, repeated until it fills the crop, as in training."""
        import numpy as np

        try:
            return np.resize(self.source.read_whole(index)[: self.num_samples], self.num_samples)
        except (MVectorError, OSError, ValueError) as error:
            return error

    def _note_bad(self, error: Exception) -> None:
        self.num_bad += 1
        if self.num_bad <= _MOST_NAMED:
            logger.warning("Skipped: %s", error)


COMMAND = Command(
    "average_checkpoints.py",
    _DESCRIPTION,
    _EPILOG,
    (
        Action("--recompute_bn", AverageAndMeasure, run),
        Action("an average of weights alone", Average, run),
    ),
)
