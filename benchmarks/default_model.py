"""The model in the box: its error rates per corpus and condition, and how it is put into the box.

  python benchmarks/default_model.py --data DIR                   measure it; exit code 1 on drift
  python benchmarks/default_model.py --data DIR --model M         measure another model
  python benchmarks/default_model.py --data DIR --publish M       round, calibrate, measure, ship

DIR holds lists/dev_*.trials (lines 'label path path'), lists/metadata.csv, and noise/dev and
rir/dev, which spoil the clips of the trials; paths in the lists are relative to DIR. Publishing
needs dataset/default_model too, from default_model_data.py, to calibrate by.

All figures are of cosines between single clips. Drift: an EER that is further than 0.2 points from
the one in model.yml.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from augmentation import conditions as spoilt_conditions
from common import print_machine
from default_model_calibration import calibrate_folder

from mvector.audio import read_audio
from mvector.cli.running import set_up_logging
from mvector.data.augmentation.codec import telephone_line
from mvector.embedding import SpeakerEncoder
from mvector.evaluation import Calibration, bootstrap_intervals, compute_eer, compute_min_dcf
from mvector.evaluation.quality import side_measures
from mvector.export import export_onnx
from mvector.home import HOME
from mvector.models.description import load_training_config, update_model_folder
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.onnx_file import ONNX_FILE
from mvector.recognition.judge import Judge
from mvector.recognition.model_choice import DEFAULT_MODEL
from mvector.recognition.verdict_rates import verdict_rates
from mvector.scoring import PairTrials, cosine_scores, read_trials
from mvector.scoring.strangers import Strangers
from mvector.scoring.trial_speakers import trial_speakers

os.environ[HOME] = os.devnull  # the model as it comes, whatever it is adapted to here

RATE = 16000
MOST_DRIFT = 0.002
AS_THEY_ARE = "as they are"
CALIBRATION = Path("dataset/default_model/calibration.trials")
LICENCE = (
    "Weights: Apache-2.0. Trained on Speech Commands (CC BY 4.0), LibriSpeech (CC BY 4.0), AN4 "
    "(CMU, BSD-like), DSPSpeech-20 (MIT), Arabic Speech Commands (CC BY 4.0), speechocean762 "
    "(Apache-2.0), AISHELL-1 (Apache-2.0), Common Voice (CC0), beside embeddings by 3D-Speaker's "
    "CAM++ (Apache-2.0); noises ESC-10 (CC BY 3.0); see docs/model_card.md."
)

Figures = dict[str, dict[str, Any]]


def main() -> int:
    """Measure, and publish or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--model", type=Path, help="model folder (default: the one in the box)")
    parser.add_argument("--publish", type=Path, metavar="M", help="model folder to ship")
    args = parser.parse_args()
    set_up_logging(shows_progress=True)
    print_machine()
    if args.publish:
        publish(args.publish)
    folder = args.model or DEFAULT_MODEL
    encoder = SpeakerEncoder.from_folder(folder, "cpu")
    found = measure(encoder, args.data)
    if args.publish:
        assert encoder.info is not None
        assert encoder.info.calibration is not None
        update_model_folder(
            folder,
            calibration=encoder.info.calibration,
            listening=encoder.listening.to_dict(),
            metrics={"development": found},
        )
        return 0
    return 0 if args.model else compare(encoder, found)


def publish(trained: Path) -> None:
    """Round the weights, write the folder with its model.onnx, calibrate."""
    exact = SpeakerEncoder.from_folder(trained, "cpu")
    model, info = load_model_folder(trained)
    save_model_folder(
        DEFAULT_MODEL,
        model,
        provenance={**info.provenance, "licence": LICENCE},
        training_config=load_training_config(trained),
        half_precision=True,
    )
    encoder = SpeakerEncoder.from_folder(DEFAULT_MODEL, "cpu")
    trials = read_trials(CALIBRATION, str(CALIBRATION.parent))
    exact_and_rounded = [each.embed_batch(list(trials.paths[:200])) for each in (exact, encoder)]
    lowest = float(rowwise_cosines(*exact_and_rounded).min())
    print(f"rounded to float16: lowest cosine to float32 over 200 clips {lowest:.7f}")
    if lowest < 0.9999:
        raise SystemExit("float16 changes the embeddings too much.")
    export_onnx(model, DEFAULT_MODEL / ONNX_FILE, precision="float16")
    update_model_folder(
        DEFAULT_MODEL,
        calibration={},
        listening=encoder.listening.to_dict(),
        metrics={"float16_cosine": round(lowest, 7)},
    )
    calibrate_folder(DEFAULT_MODEL, CALIBRATION.parent)


