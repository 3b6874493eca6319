"""What commands share: values of options, groups of options, logging, and running a command."""

from __future__ import annotations

import argparse
import dataclasses
import io
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mvector.cli.options import (
    Command,
    Condition,
    Options,
    bind_options,
    build_parser,
    flag,
    option,
    optional,
    required,
)
from mvector.errors import MVectorError

EXIT_MISTAKE = 2

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


# ---- options that several commands have --------------------------------------------------------


def gpu_option() -> bool | None:
    """``--use_gpu``, of commands that compute."""
    return optional("default: a GPU if there is one", "True|False", parse_optional_bool)


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
        "model folder (default: that of --configs, the one trained here, or the one in the box)",
        "DIR",
    )
    configs: str | None = optional("configuration that names the model instead", "FILE")
    use_gpu: bool | None = gpu_option()

    def conditions(self) -> tuple[Condition, ...]:
        beside = "beside --model_path, which names the model already"
        return (*super().conditions(), ("configs", self.model_path is None, beside))


@dataclass(frozen=True, kw_only=True)
class JsonOption(Options):
    json: bool = flag("print JSON objects instead of sentences")


@dataclass(frozen=True, kw_only=True)
class ThresholdOption(Options):
    threshold: float | None = optional(
        "at or above: the same person (default: the model's calibrated threshold)", "COSINE", float
    )


@dataclass(frozen=True, kw_only=True)
class LibraryOptions(ModelOptions):
    TITLE = "speaker library"

    audio_db_path: str = option("audio_db/", "the speaker library (default: %(default)s)", "DIR")


@dataclass(frozen=True, kw_only=True)
class NoAudioOption(Options):
    no_audio: bool = flag(
        "keep voiceprints only: for another model people then have to be enrolled anew"
    )


@dataclass(frozen=True, kw_only=True)
class SearchOptions(LibraryOptions, ThresholdOption):
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


@dataclass(frozen=True, kw_only=True)
class ListOptions(WorkerOptions):
    source: str = required("lines of path, tab, speaker number", "LIST", positional=True)
    data_root: str | None = optional("where relative paths of the list start", "DIR")

    def conditions(self) -> tuple[Condition, ...]:
        from mvector.data.packed import is_packed

        where = "with a packed corpus, which holds its clips"
        return (*super().conditions(), ("data_root", not is_packed(self.source), where))


# ---- running -------------------------------------------------------------------------------------


def run_command(command: Command, argv: Sequence[str] | None = None) -> int:
    """Parse, run, and turn a user's mistake into one sentence and exit code 2.

    ``argv`` lacks the program's name; ``None`` takes the process's own.
    """
    parser = build_parser(command)
    parser.add_argument(
        "--debug", action="store_true", help="show the full traceback of a mistake, and more log"
    )
    given = vars(parser.parse_args(argv))
    debug = given.pop("debug", False)
    set_up_logging(debug)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no failure
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        action, options = bind_options(command, given)
        return action.run(options)
    except MVectorError as error:
        if debug:
            raise
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: stopped by the user.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        sys.stderr.close()
        return 0


def set_up_logging(debug: bool = False) -> None:
    """Log lines with time stamp and level on standard error, beside progress bars.

    Of the processes that ``torchrun`` starts, all but the first tell of nothing but trouble.
    """
    handler = logging.StreamHandler()
    layout = "[%(asctime)s %(levelname)-7s] %(message)s"
    handler.setFormatter(logging.Formatter(layout, "%Y-%m-%d %H:%M:%S"))
    root = logging.getLogger("mvector")
    root.handlers[:] = [handler]
    is_main = os.environ.get("RANK", "0") == "0"
    root.setLevel(logging.DEBUG if debug else logging.INFO if is_main else logging.WARNING)
    root.propagate = False


def log_arguments(args: Options) -> None:
    """Print the options as the run has them, one indented line each."""
    logger = logging.getLogger("mvector")
    logger.info("----------- Extra arguments -----------")
    for name in sorted(own.name for own in dataclasses.fields(args)):
        logger.info("  %s: %s", name, getattr(args, name))
    logger.info("---------------------------------------")
