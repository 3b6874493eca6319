"""Conversations made of clips: who speaks when is known to the sample.

A person's clips are cut to speech and laid behind each other; a turn takes the next stretch of
them, up to the quietest moment near its end. In a meeting each person sits at a place of their own
in one room; in a call each has a telephone. A conversation is a function of its seed, whatever else
is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from mvector.audio import read_audio
from mvector.audio.vad import VadMethod, speech_segments
from mvector.config.augment_options import ReverbConf
from mvector.data.augmentation.codec import telephone_line
from mvector.data.augmentation.noise import add_noise, mean_power
from mvector.data.augmentation.reverb import add_reverb
from mvector.data.augmentation.rooms import Room, draw_room, simulate_room
from mvector.diarization.turn_taking import PlannedTurn, TurnTaking, draw_turns
from mvector.diarization.turns import Turn
from mvector.errors import DataError, MissingDependencyError, MVectorError

Kind: TypeAlias = Literal["meeting", "call", "stereo_call"]

SAMPLE_RATES: dict[Kind, int] = {"meeting": 16000, "call": 8000, "stereo_call": 8000}
_LEVEL = 0.05  # RMS of speech
_SPREAD_DB = 4.0  # how much louder or softer people are
_PEAK = 0.7
_SNR_DB = (10.0, 25.0)  # of noise that is given
_FLOOR_DB = (30.0, 45.0)  # below the speech, of the hiss that every recording has
_CUT_S = 0.3  # a turn may end this much earlier, where it is quieter
_FRAME_S = 0.02
_WALL_M = 0.5


@dataclass(frozen=True)
class Conversation:
    """A made-up recording.

    Attributes:
        waveform: float32 array of shape ``(samples, channels)``.
        sample_rate: in Hz.
        turns: who speaks when, by their names.
        left_out: why clips could not be used, a sentence for each.
    """

    waveform: np.ndarray
    sample_rate: int
    turns: list[Turn]
    left_out: list[str]


class SpeechTape:
    """The speech of one person's clips, laid end to end; what is used up begins again.

    Raises:
        DataError: no clip can be read, or none has speech.
    """

    def __init__(
        self, name: str, paths: Sequence[str], sample_rate: int, vad_method: VadMethod
    ) -> None:
        self.sample_rate, self._vad_method = sample_rate, vad_method
        self.left_out: list[str] = []
        pieces = [piece for path in paths for piece in self._read(path)]
        if not pieces:
            raise DataError(f"No clip of '{name}' has speech that can be read; leave them out.")
        self.samples = np.concatenate(pieces)
        self._place = 0

    def _read(self, path: str) -> Iterator[np.ndarray]:
        """The stretches of speech in a clip, at one level."""
        try:
            waveform = read_audio(path, self.sample_rate)
            segments = speech_segments(waveform, self.sample_rate, self._vad_method)
        except MissingDependencyError:
            raise
        except MVectorError as error:
            self.left_out.append(str(error))
            return
        pieces = [waveform[start:stop] for start, stop in segments]
        power = mean_power(np.concatenate([waveform[:0], *pieces]))
        if power > 0:
            yield from (piece * np.float32(_LEVEL / np.sqrt(power)) for piece in pieces)

    def take(self, num_samples: int) -> np.ndarray:
        """The next stretch of speech ``(samples,)``, of this length or up to 0.3 s less."""
        start = self._place
        stretch = _looped(self.samples, start, num_samples)
        frame = round(_FRAME_S * self.sample_rate)
        num_frames = min(round(_CUT_S / _FRAME_S), len(stretch) // (2 * frame))
        if num_frames:
            last = stretch[len(stretch) - num_frames * frame :].reshape(num_frames, frame)
            quietest = int(np.argmin((last**2).sum(axis=1)))
            stretch = stretch[: len(stretch) - (num_frames - quietest - 1) * frame]
        self._place = (start + len(stretch)) % len(self.samples)
        fade = np.linspace(0.0, 1.0, min(frame // 2, len(stretch)), dtype=np.float32)
        stretch[: len(fade)] *= fade
        stretch[len(stretch) - len(fade) :] *= fade[::-1]
        return stretch


def make_conversation(
    clips_of: dict[str, Sequence[str]],
    style: TurnTaking,
    duration_s: float,
    *,
    kind: Kind,
    seed: Sequence[int],
    noises: Sequence[str] = (),
    vad_method: VadMethod = "silero",
) -> Conversation:
    """Make a recording of people from their clips.

    Args:
        clips_of: paths of the clips of each person, by name; two people for a call.
        style: how they take turns.
        duration_s: of the recording.
        kind: ``meeting``: one microphone in a simulated room, 16 kHz; ``call``: two telephones,
            8 kHz, mixed; ``stereo_call``: one telephone a channel.
        seed: of all that is drawn.
        noises: paths of recordings of noise, of which each microphone hears one.
        vad_method: finds the speech in clips; what it takes for speech, the turns call speech.

    Raises:
        DataError: a person has no speech.
        MissingDependencyError: the detector is not installed.
    """
    rng = np.random.default_rng(list(seed))
    sample_rate = SAMPLE_RATES[kind]
    names = list(clips_of)
    plan = draw_turns(style, len(names), duration_s, rng)
    num_microphones = 1 if kind == "meeting" else len(names)
    tracks = np.zeros((num_microphones, round(duration_s * sample_rate)), dtype=np.float32)
    room = draw_room(ReverbConf(), rng)
    turns: list[Turn] = []
    left_out: list[str] = []
    for person, name in enumerate(names):
        tape = SpeechTape(name, _shuffled(clips_of[name], rng), sample_rate, vad_method)
        tape.samples *= np.float32(10.0 ** (rng.uniform(-_SPREAD_DB, _SPREAD_DB) / 20.0))
        left_out += tape.left_out
        response = None
        if kind == "meeting":
            response = draw_seat(room, sample_rate, ReverbConf().max_duration_s, rng)
        track = tracks[person % num_microphones]
        own = [turn for turn in plan if turn.person == person]
        turns += [speak(turn, name, tape, track, response) for turn in own]
    for track in tracks:
        _add_surroundings(track, noises, sample_rate, rng)
    if kind != "meeting":
        tracks = np.stack([telephone_line(track, sample_rate) for track in tracks])
    if kind == "call":
        tracks = tracks.sum(axis=0, keepdims=True)
    tracks *= np.float32(_PEAK / max(float(np.abs(tracks).max()), 1e-9))
    turns.sort(key=lambda turn: turn.start_s)
    return Conversation(tracks.T, sample_rate, turns, left_out)


def _shuffled(paths: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [paths[place] for place in rng.permutation(len(paths))]


def draw_seat(
    room: Room, sample_rate: int, longest_s: float, rng: np.random.Generator
) -> np.ndarray:
    """Impulse response ``(samples,)`` of a place in a room that somebody speaks from."""
    place_m = _WALL_M + rng.random(3) * (room.size_m - 2 * _WALL_M)
    seat = dataclasses.replace(room, source_m=place_m)
    return simulate_room(seat, sample_rate, min(room.rt60_s, longest_s))


def speak(
    planned: PlannedTurn,
    name: str,
    tape: SpeechTape,
    track: np.ndarray,
    response: np.ndarray | None,
    gain: float = 1.0,
) -> Turn:
    """Lay a turn on a track, and say from when to when it is heard."""
    rate = tape.sample_rate
    start = round(planned.start_s * rate)
    speech = np.float32(gain) * tape.take(max(round(planned.end_s * rate) - start, 1))
    end = start + len(speech)
    if response is not None:  # it rings on
        speech = add_reverb(np.pad(speech, (0, len(response))), response, rate)
    heard = track[start : start + len(speech)]
    heard += speech[: len(heard)]
    return Turn(start / rate, min(end, len(track)) / rate, name)


def _add_surroundings(
    track: np.ndarray, noises: Sequence[str], sample_rate: int, rng: np.random.Generator
) -> None:
    """Hiss, and a noise if there are any, at an SNR each."""
    sounds = [(rng.standard_normal(len(track), np.float32), _FLOOR_DB)]
    if noises:
        noise = read_audio(noises[int(rng.integers(len(noises)))], sample_rate)
        start = int(rng.integers(len(noise)))
        sounds.append((_looped(noise, start, len(track)), _SNR_DB))
    for sound, snr_db in sounds:
        track[:] = add_noise(track, sound, rng.uniform(*snr_db))


def _looped(samples: np.ndarray, start: int, num_samples: int) -> np.ndarray:
    return np.take(samples, np.arange(start, start + num_samples), mode="wrap")
