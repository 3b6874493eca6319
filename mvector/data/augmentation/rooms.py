"""Impulse responses of simulated rooms, by the image-source method.

Allen and Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65 (1979):
every reflection at the walls of a box is a mirror image of the source, heard directly. All walls
reflect alike. Two refinements: arrivals fall between samples (on a grid eight times as fine,
low-passed afterwards) instead of on the nearest one, and the high-pass, which takes away the energy
at the lowest frequencies that a sum of positive echoes has and a room has not, is a Butterworth
filter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvector.config.augment_options import ReverbConf
from mvector.data.augmentation.speed import resample

SPEED_OF_SOUND = 343.0  # m/s, in air at 20 °C
_FINE = 8
_HIGH_PASS_HZ = 50.0
_WALL_DISTANCE_M = 0.5
_SHORTEST_PATH_M = 0.3


@dataclass(frozen=True)
class Room:
    """A box with a source and a microphone in it; lengths in metres."""

    size_m: np.ndarray
    source_m: np.ndarray
    microphone_m: np.ndarray
    rt60_s: float

    @property
    def distance_m(self) -> float:
        """From source to microphone."""
        return float(np.linalg.norm(self.source_m - self.microphone_m))

    @property
    def reflection(self) -> float:
        """Share of the sound pressure that a wall sends back.

        An image in the direction u at the distance d has been reflected ``d * sum(|u| / size)``
        times. The energy that is left at a time, averaged over all directions and summed over all
        later times (Schroeder, JASA 37, 1965), falls from -5 to -35 dB in half of the reverberation
        time. Eyring's formula would do for sound that the walls scatter: between mirrors, what
        travels along the longest side lives longer, and the decay would take up to 60 % too long
        (Lehmann and Johansson, JASA 124, 2008).
        """
        cosines = (np.arange(20) + 0.5) / 20
        angles = cosines * np.pi / 2
        sines = np.sqrt(1.0 - cosines**2)
        directions = [np.outer(sines, np.cos(angles)), np.outer(sines, np.sin(angles))]
        up = np.repeat(cosines[:, None], len(angles), axis=1)
        per_metre = sum(u / size for u, size in zip([*directions, up], self.size_m, strict=True))
        rates = np.ravel(per_metre)
        path = np.linspace(0.0, 30.0 / rates.mean(), 300)  # metres times loss for each reflection
        left_db = 10 * np.log10((np.exp(-np.outer(path, rates)) / rates).mean(axis=1))
        at_5_db, at_35_db = np.interp([5.0, 35.0], left_db[0] - left_db, path)
        loss = 2.0 * (at_35_db - at_5_db) / (SPEED_OF_SOUND * self.rt60_s)
        return float(np.exp(-loss / 2.0))


def draw_room(config: ReverbConf, rng: np.random.Generator) -> Room:
    """A room of random size, reverberation time and places of source and microphone.

    Both are at least 0.5 m from the walls and 0.3 m from each other.
    """
    sides = rng.uniform(config.min_length_m, config.max_length_m, size=2)
    size_m = np.append(sides, rng.uniform(config.min_height_m, config.max_height_m))
    rt60_s = rng.uniform(config.min_rt60_s, config.max_rt60_s)
    free_m = size_m - 2 * _WALL_DISTANCE_M
    while True:
        source_m, microphone_m = _WALL_DISTANCE_M + rng.random((2, 3)) * free_m
        room = Room(size_m, source_m, microphone_m, rt60_s)
        if room.distance_m >= _SHORTEST_PATH_M:
            return room


def simulate_room(room: Room, sample_rate: int, duration_s: float) -> np.ndarray:
    """The impulse response from source to microphone, from the time at which the source sounds.

    Returns:
        float32 array ``(duration_s * sample_rate,)``, rounded; the direct sound comes at
        ``distance / speed of sound`` with amplitude ``1 / (4 pi distance)``.
    """
    from scipy.signal import butter, sosfilt

    num_samples = round(duration_s * sample_rate)
    fine = _echoes(room, sample_rate * _FINE, num_samples * _FINE)
    response = resample(fine.astype(np.float32), 1, _FINE) * np.float32(_FINE)
    high_pass = butter(2, _HIGH_PASS_HZ, "highpass", fs=sample_rate, output="sos")
    return sosfilt(high_pass, response).astype(np.float32)


def _echoes(room: Room, sample_rate: int, num_samples: int) -> np.ndarray:
    """Arrivals of all images, each shared between the two samples next to it; float64."""
    radius_m = (num_samples - 2) / sample_rate * SPEED_OF_SOUND
    axes = [
        _images(*place, radius_m)
        for place in zip(room.size_m, room.source_m, room.microphone_m, strict=True)
    ]
    (x, x_walls), (y, y_walls), (z, z_walls) = axes
    # Images in one plane x, nearest first, so that those within the radius are the first ones.
    squares = np.add.outer(y**2, z**2).ravel()
    order = np.argsort(squares)
    order = order[: np.searchsorted(squares[order], radius_m**2)]
    squares = squares[order]
    reflection = room.reflection
    in_plane = reflection ** np.add.outer(y_walls, z_walls).ravel()[order]
    response = np.zeros(num_samples)
    for offset, walls in zip(x, x_walls, strict=True):
        count = int(np.searchsorted(squares, radius_m**2 - offset**2))
        if not count:
            continue
        distances = np.sqrt(squares[:count] + offset**2)
        amplitudes = in_plane[:count] * (reflection**walls / (4 * np.pi)) / distances
        arrivals = distances * (sample_rate / SPEED_OF_SOUND)
        whole = arrivals.astype(np.int64)
        late = amplitudes * (arrivals - whole)
        response += np.bincount(whole, amplitudes - late, num_samples)[:num_samples]
        response[1:] += np.bincount(whole, late, num_samples)[: num_samples - 1]
    return response


def _images(
    size_m: float, source_m: float, microphone_m: float, radius_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: how far each image is from the microphone, and walls on its path."""
    most = int(np.ceil(radius_m / (2 * size_m))) + 1
    periods = np.arange(-most, most + 1)
    offsets = [sign * source_m + 2 * periods * size_m - microphone_m for sign in (1, -1)]
    walls = [np.abs(periods - mirrored) + np.abs(periods) for mirrored in (0, 1)]
    return np.concatenate(offsets), np.concatenate(walls)
