"""The picture of an evaluation, and what importing the room costs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import norm

from mvector.errors import EvaluationError, MissingDependencyError
from mvector.evaluation import compute_eer, error_rates, save_error_curves
from mvector.evaluation.plots import error_curves_figure


def trials(num_target=200, num_nontarget=800):
    generator = np.random.default_rng(0)
    scores = np.concatenate(
        [generator.normal(0.5, 0.15, num_target), generator.normal(0.1, 0.12, num_nontarget)]
    )
    return scores, np.repeat([1, 0], [num_target, num_nontarget])


def line(axes, label):
    return next(item for item in axes.lines if str(item.get_label()).startswith(label))


def test_a_png_is_written_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "folder" / "curves.png"

    save_error_curves(error_rates(*trials()), path, title="evaluation of $x_1$")

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [item.name for item in path.parent.iterdir()] == ["curves.png"]


@pytest.mark.parametrize(("name", "start"), [("curves.svg", b"<?xml"), ("curves", b"\x89PNG")])
def test_the_suffix_chooses_the_format_and_none_means_png(tmp_path, name, start):
    save_error_curves(error_rates(*trials(20, 30)), tmp_path / name)

    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_picture_is_replaced_whole_and_kept_when_drawing_fails(tmp_path, monkeypatch):
    path, kept = tmp_path / "curves.png", tmp_path / "another name of the old file"
    path.write_text("old")
    kept.hardlink_to(path)

    save_error_curves(error_rates(*trials(20, 30)), path)

    assert kept.read_text() == "old"
    whole = path.read_bytes()

    def full_disk(self, target, **options):
        target.write_text("half a pict")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full_disk)
    with pytest.raises(EvaluationError, match="No space left on device"):
        save_error_curves(error_rates(*trials(20, 30)), path)
    assert path.read_bytes() == whole
    assert len(list(tmp_path.iterdir())) == 2


def test_points_are_marked_where_the_metrics_put_them():
    scores, labels = trials()
    rates, det, _ = error_curves_figure(error_rates(scores, labels), "title").axes
    eer, threshold = compute_eer(scores, labels)
    point = error_rates(scores, labels).min_dcf()

    assert line(rates, "EER").get_xydata()[0] == pytest.approx([threshold, 100 * eer])
    assert line(det, "EER").get_xydata()[0] == pytest.approx([norm.ppf(eer)] * 2)
    expected = norm.ppf([max(point.fpr, 0.5 / 800), max(point.fnr, 0.5 / 200)])
    assert line(det, "minDCF").get_xydata()[0] == pytest.approx(expected)


def test_rates_are_drawn_in_percent_over_the_threshold():
    scores, labels = trials()
    rates = error_curves_figure(error_rates(scores, labels)).axes[0]
    x, y = line(rates, "miss rate").get_data()
    inside = (x >= scores.min()) & (x <= scores.max())

    expected = [100 * np.mean(scores[labels == 1] < threshold) for threshold in x[inside]]
    np.testing.assert_allclose(y[inside], expected, atol=1e-9)
    # Up to a threshold the rate is that of the threshold: a step before each point.
    assert line(rates, "miss rate").get_drawstyle() == "steps-pre"


def test_histograms_hold_all_trials_of_each_kind_in_bins_of_some_width():
    for scores, labels in (trials(), ([0.5] * 5, [1, 0, 0, 0, 0])):
        histogram = error_curves_figure(error_rates(scores, labels)).axes[2]
        for name in ("same speaker", "different speakers"):
            stairs = next(item for item in histogram.patches if item.get_label() == name)
            share, edges, _ = stairs.get_data()
            assert share.sum() == pytest.approx(100.0)
            assert np.all(np.diff(edges) > 0)


def test_many_trials_are_drawn_with_few_points_on_the_curve():
    scores, labels = trials(20_000, 200_000)
    rates, det, _ = error_curves_figure(error_rates(scores, labels)).axes

    assert len(line(rates, "false acceptance").get_xdata()) < 3000
    x, y = det.lines[0].get_data()
    assert len(x) < 5000
    curve = error_rates(scores, labels)
    place = np.searchsorted(-curve.fpr, -norm.cdf(x[len(x) // 2]))
    near = curve.fnr[max(place - 2, 0) : place + 3]
    assert near.min() - 1e-9 <= norm.cdf(y[len(x) // 2]) <= near.max() + 1e-9


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([0.5] * 5, [1, 0, 0, 0, 0]),
        ([0.9, 0.8, 0.1], [1, 1, 0]),
        ([0.1, 0.2, 0.9], [1, 1, 0]),
        ([0.3, 0.3], [1, 0]),
    ],
    ids=["equal", "separable", "inverted", "one of each"],
)
@pytest.mark.filterwarnings("error")
def test_degenerate_scores_are_drawn_without_a_murmur(tmp_path, scores, labels):
    save_error_curves(error_rates(scores, labels), tmp_path / "curves.png")

    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_an_unwritable_place_is_one_sentence_and_leaves_no_file(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(EvaluationError, match=r"Cannot write '.*file/curves\.png'"):
        save_error_curves(error_rates(*trials(20, 30)), tmp_path / "file" / "curves.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(EvaluationError, match=r"Cannot write '.*taken\.png'"):
        save_error_curves(error_rates(*trials(20, 30)), tmp_path / "taken.png")

    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "taken.png"]


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"'\.txt' is no picture format"):
        save_error_curves(error_rates(*trials(20, 30)), tmp_path / "curves.txt")

    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        save_error_curves(error_rates(*trials(20, 30)), tmp_path / "curves.png")


def test_importing_the_room_loads_neither_torch_nor_heavy_packages():
    program = (
        "import sys, mvector.evaluation\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "rooms = {'mvector.' + room for room in ('models', 'audio', 'speakers')}\n"
        "print(sorted(heavy | rooms & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )

    assert done.stdout.strip() == "[]"


def test_drawing_leaves_global_state_alone():
    program = (
        "import sys\n"
        "from mvector.evaluation.metrics import error_rates\n"
        "from mvector.evaluation.plots import error_curves_figure\n"
        "error_curves_figure(error_rates([0.9, 0.1, 0.5], [1, 0, 0]))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )

    assert done.stdout.strip() == "False"
