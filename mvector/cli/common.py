"""What every script shares: true/false options, logging, one sentence instead of a traceback."""

from __future__ import annotations

import argparse
import io
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence

from mvector.errors import MVectorError

EXIT_MISTAKE = 2

Builder = Callable[[], argparse.ArgumentParser]
Runner = Callable[[argparse.Namespace], int]


def parse_bool(text: str) -> bool:
    """``True``/``False`` (also yes/no, 1/0, any case) for argparse's ``type=``."""
    lowered = text.strip().lower()
    if lowered in ("true", "yes", "1", "on"):
        return True
    if lowered in ("false", "no", "0", "off"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither True nor False")


def optional_bool(text: str) -> bool | None:
    """Like :func:`parse_bool`, and ``auto``/``None`` for *decide by what the machine has*."""
    return None if text.strip().lower() in ("auto", "none", "") else parse_bool(text)


def parse_seconds(text: str) -> float:
    """A duration from 0, for argparse's ``type=``."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration in seconds, such as 0.5")
    return value


def parse_count(text: str) -> int:
    """A whole number from 0, for argparse's ``type=``."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0")
    return int(text)


def run_command(build_parser: Builder, run: Runner, argv: Sequence[str] | None = None) -> int:
    """Parse, run, and turn a user's mistake into one sentence and exit code 2.

    Args:
        build_parser: makes the command's parser; ``--debug`` is added to it.
        run: does the work and returns the exit code.
        argv: arguments without the program's name; ``None`` takes the process's own.
    """
    parser = build_parser()
    parser.add_argument(
        "--debug", action="store_true", help="show the full traceback of a mistake, and more log"
    )
    args = parser.parse_args(argv)
    set_up_logging(args.debug)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no failure
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return run(args)
    except MVectorError as error:
        if args.debug:
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


def log_arguments(args: argparse.Namespace) -> None:
    """Print the options as the run has them, one indented line each."""
    logger = logging.getLogger("mvector")
    logger.info("----------- Extra arguments -----------")
    for name, value in sorted(vars(args).items()):
        logger.info("  %s: %s", name, value)
    logger.info("---------------------------------------")


def add_config_options(parser: argparse.ArgumentParser, *, default: str) -> None:
    """``--configs``, ``--set`` and ``--use_gpu``, for the scripts that train and evaluate."""
    parser.add_argument(
        "--configs",
        metavar="FILE",
        help=f"configuration (default: {default})",
    )
    parser.add_argument(
        "--set",
        "--overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one setting, such as train_conf.max_epoch=10; may be given again",
    )
    _add_gpu_option(parser)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """``--model_path``, ``--configs``, ``--threshold`` and ``--use_gpu``, for inference."""
    parser.add_argument(
        "--model_path",
        metavar="DIR",
        help="model folder (default: that of --configs, the one trained here, or the one in the "
        "box)",
    )
    parser.add_argument(
        "--configs", metavar="FILE", help="configuration that names the model instead"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="COSINE",
        help="at or above: the same person (default: the model's calibrated threshold)",
    )
    _add_gpu_option(parser)


def add_listening_option(parser: argparse.ArgumentParser) -> None:
    """``--max_duration``, for the tools that may hear another part of clips than the model does."""
    parser.add_argument(
        "--max_duration",
        type=float,
        metavar="SECONDS",
        help="hear only the beginning of longer clips; inf: all of them (default: what the model "
        "folder says, which is all of them unless thresholds were measured on less)",
    )


def _add_gpu_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--use_gpu",
        type=optional_bool,
        default=None,
        metavar="True|False",
        help="default: a GPU if there is one",
    )
