"""Ways of scoring real trials, and what a calibration is worth on another corpus.

    python benchmarks/real_scoring.py --data DIR --model_path MODEL --cache embeddings/

DIR holds lists/train.txt (lines 'path<TAB>speaker'; cohort and PLDA) and lists/dev_*.trials (lines
'label path path'); paths in the lists are relative to DIR. Four tables: EER and minDCF (p 0.01) of
each way of scoring; the bits that log-likelihood ratios cost people who were not calibrated on,
without and with the quality of the clips; and, for cosines and for the best norm, the bits that the
calibration of one corpus (row) costs on another (column).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from common import print_machine

from mvector.cli.running import set_up_logging
from mvector.embedding import SpeakerEncoder
from mvector.evaluation import held_out_check
from mvector.evaluation.back_end import BackEnd
from mvector.evaluation.llr_quality import cllr, llr_curve, min_cllr
from mvector.evaluation.run import VerificationResult, verify_lists
from mvector.scoring.trial_speakers import trial_speakers

Results = Mapping[str, Sequence[VerificationResult]]


def back_ends(train_list: str, lda_dim: int) -> dict[str, BackEnd]:
    """The ways of scoring by name."""
    cohort = partial(BackEnd, cohort=train_list)
    plda = partial(BackEnd, method="plda", plda_train=train_list)
    return {
        "cosine": BackEnd(),
        "less mean": cohort(subtract_mean=True),
        "S-norm": cohort(norm="snorm"),
        "AS-norm": cohort(norm="asnorm"),
        "less mean, AS-norm": cohort(norm="asnorm", subtract_mean=True),
        "PLDA": plda(),
        f"LDA {lda_dim}, PLDA": plda(lda_dim=lda_dim),
    }


def main() -> None:
    """Score every list in every way, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--model_path", required=True, type=Path, help="model folder")
    parser.add_argument("--cache", help="keep embeddings here")
    parser.add_argument("--train_list", help="cohort and PLDA (default: DIR/lists/train.txt)")
    parser.add_argument("--lda_dim", type=int, default=100)
    args = parser.parse_args()
    set_up_logging(shows_progress=True)
    print_machine()
    encoder = SpeakerEncoder.from_folder(args.model_path, "cpu")
    train_list = args.train_list or str(args.data / "lists" / "train.txt")
    corpora = sorted((args.data / "lists").glob("dev_*.trials"))
    names = [path.stem.removeprefix("dev_") for path in corpora]
    results: Results = {
        way: [
            verify_lists(
                encoder,
                str(path),
                root=str(args.data),
                cache=args.cache,
                back_end=back_end,
                with_quality=way == "cosine",
            )
            for path in corpora
        ]
        for way, back_end in back_ends(train_list, args.lda_dim).items()
    }
    print_ways(results, names)
    print_quality(results["cosine"], names)
    print_transfer("cosine", results["cosine"], names)
    print_transfer("less mean, AS-norm", results["less mean, AS-norm"], names)


def print_ways(results: Results, names: Sequence[str]) -> None:
    """EER and minDCF."""
    _header("EER / minDCF", [*names, "**mean**"])
    for way, of_way in results.items():
        figures = np.array([(r.calibration.eer, r.calibration.min_dcf) for r in of_way])
        _row(way, [f"{100 * e:.2f} % / {d:.3f}" for e, d in [*figures, figures.mean(axis=0)]])


def print_quality(of_cosine: Sequence[VerificationResult], names: Sequence[str]) -> None:
    """Cllr on the half of the people that were not calibrated on."""
    _header("Cllr, other people", [*names, "**mean**"])
    for name, knows in (("scores alone", False), ("with duration and SNR (QMF)", True)):
        bits = []
        for result in of_cosine:
            assert result.scores is not None
            check = held_out_check(
                result.scores,
                result.labels,
                trial_speakers(result.trials),
                quality=result.quality if knows else None,
            )
            bits.append((check.cllr, check.min_cllr))
        figures = np.array(bits)
        cells = [f"{actual:.3f} (min {low:.3f})" for actual, low in figures]
        _row(name, [*cells, f"{figures[:, 0].mean():.3f}"])


def print_transfer(way: str, of_way: Sequence[VerificationResult], names: Sequence[str]) -> None:
    """Cllr of each calibration on each corpus."""
    _header(f"Cllr, {way}: calibrated on", names)
    for name, source in zip(names, of_way, strict=True):
        slope, offset = source.calibration.slope, source.calibration.offset
        costs = [cllr(llr_curve(result.curve, slope, offset)) for result in of_way]
        _row(name, [f"{cost:.3f}" for cost in costs])
    _row("lowest possible", [f"{min_cllr(result.curve):.3f}" for result in of_way])
    _row("threshold at EER", [f"{r.calibration.threshold_eer:.3f}" for r in of_way])


def _header(corner: str, columns: Sequence[str]) -> None:
    print(f"\n| {corner} | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}")


def _row(name: str, cells: Sequence[str]) -> None:
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
