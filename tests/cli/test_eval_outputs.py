"""``eval.py`` beyond thresholds: results.json, scores, report, breakdown and comparison."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import re
import shutil
from collections import Counter
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_encoder import small_encoder, write_noise
from small_settings import SMALL_CONFIG
from spawned_ranks import needs_gloo, run_ranks

from mvector import MVectorPredictor
from mvector.cli import run_script
from mvector.compute import distributed
from mvector.compute.distributed import World
from mvector.evaluation import Calibration, compute_eer
from mvector.models.description import update_model_folder
from mvector.models.folder import save_model_folder
from mvector.scoring.trial_speakers import BY_PAIRS

NUM_PEOPLE, CLIPS_EACH = 6, 3


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model, noise of six people, a list of all their pairs, and metadata."""
    folder = tmp_path_factory.mktemp("prepared")
    rows, clips = ["path\tgender\tnoise_db"], []
    for person in range(NUM_PEOPLE):
        paths = write_noise(folder / "data" / f"人 {person}", CLIPS_EACH, seed=person)
        clips += [(str(Path(path).relative_to(folder / "data")), person) for path in paths]
    rows += [f"{path}\t{'fm'[who % 2]}\t{number / 2}" for number, (path, who) in enumerate(clips)]
    pairs = [
        f"{int(a[1] == b[1])}\t{a[0]}\t{b[0]}"
        for place, a in enumerate(clips)
        for b in clips[place + 1 :]
    ]
    (folder / "trials.txt").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    (folder / "clips.tsv").write_text("\n".join(rows[:-1]) + "\n", encoding="utf-8")
    config = copy.deepcopy(SMALL_CONFIG)
    config["use_model"] = "TDNN"
    config["model_conf"] = {"backbone": {"embd_dim": 16, "channels": 16}}
    config["dataset_conf"].update(trials_list="trials.txt", enroll_list=None, data_root="data")
    for seed, name in enumerate(("first", "second")):
        model = small_encoder(seed).model
        save_model_folder(folder / "models" / name / "best_model", model, training_config=config)
    return folder


