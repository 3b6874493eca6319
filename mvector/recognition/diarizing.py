"""Who spoke when in a recording, by name: its voices, and who of the library they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mvector.audio import SILENCE_DB, AudioSource, ChannelOf, source_name, split_channel
from mvector.diarization.channels import channels_of_people
from mvector.diarization.crosstalk import Echo, find_echoes
from mvector.diarization.hearing import Heard, best_vad_method, hear
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.resegmentation import Stretches
from mvector.diarization.result import Diarization, Speaker, turns_of, with_overlaps
from mvector.diarization.second_voice import second_voices
from mvector.diarization.turns import Turn
from mvector.diarization.voice_clips import voice_clips
from mvector.diarization.voices import Voices, find_voices
from mvector.embedding.encoder import SpeakerEncoder
from mvector.recognition.answers import Recognition
from mvector.recognition.earlier import Earlier, labels_of, read_earlier
from mvector.recognition.judge import Judge
from mvector.recognition.naming import name_voices
from mvector.recognition.searching import Search

_NO_NETWORK = (
    "speech was found by its level alone, which takes noise and music for speech: "
    "pip install silero-vad onnxruntime"
)
_SHORT_S, _QUIET_DB = 0.5, -55.0  # such recordings may hold speech that is not found


@dataclass(frozen=True)
class _Part:
    """A recording, or a channel of it, and the voices in it."""

    source: AudioSource
    channel: int | None
    heard: Heard
    voices: Voices
    bounds: tuple[int, int]  # on the number of people


def diarize(
    encoder: SpeakerEncoder,
    source: AudioSource,
    judge: Judge,
    *,
    options: DiarizationOptions | None = None,
    search: Search | None = None,
    same_as: str | os.PathLike[str] | None = None,
    progress: bool = False,
    on_heard: Callable[[float], object] = lambda heard_s: None,
) -> Diarization:
    """Who spoke when; see :meth:`mvector.recognition.MVectorPredictor.diarize`.

    Args:
        encoder: the model.
        source: the recording, which can be read more than once.
        judge: the model's rule of verdicts.
        options: what is known of the recording.
        search: names the people; ``None`` leaves them unknown.
        same_as: JSON of an earlier recording.
        progress: show bars.
        on_heard: as :func:`mvector.diarization.hearing.hear` has it, of each channel.
    """
    options = options or DiarizationOptions()
    if search is not None:
        _ = judge.threshold  # without one there is no answer: say so before working
        search.library.identify_embedding(np.ones(encoder.embd_dim), within=search.within)
    earlier = None if same_as is None else read_earlier(same_as, encoder.fingerprint)
    name, channels = source_name(source), _channels_of(encoder, source, options)
    echoes = _echoes_in(encoder, source, channels)
    parts = []
    for channel, echo in zip(channels, echoes, strict=True):
        own = options if channel is None else replace(options, num_speakers=1)
        sound = source if channel is None else ChannelOf(source, channel)
        heard = hear(
            encoder,
            sound,
            window_s=options.window_s,
            hop_s=options.hop_s,
            vad_method=options.vad_method,
            one_voice=own.bounds[1] == 1,
            not_theirs=None if echo is None else echo.places,
            progress=progress,
            on_heard=on_heard,
        )
        if len(heard.units) or channel is None:
            parts.append(_Part(sound, channel, heard, find_voices(heard, own, name), own.bounds))
    people, turns = _people_and_turns(encoder, parts, options, judge, search, earlier)
    return Diarization(
        name.strip("'"),
        max((part.heard.duration_s for part in parts), default=0.0),
        turns,
        people,
        encoder.fingerprint,
        tuple(_notes(channels, echoes, parts, options)),
    )


def _channels_of(
    encoder: SpeakerEncoder, source: AudioSource, options: DiarizationOptions
) -> tuple[int | None, ...]:
    """The channels that hold a person each; ``None``: the recording as one."""
    is_chosen = split_channel(source)[1] is not None or encoder.channel != "auto"
    if is_chosen or options.bounds[1] < 2:
        return (None,)
    return channels_of_people(source, encoder.listening.limits) or (None,)


def _echoes_in(
    encoder: SpeakerEncoder, source: AudioSource, channels: tuple[int | None, ...]
) -> tuple[Echo | None, ...]:
    """What each channel holds of the other one, where there are two with a person each."""
    first, *others = channels
    if first is None or others[0] is None:
        return (None,)
    return find_echoes(source, (first, others[0]), encoder.listening.limits)


def _notes(
    channels: Sequence[int | None],
    echoes: Sequence[Echo | None],
    parts: Sequence[_Part],
    options: DiarizationOptions,
) -> list[str]:
    """What there is to know of how a recording was heard."""
    notes = []
    if (options.vad_method or best_vad_method()) == "energy":
        notes.append(_NO_NETWORK)
    if len(channels) > 1:
        which = " and ".join(map(str, channels))
        notes.append(
            f"one person a channel: channels {which} hold different voices and were heard one by "
            "one; --channel mix hears them as one recording"
        )
    notes += [
        f"channel {channel} holds what is said in the other one, {-echo.level_db:.0f} dB below its "
        "own speech, which was left out"
        for channel, echo in zip(channels, echoes, strict=True)
        if echo is not None
    ]
    odd = parts[0].heard.channels if parts else None
    if odd is not None and odd.caution == "empty":
        notes.append(str(odd))
    if not any(len(part.voices.cores) for part in parts):
        notes.append(f"no speech was found{_why_silent(parts)}")
    return notes


def _why_silent(parts: Sequence[_Part]) -> str:
    """What there may be to it that no speech was found."""
    duration_s = max((part.heard.duration_s for part in parts), default=0.0)
    level_db = max((part.heard.level_db for part in parts), default=-np.inf)
    if duration_s < _SHORT_S:
        return f": the recording has {duration_s:.1f} s"
    if level_db < SILENCE_DB:
        return ": the recording is silent; see whether the right channel is heard"
    if level_db < _QUIET_DB:
        return f": the recording is very quiet (level {level_db:.0f} dB)"
    return ""


def _people_and_turns(
    encoder: SpeakerEncoder,
    parts: Sequence[_Part],
    options: DiarizationOptions,
    judge: Judge,
    search: Search | None,
    earlier: Earlier | None,
) -> tuple[tuple[Speaker, ...], tuple[Turn, ...]]:
    """The people of all parts in the order of their first words, and all turns."""
    people: list[Speaker] = []
    firsts: list[float] = []
    divided: list[tuple[Stretches, int]] = []
    for part in parts:
        (places, voices), own = _people_of(encoder, part, search)
        divided.append(((places, voices), len(people)))
        people += own
        firsts += [float(places[voices == k, 0].min()) for k in range(len(own))]
    order = np.argsort(firsts, kind="stable").tolist()
    people = labels_of(_one_voice_each(people), order, judge, earlier)
    turns = [
        turn
        for stretches, first in divided
        for turn in turns_of(stretches, people[first:], options.pause_s())
    ]
    return tuple(people[place] for place in order), with_overlaps(turns)


def _people_of(
    encoder: SpeakerEncoder, part: _Part, search: Search | None
) -> tuple[Stretches, list[Speaker]]:
    """Who speaks when in a recording or channel, and who they are, where they are recognised."""
    voices = part.voices
    results: list[Recognition | None] = [None] * len(voices.cores)
    if search is not None and len(voices.cores):
        voices, results = name_voices(encoder, part.source, part.heard, voices, search, part.bounds)
    second = second_voices(part.heard, voices)
    places = np.concatenate([voices.places, second[0]])
    numbers = np.concatenate([voices.voices, second[1]])
    seconds = np.bincount(numbers, places[:, 1] - places[:, 0], minlength=len(voices.cores))
    people = [
        Speaker("", each_s, core, channel=part.channel)
        for each_s, core in zip(seconds.tolist(), voices.cores, strict=True)
    ]
    return (places, numbers), [
        person
        if result is None
        else replace(
            person,
            name=result.name,
            match=result.candidates[0].name,
            score=result.score,
            threshold=result.threshold,
            margin=result.margin,
            quality=result.quality,
            reasons=result.reasons,
        )
        for person, result in zip(people, results, strict=True)
    ]


def _one_voice_each(people: Sequence[Speaker]) -> list[Speaker]:
    """A name stays with the voice that is most alike; other voices are somebody unknown."""
    best: dict[str, int] = {}
    for place, person in enumerate(people):
        if person.name is not None:
            rival = best.setdefault(person.name, place)
            if (person.score or 0.0) > (people[rival].score or 0.0):
                best[person.name] = place
    kept = {*best.values()}
    return [
        person if place in kept else replace(person, name=None)
        for place, person in enumerate(people)
    ]


def clip_of(
    encoder: SpeakerEncoder, source: AudioSource, found: Diarization, label: str
) -> AudioSource:
    """The clip ``(samples, rate)`` of one person; see :meth:`MVectorPredictor.voice_of`."""
    (speaker,) = (person for person in found.speakers if person.label == label)
    sound = source if speaker.channel is None else ChannelOf(source, speaker.channel)
    own = [(turn.start_s, turn.end_s) for turn in found.turns if turn.speaker == label]
    stretches = _alone(found.turns, label) or own
    return voice_clips(encoder, sound, [stretches])[0], encoder.sample_rate


def _alone(turns: Sequence[Turn], label: str) -> list[tuple[float, float]]:
    """Where one person speaks and nobody else does, of turns by their starts."""
    alone: list[tuple[float, float]] = []
    others = [turn for turn in turns if turn.speaker != label]
    for turn in turns:
        if turn.speaker != label:
            continue
        start_s = turn.start_s
        for other in others:
            if other.start_s >= turn.end_s:
                break
            if other.start_s > start_s:
                alone.append((start_s, other.start_s))
            start_s = max(start_s, other.end_s)
        if start_s < turn.end_s:
            alone.append((start_s, turn.end_s))
    return alone
