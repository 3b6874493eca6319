"""Features: waveforms to (batch, frames, bins), the form every backbone reads."""

from mvector.features.featurizer import FEATURE_METHODS, Featurizer, build_featurizer
from mvector.features.kaldi import Fbank
from mvector.features.spectral import MFCC, MelSpectrogram, Spectrogram
from mvector.features.speechbrain import SpeechbrainFbank

__all__ = [
    "FEATURE_METHODS",
    "MFCC",
    "Fbank",
    "Featurizer",
    "MelSpectrogram",
    "Spectrogram",
    "SpeechbrainFbank",
    "build_featurizer",
]
