"""VoxCeleb 1 and 2, in the layouts that people have, with the Vox1-O, -E and -H trials."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from mvector.corpus.recipes.clip import Clip, keep_from_training
from mvector.corpus.recipes.pairs import PublishedTrials, read_trial_files
from mvector.corpus.recipes.walk import (
    existing_folder,
    normalised_name,
    not_found_error,
    walk_audio,
)

logger = logging.getLogger(__name__)

_SPEAKER = re.compile(r"id\d{5}")
_FIRST_OF_VOX1 = "id10001"  # VoxCeleb 2 has id00012 to id09272, VoxCeleb 1 id10001 to id11251
_TEST_ROOT = re.compile(r"(vox(celeb)?\d?[-_])?test([-_](wav|flac|aac|m4a))?")
_VOX1_TEST = {f"id{number}" for number in range(10270, 10310)}
# Of one clip in several formats, the one that decodes best; video is left to others.
_PREFERENCE = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac")
_NAMED_BY_E_AND_H = 1000  # at least
_EXAMPLE = "id10270/5r0dWxy17C8/00001.wav"


def scan_voxceleb(
    path: str | os.PathLike[str], trials: Sequence[str] = ()
) -> tuple[list[Clip], list[PublishedTrials]]:
    """Clips of VoxCeleb 1 and 2, and trials in terms of them.

    A clip lies anywhere beneath ``path`` in a speaker's folder, ``id10001/<video>/00001.wav``. The
    40 test speakers of VoxCeleb 1 and those beneath a folder with *test* in its name are test
    speakers, all others train; speakers named in a trial file do not train. A clip that is there
    in several formats counts once. Source: Nagrani et al., "VoxCeleb", Interspeech 2017; Chung et
    al., "VoxCeleb2", Interspeech 2018.

    Args:
        path: VoxCeleb 1, VoxCeleb 2, or the folder that holds both.
        trials: files such as ``veri_test2.txt`` (Vox1-O cleaned), ``list_test_all2.txt`` (E) and
            ``list_test_hard2.txt`` (H), lines ``label clip clip``.

    Raises:
        DataError: there are no clips in speakers' folders, or a trial file cannot be used.
    """
    root = existing_folder(path)
    clip_of = _scan(root)
    published = read_trial_files(
        trials,
        lambda name: clip_of[key].key if (key := _name_of(name)) in clip_of else None,
        _EXAMPLE,
    )
    clips = list(clip_of.values())
    if trials:
        clips = keep_from_training(clips, _speakers_named(published, clips))
    return clips, published


def _scan(root: Path) -> dict[str, Clip]:
    """Each clip by its name ``id10270/5r0dWxy17C8/00001``, in the best format."""
    found: dict[str, tuple[int, str, bool]] = {}
    num_others = num_copies = 0
    in_test_root = _TEST_ROOT.fullmatch(root.name.lower()) is not None
    for path, parents in walk_audio(root):
        suffix = os.path.splitext(path)[1].lower()
        name = _name_of("/".join((root.name, *parents, os.path.basename(path))))
        is_other = any(normalised_name(folder).startswith("cnceleb") for folder in parents)
        if name is None or suffix not in _PREFERENCE or is_other:
            num_others += 1
            continue
        place = _PREFERENCE.index(suffix)
        is_test = name[:7] in _VOX1_TEST or in_test_root or _in_test_folder(parents)
        if name in found:
            num_copies += 1
            place, path, is_test = min((place, path, is_test), found[name])
        found[name] = (place, path, is_test)
    if not found:
        expected = f"<part>/wav/{_EXAMPLE} or <part>/aac/id00012/21Uxsk56VDQ/00001.m4a"
        raise not_found_error("No clips in speakers' folders were found in", root, expected)
    if num_copies:
        logger.info("%d clips are there in more than one format or place.", num_copies)
    if num_others:
        logger.warning(
            "%d files are left out, being video, another corpus's or in no speaker's folder.",
            num_others,
        )
    logger.info(
        "VoxCeleb 1: %d speakers, VoxCeleb 2: %d speakers.",
        len({name[:7] for name in found if name >= _FIRST_OF_VOX1}),
        len({name[:7] for name in found if name < _FIRST_OF_VOX1}),
    )
    return {
        name: Clip(path, name[:7], "test" if is_test else "train")
        for name, (_, path, is_test) in sorted(found.items())
    }


def _name_of(path: str) -> str | None:
    """``id10270/5r0dWxy17C8/00001``, from the speaker's folder on, without the suffix."""
    parts = os.path.splitext(path)[0].split("/")
    for place, part in enumerate(parts[:-1]):
        if _SPEAKER.fullmatch(part):
            return "/".join(parts[place:])
    return None


def _in_test_folder(folders: tuple[str, ...]) -> bool:
    # vox1_test_wav, test; the folder of a video may be named anything
    above = itertools.takewhile(lambda name: not _SPEAKER.fullmatch(name), folders)
    return any("test" in re.split(r"[^a-z]+", name.lower()) for name in above)


def _speakers_named(published: Sequence[PublishedTrials], clips: list[Clip]) -> set[str]:
    named = {
        name[:7]
        for trials in published
        for path in (*trials.key_of, *trials.missing)
        if (name := _name_of(path)) is not None
    }
    present = {clip.speaker for clip in clips}
    first = {speaker for speaker in present if speaker >= _FIRST_OF_VOX1}
    # E names all 1,251 speakers of VoxCeleb 1, H 1,190 of them: nobody trains on the other 61.
    if sum(speaker >= _FIRST_OF_VOX1 for speaker in named) >= _NAMED_BY_E_AND_H:
        named |= first
        logger.info(
            "The trials are those of Vox1-E or -H: all %d speakers of VoxCeleb 1 are test speakers "
            "and training is on VoxCeleb 2 alone.",
            len(first),
        )
    logger.info("%d speakers of the trials are left out of training.", len(named & present))
    return named
