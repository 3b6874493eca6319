"""Made-up recordings: people who are pure tones are heard when the turns say, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from error_codes import raises_code

from mvector.diarization.simulation import Conversation, Kind, make_conversation
from mvector.diarization.turn_taking import STYLES
from mvector.errors import MissingDependencyError

TONES_HZ = {"Ada": 500.0, "Ben": 1100.0, "Eve": 2300.0}


@pytest.fixture(scope="module")
def clips_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Two clips each of half a second of silence, two of the tone, and silence again."""
    folder = tmp_path_factory.mktemp("tones")
    clips: dict[str, list[str]] = {}
    for name, tone_hz in TONES_HZ.items():
        tone = 0.1 * np.sin(2 * np.pi * tone_hz * np.arange(32000) / 16000)
        for number, gain in enumerate((1.0, 0.2)):
            path = folder / f"{name}_{number}.wav"
            soundfile.write(path, np.pad(gain * tone, 8000), 16000)
            clips.setdefault(name, []).append(str(path))
    return clips


def made(clips_of: dict[str, list[str]], kind: Kind, seed: int = 0) -> Conversation:
    people = clips_of if kind == "meeting" else {name: clips_of[name] for name in ("Ada", "Ben")}
    return make_conversation(
        people, STYLES["meeting"], 20.0, kind=kind, seed=(seed,), vad_method="energy"
    )


def level_db(track: np.ndarray, tone_hz: float, rate: int, start_s: float, end_s: float) -> float:
    """Of a tone, between two moments."""
    part = track[round(start_s * rate) : round(end_s * rate)]
    wave = np.exp(-2j * np.pi * tone_hz * np.arange(len(part)) / rate) * np.hanning(len(part))
    return float(20 * np.log10(np.abs(wave @ part) / wave.size + 1e-9))


@pytest.mark.parametrize("kind", ["meeting", "call", "stereo_call"])
def test_people_are_heard_when_the_turns_say(kind: Kind, clips_of: dict[str, list[str]]) -> None:
    recording = made(clips_of, kind)
    rate = recording.sample_rate
    assert recording.waveform.shape == (20 * rate, 2 if kind == "stereo_call" else 1)
    assert np.abs(recording.waveform).max() == pytest.approx(0.7)
    names = {turn.speaker for turn in recording.turns}
    assert len(names) > 1
    for column, name in enumerate(sorted(names)):
        track = recording.waveform[:, column if kind == "stereo_call" else 0]
        own = [turn for turn in recording.turns if turn.speaker == name]
        edges = [0.0, *(edge for turn in own for edge in (turn.start_s, turn.end_s)), 20.0]
        heard = [level_db(track, TONES_HZ[name], rate, turn.start_s, turn.end_s) for turn in own]
        unheard = [
            level_db(track, TONES_HZ[name], rate, start + 0.8, end)  # when it has rung out
            for start, end in zip(edges[::2], edges[1::2], strict=True)
            if end - start > 1.0
        ]
        assert min(heard) > max(unheard) + 12


def test_one_person_a_channel_is_not_heard_in_the_other(clips_of: dict[str, list[str]]) -> None:
    recording = made(clips_of, "stereo_call")
    for column, other in enumerate(("Ben", "Ada")):
        others = [turn for turn in recording.turns if turn.speaker == other]
        longest = max(others, key=lambda turn: turn.duration_s)
        bounds = longest.start_s, longest.end_s
        levels = [
            level_db(recording.waveform[:, c], TONES_HZ[other], 8000, *bounds) for c in (0, 1)
        ]
        assert levels[1 - column] > levels[column] + 25


def test_the_seed_decides_every_sample(clips_of: dict[str, list[str]]) -> None:
    first, again, other = (made(clips_of, "meeting", seed) for seed in (1, 1, 2))
    assert np.array_equal(first.waveform, again.waveform)
    assert first.turns == again.turns != other.turns


def test_noise_is_louder_than_the_hiss(clips_of: dict[str, list[str]], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hum.wav", 0.1 * np.sin(np.arange(8000) * 0.3), 16000)
    one = {"Ada": clips_of["Ada"]}
    quiet, loud = (
        make_conversation(
            one,
            STYLES["broadcast"],
            8.0,
            kind="meeting",
            seed=(0,),
            noises=noises,
            vad_method="energy",
        ).waveform
        for noises in ([], [str(tmp_path / "hum.wav")])
    )
    hum_hz = 0.3 * 16000 / (2 * np.pi)
    levels = [level_db(each[:, 0], hum_hz, 16000, 0.0, 8.0) for each in (quiet, loud)]
    assert levels[1] > levels[0] + 10


def test_clips_that_cannot_be_used_are_left_out(
    clips_of: dict[str, list[str]], tmp_path: Path
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")

    def make(paths: list[str]) -> Conversation:
        return make_conversation(
            {"Ada": paths},
            STYLES["meeting"],
            5.0,
            kind="meeting",
            seed=(0,),
            vad_method="energy",
        )

    broken = str(tmp_path / "broken.wav")
    recording = make([broken, clips_of["Ada"][0]])
    assert recording.turns
    (sentence,) = recording.left_out
    assert "broken.wav" in sentence
    with raises_code("data"):
        make([broken])


def test_a_detector_that_is_not_installed_is_no_bad_clip(
    clips_of: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise MissingDependencyError("pip install silero-vad")

    monkeypatch.setattr("mvector.diarization.simulation.speech_segments", missing)
    with raises_code("missing-dependency"):
        make_conversation(clips_of, STYLES["meeting"], 5.0, kind="meeting", seed=(0,))
