"""Augmentation of training clips: waveforms in the workers, feature masks on the device.

Every random choice comes from the generator handed in, which the dataset seeds with
(seed, epoch, clip): the same clip in the same epoch is always augmented in the same way.
"""

from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.codec import mu_law, telephone_band, telephone_line, through_file
from mvector.data.augmentation.edits import add_silence, clip_loudest, flip_splice
from mvector.data.augmentation.features import mask_features, num_draws
from mvector.data.augmentation.noise import add_noise, mean_power, mix_talkers
from mvector.data.augmentation.reverb import add_reverb, direct_path
from mvector.data.augmentation.rooms import Room, draw_room, simulate_room
from mvector.data.augmentation.speed import SPEEDS, change_speed, num_speed_classes

__all__ = [
    "SPEEDS",
    "Room",
    "WaveformAugmentor",
    "add_noise",
    "add_reverb",
    "add_silence",
    "change_speed",
    "clip_loudest",
    "direct_path",
    "draw_room",
    "flip_splice",
    "mask_features",
    "mean_power",
    "mix_talkers",
    "mu_law",
    "num_draws",
    "num_speed_classes",
    "simulate_room",
    "telephone_band",
    "telephone_line",
    "through_file",
]
