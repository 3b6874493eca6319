"""Sets of made-up recordings in two halves, whose people are not the same, with a library each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from mvector.audio.vad import VadMethod
from mvector.data.lists import ClipList
from mvector.diarization.rttm import write_rttm
from mvector.diarization.simulation import Conversation, Kind, make_conversation
from mvector.diarization.turn_taking import STYLES
from mvector.errors import DataError, count_of
from mvector.files import replacing_folder, write_atomically, write_errors_as
from mvector.progress import progress_bar

PARTS = ("dev", "test")
_MOST_ENROLMENT_CLIPS = 3
_CLIPS_FOR_ONE = 3  # of a person, for each clip that is kept for enrolment


@dataclass(frozen=True)
class SetOptions:
    """What recordings are made.

    Attributes:
        kind: see :func:`mvector.diarization.simulation.make_conversation`.
        style: one of :data:`mvector.diarization.turn_taking.STYLES`.
        num_recordings: of each part.
        num_people: fewest and most of a recording.
        minutes: shortest and longest recording.
        enrolled_share: share of the people that the library of their part has.
        seed: other recordings of the same people by another seed.
        vad_method: finds the speech in clips.
        noises: paths of recordings of noise.
    """

    kind: Kind
    style: str
    num_recordings: int
    num_people: tuple[int, int]
    minutes: tuple[float, float]
    enrolled_share: float
    seed: int
    vad_method: VadMethod = "silero"
    noises: Sequence[str] = ()


@dataclass(frozen=True)
class Person:
    """Clips to speak in recordings, and others to enrol."""

    name: str
    clips: Sequence[str]
    enrolment: Sequence[str]


@dataclass(frozen=True)
class MadePart:
    """What was written of one part, and why clips were left out, a sentence for each."""

    name: str
    num_people: int
    num_enrolled: int
    num_recordings: int
    duration_s: float
    left_out: Sequence[str]


def write_sets(lists: Sequence[ClipList], folder: Path, options: SetOptions) -> list[MadePart]:
    """Write recordings, their turns and a library for ``dev`` and for ``test``.

    ``PART/<kind>_00.wav`` and ``.rttm`` are a recording and its turns, ``PART/library/NAME/`` holds
    the clips to enrol some of the people by, which are in no recording. The people of each list are
    divided in halves, the same for every seed; those of one recording are of one list, so that not
    the corpus tells them apart. The folder appears whole or not at all.

    Raises:
        DataError: the folder is there already or cannot be written to; no list has enough people
            with three clips or more.
    """
    if folder.exists():
        raise DataError(f"'{folder}' is there already; choose another --out.")
    stems = [Path(clips.source).stem for clips in lists]
    if len(set(stems)) < len(stems):
        raise DataError("Two lists have the same name, which names their people; rename one.")
    halves = [_halves(clips) for clips in lists]
    groups = {part: [half[place] for half in halves] for place, part in enumerate(PARTS)}
    for part in PARTS:
        _require_people(groups[part], options.num_people[0], part)
    with (
        write_errors_as(DataError, f"'{folder}'", "choose another --out"),
        replacing_folder(folder) as new,
        progress_bar(
            total=len(PARTS) * options.num_recordings, desc="Conversations", unit="recording"
        ) as bar,
    ):
        made = []
        for number, part in enumerate(PARTS):
            (new / part).mkdir()
            duration_s, left_out = 0.0, set()
            for name, recording in _recordings(groups[part], number, options):
                _write_recording(new / part, name, recording)
                duration_s += len(recording.waveform) / recording.sample_rate
                left_out |= {*recording.left_out}
                bar.update()
            library = new / part / "library"
            num_enrolled, missing = _write_library(library, groups[part], number, options)
            made.append(
                MadePart(
                    name=part,
                    num_people=sum(map(len, groups[part])),
                    num_enrolled=num_enrolled,
                    num_recordings=options.num_recordings,
                    duration_s=duration_s,
                    left_out=sorted({*left_out, *missing}),
                )
            )
    return made


def _halves(clips: ClipList) -> tuple[list[Person], list[Person]]:
    """The people of a list who have clips enough, in two halves, chosen at random once for all."""
    people = []
    for label in np.unique(clips.labels):
        paths = [clips.paths[int(place)] for place in np.flatnonzero(clips.labels == label)]
        kept = min(len(paths) // _CLIPS_FOR_ONE, _MOST_ENROLMENT_CLIPS)
        if kept:
            name = f"{Path(clips.source).stem}_{label}"
            people.append(Person(name, paths[kept:], paths[:kept]))
    order = np.random.default_rng(0).permutation(len(people))
    middle = len(people) // 2
    first, second = order[:middle], order[middle:]
    return [people[place] for place in first], [people[place] for place in second]


def _require_people(groups: Sequence[Sequence[Person]], fewest: int, part: str) -> None:
    most = max(map(len, groups))
    if most < fewest:
        raise DataError(
            f"The lists have {count_of(most, 'person', 'people')} with {_CLIPS_FOR_ONE} clips or "
            f"more for a recording of {part}, which takes one half of a list, and {fewest} are "
            "needed; give longer lists, or lower --num_people."
        )


def _recordings(
    groups: Sequence[Sequence[Person]], part: int, options: SetOptions
) -> Iterator[tuple[str, Conversation]]:
    fewest, most = options.num_people
    large = [group for group in groups if len(group) >= fewest]
    for number in range(options.num_recordings):
        rng = np.random.default_rng([options.seed, part, number])
        group = large[int(rng.integers(len(large)))]
        num_people = int(rng.integers(fewest, min(most, len(group)) + 1))
        chosen = [group[place] for place in rng.permutation(len(group))[:num_people]]
        yield (
            f"{options.kind}_{number:02d}",
            make_conversation(
                {person.name: person.clips for person in chosen},
                STYLES[options.style],
                60.0 * rng.uniform(*options.minutes),
                kind=options.kind,
                seed=(options.seed, part, number, 1),
                noises=options.noises,
                vad_method=options.vad_method,
            ),
        )


def _write_recording(folder: Path, name: str, recording: Conversation) -> None:
    def write(file: Path) -> None:
        soundfile.write(
            file, recording.waveform, recording.sample_rate, format="WAV", subtype="PCM_16"
        )

    write_atomically(folder / f"{name}.wav", write)
    write_rttm(folder / f"{name}.rttm", {name: recording.turns})


def _write_library(
    folder: Path, groups: Sequence[Sequence[Person]], part: int, options: SetOptions
) -> tuple[int, list[str]]:
    """Copy the clips of a share of the people of each list.

    Returns:
        How many people they are, and which clips are missing, a sentence for each.
    """
    folder.mkdir()
    rng = np.random.default_rng([options.seed, part])
    enrolled = [
        group[place]
        for group in groups
        for place in rng.permutation(len(group))[: round(options.enrolled_share * len(group))]
    ]
    missing = []
    for person in enrolled:
        (folder / person.name).mkdir()
        for number, path in enumerate(person.enrolment):
            copy = folder / person.name / f"{number}{Path(path).suffix}"
            if Path(path).is_file():
                write_atomically(copy, partial(shutil.copyfile, path))
            else:
                missing.append(f"'{path}' does not exist.")
    return len(enrolled), missing
