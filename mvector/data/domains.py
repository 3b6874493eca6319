"""Which domain (a corpus, a channel, a language) each speaker of a training list belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mvector.data.lists import ClipList
from mvector.errors import DataError, count_of, shorten_list
from mvector.files import read_errors_as, read_utf8

_MAX_SHOWN = 5


@dataclass(frozen=True)
class Domains:
    """The domains of the speakers of a training list.

    Attributes:
        names: of the domains, sorted.
        of_speaker: ``(speakers,)`` int64, each one's place in ``names``; -1 for a class that has
            no clip.
    """

    names: tuple[str, ...]
    of_speaker: np.ndarray

    def clips(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Positions of each domain's clips in a list with ``labels (clips,)``."""
        of_clip = self.of_speaker[labels]
        return {name: np.flatnonzero(of_clip == place) for place, name in enumerate(self.names)}


def read_domains(path: str | os.PathLike[str], clips: ClipList, num_speakers: int) -> Domains:
    """Read a file with a line ``speaker number<TAB>domain`` for each speaker of a list.

    Args:
        path: the file, UTF-8.
        clips: the training list.
        num_speakers: classes that a classifier of it has, before any speed classes.

    Raises:
        DataError: the file is missing or malformed; it leaves a speaker out, names one that the
            list does not have or one in two domains; there is one domain only, or one with a single
            speaker, from whom nobody could be told.
    """
    name = os.fspath(path)
    domain_of = _read_lines(name)
    used = set(clips.labels.tolist())
    if unknown := sorted(domain_of.keys() - used):
        raise DataError(
            f"'{name}' has a domain for {_speakers(unknown)}, which '{clips.source}' does not "
            "have; take the lines out, or name the file of this list.",
            code="domains-do-not-fit",
        )
    if missing := sorted(used - domain_of.keys()):
        raise DataError(
            f"'{name}' has no domain for {_speakers(missing)} of '{clips.source}'; add a line "
            "'speaker number<TAB>domain' for each.",
            code="domains-do-not-fit",
        )
    _require_several(name, domain_of)
    names = tuple(sorted(set(domain_of.values())))
    of_speaker = np.full(num_speakers, -1, dtype=np.int64)
    of_speaker[list(domain_of)] = [names.index(domain) for domain in domain_of.values()]
    return Domains(names, of_speaker)


def _read_lines(name: str) -> dict[int, str]:
    with read_errors_as(DataError, f"The list of domains '{name}'", code="list-not-found"):
        lines = read_utf8(name).split("\n")
    domain_of: dict[int, str] = {}
    mistakes = []
    for number, line in enumerate(lines, start=1):
        label, _, domain = (part.strip() for part in line.partition("\t"))
        if not line.strip():
            continue
        if not label.isdecimal() or not domain:
            mistakes.append(f"line {number}: '{line[:60]}' is no 'speaker number<TAB>domain'")
        elif domain_of.setdefault(int(label), domain) != domain:
            mistakes.append(
                f"line {number}: speaker {label} is in '{domain}', and above in "
                f"'{domain_of[int(label)]}'"
            )
    if mistakes:
        more = f"; and {len(mistakes) - _MAX_SHOWN} more" if len(mistakes) > _MAX_SHOWN else ""
        raise DataError(
            f"The list of domains '{name}' has {count_of(len(mistakes), 'wrong line')}: "
            f"{'; '.join(mistakes[:_MAX_SHOWN])}{more}.",
            code="list-malformed",
        )
    return domain_of


def _require_several(name: str, domain_of: Mapping[int, str]) -> None:
    found, num_speakers = np.unique(list(domain_of.values()), return_counts=True)
    if len(found) < 2:
        raise DataError(
            f"'{name}' has one domain only, '{found[0]}'; training within domains needs two: leave "
            "dataset_conf.domains out.",
            code="domains-do-not-fit",
        )
    if num_speakers.min() < 2:
        raise DataError(
            f"The domain '{found[num_speakers.argmin()]}' of '{name}' has a single speaker, who "
            "can be told from nobody; join it with another domain, or leave the speaker out of the "
            "training list.",
            code="domains-do-not-fit",
        )


def _speakers(labels: list[int]) -> str:
    shown = shorten_list([str(label) for label in labels])
    return f"speaker{'s' if len(labels) > 1 else ''} {shown}"