def rowwise_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row of one with the same row of the other."""
    products = np.einsum("ij,ij->i", a, b, dtype=np.float64)
    return products / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def measure(encoder: SpeakerEncoder, data: Path) -> Figures:
    """Print a table of conditions; returns the figures by condition and list."""
    figures: Figures = {}
    lists, waveforms = development_clips(data)
    print(f"| clips | {' | '.join(lists)} | mean |\n|---|{'---|' * (len(lists) + 1)}", flush=True)
    clean: dict[str, np.ndarray] = {}
    for condition, (scores,) in score_conditions([encoder], lists, waveforms, data):
        if condition == AS_THEY_ARE:
            clean = scores
        row = {name: figures_of(scores[name], lists[name].labels) for name in lists}
        row["mean"] = mean_figures(row.values())
        figures[condition] = row
        cells = [cell_text(cell) for cell in row.values()]
        print(f"| {condition} | {' | '.join(cells)} |", flush=True)
    figures["selected"] = selected(lists, clean, waveforms, data)
    if encoder.info is not None and encoder.info.calibration is not None:
        calibration = Calibration.from_dict(encoder.info.calibration)
        if calibration.knows_quality:
            print_decisions(encoder, calibration, lists, clean)
    return figures


def development_clips(data: Path) -> tuple[dict[str, PairTrials], dict[str, np.ndarray]]:
    """The development lists by name, and the waveform of each of their paths."""
    lists = {
        path.stem.removeprefix("dev_"): read_trials(path, str(data))
        for path in sorted((data / "lists").glob("dev_*.trials"))
    }
    waveforms = {path: read_audio(path, RATE) for trials in lists.values() for path in trials.paths}
    return lists, waveforms


def score_conditions(
    encoders: Sequence[SpeakerEncoder],
    lists: dict[str, PairTrials],
    waveforms: dict[str, np.ndarray],
    data: Path,
    *,
    clean_only: bool = False,
) -> Iterator[tuple[str, list[dict[str, np.ndarray]]]]:
    """Each condition, or that of clean clips alone, with every encoder's cosines by list."""
    for condition, change in all_conditions(data).items():
        if clean_only and condition != AS_THEY_ARE:
            continue
        scores: list[dict[str, np.ndarray]] = [{} for _ in encoders]
        for name, trials in lists.items():
            clips = [change(waveforms[path], seed_of(path, data)) for path in trials.paths]
            for encoder, by_list in zip(encoders, scores, strict=True):
                embeddings = encoder.embed_batch([(clip, RATE) for clip in clips])
                cosines = cosine_scores(embeddings, embeddings, trials)
                by_list[name] = np.asarray(cosines, dtype=np.float64)
        yield condition, scores


