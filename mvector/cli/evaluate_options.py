"""The options of ``eval.py``: of an evaluation, and of a comparison of saved scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mvector.cli.common import (
    SettingOptions,
    bool_option,
    config_option,
    engine_option,
    gpu_beside_engine,
    parse_count,
    purpose_option,
)
from mvector.cli.options import Condition, Options, flag, option, optional, required

if TYPE_CHECKING:
    from mvector.evaluation.back_end import BackEnd

EPILOG = """\
examples:
  python eval.py --model_path models/EcapaTdnn_Fbank/best_model
  python eval.py --configs ecapa_tdnn --save_image_path log/
  python eval.py --set dataset_conf.trials_list=my_trials.txt    lines 'label path path'
  python eval.py --set dataset_conf.trials_list=trials.lst --set dataset_conf.enroll_list=enroll.lst
  python eval.py --speakers who.txt                              intervals by who really speaks
  python eval.py --calibrate --quality                           which threshold, and how sure?
  python eval.py --verdict                       how often is infer_contrast.py wrong, or unsure?
  python eval.py --mean --norm asnorm --cache embeddings/        cohort: speakers of train_list
  python eval.py --score plda --lda_dim 100 --cache embeddings/  trained on train_list
  python eval.py --model_path DIR --engine onnx                  its model.onnx, without PyTorch
  torchrun --nproc_per_node 4 eval.py --cache embeddings/        shares the clips among processes
  python eval.py --report report/ --metadata clips.csv --by gender,session,duration
  python eval.py --model_path models/A/best_model --save_scores a.npz     the same for B, and then
  python eval.py --compare a.npz b.npz --report comparison/

Each clip of trials_list is compared with each clip of enroll_list (lines 'path<TAB>label').
A trials_list of lines 'label path path' or 'path path target' needs no enroll_list; where it names
enrolment models, enroll_list says the clips of each (CN-Celeb's enroll.lst, Kaldi's wav.scp).
Thresholds are written into the model folder, where infer_contrast.py and infer_recognition.py find
them, and all figures into results.json beside it; those of other scores than plain cosines into a
file of their own, such as results-plda.json or results-as-norm.json, thresholds included. The first
line is to be pasted; the table shows minDCF with the cost of deciding by the calibrated
log-likelihood ratio (actual), and the misses and false acceptances that each threshold rests on.

