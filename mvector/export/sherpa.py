"""Models for sherpa-onnx, which computes features by itself: what its front end is, and what fits.

k2-fsa/sherpa-onnx: ``speaker-embedding-extractor-impl.cc`` and ``features.h`` in its csrc folder.
"""

from __future__ import annotations

import torch

from mvector.errors import CheckpointError
from mvector.export.checking import CheckClips, cosines
from mvector.features.featurizer import Featurizer
from mvector.features.kaldi import Fbank
from mvector.models.folder import fingerprint_of
from mvector.models.speaker_model import SpeakerModel
from mvector.version import __version__

RATE, BINS = 16000, 80


def sherpa_properties(model: SpeakerModel) -> dict[str, str]:
    """The ``metadata_props`` that sherpa-onnx asks for.

    Raises:
        CheckpointError: the model hears something else than sherpa-onnx's features.
    """
    _require_its_features(model)
    in_unit_range = model.front_end.waveform_scale == 1.0
    subtracts_mean = model.featurizer.normalize_mean
    return {
        "framework": "wespeaker",  # stands for its general way, which is not that of one toolkit
        "language": "any",
        "output_dim": str(model.embd_dim),
        "sample_rate": str(RATE),
        "normalize_samples": "1" if in_unit_range else "0",
        "feature_normalize_type": "global-mean" if subtracts_mean else "",
        "version": __version__,
        "comment": f"{model.name} of mvector, {fingerprint_of(model)}",
    }


def _require_its_features(model: SpeakerModel) -> None:
    front_end, featurizer = model.front_end, model.featurizer
    fbank = featurizer.transform
    if not isinstance(fbank, Fbank):
        raise _does_not_fit(f"{featurizer.feature_method} features")
    if front_end.sample_rate != RATE:
        raise _does_not_fit(f"a rate of {front_end.sample_rate} Hz")
    if featurizer.feature_dim != BINS or fbank.use_energy:
        raise _does_not_fit(f"{featurizer.feature_dim} columns of Fbank")
    if (fbank.frame_length, fbank.hop_length) != (400, 160):
        raise _does_not_fit("other frames of Fbank")
    if not (fbank.use_log_fbank and fbank.use_power and fbank.remove_dc_offset):
        raise _does_not_fit("other settings of Fbank")
    if featurizer.normalize_variance:
        raise _does_not_fit("features of variance 1")
    if front_end.use_dB_normalization and not featurizer.normalize_mean:
        raise _does_not_fit("clips of one level")


def _does_not_fit(heard: str) -> CheckpointError:
    return CheckpointError(
        f"sherpa-onnx computes {BINS} Fbank columns of frames of 25 ms at {RATE} Hz, and this "
        f"model hears {heard}; export it with --target onnx.",
        code="export-unsuitable",
    )


def cosine_in_sherpa(model: SpeakerModel, clips: CheckClips) -> float:
    """What the features of sherpa-onnx make of embeddings: the least cosine to the model's own.

    Its windows are Povey's, bands go from 20 to 7600 Hz, frames go beyond the ends of a clip, and
    nothing is done to the level.
    """
    fbank = Fbank(num_mel_bins=BINS, high_freq=-400.0, snip_edges=False)
    features_there = Featurizer(fbank, normalize_mean=model.featurizer.normalize_mean)
    with torch.inference_mode():
        scaled = clips.waveforms * model.front_end.waveform_scale
        there = model.backbone(*features_there(scaled, clips.lengths))
    return float(cosines(clips.embeddings, there.numpy()).min())
