"""Features: waveforms to (batch, frames, bins), the form every backbone reads.

The names below load on first use: :mod:`mvector.features.front_end` does without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names

if TYPE_CHECKING:
    from mvector.features.featurizer import FEATURE_METHODS, Featurizer, build_featurizer
    from mvector.features.kaldi import Fbank
    from mvector.features.nemo import NemoFbank
    from mvector.features.redimnet import ReDimNet2Fbank, ReDimNetFbank
    from mvector.features.spectral import MFCC, MelSpectrogram, Spectrogram
    from mvector.features.speechbrain import SpeechbrainFbank

__all__ = [
    "FEATURE_METHODS",
    "MFCC",
    "Fbank",
    "Featurizer",
    "MelSpectrogram",
    "NemoFbank",
    "ReDimNet2Fbank",
    "ReDimNetFbank",
    "Spectrogram",
    "SpeechbrainFbank",
    "build_featurizer",
]

__getattr__ = lazy_names(
    __name__,
    {
        "FEATURE_METHODS": "mvector.features.featurizer",
        "Featurizer": "mvector.features.featurizer",
        "build_featurizer": "mvector.features.featurizer",
        "Fbank": "mvector.features.kaldi",
        "MFCC": "mvector.features.spectral",
        "MelSpectrogram": "mvector.features.spectral",
        "NemoFbank": "mvector.features.nemo",
        "ReDimNet2Fbank": "mvector.features.redimnet",
        "ReDimNetFbank": "mvector.features.redimnet",
        "Spectrogram": "mvector.features.spectral",
        "SpeechbrainFbank": "mvector.features.speechbrain",
    },
)
