"""From a batch of waveforms to normalised features, whatever the feature method."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mvector.errors import AudioError, ConfigError
from mvector.features.framing import mean_over_frames, zero_invalid_frames_
from mvector.features.kaldi import Fbank
from mvector.features.nemo import NemoFbank
from mvector.features.redimnet import ReDimNet2Fbank, ReDimNetFbank
from mvector.features.spectral import MFCC, MelSpectrogram, Spectrogram
from mvector.features.speechbrain import SpeechbrainFbank
from mvector.features.transform import FeatureTransform, NumSamples

FEATURE_METHODS: dict[str, type[FeatureTransform]] = {
    "MelSpectrogram": MelSpectrogram,
    "Spectrogram": Spectrogram,
    "MFCC": MFCC,
    "Fbank": Fbank,
    "SpeechbrainFbank": SpeechbrainFbank,
    "ReDimNetFbank": ReDimNetFbank,
    "ReDimNet2Fbank": ReDimNet2Fbank,
    "NemoFbank": NemoFbank,
}

LOG_FLOOR = 1e-6
# A bin that never changes keeps a rounding error of about 1e-7 of its mean; a deviation below
# this share of the mean is no signal and must not be blown up to 1.
STD_FLOOR = 1e-5
STD_MIN = 1e-10


class Featurizer(nn.Module):
    """A feature method with normalisation: waveforms to (batch, frames, bins), without gradients.

    A clip has the same features alone and in a padded batch, whatever lies behind its end. The
    work is done in float32 (float64 for float64 waveforms or after ``.double()``), inside
    autocast as well. Nothing of it is in the state dict: the configuration is all.

    Args:
        transform: the feature method.
        normalize_mean: subtract each bin's mean over the clip's valid frames.
        normalize_variance: divide by each bin's (biased) standard deviation over these frames.
        log_spectrum: natural logarithm, with a floor of 1e-6, where the method has none.

    Attributes:
        feature_method: name of the feature method.
        feature_dim: bins of a frame.
        sample_rate: rate of the waveforms in Hz.
        min_samples: samples of the shortest clip accepted.

    Raises:
        ConfigError: ``log_spectrum`` for a method that has a logarithm of its own.
    """

    def __init__(
        self,
        transform: FeatureTransform,
        *,
        normalize_mean: bool = True,
        normalize_variance: bool = False,
        log_spectrum: bool = False,
    ) -> None:
        super().__init__()
        self.feature_method = type(transform).__name__
        if log_spectrum and not isinstance(transform, (Spectrogram, MelSpectrogram)):
            raise ConfigError(
                f"preprocess_conf.log_spectrum is for MelSpectrogram and Spectrogram; "
                f"{self.feature_method} has a logarithm of its own: set log_spectrum to False."
            )
        self.transform = transform
        self.feature_dim = transform.feature_dim
        self.sample_rate = transform.sample_rate
        self.min_samples = transform.min_samples
        self.normalize_mean = normalize_mean
        self.normalize_variance = normalize_variance
        self.log_spectrum = log_spectrum

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        """Number of frames of a clip, or of each of several."""
        return self.transform.num_frames(num_samples)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the features of a batch.

        Args:
            waveforms: ``(batch, samples)``, float in [-1, 1], at ``sample_rate``.
            lengths: ``(batch,)`` samples of each clip; ``None`` means that all are full. Lengths
                on the CPU are checked; on a GPU they are not, as reading them would stall it.

        Returns:
            features: ``(batch, frames, feature_dim)``, zeros from a clip's ``num_frames`` on.
            num_frames: ``(batch,)`` int64 on the device of the waveforms, valid frames.

        Raises:
            AudioError: a clip is too short for one frame.
            ValueError: shape, type or lengths are not as described above.
        """
        if not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
            self._check_batch(waveforms, lengths)
        with torch.no_grad(), torch.autocast(waveforms.device.type, enabled=False):
            # float32 at least, and float64 if either the waveforms or the module is.
            constants = next(self.transform.buffers())
            waveforms = waveforms.to(torch.promote_types(waveforms.dtype, constants.dtype))
            if lengths is not None:
                lengths = lengths.to(waveforms.device, torch.int64, non_blocking=True)
            features = self.transform(waveforms, lengths)
            if self.log_spectrum:
                features.clamp_(min=LOG_FLOOR).log_()
            if lengths is None:
                num_frames = torch.full_like(waveforms[:, 0], features.shape[1], dtype=torch.int64)
            else:
                num_frames = self.transform.num_frames(lengths).clamp(0, features.shape[1])
                zero_invalid_frames_(features, num_frames)
            self._normalise_(features, num_frames, padded=lengths is not None)
        return features, num_frames

    def normalise(self, features: Tensor) -> Tensor:
        """Normalise features computed without it, ``(batch, frames, feature_dim)`` unpadded.

        Returns:
            Tensor of the same shape, float32 at least.
        """
        features = features.to(torch.promote_types(features.dtype, torch.float32), copy=True)
        num_frames = torch.full_like(features[:, 0, 0], features.shape[1], dtype=torch.int64)
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            self._normalise_(features, num_frames, padded=False)
        return features

    def _normalise_(self, features: Tensor, num_frames: Tensor, *, padded: bool) -> None:
        if not (self.normalize_mean or self.normalize_variance):
            return
        mean = mean_over_frames(features, num_frames)
        if self.normalize_variance:
            centred = features - mean
            if padded:
                zero_invalid_frames_(centred, num_frames)
            deviation = mean_over_frames(centred.square_(), num_frames).sqrt_()
            deviation = deviation.maximum(STD_FLOOR * mean.abs()).clamp_(min=STD_MIN)
        if self.normalize_mean:
            features.sub_(mean)
        if self.normalize_variance:
            features.div_(deviation)
        if padded:
            zero_invalid_frames_(features, num_frames)

    def _check_batch(self, waveforms: Tensor, lengths: Tensor | None) -> None:
        if waveforms.dim() != 2 or not waveforms.is_floating_point():
            raise ValueError(
                f"waveforms is {waveforms.dtype} of shape {tuple(waveforms.shape)}; it must be "
                "float in [-1, 1] of shape (batch, samples)."
            )
        num_samples = waveforms.shape[1]
        shortest = num_samples
        if lengths is not None:
            if lengths.shape != waveforms.shape[:1] or lengths.is_floating_point():
                raise ValueError(
                    f"lengths is {lengths.dtype} of shape {tuple(lengths.shape)}; it must hold "
                    f"the integer number of samples of each of the {len(waveforms)} clips."
                )
            if lengths.device.type == "cpu" and len(lengths):
                shortest = int(lengths.min())
                if int(lengths.max()) > num_samples:
                    raise ValueError(
                        f"lengths has a clip of {int(lengths.max())} samples, and waveforms has "
                        f"only {num_samples}."
                    )
        if shortest < self.min_samples:
            raise AudioError(
                f"A clip of {shortest} samples is too short for {self.feature_method}: at least "
                f"{self.min_samples} samples ({self.min_samples / self.sample_rate:.3f} s) are "
                "needed; leave it out or record it again.",
                code="audio-too-short",
            )


