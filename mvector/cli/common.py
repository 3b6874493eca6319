"""What commands share: values of options, and groups of options."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mvector.cli.options import Condition, Options, flag, option, optional, required
from mvector.errors import count_of

if TYPE_CHECKING:
    from mvector.audio import AudioLimits
    from mvector.recognition.predictor import MVectorPredictor

_T = TypeVar("_T")

# ---- values ------------------------------------------------------------------------------------


def parse_bool(text: str) -> bool:
    """``True``/``False`` (also yes/no, 1/0, any case) for argparse's ``type=``."""
    lowered = text.strip().lower()
    if lowered in ("true", "yes", "1", "on"):
        return True
    if lowered in ("false", "no", "0", "off"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither True nor False")


def parse_optional_bool(text: str) -> bool | None:
    """Like :func:`parse_bool`, and ``auto``/``None`` for *decide by what the machine has*."""
    return None if text.strip().lower() in ("auto", "none", "") else parse_bool(text)


def _number_parser(least: float, kind: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    """A parser of numbers from ``least``, for argparse's ``type=``."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"'{text}' is not {what}")
        return value

    return parse


parse_seconds = _number_parser(0, float, "a duration in seconds, such as 0.5")
parse_length = _number_parser(0.001, float, "a duration above 0 in seconds, such as 0.5")
parse_count = _number_parser(0, int, "a whole number from 0")
parse_number = _number_parser(1, int, "a whole number from 1")


def bool_option(default: _T, text: str) -> _T:
    """A field that is an option of ``True`` or ``False``."""
    return option(default, text, "True|False", parse_bool)


#: Exit codes of the answers to a comparison; 2 is a mistake, as everywhere.
ANSWER_CODES = {"same": 0, "different": 1, "cannot tell": 3}

# ---- options that several commands have --------------------------------------------------------


def gpu_option() -> bool | None:
    """``--use_gpu``, of commands that compute."""
    return optional("default: a GPU if there is one", "True|False", parse_optional_bool)


def engine_option() -> Literal["auto", "torch", "onnx"]:
    """``--engine``, of commands that run a model."""
    return option(
        "auto",
        "what runs the model: torch; onnx, its model.onnx without torch; auto: onnx on a CPU where "
        "the folder has that file (default: %(default)s)",
        choices=("auto", "torch", "onnx"),
    )


def gpu_beside_engine(use_gpu: bool | None, engine: str) -> Condition:
    """What an engine has no use for."""
    on_cpu = "with --engine onnx, which computes on the CPU"
    return ("use_gpu", not (engine == "onnx" and use_gpu), on_cpu)


def max_duration_option() -> float | None:
    """``--max_duration``, of tools that may hear another part of clips than the model does."""
    return optional(
        "hear only the beginning of longer clips; inf: all of them (default: what the model folder "
        "says, which is all of them unless thresholds were measured on less)",
        "SECONDS",
        float,
    )


def config_option(default: str) -> str | None:
    """``--configs``, of commands that train and evaluate."""
    return optional(
        f"configuration, a file or a name of mvector configs (default: {default})", "FILE"
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    TITLE = "model"

    model_path: str | None = optional(
        "model folder, box for the one in the box, or a name of mvector models (default: that of "
        "--configs or of the speaker library, the one trained here, or box)",
        "DIR",
    )
    configs: str | None = optional("configuration that names the model instead", "FILE")
    use_gpu: bool | None = gpu_option()
    engine: Literal["auto", "torch", "onnx"] = engine_option()

    def conditions(self) -> tuple[Condition, ...]:
        beside = "beside --model_path, which names the model already"
        return (
            *super().conditions(),
            ("configs", self.model_path is None, beside),
            gpu_beside_engine(self.use_gpu, self.engine),
        )


@dataclass(frozen=True, kw_only=True)
class JsonOption(Options):
    json: bool = flag("print JSON objects instead of sentences")


def named_or_chosen_model(args: ModelOptions, library: str | None = None) -> str | Path:
    """The model that is named, or else the one to use; one that is not the box is then told.

    On standard error, so that answers stay as they are; objects of ``--json`` have it instead.

    Raises:
        MVectorError: as :func:`mvector.recognition.model_choice.choose_model` says.
    """
    if args.model_path:
        return args.model_path
    from mvector.models.named import model_name
    from mvector.recognition.model_choice import choose_model

    choice = choose_model(args.configs, library=library)
    if choice.why and not (isinstance(args, JsonOption) and args.json):
        print(f"Model: {model_name(choice.folder)} ({choice.why})", file=sys.stderr, flush=True)
    return choice.folder


def purpose_option() -> str | None:
    """``--purpose``, of commands that give verdicts; ``None`` is *default*."""
    return optional(
        "how rarely strangers are accepted, by the model's calibration: default 1 in 100, login 1 "
        "in 1,000, search as often as people are rejected",
        choices=("default", "login", "search"),
    )


@dataclass(frozen=True, kw_only=True)
class ThresholdOption(Options):
    threshold: float | None = optional(
        "at or above: the same person, below: not (default: what the model's calibration says)",
        "COSINE",
        float,
    )
    purpose: str | None = purpose_option()

    def conditions(self) -> tuple[Condition, ...]:
        decided = "with --threshold, which decides by itself"
        return (*super().conditions(), ("purpose", self.threshold is None, decided))


@dataclass(frozen=True, kw_only=True)
class LibraryFolder(Options):
    TITLE = "speaker library"

    audio_db_path: str = option(
        "audio_db/", "the speaker library, or postgresql://… (default: %(default)s)", "DIR"
    )


@dataclass(frozen=True, kw_only=True)
class LibraryOptions(ModelOptions, LibraryFolder):
    """A library and the model for it."""


@dataclass(frozen=True, kw_only=True)
class AuditDaysOption(Options):
    audit_days: int | None = optional(
        "keep the audit for N days from now on (default: as it was; 90 in a new library)",
        "N",
        parse_number,
    )


@dataclass(frozen=True, kw_only=True)
class NoAudioOption(Options):
    no_audio: bool = flag(
        "keep voiceprints only: for another model people then have to be enrolled anew"
    )


def audit_days(args: Options) -> int | None:
    """How long the audit is kept, of commands that let it be chosen."""
    return args.audit_days if isinstance(args, AuditDaysOption) else None


def make_predictor(
    args: ModelOptions,
    library: str | None = None,
    *,
    as_enrolled: bool = True,
    limits: AudioLimits | None = None,
) -> MVectorPredictor:
    """The model that is asked for, with the library of a folder, if any, to be opened.

    Where none is named it is the library's, or with ``as_enrolled=False`` the one for new people.
    What a command has no option for is as it is without.
    """
    from mvector.recognition.predictor import MVectorPredictor

    return MVectorPredictor(
        named_or_chosen_model(args, library if as_enrolled else None),
        threshold=args.threshold if isinstance(args, ThresholdOption) else None,
        purpose=(isinstance(args, ThresholdOption) and args.purpose) or "default",
        audio_db_path=library,
        use_gpu=args.use_gpu,
        engine=args.engine,
        limits=limits,
        library_options={
            "progress": True,
            "keep_audio": not (isinstance(args, NoAudioOption) and args.no_audio),
            "audit_days": audit_days(args),
        },
    )


@dataclass(frozen=True, kw_only=True)
class SearchOptions(LibraryOptions, ThresholdOption, AuditDaysOption):
    within: Sequence[str] | None = optional(
        "recognise people of these groups only", "GROUP", nargs="+"
    )
    top_k: int = option(1, "tell the N most alike people", "N", parse_number)


@dataclass(frozen=True, kw_only=True)
class SettingOptions(Options):
    """Settings changed on the command line."""

    use_gpu: bool | None = gpu_option()
    overrides: Sequence[str] = option(
        (),
        "change one setting, such as train_conf.max_epoch=10; may be given again",
        "KEY=VALUE",
        flags=("--set", "--overrides"),
        action="append",
    )

    def sets(self, key: str) -> bool:
        """Whether a setting, or one of a section, is among them."""
        return any(each.split("=")[0].strip().startswith(key) for each in self.overrides)


@dataclass(frozen=True, kw_only=True)
class WorkerOptions(Options):
    num_workers: int | None = optional(
        "processes that decode clips (default: one per processor; 0: this one only)",
        "N",
        parse_count,
    )


def print_left_out(num_bad: int, listed_in: Path) -> None:
    """Say how many clips were left out, if any."""
    if num_bad:
        print(f"Left out:  {count_of(num_bad, 'bad clip')}, listed in {listed_in}")


def list_option() -> str:
    """A field: the list that a command works on."""
    source: str = required("lines of path, tab, speaker number", "LIST", positional=True)
    return source


@dataclass(frozen=True, kw_only=True)
class ListOptions(WorkerOptions):
    source: str = list_option()
    data_root: str | None = optional("where relative paths of the list start", "DIR")

    def conditions(self) -> tuple[Condition, ...]:
        from mvector.data.packed import is_packed

        where = "with a packed corpus, which holds its clips"
        return (*super().conditions(), ("data_root", not is_packed(self.source), where))
