"""Augmentation of training clips: waveforms in the workers, feature masks on the device.

Every random choice comes from the generator handed in, which the dataset seeds with
(seed, epoch, clip): the same clip in the same epoch is always augmented in the same way.
"""