@pytest.fixture
def place(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(prepared, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def evaluate(*options: str, model: str = "first") -> int:
    return run_script(
        "eval", ["--use_gpu", "False", "--model_path", f"models/{model}/best_model", *options]
    )


def results(path: str = "models/first/results.json") -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_results_lie_beside_the_model_and_say_where_they_come_from(place, capsys):
    assert evaluate("--save_scores", "out/scores.npz") == 0

    found, model = results(), yaml.safe_load(Path("models/first/best_model/model.yml").read_text())
    digest = hashlib.sha256(Path("trials.txt").read_bytes()).hexdigest()
    assert found["lists"] == [{"path": "trials.txt", "sha256": digest}]
    assert found["model"]["fingerprint"] == model["fingerprint"]
    assert found["calibration"] == model["calibration"]
    assert (found["num_target"], found["num_nontarget"]) == (18, 135)
    assert found["num_speakers"] == NUM_PEOPLE
    with np.load("out/scores.npz") as saved:
        eer, threshold = compute_eer(saved["scores"], saved["labels"])
    assert found["eer"]["value"] == pytest.approx(eer, abs=1e-12)
    assert found["eer"]["threshold"] == pytest.approx(threshold)
    out = capsys.readouterr().out
    assert re.search(rf"^EER +{100 * eer:.2f} % ", out, re.MULTILINE)
    assert "Figures written to models/first/results.json" in out
    assert "Scores written to out/scores.npz" in out


def test_scores_name_the_clips_of_every_trial(place):
    assert evaluate("--save_scores", "scores.npz", "--bootstrap", "0") == 0

    with np.load("scores.npz") as saved:
        lines = [
            f"{int(label)}\t{one}\t{other}"
            for label, one, other in zip(
                saved["labels"],
                saved["enroll_paths"][saved["enroll_index"]],
                saved["test_paths"][saved["test_index"]],
                strict=True,
            )
        ]
    listed = Path("trials.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert [line.replace("data/", "") for line in lines] == listed


def test_out_without_a_suffix_is_a_folder_and_an_enrolment_without_use_is_told(place, capsys):
    assert evaluate("--out", "new/figures", "--enrolment", "max", "--bootstrap", "0") == 0
    assert results("new/figures/results.json")["enrolment"] is None
    assert "--enrolment max changes nothing: none of these trials" in capsys.readouterr().err


class Rows(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


@pytest.mark.parametrize("typed", [".", ".."])
def test_from_within_the_model_folder_the_figures_go_beside_it_too(place, monkeypatch, typed):
    model = place / "models/first/best_model"
    (model / "within").mkdir()
    monkeypatch.chdir(model / "within" if typed == ".." else model)
    root = f"dataset_conf.data_root={place / 'data'}"
    lists = f"dataset_conf.trials_list={place / 'trials.txt'}"
    options = ["--use_gpu", "False", "--model_path", typed, "--set", root, "--set", lists]
    assert run_script("eval", [*options, "--bootstrap", "50"]) == 0
    assert (model.parent / "results.json").is_file()
    assert not (model / "results.json").exists()


def test_a_report_shows_the_figures_of_the_results_broken_down_as_asked(place):
    options = ["--report", "report", "--metadata", "clips.tsv", "--by", "gender,noise_db,duration"]
    assert evaluate(*options, "--out", "elsewhere.json", "--bootstrap", "50") == 0

    assert not Path("models/first/results.json").exists()
    found = results("elsewhere.json")
    names = {path.name for path in Path("report").iterdir()}
    assert names == {"report.html", "det.png", "scores.png", "error_rates.png"}
    rows = Rows(Path("report/report.html").read_text(encoding="utf-8")).rows
    by_name = {row[0]: row for row in rows if row}
    assert by_name["EER"][1] == f"{100 * found['eer']['value']:.2f} %"
    genders, noise, durations = found["breakdowns"]
    assert {group["value"] for group in genders["groups"]} == {"f", "m", "mixed"}
    assert genders["num_clips_unknown"] == 1  # the last clip has no line
    for group in (*genders["groups"], *noise["groups"], *durations["groups"]):
        assert by_name[group["value"]][1] == f"{group['num_target']:,}"
        if group["eer"] is not None:
            assert by_name[group["value"]][3] == f"{100 * group['eer']:.2f} %"
    assert len(noise["groups"]) == 4
    counts = [group["num_target"] + group["num_nontarget"] for group in durations["groups"]]
    assert sum(counts) == 153
    worst = found["worst_trials"]["nontarget"][0]
    assert [f"{worst['score']:.4f}", worst["enroll"], worst["test"]] in rows


def test_a_second_evaluation_judges_the_calibration_there_was(place):
    assert evaluate("--bootstrap", "0") == 0
    assert results()["earlier_calibration"] is None
    lines = Path("trials.txt").read_text(encoding="utf-8").split("\n")
    Path("other.txt").write_text("\n".join(lines[:100]) + "\n", encoding="utf-8")
    before = results()["calibration"]
    assert evaluate("--bootstrap", "0", "--set", "dataset_conf.trials_list=other.txt") == 0

    earlier = results()["earlier_calibration"]
    assert earlier["description"] == before["description"]
    assert earlier["threshold"] == before["threshold_eer"]


def write_pairs_of(num_people: int, name: str) -> None:
    """The trials among the first people only."""
    people = [f"人 {person}/" for person in range(num_people)]
    lines = Path("trials.txt").read_text(encoding="utf-8").split("\n")
    kept = [line for line in lines if sum(line.count(person) for person in people) == 2]
    Path(name).write_text("\n".join(kept) + "\n", encoding="utf-8")


def test_a_calibration_on_more_people_is_replaced_only_when_that_is_asked_for(place, capsys):
    def calibrated_on() -> str:
        model = yaml.safe_load(Path("models/first/best_model/model.yml").read_text())
        return model["calibration"]["description"]

    few = ["--bootstrap", "0", "--set", "dataset_conf.trials_list=few.txt"]
    write_pairs_of(3, "few.txt")
    assert evaluate("--bootstrap", "0") == 0
    of_all = calibrated_on()
    capsys.readouterr()

    assert evaluate(*few) == 0
    said = capsys.readouterr()
    assert calibrated_on() == of_all
    assert "keeps its calibration: it was measured on 6 speakers, this one on 3" in said.err
    assert "Thresholds written" not in said.out
    assert results()["calibration"]["num_speakers"] == 3  # the figures are those of this list

    assert evaluate(*few, "--write_calibration", "True") == 0
    assert calibrated_on().startswith("few.txt")
    assert evaluate("--bootstrap", "0") == 0
    assert calibrated_on() == of_all


def test_the_first_line_is_the_result_to_paste(place, capsys):
    assert evaluate("--bootstrap", "50") == 0

    found, out = results(), capsys.readouterr().out
    eer, cost = found["eer_percent"], found["detection_costs"][0]
    line = (
        f"EER {eer['value']:.2f} % [{eer['low']:.2f}, {eer['high']:.2f}], minDCF(0.01) "
        f"{cost['value']:.3f} [{cost['low']:.3f}, {cost['high']:.3f}], 153 trials, 6 speakers "
        "(95 % intervals over speakers)"
    )
    assert out.split("\n")[0] == line == found["summary"]["text"]
    assert eer["value"] == pytest.approx(100 * found["eer"]["value"])


def test_a_list_of_speakers_says_who_is_who_among_the_pairs(place, capsys):
    clips = sorted(str(path.relative_to("data")) for path in Path("data").rglob("*.wav"))
    flat = {clip: f"{number:02d}.wav" for number, clip in enumerate(clips)}
    text = Path("trials.txt").read_text(encoding="utf-8")
    for clip, name in flat.items():  # one folder, which says nothing of the speakers
        shutil.copyfile(Path("data") / clip, Path("data") / name)
        text = text.replace(clip, name)
    lines = text.split("\n")
    person = {name: int(name[:2]) // CLIPS_EACH for name in flat.values()}
    joined = {f"{CLIPS_EACH * who:02d}.wav" for who in range(NUM_PEOPLE)}
    kept = [line for line in lines if not (line.startswith("1") and joined & {*line.split("\t")})]
    Path("trials.txt").write_text("\n".join(kept), encoding="utf-8")
    Path("who.txt").write_text("".join(f"{name}\tp{who}\n" for name, who in person.items()))

    assert evaluate("--bootstrap", "0") == 0
    assert f"Speakers: {BY_PAIRS}." in capsys.readouterr().out
    assert results()["num_speakers"] == 2 * NUM_PEOPLE
    assert evaluate("--bootstrap", "0", "--speakers", "who.txt") == 0
    assert "Speakers: who.txt." in capsys.readouterr().out
    found = results()
    assert found["num_speakers"] == found["calibration"]["num_speakers"] == NUM_PEOPLE
    assert [entry["path"] for entry in found["lists"]] == ["trials.txt", "who.txt"]


def test_two_models_are_compared_on_their_saved_scores(place, capsys):
    for model in ("first", "second"):
        assert evaluate("--save_scores", f"{model}.npz", "--bootstrap", "0", model=model) == 0
    capsys.readouterr()
    options = ["--compare", "first.npz", "second.npz", "--report", "page", "--out", "."]
    assert run_script("eval", [*options, "--bootstrap", "50"]) == 0

    found = results("comparison.json")
    eers = [
        results(f"models/{model}/results.json")["eer"]["value"] for model in ("first", "second")
    ]
    assert [system["eer"] for system in found["systems"]] == pytest.approx(eers)
    (difference,) = found["differences"]
    assert difference["eer"]["value"] == pytest.approx(eers[1] - eers[0])
    out = capsys.readouterr().out
    assert f"{100 * difference['eer']['value']:+.2f} %" in out
    assert Path("page/det.png").is_file()
    rows = Rows(Path("page/report.html").read_text(encoding="utf-8")).rows
    assert any(row[:1] == ["second - first"] for row in rows)


MISTAKES = {
    "column unknown": (["--metadata", "clips.tsv", "--by", "sex"], "no column 'sex'"),
    "no columns asked for": (["--metadata", "clips.tsv"], "has gender, noise_db"),
    "no metadata": (["--by", "gender"], "--by gender needs --metadata"),
    "metadata missing": (["--metadata", "gone.csv", "--by", "x"], "'gone.csv' does not exist"),
    "report on a file": (["--report", "trials.txt"], "choose another --report"),
    "results in a file": (["--out", "trials.txt/r.json"], "choose another --out"),
    "scores in a folder": (["--save_scores", "data"], "choose another --save_scores"),
    "speakers of nothing": (["--speakers", "gone.txt"], "'gone.txt' does not exist"),
    "speakers of too few": (["--speakers", "few.txt"], "says no speaker of 17 of the 18 clips"),
    "top_n of nothing": (["--top_n", "5"], "no use without --norm asnorm"),
    "a cohort of nothing": (["--cohort", "trials.txt"], "no use without --mean or --norm"),
    "a norm of PLDA": (["--score", "plda", "--norm", "snorm"], "leave out mean and norm"),
    "cohort missing": (["--mean", "--cohort", "gone.txt"], "'gone.txt' does not exist"),
    "quality of nothing": (["--quality"], "without --calibrate"),
    "verdicts without calibration": (["--verdict"], "has no calibrated threshold"),
    "verdicts on other scores": (["--verdict", "--mean"], "--verdict has no use with --score plda"),
    "verdicts and calibration": (["--verdict", "--calibrate"], "which makes another calibration"),
    "thresholds of no use": (
        ["--mean", "--calibrate"],
        "--calibrate has no use with --score plda, --mean or --norm",
    ),
}


@pytest.mark.parametrize(
    ("scores", "words"),
    [(["a.npz"], "two files of scores"), (["a.npz", "b.npz"], "'a.npz' does not exist")],
)
def test_what_cannot_be_compared_is_told(place, capsys, scores, words):
    assert run_script("eval", ["--compare", *scores]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_told_before_any_clip_is_heard(place, capsys, monkeypatch, kind):
    options, words = MISTAKES[kind]
    Path("few.txt").write_text(f"{next(Path('data').rglob('*.wav')).relative_to('data')}\tAnn\n")
    extract = "mvector.evaluation.embedded_trials.extract_embeddings"
    monkeypatch.setattr(extract, lambda *_, **__: pytest.fail("too late"))
    assert evaluate(*options) == 2
    last = capsys.readouterr().err.strip().split("\n")[-1]
    assert "error: " in last
    assert words in last


def test_beside_a_model_that_is_read_only_the_figures_are_printed_only(place, capsys, monkeypatch):
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mvector.cli.evaluate_outputs.check_writable", refuse)
    assert evaluate("--bootstrap", "0") == 0

    written = capsys.readouterr()
    assert re.search(r"^EER +\d", written.out, re.MULTILINE)
    assert "Cannot write 'models/first/results.json' (Permission denied)" in written.err
    assert not Path("models/first/results.json").exists()


def evaluate_as_one_of_two(world: World, folder: str) -> tuple[str, str]:
    """What the process prints, and what it warns of."""
    os.chdir(folder)
    distributed.open_world = lambda *_: nullcontext(world)  # it is open already
    printed, warned = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(warned):
        code = evaluate("--save_scores", "two.npz", "--by", "duration", "--bootstrap", "20")
    assert code == 0
    return printed.getvalue(), warned.getvalue()


@needs_gloo
def test_of_two_processes_the_first_writes_and_prints(place):
    text = Path("trials.txt").read_text(encoding="utf-8")
    Path("trials.txt").write_text(text + text.split("\n")[0] + "\n", encoding="utf-8")
    (first, warnings), (second, no_warnings) = run_ranks(evaluate_as_one_of_two, str(place))
    assert warnings.count("1 of 154 trials repeat another one") == 1
    assert no_warnings == ""
    assert "By duration" in first
    assert "Figures written to models/first/results.json" in first
    assert second == ""

    assert evaluate("--save_scores", "one.npz", "--out", "one.json", "--bootstrap", "20") == 0
    with np.load("one.npz") as one, np.load("two.npz") as two:
        np.testing.assert_allclose(one["scores"], two["scores"], atol=1e-6)
    # scores of an untrained network lie so close that rounding changes the order of a few
    assert results("one.json")["eer"]["value"] == pytest.approx(results()["eer"]["value"], abs=0.02)


def write_cohort() -> None:
    clips = [Path(path) for path in write_noise(Path("data/strangers"), 40, seed=99)]
    lines = [f"{clip.relative_to('data')}\t{place // 10}\n" for place, clip in enumerate(clips)]
    Path("cohort.txt").write_text("".join(lines), encoding="utf-8")


SCORES = {
    "mean-subtracted cosine": ["--mean", "--cohort", "cohort.txt"],
    "as-norm": [
        "--norm",
        "asnorm",
        "--top_n",
        "4",
        "--cohort",
        "cohort.txt",
        "--cohort_of",
        "clips",
    ],
    "plda": ["--score", "plda", "--lda_dim", "3", "--plda_train", "cohort.txt"],
}


@pytest.mark.parametrize("score_type", SCORES)
def test_thresholds_of_other_scores_are_stated_and_stay_out_of_the_model(place, capsys, score_type):
    write_cohort()
    before = Path("models/first/best_model/model.yml").read_bytes()
    assert evaluate("--bootstrap", "0", "--save_image_path", ".", *SCORES[score_type]) == 0

    assert [path.stem for path in Path().glob("*.png")] == [
        f"TDNN_Fbank-{score_type}".replace(" ", "-")
    ]
    assert Path("models/first/best_model/model.yml").read_bytes() == before
    name = f"models/first/results-{score_type.replace(' ', '-')}.json"
    found, out = results(name), capsys.readouterr().out
    assert not Path("models/first/results.json").exists()  # figures of cosines are not replaced
    assert found["score_type"] == found["calibration"]["score_type"] == score_type
    assert "cohort.txt (40 clips of 4 speakers)" in found["scored_by"]
    assert f"Scores: {found['scored_by']}." in out
    assert f"model.yml stays as it is: these thresholds are of {score_type} scores" in out
    assert [Path(entry["path"]).name for entry in found["lists"]] == ["trials.txt", "cohort.txt"]


def test_a_calibration_says_which_threshold_and_how_sure(place, capsys):
    assert evaluate("--calibrate", "--quality", "--bootstrap", "20", "--force") == 0

    measured = yaml.safe_load(Path("models/first/best_model/model.yml").read_text())["calibration"]
    found, out = results(), capsys.readouterr().out
    assert measured == found["calibration"]
    best, basic = measured["ratios"]  # with and without the channel
    assert len(best["weights"]) == 2 + len(best["measures"]) == 2 + 8
    assert basic["measures"] == best["measures"][:4]
    assert found["quality"]["weights"] == best["weights"]
    assert measured["num_speakers"] == NUM_PEOPLE
    check = found["quality"]["held_out"]
    assert f"Chosen on half of the people, the threshold ({check['threshold']:.4f})" in out
    assert f"scores and quality of clips: Cllr {check['cllr']:.3f} bits" in out
    assert "Unsure (*): '1 of 1,000 strangers accepted' cannot be measured with 135" in out
    deciding, _ = Calibration.from_dict(measured).limits()
    assert f"from now on {deciding:.4f} decides" in out
    llrs = found["quality"]["cllr"]
    assert re.search(rf"^Cllr, knowing the quality of clips +{llrs:.4f}$", out, re.MULTILINE)


@pytest.fixture
def trials(voices: Path, trained_model: Path, tmp_path: Path, monkeypatch: Any) -> list[str]:
    """All pairs of some clips, and a copy of the trained model that knows the quality of clips."""
    monkeypatch.chdir(tmp_path)
    clips = sorted(str(clip) for clip in voices.glob("speaker_*/clip_0[0-2].wav"))
    trials = [
        f"{int(Path(one).parent == Path(other).parent)} {one} {other}\n"
        for number, one in enumerate(clips)
        for other in clips[number + 1 :]
    ]
    Path("trials.txt").write_text("".join(trials), encoding="utf-8")
    shutil.copytree(trained_model, "models/first/best_model")
    values = yaml.safe_load(Path("models/first/best_model/model.yml").read_text())["calibration"]
    threshold = values["threshold_eer"]
    values |= {"slope": 12.0, "offset": -12.0 * threshold}
    values |= {"threshold_far_1pct": None, "threshold_miss_5pct": None, "ratios": []}
    values |= {"quality_weights": [-12.0 * threshold + 1.0, 12.0, -2.0, -1.0, 0.02, -0.03]}
    update_model_folder("models/first/best_model", calibration=values, listening={}, metrics={})
    return trials


def test_verdicts_are_those_of_infer_contrast_on_every_trial(trials, capsys):
    before = Path("models/first/best_model/model.yml").read_bytes()
    lists = [
        "--set",
        "dataset_conf.trials_list=trials.txt",
        "--set",
        "dataset_conf.enroll_list=null",
    ]
    assert evaluate("--verdict", "--report", "report", "--bootstrap", "0", *lists) == 0

    assert Path("models/first/best_model/model.yml").read_bytes() == before
    predictor = MVectorPredictor("models/first/best_model", use_gpu=False)
    counted = {"target": Counter(), "nontarget": Counter()}
    for line in trials:
        label, one, other = line.split()
        decision = predictor.contrast(one, other).decide()
        own = counted["target" if label == "1" else "nontarget"]
        own["num_trials"] += 1
        own["num_errors"] += decision.answer == ("different" if label == "1" else "same")
        own["num_inconclusive"] += decision.answer == "cannot tell"
    found, out = results()["verdict"], capsys.readouterr().out
    for kind, own in counted.items():
        assert {key: found[kind][key] for key in own} == own
        assert 0 < own["num_inconclusive"] < own["num_trials"]
    assert found["threshold_source"] == "adjusted to the clips' quality"
    assert found["calibrated_on"] == predictor.calibration.description
    assert found["purpose"] == "default"
    far = found["nontarget"]
    cells = (f"{100 * far['error_rate']:.2f} %", f"{far['num_errors']} of {far['num_trials']}")
    kind = "two speakers, told to be one (FAR)"
    assert re.search(rf"^{re.escape(kind)} +{cells[0]} +{cells[1]} ", out, re.M)
    rows = Rows(Path("report/report.html").read_text(encoding="utf-8")).rows
    assert [kind, *cells] in [row[:3] for row in rows]


def test_verdicts_on_enrolment_models_need_the_quality_of_single_clips(trials, capsys):
    assert evaluate("--verdict", "--enrolment", "concat") == 2
    assert "'concat' joins clips; enrol by mean instead" in capsys.readouterr().err


def test_what_rests_on_too_little_is_not_written(place, capsys):
    before = Path("models/first/best_model/model.yml").read_bytes()
    assert evaluate("--calibrate", "--bootstrap", "0") == 1  # 18 comparisons of one person

    assert Path("models/first/best_model/model.yml").read_bytes() == before
    assert "NOT written: fewer than 5 people or 30 comparisons" in capsys.readouterr().out


def test_pairs_that_are_too_many_to_keep_have_a_table_and_a_page(place, capsys, monkeypatch):
    monkeypatch.setattr("mvector.evaluation.run._MAX_KEPT_SCORES", 100)
    write_cohort()
    lists = [f"--set=dataset_conf.{name}_list=cohort.txt" for name in ("trials", "enroll")]
    assert evaluate(*lists, "--report", "report", "--save_scores", "scores.npz") == 0

    found, said = results(), capsys.readouterr()
    assert (found["num_target"], found["num_nontarget"]) == (360, 1200)
    assert found["eer"]["low"] is None
    assert "1,560 trials are too many to keep their scores" in said.err
    assert "No intervals: the trials are too many to keep their scores." in said.out
    assert not Path("scores.npz").exists()
    assert Path("report/scores.png").is_file()
    assert "Scores written" not in said.out
