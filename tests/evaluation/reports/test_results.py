"""The figures of results.json, the table that shows them, and the page."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_trials import made_trials
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from mvector.errors import EvaluationError, MissingDependencyError
from mvector.evaluation import bootstrap_intervals, calibrate, error_rates
from mvector.evaluation.reports.breakdown import break_down
from mvector.evaluation.reports.grouping import group_by_category
from mvector.evaluation.reports.page import (
    comparison_page,
    result_page,
    worst_sounds,
    write_page,
)
from mvector.evaluation.reports.pictures import (
    Picture,
    check_report_folder,
    result_pictures,
    save_pictures,
)
from mvector.evaluation.reports.provenance import provenance, write_json
from mvector.evaluation.reports.result_tables import rates_table, result_tables
from mvector.evaluation.reports.results import build_results
from mvector.evaluation.reports.sounds import sound_sources
from mvector.evaluation.reports.summary import summary
from mvector.evaluation.reports.tables import Table, render_text
from mvector.evaluation.reports.thresholds import threshold_table
from mvector.evaluation.reports.worst import worst_trials


@pytest.fixture(scope="module")
def scored():
    return made_trials()


def curve_of(scored):
    return error_rates(scored.scores, scored.labels)


@pytest.fixture(scope="module")
def results(scored):
    calibration = calibrate(scored.scores, scored.labels, description="made <trials>")
    values = [path.split("/")[1] for path in scored.test_paths]
    grouping = group_by_category(scored, "clip", values, values)
    found = {
        **provenance([__file__], "eval.py --model_path 'a & b'"),
        "model": {"name": "Net <1>", "folder": "models/x", "fingerprint": "0123456789abcdef"},
        "description": calibration.description,
        "scored_by": "cosine",
        "speakers_from": "folders of the paths",
        **build_results(curve_of(scored), calibration, scored=scored, num_replicates=60),
        "breakdowns": [break_down(scored, grouping, calibration.threshold_eer)],
        "worst_trials": worst_trials(scored),
    }
    return {**found, "summary": summary(found)}


def brute_force_costs(scores, labels, p_target, c_miss, c_fa):
    default = min(c_miss * p_target, c_fa * (1 - p_target))
    for threshold in [*np.unique(scores), np.inf]:
        fnr, fpr = np.mean(scores[labels] < threshold), np.mean(scores[~labels] >= threshold)
        yield (c_miss * p_target * fnr + c_fa * (1 - p_target) * fpr) / default


def test_minimum_costs_of_the_published_pairs_are_those_of_every_threshold(scored, results):
    found = results["detection_costs"]

    pairs = {(cost["p_target"], cost["c_miss"], cost["c_fa"]) for cost in found}
    assert pairs == {(0.01, 1, 1), (0.05, 1, 1), (0.01, 10, 1), (0.001, 1, 1), (0.005, 1, 1)}
    for cost in found:
        parameters = cost["p_target"], cost["c_miss"], cost["c_fa"]
        expected = min(brute_force_costs(scored.scores, scored.labels, *parameters))
        assert cost["value"] == pytest.approx(expected, abs=1e-12)
        assert cost["low"] <= cost["high"]
    of_sre16 = [cost["value"] for cost in found if "NIST SRE16" in cost["evaluations"]]
    (sre16,) = [entry for entry in results["evaluations"] if entry["name"] == "NIST SRE16"]
    assert sre16["value"] == pytest.approx(np.mean(of_sre16))
    assert sre16["num_costs"] == 2


def test_actual_costs_and_cllr_are_those_of_the_calibrated_ratios(scored, results):
    calibration = results["calibration"]
    llrs = calibration["slope"] * scored.scores + calibration["offset"]
    target, nontarget = llrs[scored.labels], llrs[~scored.labels]

    for cost in results["detection_costs"]:
        p_target, c_miss, c_fa = cost["p_target"], cost["c_miss"], cost["c_fa"]
        threshold = math.log(c_fa * (1 - p_target) / (c_miss * p_target))
        errors = c_miss * p_target * np.mean(target < threshold)
        errors += c_fa * (1 - p_target) * np.mean(nontarget >= threshold)
        expected = errors / min(c_miss * p_target, c_fa * (1 - p_target))
        assert cost["actual_dcf"] == pytest.approx(expected)
        assert cost["actual_dcf"] >= cost["value"]
    bits = 0.5 * (np.log2(1 + np.exp(-target)).mean() + np.log2(1 + np.exp(nontarget)).mean())
    assert results["cllr"]["value"] == pytest.approx(bits)
    weights = np.where(scored.labels, 0.5 / len(target), 0.5 / len(nontarget))
    best = IsotonicRegression().fit_transform(llrs, scored.labels, sample_weight=weights)
    with np.errstate(divide="ignore"):
        losses = np.where(scored.labels, -np.log2(best), -np.log2(1 - best))
    assert results["cllr"]["min"] == pytest.approx(weights @ losses)


def test_rates_accuracy_area_and_intervals_are_those_of_independent_counts(scored, results):
    target, nontarget = scored.scores[scored.labels], scored.scores[~scored.labels]

    assert results["area_under_roc"] == pytest.approx(roc_auc_score(scored.labels, scored.scores))
    best = results["best_accuracy"]
    assert best["value"] == np.mean((scored.scores >= best["threshold"]) == scored.labels)
    at_far = {row["rate"]: row["at_far"] for row in results["rates"]}
    assert at_far[0.001] is None  # 400 non-target trials cannot tell it from 0
    point = at_far[0.01]
    assert point["num_false_accepts"] == (nontarget >= point["threshold"]).sum() == 4
    assert point["num_misses"] == (target < point["threshold"]).sum()
    expected = bootstrap_intervals(
        scored.scores, scored.labels, *scored.trial_speakers, num_replicates=60
    ).eer
    assert (results["eer"]["low"], results["eer"]["high"]) == (expected.low, expected.high)
    assert results["bootstrap"]["num_speakers"] == 30


def test_an_earlier_calibration_is_judged_on_these_trials(scored):
    other = made_trials(seed=5, skill=6.0)
    earlier = calibrate(other.scores, other.labels, description="elsewhere")
    own = calibrate(scored.scores, scored.labels, description="here")
    found = build_results(curve_of(scored), own, scored=scored, earlier=earlier, num_replicates=0)

    before = found["earlier_calibration"]
    assert before["description"] == "elsewhere"
    assert before["cllr"] > found["cllr"]["value"]
    misses = scored.scores[scored.labels] < earlier.threshold_eer
    assert (before["num_misses"], before["fnr"]) == (misses.sum(), pytest.approx(misses.mean()))


def test_trials_of_few_people_have_figures_but_no_intervals():
    scored = made_trials(num_trials=4, num_people=2)
    calibration = calibrate(scored.scores, scored.labels, description="few")
    found = build_results(curve_of(scored), calibration, scored=scored)

    assert found["held_out"] is None
    assert found["eer"]["value"] is not None
    (table,) = result_tables({**found, "scored_by": "cosine", "speakers_from": "pairs"})
    assert any("flatters" in note or "flatter it" in note for note in table.notes)


def test_the_origin_is_told_with_the_digest_of_each_list(results, tmp_path):
    write_json(results, tmp_path / "results.json")
    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))

    assert read == json.loads(json.dumps(results))
    with open(__file__, "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
    assert read["lists"] == [{"path": __file__, "sha256": digest}]
    assert read["versions"]["numpy"] == np.__version__
    assert read["command"] == "eval.py --model_path 'a & b'"
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="choose another --out"):
        write_json(results, tmp_path / "file" / "results.json")


def test_the_table_shows_the_figures_of_the_file(results):
    figures, breakdown = result_tables(results)
    rows = {row[0]: row for row in figures.rows}

    eer = results["eer"]
    assert rows["EER"] == (
        "EER",
        f"{100 * eer['value']:.2f} %",
        f"{100 * eer['low']:.2f} % to {100 * eer['high']:.2f} %",
        "",
        f"{eer['threshold']:.4f}",
        f"{eer['num_misses']} + {eer['num_false_accepts']}",
    )
    assert rows["FRR at FAR 0.1 % *"][1] == "-"
    assert any(note.startswith("* FAR 0.1 % cannot be measured") for note in figures.notes)
    ten = results["rates"][0]
    assert rates_table(results).rows[0] == (
        "10 %",
        f"{100 * ten['at_far']['fnr']:.2f} %",
        f"{ten['at_far']['threshold']:.4f}",
        f"{100 * ten['at_frr']['fpr']:.2f} %",
        f"{ten['at_frr']['threshold']:.4f}",
    )
    group = results["breakdowns"][0]["groups"][0]
    assert breakdown.rows[0][:2] == (group["value"], f"{group['num_target']}")


def test_text_is_aligned_also_in_chinese():
    table = Table("title", ("name", "value"), [("说话人", "1"), ("x", "22")], ("note",))
    assert render_text(table).split("\n") == [
        "title",
        "name     value",
        "--------------",
        "说话人       1",
        "x           22",
        "note",
    ]


class Page(HTMLParser):
    """What a page holds, and whether its elements are closed in order."""

    VOID = ("meta", "img", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page(scored, results) -> str:
    return result_page(results, result_pictures(curve_of(scored), "cosine"))


def test_the_page_needs_no_other_file_and_no_script(page):
    parsed = Page(page)

    assert {tag for tag, _ in parsed.tags} & {"script", "link", "iframe", "object"} == set()
    sources = [attrs[key] for _, attrs in parsed.tags for key in ("src", "href") if key in attrs]
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,iVBORw0KGgo") for source in sources)
    assert "://" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert all(attrs.get("alt") for tag, attrs in parsed.tags if tag == "img")


def text_of(page: str, tag: str) -> list[str]:
    """What stands in each element of a kind, without markup and in one line."""
    found = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", page, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", " ", part).split()) for part in found]


def test_the_headline_comes_first(results, page):
    eer, cost = results["eer"], results["detection_costs"][0]
    items = text_of(page[: page.index("<h2>")], "li")

    assert [item.split(" ")[0] for item in items[2:]] == ["Threshold", "Trials", "Speakers"]
    between = f"{100 * eer['low']:.2f} % to {100 * eer['high']:.2f} % (95 %)"
    assert items[0] == f"EER {100 * eer['value']:.2f} % {between}"
    assert items[1].startswith(f"minDCF, p 0.01 {cost['value']:.3f} {cost['low']:.3f} to ")
    assert items[2].startswith(f"Threshold {eer['threshold']:.4f} ")
    assert items[3] == "Trials 720 320 of one person, 400 of two"
    assert items[4] == "Speakers 30 by folders of the paths"
    assert text_of(page, "pre")[0] == results["summary"]["text"]


def test_no_heading_is_repeated_below_itself(page):
    parts = page.split("<h2>")[1:]
    for part in parts:
        heading, rest = part.split("</h2>")
        assert heading not in re.sub('aria-label="[^"]*"', "", rest)


def test_two_models_have_titles_of_their_own(results):
    pages = [
        result_page({**results, "model": {**results["model"], "title": title}}, [])
        for title in ("The model in the box", "models/x/best_model")
    ]
    for page, title in zip(pages, ("The model in the box", "models/x/best_model"), strict=True):
        assert text_of(page, "h1") == [title]
        assert text_of(page, "title") == [f"{title} · Speaker verification"]


def test_the_worst_trials_at_hand_can_be_heard(results, tmp_path):
    clips = {name: tmp_path / "voices 声" / name for name in ("a.wav", "b.FLAC", "c.ogg", "d.amr")}
    for size, clip in enumerate(clips.values(), start=1):
        clip.parent.mkdir(exist_ok=True)
        clip.write_bytes(bytes(100 * size))
    a, b, c, d = (str(clip) for clip in clips.values())
    worst = {
        "target": [{"score": 0.1, "enroll": a, "test": b}],
        "nontarget": [
            {"score": 0.9, "enroll": c, "test": d},
            {"score": 0.8, "enroll": a, "test": "gone.wav"},
        ],
    }
    shown = {**results, "worst_trials": worst}
    page = result_page(shown, [], worst_sounds(shown, tmp_path / "report"))

    sources = [attrs["src"] for tag, attrs in Page(page).tags if tag == "audio"]
    kinds = [source.split(";")[0] for source in sources]
    assert kinds == ["data:audio/wav", "data:audio/flac", "data:audio/ogg", "data:audio/wav"]
    assert base64.b64decode(sources[1].split(",")[1]) == bytes(200)
    for path in (a, b, c, d, "gone.wav"):
        assert path in [cell for row in Page(page).rows for cell in row]


def test_clips_that_are_large_are_linked_from_where_the_page_lies(tmp_path):
    (tmp_path / "voices 声").mkdir()
    for name, size in (("a.wav", 60), ("b.wav", 40), ("c.wav", 50)):
        (tmp_path / "voices 声" / name).write_bytes(bytes(size))
    a, b, c = (str(tmp_path / "voices 声" / name) for name in ("a.wav", "b.wav", "c.wav"))
    found = sound_sources([a, b, b, c], tmp_path / "report", max_bytes=120)

    assert found[b] == "../voices%20%E5%A3%B0/b.wav"  # 60 are left behind a, and b is played twice
    assert found[a].startswith("data:audio/wav;base64,")
    assert found[c].startswith("data:audio/wav;base64,")


def test_a_clip_that_cannot_be_read_costs_its_player_only(tmp_path, monkeypatch):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    a, b = str(tmp_path / "a.wav"), str(tmp_path / "b.wav")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "a.wav":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert set(sound_sources([a, b], tmp_path)) == {b}


@pytest.mark.parametrize("bootstrap", [True, False])
def test_the_result_is_a_line_and_a_row_of_latex(bootstrap):
    interval = {"low": 0.0911, "high": 0.1003} if bootstrap else {"low": None, "high": None}
    found = summary(
        {
            "model": {"name": "A_1 & B"},
            "eer": {"value": 0.0957, **interval},
            "detection_costs": [{"p_target": 0.01, "value": 0.61251, "low": 0.59, "high": 0.6401}]
            if bootstrap
            else [{"p_target": 0.01, "value": 0.61251, "low": None, "high": None}],
            "num_target": 2409,
            "num_nontarget": 8944,
            "num_speakers": 150,
            "bootstrap": {"confidence": 0.95} if bootstrap else {"why_none": "not asked for"},
        }
    )
    if bootstrap:
        assert found["text"] == (
            "EER 9.57 % [9.11, 10.03], minDCF(0.01) 0.613 [0.590, 0.640], 11,353 trials, "
            "150 speakers (95 % intervals over speakers)"
        )
        assert found["latex"] == (
            r"A\_1 \& B & 9.57 [9.11, 10.03] & 0.613 [0.590, 0.640] & 11{,}353 & 150 \\"
        )
    else:
        assert found["text"] == "EER 9.57 %, minDCF(0.01) 0.613, 11,353 trials, 150 speakers"


def test_the_page_holds_every_row_of_the_tables_and_the_100_worst_trials(results, page):
    rows = Page(page).rows

    for table in (*result_tables(results), rates_table(results)):
        assert list(table.header) in rows
        for row in table.rows:
            assert list(row) in rows
    for kind in ("target", "nontarget"):
        worst = results["worst_trials"][kind]
        assert len(worst) == 50
        for trial in worst:
            assert [f"{trial['score']:.4f}", trial["enroll"], trial["test"]] in rows


def test_names_are_text_and_never_markup(results, page):
    assert "<1>" not in page
    assert "Net &lt;1&gt;" in page
    hostile = {**results, "description": "<script>alert(1)</script>", "lists": []}
    hostile["model"] = {**results["model"], "title": "<script>"}
    hostile["worst_trials"] = {
        "target": [
            {"score": 0.1, "enroll": '"><img src=x onerror=alert(1)>', "test": "说话人 .wav"}
        ],
        "nontarget": [],
    }
    picture = Picture("det", '" onload="alert(1)', b"png")
    parsed = Page(result_page(hostile, [picture], {"说话人 .wav": '" onerror="alert(1)'}))
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert all(set(attrs) <= {"alt", "src"} for tag, attrs in parsed.tags if tag == "img")
    (player,) = [attrs for tag, attrs in parsed.tags if tag == "audio"]
    assert set(player) == {"controls", "preload", "src"}
    assert ["0.1000", '"><img src=x onerror=alert(1)>', "说话人 .wav"] in parsed.rows


def test_pictures_are_files_too_and_paths_that_are_no_text_do_not_cost_the_page(
    scored, results, tmp_path
):
    pictures = result_pictures(curve_of(scored), "cosine")
    save_pictures(pictures, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "det.png",
        "error_rates.png",
        "scores.png",
    ]
    for picture in pictures:
        assert (tmp_path / "new" / f"{picture.name}.png").read_bytes() == picture.png
    write_page("caf\udce9.wav", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "caf\\udce9.wav"


def test_a_place_or_package_that_is_missing_is_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="choose another --report"):
        check_report_folder(tmp_path / "file")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        check_report_folder(tmp_path)


def test_a_comparison_has_a_page_too():
    interval = {"value": -0.01, "low": -0.02, "high": -0.005}
    system = {"file": "x.npz", "about": {}, "eer": 0.05, "min_dcf": [0.5, 0.3]}
    comparison = {
        **provenance([__file__], "eval.py --compare a b"),
        "num_target": 10,
        "num_nontarget": 20,
        "p_targets": [0.01, 0.05],
        "systems": [{**system, "name": "a"}, {**system, "name": "<b>"}],
        "differences": [
            {"name": "<b>", "baseline": "a", "eer": interval, "min_dcf": [interval, interval]}
        ],
        "bootstrap": {"confidence": 0.95, "num_speakers": 30, "num_replicates": 100},
    }
    rows = Page(comparison_page(comparison, [])).rows
    assert ["<b> - a", "EER", "-1.00 %", "-2.00 % to -0.50 %", "better"] in rows
    assert any(re.fullmatch(r"95 % interval", text) for row in rows for text in row)


def test_the_page_says_which_threshold_and_how_sure(scored, results):
    table = threshold_table(results)

    by_words = {row[0].removesuffix(" *"): row[1:] for row in table.rows}
    threshold, accepted, rejected = by_words["both errors equally often"]
    at_eer = results["eer"]
    assert float(threshold) == pytest.approx(at_eer["threshold"], abs=1e-4)
    assert f"({at_eer['num_false_accepts']})" in accepted
    assert f"({at_eer['num_misses']})" in rejected
    assert by_words["1 of 1,000 strangers accepted"] == ("-", "-", "-")
    notes = " ".join(table.notes)
    assert "'1 of 1,000 strangers accepted' cannot be measured with 400" in notes
    check = results["held_out"]
    assert f"accepted {check['num_false_accepts']} of {check['num_nontarget']} pairs" in notes
    low, high = results["inconclusive_scores"]
    assert f"Verdicts cannot tell: a score from {low:.4f} to below {high:.4f}." in notes