exit code: 0 done, 1 measured on too little to calibrate by (with --calibrate), 2 a mistake
"""

#: Options that stand for settings of ``dataset_conf.eval_conf``.
_EVAL_CONF = ("enrolment", "skip_missing", "cache")

_ENROLMENT = """\
how models of several clips are enrolled: mean of unit vectors (mean, the default; a PLDA is given
all clips jointly), mean of embeddings (raw-mean), highest score (max), mean of the N highest scores
(top-N, such as top-3), or all clips heard as one (concat)"""


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Options):
    TITLE = "what to write and print"

    out: str | None = optional(
        "file, or folder (a name without a suffix), for all figures (default: results.json, or "
        "results-SCORE.json of other scores than cosines, beside the model folder; of a "
        "comparison, none)",
        "FILE",
    )
    report: str | None = optional(
        "folder for a page with curves, breakdown and worst trials (report.html), and for its "
        "pictures",
        "DIR",
    )
    bootstrap: int | None = optional(
        "draw the speakers so often for intervals; 0 gives none (default: 1000, less for very "
        "many trials)",
        "N",
        parse_count,
    )


@dataclass(frozen=True, kw_only=True)
class Compare(OutputOptions):
    compare: Sequence[str] = required(
        "compare files of --save_scores with the first of them, instead of evaluating",
        "SCORES",
        nargs="+",
    )


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(Options):
    TITLE = "how to score"

    score: str = option(
        "cosine",
        "cosine of two embeddings (default), or log-likelihood ratio of a PLDA",
        choices=("cosine", "plda"),
    )
    mean: bool = flag("subtract the mean embedding of the cohort's clips from all embeddings first")
    norm: str | None = optional(
        "see each cosine against those of a cohort: all of it, or the --top_n most alike",
        choices=("snorm", "asnorm"),
    )
    cohort: str | None = optional(
        "clips 'path<TAB>speaker' for --mean and --norm (default: dataset_conf.train_list)", "LIST"
    )
    cohort_of: str = option(
        "speakers",
        "a cohort of the means of speakers (default) or of single clips",
        choices=("speakers", "clips"),
    )
    top_n: int = option(300, "for --norm asnorm (default: %(default)s)", "N", parse_count)
    plda_train: str | None = optional(
        "clips 'path<TAB>speaker' to train a PLDA on (default: dataset_conf.train_list)", "LIST"
    )
    plda_adapt: str | None = optional(
        "clips 'path<TAB>number' like those of the trials, to fit the PLDA to; their speakers "
        "need not be known",
        "LIST",
    )
    lda_dim: int | None = optional("LDA in front of the PLDA (default: none)", "N", parse_count)
    max_clips_per_speaker: int | None = optional(
        "take so many clips of each speaker of these lists (default: all)", "N", parse_count
    )

    @property
    def is_plain(self) -> bool:
        """Whether scores are cosines of embeddings as they are."""
        return self.score == "cosine" and not self.mean and self.norm is None

    def conditions(self) -> tuple[Condition, ...]:
        has_cohort, is_plda = self.mean or self.norm is not None, self.score == "plda"
        return (
            *super().conditions(),
            ("cohort", has_cohort, "without --mean or --norm"),
            ("cohort_of", self.norm is not None, "without --norm"),
            ("top_n", self.norm == "asnorm", "without --norm asnorm"),
            ("plda_train plda_adapt lda_dim", is_plda, "without --score plda"),
            ("max_clips_per_speaker", not self.is_plain, "without --mean, --norm or --score plda"),
        )

    def back_end(self, train_list: str) -> BackEnd:
        """What to score with; ``train_list`` is taken where no other list is named."""
        from mvector.evaluation.back_end import BackEnd

        has_cohort, is_plda = self.mean or self.norm is not None, self.score == "plda"
        return BackEnd(
            method=self.score,
            subtract_mean=self.mean,
            norm=self.norm,
            cohort=(self.cohort or train_list) if has_cohort else None,
            top_n=self.top_n,
            by_speaker=self.cohort_of == "speakers",
            plda_train=(self.plda_train or train_list) if is_plda else None,
            plda_adapt=self.plda_adapt,
            lda_dim=self.lda_dim,
            max_clips_per_speaker=self.max_clips_per_speaker or None,
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions(ScoringOptions):
    TITLE = "calibration"

    calibrate: bool = flag(
        "say which threshold, and how sure: errors behind each, a check on people that were not "
        "calibrated on, what cannot be told; too little to rely on is not written"
    )
    quality: bool = flag(
        "with --calibrate: also fit ratios that know speech duration, SNR and channel of the clips"
    )
    force: bool = flag("with --calibrate: write even what rests on too little")
    verdict: bool = flag(
        "how often the verdicts of infer_contrast.py are wrong (FAR, FRR) or cannot tell, decided "
        "by the calibration that the model has, which then stays as it is"
    )
    purpose: str | None = purpose_option()
    write_calibration: bool | None = bool_option(
        None,
        "write thresholds into the model folder (default: unless those there rest on more people; "
        "never into the one in the box)",
    )

    def conditions(self) -> tuple[Condition, ...]:
        elsewhere = (
            "with --score plda, --mean or --norm: infer_contrast.py and infer_recognition.py, "
            "which thresholds are for, compare plain cosines (results-SCORE.json has those of "
            "other scores in any case)"
        )
        writes = self.write_calibration is not False
        return (
            *super().conditions(),
            ("calibrate verdict", self.is_plain, elsewhere),
            ("verdict", not self.calibrate, "with --calibrate, which makes another calibration"),
            ("write_calibration", self.is_plain or not writes, elsewhere),
            ("write_calibration", not (self.verdict and writes), "with --verdict"),
            ("purpose", self.verdict, "without --verdict"),
            ("quality force", self.calibrate, "without --calibrate"),
            ("force", writes, "with --write_calibration False"),
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate(SettingOptions, CalibrationOptions, OutputOptions):
    configs: str | None = config_option("the one saved beside the model")
    model_path: str | None = optional(
        "model folder (default: that of --configs, the one trained here, or the one in the box, "
        "whose thresholds stay as they are)",
        "DIR",
        flags=("--model_path", "--resume_model"),
    )
    engine: Literal["auto", "torch", "onnx"] = engine_option()
    enrolment: str | None = optional(_ENROLMENT, "WAY")
    skip_missing: bool = flag("leave out trials of clips that do not exist, and count them")
    speakers: str | None = optional(
        "whose each clip of a list of pairs is, lines 'path<TAB>speaker' (default: the folders of "
        "the paths if they fit the labels, else what target trials join)",
        "FILE",
    )
    cache: str | None = optional(
        "keep embeddings here: a run that was cut off goes on, another one starts from them", "DIR"
    )
    save_image_path: str | None = optional(
        "folder or .png file for a picture of FNR and FPR over the threshold", "PATH"
    )
    save_scores: str | None = optional("write scores, labels and trials here (npz)", "FILE")
    by: str | None = optional(
        "error rates by columns of --metadata, such as gender,language, or by duration of the "
        "shorter clip (default: duration if there is a --report)",
        "COLUMNS",
    )
    metadata: str | None = optional(
        "csv or tsv with a line for each clip, names of columns in the first: path, ...", "FILE"
    )

    def conditions(self) -> tuple[Condition, ...]:
        conf = "dataset_conf.eval_conf"
        return (
            *super().conditions(),
            gpu_beside_engine(self.use_gpu, self.engine),
            *(
                (name, not self.sets(f"{conf}.{name}"), f"beside --set {conf}.{name}")
                for name in _EVAL_CONF
            ),
        )

    def settings(self) -> list[str]:
        """All that is set, with the options that stand for settings of ``eval_conf``."""
        settings = list(self.overrides)
        for name in _EVAL_CONF:
            value = getattr(self, name)
            if value not in (None, False):
                settings.append(f"dataset_conf.eval_conf.{name}={json.dumps(value)}")
        return settings
