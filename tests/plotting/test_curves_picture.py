"""Curves of several runs: what is read of their folders, and what is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code

from mvector.plotting.curves import curves_figure, read_run


def write_run(folder: Path, rates: list[float | None]) -> Path:
    (folder / "best_model").mkdir(parents=True)
    points = [
        {"step": 10 * k, "time": float(k), "train/loss": 5.0 - k, "train/accuracy": 0.1 * k}
        for k in range(3)
    ]
    points[1]["train/loss"] = None  # type: ignore[assignment]
    points += [{"step": 10 * k, "eval/eer": rate} for k, rate in enumerate(rates, 1)]  # type: ignore
    lines = [json.dumps(point) for point in points] + ['{"step": 30, "train/lo']
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    return folder


def test_a_run_is_named_by_its_folder_a_model_in_it_or_its_records(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [0.2, 0.1])
    for named in (run, run / "best_model", run / "metrics.jsonl"):
        curves = read_run(named)
        assert curves.name == str(run)
        assert curves.best_eer == 0.1
        steps, losses = curves.curves["train/loss"]
        assert steps.tolist() == [0, 10, 20]
        np.testing.assert_array_equal(losses, [5.0, np.nan, 3.0])
        assert "train/learning_rate" not in curves.curves


def test_a_folder_without_records_is_refused_with_the_runs_in_it(tmp_path: Path) -> None:
    write_run(tmp_path / "EcapaTdnn_Fbank", [])
    with pytest.raises(Exception, match="give the run in it: EcapaTdnn_Fbank"):
        read_run(tmp_path)
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "missing"):
        with raises_code("data"):
            read_run(tmp_path / nothing)
    (tmp_path / "empty" / "metrics.jsonl").write_text('{"step": 1, "train/loss": null}\n')
    with raises_code("data"):
        read_run(tmp_path / "empty")


def test_runs_are_drawn_beside_each_other_under_names_that_differ(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / name, [0.2, 0.1])) for name in ("a/run", "b/run")]
    runs.append(read_run(write_run(tmp_path / "c" / "run", [])))
    figure, sentence = curves_figure(runs)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["a/run: EER 10.00 % at best", "b/run: EER 10.00 % at best", "c/run"]
    assert sentence == ""
    loss, accuracy, rates, learning_rate = figure.axes
    assert [len(axes.lines) for axes in (loss, accuracy, learning_rate)] == [3, 3, 0]
    assert [text.get_text() for text in learning_rate.texts] == ["not recorded"]
    np.testing.assert_allclose(rates.lines[0].get_ydata(), [20.0, 10.0])
