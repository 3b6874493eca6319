"""What ``eval.py`` writes beside the calibration: figures, scores, report, comparison."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli.evaluate_options import Compare, Evaluate
from mvector.errors import DataError, EvaluationError
from mvector.evaluation.calibration import score_suffix
from mvector.evaluation.metadata import Metadata, read_metadata
from mvector.evaluation.reports.breakdown import break_down
from mvector.evaluation.reports.comparison import compare_scores
from mvector.evaluation.reports.grouping import DURATION, group_by
from mvector.evaluation.reports.page import (
    comparison_page,
    result_page,
    worst_sounds,
    write_page,
)
from mvector.evaluation.reports.pictures import (
    Picture,
    check_report_folder,
    comparison_pictures,
    result_pictures,
    save_pictures,
)
from mvector.evaluation.reports.provenance import provenance, write_json
from mvector.evaluation.reports.result_tables import comparison_tables, result_tables
from mvector.evaluation.reports.results import build_results
from mvector.evaluation.reports.scored import save_scores, scored_trials
from mvector.evaluation.reports.summary import summary
from mvector.evaluation.reports.tables import render_text
from mvector.evaluation.reports.verdicts import verdict_tables
from mvector.evaluation.reports.worst import worst_trials
from mvector.files import check_file_writable, check_writable, with_name, write_errors_as

if TYPE_CHECKING:
    from mvector.evaluation import Calibration, DetCurve
    from mvector.evaluation.run import VerificationResult

logger = logging.getLogger(__name__)

COMPARISON, PAGE = "comparison.json", "report.html"


class Outputs:
    """What is asked for beside the calibration; checked before the work, written after it.

    Relative clip paths start from ``root``; ``score_type`` is what the scores will be.
    """

    def __init__(self, args: Evaluate, folder: Path, root: str | None, score_type: str) -> None:
        self.folder, self.num_replicates = folder, args.bootstrap
        self.scores, self.report = args.save_scores, args.report
        self.columns, self.metadata = _breakdown_columns(args, root)
        self.results = _results_path(args.out, folder, f"results{score_suffix(score_type)}.json")
        if self.scores is not None:
            _require_writable(Path(self.scores), "--save_scores")
        if self.report is not None:
            check_report_folder(self.report)

    def measure(
        self,
        result: VerificationResult,
        model: dict[str, str],
        *,
        lists: Sequence[str],
        earlier: Calibration | None,
    ) -> dict[str, Any]:
        """All figures, and the scores written if that is asked for.

        Args:
            result: of the evaluation.
            model: its name, folder and fingerprint.
            lists: files that say what was compared, and with what.
            earlier: the model's calibration before this evaluation, if it was on other trials.
        """
        calibration = result.calibration
        about = {
            **model,
            "description": calibration.description,
            "scored_by": result.scored_by,
            "speakers_from": result.speakers.source,
        }
        scored, breakdowns = None, []
        worst: dict[str, list[Any]] = {"target": [], "nontarget": []}
        if result.scores is None:
            self.scores = None
            logger.warning(
                "%s trials are too many to keep their scores: no intervals, breakdown, worst "
                "trials or file of scores.",
                f"{len(result.trials):,}",
            )
        else:
            scored = scored_trials(result.scores, result.trials, about, result.speakers)
            if self.scores is not None:
                save_scores(scored, self.scores)
            for column in self.columns:
                groups = group_by(column, scored, self.metadata, progress=True)
                breakdowns.append(break_down(scored, groups, calibration.threshold_eer))
            worst = worst_trials(scored)
        results = {
            **provenance(lists, shlex.join(sys.argv)),
            "model": model,
            "description": calibration.description,
            "score_type": calibration.score_type,
            "scored_by": result.scored_by,
            "enrolment": result.enrolment,
            "num_clips_skipped": result.num_skipped,
            "num_trials_left_out": result.num_trials_left_out,
            "num_self_trials": result.num_self_trials,
            "speakers_from": result.speakers.source,
            **build_results(
                result.curve,
                calibration,
                scored=scored,
                quality=result.quality,
                earlier=earlier,
                num_replicates=self.num_replicates,
            ),
            "breakdowns": breakdowns,
            "worst_trials": worst,
        }
        return {**results, "summary": summary(results)}

    def write(self, results: dict[str, Any], curve: DetCurve) -> list[str]:
        """Write what is asked for of what :meth:`measure` gave; returns the lines to print."""
        if self.results is not None:
            write_json(results, self.results)
        page = None
        if self.report is not None:
            pictures = result_pictures(curve, results["score_type"])
            sounds = worst_sounds(results, self.report)
            page = _write_report(self.report, result_page(results, pictures, sounds), pictures)
        shown = [*result_tables(results), *verdict_tables(results)]
        tables = [f"\n{render_text(table)}" for table in shown]
        return [
            results["summary"]["text"],
            *tables,
            "",
            *_written_lines(self.results, self.scores, page),
        ]


def compare(args: Compare) -> list[str]:
    """Compare files of scores, write what is asked for, and return the lines to print."""
    out = None if args.out is None else _file_in(Path(args.out), COMPARISON)
    if out is not None:
        _require_writable(out, "--out")
    if args.report is not None:
        check_report_folder(args.report)
    comparison, curves = compare_scores(args.compare, num_replicates=args.bootstrap)
    comparison = {**provenance(args.compare, shlex.join(sys.argv)), **comparison}
    if out is not None:
        write_json(comparison, out)
    page = None
    if args.report is not None:
        pictures = comparison_pictures(curves)
        page = _write_report(args.report, comparison_page(comparison, pictures), pictures)
    tables = "\n\n".join(map(render_text, comparison_tables(comparison)))
    return [tables, *_written_lines(out, None, page)]


def _breakdown_columns(args: Evaluate, root: str | None) -> tuple[list[str], Metadata | None]:
    """What to part the trials by, and the metadata for it."""
    columns = [name for name in (args.by or "").split(",") if name]
    if args.metadata is None:
        unknown = [column for column in columns if column != DURATION]
        if unknown:
            raise DataError(
                f"--by {unknown[0]} needs --metadata: a table of the clips with columns 'path' and "
                f"'{unknown[0]}'; only '{DURATION}' needs none."
            )
        return columns or ([DURATION] if args.report is not None else []), None
    metadata = read_metadata(args.metadata, root)
    if not columns:
        raise DataError(
            f"--metadata needs --by and names of columns; '{args.metadata}' has "
            f"{', '.join(metadata.columns)}."
        )
    for column in columns:
        if column != DURATION:
            metadata.check_column(column)
    return columns, metadata


def _results_path(out: str | None, folder: Path, name: str) -> Path | None:
    """Where the figures go; beside a model folder that is read-only, nowhere."""
    if out is not None:
        path = _file_in(Path(out), name)
        _require_writable(path, "--out")
        return path
    path = with_name(folder).parent / name
    try:
        check_writable(path.parent)
    except OSError as error:
        logger.warning(
            "Cannot write '%s' (%s): the figures are printed only; choose another place with "
            "--out.",
            path,
            error.strerror or error,
        )
        return None
    return path


def _file_in(path: Path, name: str) -> Path:
    """The file that ``--out`` means: without a suffix it is a folder, there already or not."""
    is_folder = path.is_dir() or not (path.suffix or path.is_file())
    return path / name if is_folder else path


def _require_writable(path: Path, option: str) -> None:
    with write_errors_as(EvaluationError, f"'{path}'", f"choose another {option}"):
        check_file_writable(path)


def _write_report(folder: str, page: str, pictures: list[Picture]) -> Path:
    save_pictures(pictures, folder)
    path = Path(folder) / PAGE
    write_page(page, path)
    return path


def _written_lines(results: Path | None, scores: str | None, page: Path | None) -> list[str]:
    places = {"Figures": results, "Scores": scores, "Report": page}
    return [f"{what} written to {place}" for what, place in places.items() if place is not None]
