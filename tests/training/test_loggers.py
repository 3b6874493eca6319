"""Curves that survive a killed process, a full disk and a resumed run; what the log line tells."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from mvector.compute.distributed import World
from mvector.errors import DataError, MissingDependencyError, MVectorError
from mvector.training.loggers import MetricLogger, copy_metrics, draw_curves, read_metrics
from mvector.training.progress import NanGuard, Progress
from mvector.training.step import BatchResult

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _without_visualdl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visualdl", None)


def curves_of(folder: Path, **options: Any) -> MetricLogger:
    return MetricLogger(folder / "run" / "metrics.jsonl", folder / "log" / "run", **options)


def write_points(folder: Path, steps: range, **options: Any) -> None:
    with curves_of(folder, **options) as curves:
        for step in steps:
            curves.log(step, loss=float(step))


def steps_of(folder: Path, name: str = "metrics.jsonl") -> list[int]:
    return [point["step"] for point in read_metrics(folder / "run" / name)]


# ---- metrics.jsonl --------------------------------------------------------------------------


def test_a_point_is_on_disk_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    before = time.time()
    with curves_of(tmp_path) as curves:
        curves.log(3, **{"train/loss": 1.5})
        (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    point = json.loads(line)
    assert point["step"] == 3
    assert point["train/loss"] == 1.5
    assert before - 0.001 <= point["time"] <= time.time() + 0.001


def test_a_new_run_begins_new_curves_and_keeps_what_a_dead_one_left(tmp_path: Path) -> None:
    for steps in (range(5), range(2), range(0), range(1)):
        write_points(tmp_path, steps)
    assert steps_of(tmp_path) == [0]
    assert steps_of(tmp_path, "metrics.1.jsonl") == [0, 1, 2, 3, 4]
    assert steps_of(tmp_path, "metrics.2.jsonl") == [0, 1]
    assert not (tmp_path / "run" / "metrics.3.jsonl").exists()


def test_a_resumed_run_has_no_point_twice(tmp_path: Path) -> None:
    write_points(tmp_path, range(10))  # killed here; the last checkpoint was that of step 6
    write_points(tmp_path, range(7, 12), resume_step=6)
    assert steps_of(tmp_path) == list(range(12))


def test_an_evaluation_that_is_repeated_behind_the_resumed_step_is_there_once(
    tmp_path: Path,
) -> None:
    with curves_of(tmp_path) as curves:
        curves.log(6, loss=1.0)
        curves.log(6, eer=0.1)  # killed before the checkpoint behind the evaluation
    with curves_of(tmp_path, resume_step=6) as curves:
        curves.log(6, eer=0.1)
        curves.log(6, threshold=0.5)
        curves.log(7, loss=2.0, eer=0.2)
    points = [list(point)[2:] for point in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert points == [["loss"], ["eer"], ["threshold"], ["loss", "eer"]]


def test_a_run_that_goes_on_elsewhere_takes_its_points_along(tmp_path: Path) -> None:
    write_points(tmp_path, range(10))
    write_points(tmp_path / "new", range(3))  # of a run that died before its first checkpoint
    copy_metrics(tmp_path / "run" / "metrics.jsonl", tmp_path / "new" / "run" / "metrics.jsonl")
    write_points(tmp_path / "new", range(7, 9), resume_step=6)
    assert steps_of(tmp_path / "new") == list(range(9))
    assert steps_of(tmp_path / "new", "metrics.1.jsonl") == [0, 1, 2]
    assert steps_of(tmp_path) == list(range(10))


@pytest.mark.parametrize("torn", ['{"time": 1.0, "st', "\x00\x00\x00", "\n\n", '"text"'])
def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path, torn: str) -> None:
    write_points(tmp_path, range(3))
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write(torn)
    assert steps_of(tmp_path) == [0, 1, 2]
    write_points(tmp_path, range(3, 5), resume_step=2)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3, 4]


def test_values_that_json_cannot_hold_become_null(tmp_path: Path) -> None:
    with curves_of(tmp_path) as curves:
        curves.log(0, loss=math.nan, speed=math.inf, accuracy=0.5)
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    point = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (point["loss"], point["speed"], point["accuracy"]) == (None, None, 0.5)


def test_a_full_disk_ends_the_curves_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class FullDisk:
        name = "metrics.jsonl"

        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    curves = curves_of(tmp_path)
    curves._file.close()
    curves._file = FullDisk()  # type: ignore[assignment]
    with curves:
        curves.log(0, loss=1.0)
        curves.log(1, loss=1.0)
    assert caplog.text.count("Training curves end here") == 1


@pytest.mark.parametrize(
    ("occupied", "option"), [("run", "--save_model_path"), ("log", "--log_dir")]
)
def test_a_folder_that_cannot_be_written_to_is_named(
    tmp_path: Path, fake_boards: list[FakeBoard], occupied: str, option: str
) -> None:
    (tmp_path / occupied).write_text("a file")
    with pytest.raises(DataError, match=f"Cannot write .*{occupied}.*; choose another {option}"):
        curves_of(tmp_path)


# ---- boards ---------------------------------------------------------------------------------


class FakeBoard:
    """Records what a writer of VisualDL or TensorBoard is given."""

    is_full = False

    def __init__(self, logdir: str) -> None:
        self.points: list[tuple[str, float, int, int]] = []
        self.is_open = True
        self.file = Path(logdir) / f"vdlrecords.{id(self)}.log"
        self.file.touch()

    def add_scalar(self, tag: str, value: float, step: int, walltime: int) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.points.append((tag, value, step, walltime))

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def fake_boards(monkeypatch: pytest.MonkeyPatch) -> list[FakeBoard]:
    """Boards in the order in which they were opened: TensorBoard's before VisualDL's."""
    boards: list[FakeBoard] = []

    def opened(logdir: str) -> FakeBoard:
        boards.append(FakeBoard(logdir))
        return boards[-1]

    for name, module in {
        "visualdl": types.SimpleNamespace(LogWriter=opened),
        "torch.utils.tensorboard": types.SimpleNamespace(SummaryWriter=opened),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    return boards


def test_boards_get_the_points_with_their_times(
    tmp_path: Path, fake_boards: list[FakeBoard]
) -> None:
    write_points(tmp_path, range(2), tensorboard=True)
    times = [point["time"] for point in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    for board, ticks in zip(fake_boards, (1, 1000), strict=True):  # TensorBoard, VisualDL
        moments = [int(time * ticks) for time in times]
        assert board.points == [("loss", 0.0, 0, moments[0]), ("loss", 1.0, 1, moments[1])]
        assert not board.is_open


def test_tensorboard_is_written_only_when_asked_for(
    tmp_path: Path, fake_boards: list[FakeBoard]
) -> None:
    write_points(tmp_path, range(2))
    assert len(fake_boards) == 1


def test_boards_of_a_resumed_run_show_the_whole_of_it(
    tmp_path: Path, fake_boards: list[FakeBoard]
) -> None:
    write_points(tmp_path, range(10))
    with curves_of(tmp_path, resume_step=6) as curves:
        curves.log(7, loss=math.nan)
    earlier, later = fake_boards
    assert later.points[:7] == earlier.points[:7]
    ((name, value, step, _),) = later.points[7:]
    assert (name, step) == ("loss", 7)
    assert math.isnan(value)
    assert list((tmp_path / "log" / "run").iterdir()) == [later.file]


def test_boards_that_fail_end_for_themselves_alone(
    tmp_path: Path,
    fake_boards: list[FakeBoard],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_points(tmp_path, range(2))
    monkeypatch.setattr(FakeBoard, "is_full", True)
    write_points(tmp_path, range(2, 4), resume_step=1)
    assert steps_of(tmp_path) == [0, 1, 2, 3]
    assert caplog.text.count("No space left on device") == 1


def test_visualdl_itself_shows_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    reader = pytest.importorskip("visualdl.reader.reader")
    write_points(tmp_path, range(10))
    write_points(tmp_path, range(7, 9), resume_step=6)
    (file,) = (tmp_path / "log" / "run").iterdir()
    points = reader.LogReader(file_path=str(file)).get_data("scalar", "loss")
    assert [(point.id, point.value) for point in points] == [(k, float(k)) for k in range(9)]


def test_tensorboard_that_is_missing_is_an_error_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match="pip install tensorboard"):
        curves_of(tmp_path, tensorboard=True)


# ---- the picture ----------------------------------------------------------------------------


def write_curves(folder: Path, *, with_evaluation: bool = True) -> Path:
    with curves_of(folder) as curves:
        for step in range(0, 100, 10):
            curves.log(
                step,
                **{
                    "train/loss": 10.0 / (step + 1),
                    "train/accuracy": step / 100,
                    "train/learning_rate": 1e-3,
                    "train/margin": 0.2,
                },
            )
        curves.log(100, **{"train/loss": float("nan")})
        if with_evaluation:
            curves.log(50, **{"eval/eer": 0.25, "eval/min_dcf": 0.9})
            curves.log(100, **{"eval/eer": 0.125, "eval/min_dcf": 0.8})
    return folder / "run" / "metrics.jsonl"


def drawn(monkeypatch: pytest.MonkeyPatch, metrics: Path, picture: Path) -> list[list]:
    """Legend labels of each part of the picture, and the points behind them."""
    figure_module = pytest.importorskip("matplotlib.figure")
    figures = []
    save = figure_module.Figure.savefig

    def keep(figure: object, *args: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(figure_module.Figure, "savefig", keep)
    assert draw_curves(metrics, picture)
    return [list(axes.get_lines()) for axes in figures[0].axes]


def test_the_picture_holds_all_six_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, write_curves(tmp_path / "log"), tmp_path / "run" / "curves.png")
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
    by_name = {line.get_label().split(",")[0]: line for axes in lines for line in axes}
    names = {"loss", "accuracy", "learning rate", "margin", "EER (%)", "minDCF"}
    assert set(by_name) == names
    assert list(by_name["EER (%)"].get_xdata()) == [50, 100]
    assert list(by_name["EER (%)"].get_ydata()) == [25.0, 12.5]
    assert by_name["EER (%)"].get_label() == "EER (%), lowest 12.5"
    assert list(by_name["loss"].get_xdata()) == list(range(0, 100, 10))


def test_a_run_without_evaluation_has_no_empty_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = write_curves(tmp_path / "log", with_evaluation=False)
    lines = drawn(monkeypatch, metrics, tmp_path / "curves.png")
    assert [len(axes) for axes in lines] == [1, 1, 1, 1]


def test_without_matplotlib_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = write_curves(tmp_path / "log")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    caplog.set_level(logging.INFO, "mvector")
    assert not draw_curves(metrics, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "pip install matplotlib" in record.getMessage()


def test_nothing_to_draw_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    caplog.set_level(logging.INFO, "mvector")
    (tmp_path / "metrics.jsonl").write_text('{"step"')
    assert not draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    assert "has no points" in caplog.text
    assert not draw_curves(tmp_path / "gone.jsonl", tmp_path / "curves.png")
    assert "gone.jsonl" in caplog.text
    assert not list(tmp_path.glob("*.png"))


# ---- progress -------------------------------------------------------------------------------


class Curves(MetricLogger):
    """Keeps the points in memory."""

    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []

    def log(self, step: int, **values: float) -> None:
        self.points.append((step, values))


def add(progress: Progress, num_clips: int, loss: float, num_right: int) -> None:
    progress.add(num_clips, BatchResult(torch.tensor(loss), torch.tensor(num_right), {}))


def test_the_log_line_has_the_familiar_form(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mvector")
    progress = Progress(0, 30, 13659, CPU)
    add(progress, 72, 10.35675, 1)
    progress.log(100, 0.001, 0.0, Curves())
    line = caplog.messages[-1]
    start = "Train epoch: [1/30], batch: [100/13659], loss: 10.35675, accuracy: 0.01389, "
    assert line.startswith(start + "learning rate: 0.00100000, speed: ")
    assert "data/sec, eta: " in line


def test_means_are_over_clips_since_the_last_line() -> None:
    progress, curves = Progress(2, 9, 50, CPU), Curves()
    add(progress, 10, 5.0, 10)
    progress.log(1, 0.1, 0.2, curves)
    add(progress, 30, 1.0, 15)
    add(progress, 10, 3.0, 5)
    progress.log(3, 0.1, 0.2, curves)
    (_, _), (step, values) = curves.points
    assert step == 2 * 50 + 3
    assert values["train/loss"] == pytest.approx(1.5)
    assert values["train/accuracy"] == pytest.approx(0.5)
    assert values["train/margin"] == 0.2
    assert values["train/learning_rate"] == 0.1
    assert progress.num_clips == 50


def test_speed_and_wait_are_shares_of_the_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("mvector.training.progress.time.monotonic", lambda: now[0])
    progress, curves = Progress(0, 1, 8, CPU), Curves()
    for number in (4, 8):
        add(progress, 64, 1.0, 0)
        progress.add_wait(0.5)
        progress.add_wait(0.5)
        now[0] += 4.0
        progress.log(number, 0.1, 0.0, curves)
    for _, values in curves.points:
        assert values["train/speed"] == pytest.approx(16.0)
        assert values["train/data_wait"] == pytest.approx(0.25)


def test_the_time_left_of_a_resumed_epoch_counts_the_batches_done_since(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mvector")
    now = [0.0]
    monkeypatch.setattr("mvector.training.progress.time.monotonic", lambda: now[0])
    progress = Progress(1, 3, 100, CPU, first_batch=80)
    add(progress, 8, 1.0, 0)
    now[0] = 20.0  # 10 batches in 20 s; 10 of this epoch and 100 of the last are left
    progress.log(90, 0.1, 0.0, Curves())
    assert caplog.messages[-1].endswith("eta: 0:03:40")


def test_a_batch_whose_loss_is_not_finite_spoils_no_mean() -> None:
    progress, curves = Progress(0, 1, 9, CPU), Curves()
    for loss in (2.0, math.nan, math.inf, 4.0):
        add(progress, 8, loss, 4)
    progress.log(4, 0.1, 0.0, curves)
    values = curves.points[0][1]
    assert values["train/loss"] == pytest.approx(3.0)
    assert values["train/accuracy"] == pytest.approx(0.5)
    add(progress, 8, math.nan, 0)
    progress.log(5, 0.1, 0.0, curves)
    assert math.isnan(curves.points[1][1]["train/loss"])


def test_several_processes_report_the_clips_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("mvector.training.progress.time.monotonic", lambda: now[0])
    progresses, curves = [Progress(0, 1, 9, CPU) for _ in range(2)], Curves()
    add(progresses[0], 8, 1.0, 4)
    add(progresses[1], 4, 4.0, 2)
    progresses[0].add_wait(0.5)
    now[0] = 2.0
    sent: list[torch.Tensor] = []

    def all_reduce(sums: torch.Tensor) -> None:
        """The second process sends; the first adds what it was sent."""
        if sent:
            sums += sent[0]
        sent.append(sums.clone())

    monkeypatch.setattr("mvector.compute.exchange.current_world", lambda: World(0, 2))
    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    progresses[1].log(1, 0.1, 0.0, None)
    progresses[0].log(1, 0.1, 0.0, curves)
    ((_, values),) = curves.points
    assert values["train/loss"] == pytest.approx((8 * 1.0 + 4 * 4.0) / 12)
    assert values["train/accuracy"] == pytest.approx(0.5)
    assert values["train/speed"] == pytest.approx(12 / 2.0)
    assert values["train/data_wait"] == pytest.approx(0.5 / 2 / 2.0)


# ---- the guard ------------------------------------------------------------------------------


def test_one_bad_batch_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    guard = NanGuard(3)
    guard.count(0, 1, "epoch 1, batch 1")
    guard.count(1, 1, "epoch 1, batch 2")
    guard.count(0, 1, "epoch 1, batch 3")
    assert (guard.num_consecutive, guard.num_total) == (0, 1)
    assert "epoch 1, batch 2" in caplog.text


def test_many_bad_batches_in_a_row_end_the_run_with_the_cure() -> None:
    guard = NanGuard(3)
    for _ in range(2):
        guard.count(1, 1, "epoch 1, batch 1")
        guard.count(1, 1, "epoch 1, batch 2")
        guard.count(0, 1, "epoch 1, batch 3")
    guard.count(1, 1, "epoch 1, batch 4")
    guard.count(1, 1, "epoch 1, batch 5")
    with pytest.raises(MVectorError, match=r"3 steps in a row.*batch 6; lower optimizer_conf"):
        guard.count(1, 1, "epoch 1, batch 6")
    assert guard.num_total == 7


def test_steps_left_out_on_the_device_are_counted_at_once() -> None:
    guard = NanGuard(25)
    guard.count(0, 0, "batch 0")
    guard.count(10, 10, "batch 10")
    guard.count(3, 10, "batch 20")
    assert (guard.num_consecutive, guard.num_total) == (0, 13)
    guard.count(10, 10, "batch 30")
    guard.count(10, 10, "batch 40")
    with pytest.raises(MVectorError, match="30 steps in a row"):
        guard.count(10, 10, "batch 50")


def test_warnings_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    guard = NanGuard(2)
    for number in range(100):
        guard.count(number % 2, 1, f"batch {number}")
    assert guard.num_total == 50
    assert len(caplog.messages) == 5


def test_the_guard_of_a_resumed_run_goes_on_counting() -> None:
    guard, resumed = NanGuard(3), NanGuard(3)
    guard.count(1, 1, "batch 1")
    guard.count(1, 1, "batch 2")
    resumed.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    assert resumed.num_total == 2
    with pytest.raises(MVectorError, match="3 steps in a row"):
        resumed.count(1, 1, "batch 3")
