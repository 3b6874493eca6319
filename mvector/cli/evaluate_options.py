"""The options of ``eval.py``, and what they say of scores and calibration."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mvector.cli.common import add_config_options, parse_bool, parse_count
from mvector.errors import EvaluationError

if TYPE_CHECKING:
    from mvector.evaluation.back_end import BackEnd

_EPILOG = """\
examples:
  python eval.py --model_path models/EcapaTdnn_Fbank/best_model
  python eval.py --configs configs/ecapa_tdnn.yml --save_image_path log/
  python eval.py --set dataset_conf.trials_list=my_trials.txt    lines 'label path path'
  python eval.py --set dataset_conf.trials_list=trials.lst --set dataset_conf.enroll_list=enroll.lst
  python eval.py --calibrate --quality                           which threshold, and how sure?
  python eval.py --verdict                       how often is infer_contrast.py wrong, or unsure?
  python eval.py --mean --norm asnorm --cache embeddings/        cohort: speakers of train_list
  python eval.py --score plda --lda_dim 100 --cache embeddings/  trained on train_list
  torchrun --nproc_per_node 4 eval.py --cache embeddings/        shares the clips among processes
  python eval.py --report report/ --metadata clips.csv --by gender,session,duration
  python eval.py --model_path models/A/best_model --save_scores a.npz     the same for B, and then
  python eval.py --compare a.npz b.npz --report comparison/

Each clip of trials_list is compared with each clip of enroll_list (lines 'path<TAB>label').
A trials_list of lines 'label path path' or 'path path target' needs no enroll_list; where it names
enrolment models, enroll_list says the clips of each (CN-Celeb's enroll.lst, Kaldi's wav.scp).
Thresholds are written into the model folder, where infer_contrast.py and infer_recognition.py find
them, and all figures into results.json beside it. Thresholds of other scores than plain cosines go
into results.json only. The table shows minDCF with the cost of deciding by the calibrated
log-likelihood ratio (actual), and the misses and false acceptances that each threshold rests on.

exit code: 0 done, 1 measured on too little to calibrate by (with --calibrate), 2 a mistake
"""

_ENROLMENT = """\
how models of several clips are enrolled: mean of unit vectors (mean, the default; a PLDA is given
all clips jointly), mean of embeddings (raw-mean), highest score (max), mean of the N highest scores
(top-N, such as top-3), or all clips heard as one (concat)"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="eval.py",
        description="Measure EER, minDCF and decision thresholds of a trained model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_options(parser, default="the one saved beside the model")
    add = parser.add_argument
    add(
        "--model_path",
        "--resume_model",
        metavar="DIR",
        help="model folder (default: that of --configs, the one trained here, or the one in the "
        "box, whose thresholds stay as they are)",
    )
    add("--enrolment", metavar="WAY", help=_ENROLMENT)
    add(
        "--skip_missing",
        action="store_true",
        help="leave out trials of clips that do not exist, and count them",
    )
    add(
        "--cache",
        metavar="DIR",
        help="keep embeddings here: a run that was cut off goes on, another one starts from them",
    )
    _add_scores(parser)
    _add_calibration(parser)
    _add_outputs(parser)
    return parser


