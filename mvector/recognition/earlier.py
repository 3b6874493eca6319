"""Labels of people, in a recording and across recordings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mvector.diarization.result import Speaker
from mvector.errors import CheckpointError, DataError
from mvector.files import read_errors_as, read_utf8
from mvector.recognition.judge import Judge

_NUMBERED = re.compile(r"Speaker (\d+)")


@dataclass(frozen=True)
class Earlier:
    """The unknown people of an earlier recording.

    Attributes:
        labels: of each, such as ``Speaker 2``.
        units: ``(people, embd_dim)`` of length 1.
    """

    labels: tuple[str, ...]
    units: np.ndarray


def read_earlier(path: str | os.PathLike[str], fingerprint: str) -> Earlier:
    """The people of a file that :meth:`Diarization.save` wrote as JSON.

    Args:
        path: the file.
        fingerprint: of the model in use, which must have written it.

    Raises:
        DataError: it cannot be read, or is no such file.
        CheckpointError: it is another model's.
    """
    with read_errors_as(DataError, f"'{path}'"):
        text = read_utf8(path)
    try:
        values = json.loads(text)
        people = [
            (str(each["label"]), each["name"], each["embedding"]) for each in values["speakers"]
        ]
        found = str(values["model_fingerprint"])
        units = np.array([vector for _, _, vector in people], np.float64).reshape(len(people), -1)
        if not np.isfinite(units).all():
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' is no JSON of mvector who; give a file that --out wrote as .json."
        ) from error
    if found != fingerprint:
        raise CheckpointError(
            f"'{path}' was made by model {found}, not by {fingerprint}; use one for both.",
            code="model-mismatch",
        )
    unknown = [place for place, (_, name, _) in enumerate(people) if name is None]
    return Earlier(tuple(people[place][0] for place in unknown), units[unknown])


def labels_of(
    people: Sequence[Speaker],
    order: Sequence[int],
    judge: Judge,
    earlier: Earlier | None,
) -> list[Speaker]:
    """The people with their labels: names, or ``Speaker 1`` in an order.

    Who is an unknown person of an earlier recording has the label of that one; nobody else has it.

    Raises:
        MVectorError: there are earlier people, and no threshold to compare by.
    """
    labels = {place: person.name for place, person in enumerate(people) if person.name}
    used = {*labels.values()}
    if earlier is not None and len(earlier.labels):
        used |= {*earlier.labels}
        labels |= _matched(
            people, [k for k in range(len(people)) if k not in labels], judge, earlier
        )
    number = max((int(found[1]) for found in map(_NUMBERED.fullmatch, used) if found), default=0)
    for place in order:
        if place not in labels:
            number += 1
            labels[place] = f"Speaker {number}"
    return [replace(person, label=labels[place]) for place, person in enumerate(people)]


def _matched(
    people: Sequence[Speaker], unknown: Sequence[int], judge: Judge, earlier: Earlier
) -> dict[int, str]:
    """Which unknown people are earlier ones, the most alike first."""
    threshold = judge.threshold
    if not unknown:
        return {}
    cosines = np.stack([people[place].embedding for place in unknown]) @ earlier.units.T
    labels: dict[int, str] = {}
    while cosines.size and cosines.max() >= threshold:
        row, column = np.unravel_index(int(cosines.argmax()), cosines.shape)
        labels[unknown[int(row)]] = earlier.labels[int(column)]
        cosines[row], cosines[:, column] = -np.inf, -np.inf
    return labels