def figures_of(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """EER and minDCF (p_target 0.01)."""
    eer, _ = compute_eer(scores, labels)
    return {
        "eer": round(float(eer), 5),
        "min_dcf": round(float(compute_min_dcf(scores, labels)), 5),
    }


def mean_figures(cells: Iterable[dict[str, float]]) -> dict[str, float]:
    """The means of EERs and minDCFs."""
    listed = list(cells)
    return {
        key: round(float(np.mean([cell[key] for cell in listed])), 5) for key in ("eer", "min_dcf")
    }


def cell_text(cell: dict[str, float]) -> str:
    """EER and minDCF for a table."""
    return f"{100 * cell['eer']:.2f} % / {cell['min_dcf']:.3f}"


def shorter_durations(trials: PairTrials, waveforms: dict[str, np.ndarray]) -> np.ndarray:
    """Seconds of the shorter clip of each pair."""
    seconds = np.array([len(waveforms[path]) / RATE for path in trials.paths])
    return np.minimum(seconds[trials.enroll_index], seconds[trials.test_index])


def selected(
    lists: dict[str, PairTrials],
    scores: dict[str, np.ndarray],
    waveforms: dict[str, np.ndarray],
    data: Path,
) -> dict[str, Any]:
    """EER with its interval on selections of the trials as they are, over all lists at once."""
    with open(data / "lists/metadata.csv", encoding="utf-8", newline="") as stream:
        gender = {row["path"]: row["gender"] for row in csv.DictReader(stream)}
    every = []
    offset = 0
    for name, trials in lists.items():
        sexes = np.array([gender[str(Path(path).relative_to(data))] for path in trials.paths])
        first, second = trial_speakers(trials)
        every.append(
            {
                "list": np.full(len(trials), name),
                "scores": scores[name],
                "labels": trials.labels,
                "shorter_s": shorter_durations(trials, waveforms),
                "gender": np.where(
                    sexes[trials.enroll_index] == sexes[trials.test_index],
                    sexes[trials.enroll_index],
                    "",
                ),
                "first": first + offset,
                "second": second + offset,
            }
        )
        offset += int(max(first.max(), second.max())) + 1
    all_of = {key: np.concatenate([part[key] for part in every]) for key in every[0]}
    chosen = {
        "all lists, one threshold": np.ones(len(all_of["scores"]), dtype=bool),
        "both clips of 2 s and more": all_of["shorter_s"] >= 2,
        "read speech, both of 4 s and more": (all_of["list"] == "librispeech")
        & (all_of["shorter_s"] >= 4),
        "men (an4)": (all_of["gender"] == "M") & (all_of["list"] == "an4"),
        **{name: all_of["list"] == name for name in lists},
    }
    found = {}
    print("\n| trials | target / non-target | EER (95 %) | minDCF |\n|---|---|---|---|")
    for name, mask in chosen.items():
        part = {key: values[mask] for key, values in all_of.items()}
        drawn = bootstrap_intervals(part["scores"], part["labels"], part["first"], part["second"])
        cell: dict[str, Any] = figures_of(part["scores"], part["labels"])
        cell["eer_interval"] = [round(drawn.eer.low, 5), round(drawn.eer.high, 5)]
        found[name] = cell
        counts = f"{int(part['labels'].sum())} / {int((~part['labels']).sum())}"
        low, high = (100 * bound for bound in cell["eer_interval"])
        print(
            f"| {name} | {counts} | {100 * cell['eer']:.2f} % ({low:.2f} to {high:.2f}) | "
            f"{cell['min_dcf']:.3f} |",
            flush=True,
        )
    return found


def print_decisions(
    encoder: SpeakerEncoder,
    calibration: Calibration,
    lists: dict[str, PairTrials],
    scores: dict[str, np.ndarray],
) -> None:
    """Errors at the default threshold, and of the verdicts, which know the quality of the clips."""
    print("\n| at the default threshold | misses, false acceptances | corrected for quality |")
    print("|---|---|---|")
    judge = Judge(calibration, None, "")
    for name, trials in lists.items():
        table = encoder.embed_readable(trials.paths, measured=True)
        assert table.reports is not None
        assert not table.failures
        strangers = Strangers.of_model(encoder.info)
        measured = side_measures(
            [report.quality for report in table.reports],
            strangers.likeness(table.embeddings),
            strangers.own_likeness(table.embeddings),
        )
        found = [
            verdict_rates(judge, scores[name], trials, known).to_dict()
            for known in (None, (measured, measured))
        ]
        cells = [
            f"{100 * rates['target']['error_rate']:.1f} %, "
            f"{100 * rates['nontarget']['error_rate']:.1f} %"
            for rates in found
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def all_conditions(data: Path) -> dict[str, Change]:
    """What is done to each clip; the random numbers depend on the clip's path alone."""
    changes: dict[str, Change] = {AS_THEY_ARE: lambda clip, rng: clip}
    for name, spoil in spoilt_conditions(data).items():
        if spoil is not None:
            changes[name] = spoil
    changes["telephone line, 8 kHz"] = lambda clip, rng: telephone_line(clip, RATE)
    changes["first 2 s"] = lambda clip, rng: clip[: 2 * RATE]
    changes["first 5 s"] = lambda clip, rng: clip[: 5 * RATE]
    return changes


def seed_of(path: str, data: Path) -> np.random.Generator:
    """A generator that belongs to a clip."""
    return np.random.default_rng(zlib.crc32(str(Path(path).relative_to(data)).encode()))


def compare(encoder: SpeakerEncoder, found: Figures) -> int:
    """Exit code: 1 if an EER is not what model.yml says."""
    assert encoder.info is not None
    stated = encoder.info.metrics["development"]
    drifted = [
        f"{condition}, {name}: {100 * now:.2f} %, stated {100 * before:.2f} %"
        for condition, name, now, before in pairs_of(found, stated)
        if abs(now - before) > MOST_DRIFT
    ]
    print("\n".join(drifted) or "All error rates are those that model.yml states.")
    return 1 if drifted else 0


def pairs_of(found: Figures, stated: Figures) -> Iterator[tuple[str, str, float, float]]:
    """Condition, list, EER now and EER as stated."""
    for condition, row in stated.items():
        for name, cell in row.items():
            yield condition, name, found[condition][name]["eer"], cell["eer"]


if __name__ == "__main__":
    sys.exit(main())
