"""What an adaptation gained, where it is written, and how that is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mvector.cli.calibration_report import NO_GROUND, written_line
from mvector.errors import CheckpointError
from mvector.evaluation.adaptation import MIN_PEOPLE, MIN_PEOPLE_OF_THRESHOLDS, Plan
from mvector.evaluation.reports.tables import Table, percent, render_text
from mvector.files import replacing_folder, write_errors_as

if TYPE_CHECKING:
    from mvector.embedding.listening import Listening
    from mvector.evaluation import Calibration
    from mvector.models.description import ModelInfo
    from mvector.recognition.adapting import Answers, Gain

_HOW_MANY = (
    f"{MIN_PEOPLE} people are enough to adapt, {MIN_PEOPLE_OF_THRESHOLDS} to set a threshold"
)


def gain_lines(gain: Gain) -> list[str]:
    """Errors of the verdicts before and after, and on whom they were measured."""
    num_strangers, num_own = gain.after.counts[:, 0]
    whom = (
        "people held out: either half adapted it, the other was measured"
        if gain.is_held_out
        else "the very people that adapted it, which flatters: too few to hold some out"
    )
    header = ("", "equal errors", "strangers accepted", "cannot tell", "own refused", "cannot tell")
    rows = [
        _row(name, answers)
        for name, answers in (("before", gain.before), ("adapted", gain.after))
        if answers is not None
    ]
    title = (
        f"Verdicts on {whom}\n({num_strangers:,} pairs of two people and {num_own:,} of one; equal "
        f"errors of the similarity alone: {percent(gain.eer)}):"
    )
    return [render_text(Table(title, header, rows)), ""]


def why_not_written(plan: Plan, num_people: int) -> str:
    """What there is too little of."""
    if not plan.keeps_ratios:
        return NO_GROUND
    if num_people < MIN_PEOPLE:
        return f"NOT written: there are {num_people} people; {_HOW_MANY}."
    return (
        "NOT written: this model's calibration does not know how alike a voice is to strangers of "
        f"yours, and it takes {MIN_PEOPLE_OF_THRESHOLDS} people with 30 comparisons of one person "
        "to set its thresholds; add people, or write them with --force."
    )


def what_was_written(plan: Plan, adapted: Calibration, where: Path) -> str:
    """What decides from now on."""
    num_people = adapted.num_own_people or 0
    if not plan.keeps_ratios:
        return written_line(adapted, where / "model.yml")
    if plan.sets_thresholds:
        return (
            f"Written to {where}: thresholds that hold for clips like these, and the voiceprints "
            f"of {num_people} people, without names."
        )
    return (
        f"Written to {where}: the voiceprints of {num_people} people, without names, which others "
        f"are judged beside. Thresholds stay: {_HOW_MANY}."
    )


def write_into_folder(
    info: ModelInfo,
    adapted: Calibration,
    people: np.ndarray,
    *,
    listening: Listening,
    out: str | None,
) -> Path:
    """Write an adaptation into the model's folder, or with ``out`` into a copy of it.

    Args:
        info: of the model.
        adapted: its calibration.
        people: a voiceprint of each, ``(people, D)``.
        listening: how much of clips was heard.
        out: the copy to make.

    Returns:
        The folder.

    Raises:
        CheckpointError: it cannot be written.
    """
    from mvector.models.description import update_model_folder
    from mvector.scoring.strangers import save_own_cohort

    assert info.folder is not None
    folder = info.folder
    with _copy_of(folder, Path(out)) if out else nullcontext(folder) as changed:
        if len(people) >= MIN_PEOPLE:
            save_own_cohort(changed, people, info.fingerprint)
        update_model_folder(
            changed, calibration=adapted.to_dict(), listening=listening.to_dict(), metrics={}
        )
    return Path(out) if out else folder


@contextmanager
def _copy_of(folder: Path, out: Path) -> Iterator[Path]:
    """A copy of a model folder, which is at its place once the block ends."""
    from mvector.models.description import DESCRIPTION, TRAINING_CONFIG, WEIGHTS
    from mvector.models.onnx_file import ONNX_FILE
    from mvector.scoring.strangers import COHORT, OWN_COHORT

    with (
        write_errors_as(CheckpointError, f"'{out}'", "choose another --out"),
        replacing_folder(out) as new,
    ):
        for name in (WEIGHTS, ONNX_FILE, DESCRIPTION, TRAINING_CONFIG, COHORT, OWN_COHORT):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, new / name)
        yield new


def _row(name: str, answers: Answers) -> tuple[str, ...]:
    def rate(count: int, total: int) -> str:
        return f"{percent(count / total)} ({count:,})"

    cells = [rate(count, total) for total, *counts in answers.counts.tolist() for count in counts]
    return (name, percent(answers.eer), *cells)