def build_featurizer(preprocess_conf: Any) -> Featurizer:
    """Build the featurizer that a configuration describes.

    Args:
        preprocess_conf: a mapping, or an object with these as attributes: ``feature_method``
            (a key of :data:`FEATURE_METHODS`), ``method_args`` (its arguments), and the options
            of :class:`Featurizer`.

    Raises:
        ConfigError: a key is unknown or a value impossible.
    """
    conf = _preprocess_dict(preprocess_conf)
    method = conf.pop("feature_method", None)
    if not isinstance(method, str) or method not in FEATURE_METHODS:
        choices = ", ".join(FEATURE_METHODS)
        raise ConfigError(
            f"preprocess_conf.feature_method is {method!r}; choose one of: {choices}."
        )
    method_args = _section_of(conf.pop("method_args", None), "preprocess_conf.method_args")
    _check_keys(FEATURE_METHODS[method], method_args, "preprocess_conf.method_args")
    if method == "MFCC":
        mel_args = _section_of(
            method_args.get("melkwargs"), "preprocess_conf.method_args.melkwargs"
        )
        _check_keys(MelSpectrogram, mel_args, "preprocess_conf.method_args.melkwargs")
    _check_keys(Featurizer, conf, "preprocess_conf", hidden="transform")
    for key, value in conf.items():
        if not isinstance(value, bool):
            raise ConfigError(f"preprocess_conf.{key} is {value!r}; it must be True or False.")
    try:
        transform = FEATURE_METHODS[method](**method_args)
    except ConfigError as error:
        raise ConfigError(f"preprocess_conf.method_args of {method}: {error}") from error
    return Featurizer(transform, **conf)


def _section_of(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping | None):
        raise ConfigError(f"{where} is {values!r}; it must be a section of 'key: value' lines.")
    return dict(values or {})


def _preprocess_dict(preprocess_conf: Any) -> dict[str, Any]:
    if not hasattr(preprocess_conf, "__dict__"):
        preprocess_conf = _section_of(preprocess_conf, "preprocess_conf")
    if isinstance(preprocess_conf, Mapping):
        return dict(preprocess_conf)
    if hasattr(preprocess_conf, "model_dump"):  # pydantic
        return dict(preprocess_conf.model_dump())
    return dict(vars(preprocess_conf))


def _check_keys(
    factory: Callable[..., object], given: Mapping[str, Any], where: str, hidden: str = ""
) -> None:
    known = sorted(set(inspect.signature(factory).parameters) - {hidden})
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            cure = f"did you mean '{near[0]}'?" if near else f"it knows {', '.join(known)}."
            raise ConfigError(f"{where} has the unknown key '{key}'; {cure}")