def _add_scores(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how to score").add_argument
    add(
        "--score",
        choices=("cosine", "plda"),
        default="cosine",
        help="cosine of two embeddings (default), or log-likelihood ratio of a PLDA",
    )
    add(
        "--mean",
        action="store_true",
        help="subtract the mean embedding of the cohort's clips from all embeddings first",
    )
    add(
        "--norm",
        choices=("snorm", "asnorm"),
        help="see each cosine against those of a cohort: all of it, or the --top_n most alike",
    )
    add(
        "--cohort",
        metavar="LIST",
        help="clips 'path<TAB>speaker' for --mean and --norm (default: dataset_conf.train_list)",
    )
    add(
        "--cohort_of",
        choices=("speakers", "clips"),
        help="a cohort of the means of speakers (default) or of single clips",
    )
    add("--top_n", type=parse_count, metavar="N", help="for --norm asnorm (default: 300)")
    add(
        "--plda_train",
        metavar="LIST",
        help="clips 'path<TAB>speaker' to train a PLDA on (default: dataset_conf.train_list)",
    )
    add(
        "--plda_adapt",
        metavar="LIST",
        help="clips 'path<TAB>number' like those of the trials, to fit the PLDA to; their speakers "
        "need not be known",
    )
    add("--lda_dim", type=parse_count, metavar="N", help="LDA in front of the PLDA (default: none)")
    add(
        "--max_clips_per_speaker",
        type=parse_count,
        metavar="N",
        help="take so many clips of each speaker of these lists (default: all)",
    )


def _add_calibration(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("calibration").add_argument
    add(
        "--calibrate",
        action="store_true",
        help="say which threshold, and how sure: errors behind each, a check on people that were "
        "not calibrated on, the inconclusive band; too little to rely on is not written",
    )
    add(
        "--quality",
        action="store_true",
        help="with --calibrate: also fit a ratio that knows speech duration and SNR of the clips",
    )
    add(
        "--force", action="store_true", help="with --calibrate: write even what rests on too little"
    )
    add(
        "--verdict",
        action="store_true",
        help="how often the verdicts of infer_contrast.py are wrong (FAR, FRR) or inconclusive, "
        "decided by the calibration that the model has, which then stays as it is",
    )
    add(
        "--write_calibration",
        type=parse_bool,
        default=True,
        metavar="True|False",
        help="write thresholds into the model folder (default True)",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what to write and print").add_argument
    add(
        "--save_image_path",
        metavar="PATH",
        help="folder or .png file for a picture of FNR and FPR over the threshold",
    )
    add(
        "--out",
        metavar="FILE",
        help="file or folder for all figures (default: results.json beside the model folder)",
    )
    add("--save_scores", metavar="FILE", help="write scores, labels and trials here (npz)")
    add(
        "--report",
        metavar="DIR",
        help="folder for a page with curves, breakdown and worst trials (report.html), and for "
        "its pictures",
    )
    add(
        "--by",
        metavar="COLUMNS",
        help="error rates by columns of --metadata, such as gender,language, or by duration of "
        "the shorter clip (default: duration if there is a --report)",
    )
    add(
        "--metadata",
        metavar="FILE",
        help="csv or tsv with a line for each clip, names of columns in the first: path, ...",
    )
    add(
        "--bootstrap",
        type=parse_count,
        metavar="N",
        help="draw the speakers so often for intervals; 0 gives none (default: 1000, less for "
        "very many trials)",
    )
    add(
        "--compare",
        nargs="+",
        metavar="SCORES",
        help="compare files of --save_scores with the first of them, instead of evaluating",
    )


def back_end_of(args: argparse.Namespace, train_list: str) -> BackEnd:
    """What to score with.

    Args:
        args: the options.
        train_list: of the configuration, where no other list is named.

    Raises:
        EvaluationError: options that do not go together.
    """
    from mvector.evaluation.back_end import BackEnd

    has_cohort, is_plda = args.mean or args.norm is not None, args.score == "plda"
    for option, has_use, use in (
        ("cohort", has_cohort, "--mean or --norm"),
        ("cohort_of", args.norm is not None, "--norm"),
        ("top_n", args.norm == "asnorm", "--norm asnorm"),
        ("plda_train", is_plda, "--score plda"),
        ("plda_adapt", is_plda, "--score plda"),
        ("lda_dim", is_plda, "--score plda"),
        ("max_clips_per_speaker", has_cohort or is_plda, "--mean, --norm or --score plda"),
    ):
        if getattr(args, option) is not None and not has_use:
            raise EvaluationError(f"--{option} has no effect without {use}; add it or leave both.")
    return BackEnd(
        method=args.score,
        subtract_mean=args.mean,
        norm=args.norm,
        cohort=(args.cohort or train_list) if has_cohort else None,
        top_n=300 if args.top_n is None else args.top_n,
        by_speaker=args.cohort_of != "clips",
        plda_train=(args.plda_train or train_list) if is_plda else None,
        plda_adapt=args.plda_adapt,
        lda_dim=args.lda_dim,
        max_clips_per_speaker=args.max_clips_per_speaker or None,
    )


def check_calibration(args: argparse.Namespace, score_type: str) -> None:
    """Refuse a calibration that nothing could use, and verdicts that nobody gets.

    Raises:
        EvaluationError: options that do not go together.
    """
    for option in ("quality", "force"):
        if getattr(args, option) and not args.calibrate:
            raise EvaluationError(f"--{option} is part of a calibration; add --calibrate.")
    if args.verdict and args.calibrate:
        raise EvaluationError(
            "--verdict measures the calibration that the model has, and --calibrate makes another; "
            "give one, then the other."
        )
    if args.verdict and score_type != "cosine":
        raise EvaluationError(
            f"--verdict measures what infer_contrast.py says, which compares cosines, and these "
            f"scores are {score_type}; leave out --score, --mean and --norm."
        )
    if args.calibrate and score_type != "cosine":
        raise EvaluationError(
            f"--calibrate measures thresholds for infer_contrast.py and infer_recognition.py, "
            f"which compare cosines, and these scores are {score_type}; leave out --score, --mean "
            "and --norm (their thresholds stand in results.json in any case)."
        )
