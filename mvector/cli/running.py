"""Running a command: its options, and what it tells beside its results, on standard error."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from mvector.cli.failures import Failure, guarded
from mvector.cli.guesses import with_setting
from mvector.cli.options import (
    Command,
    Options,
    bind_options,
    build_parser,
    parse_words,
    words_of_environment,
)
from mvector.cli.subcommand import as_started
from mvector.cli.terminal import RED, YELLOW, coloured, without_passwords
from mvector.errors import MVectorError
from mvector.version import __version__

logger = logging.getLogger(__name__)


def run_command(load: Callable[[], Command], argv: Sequence[str] | None = None) -> int:
    """Parse, run, and turn any failure into one sentence and its exit code.

    With ``--json``, standard output has an error object in place of the answer.

    Args:
        load: imports the command.
        argv: the words behind the program's name; ``None`` takes the process's own.
    """
    words = [*(sys.argv[1:] if argv is None else argv)]
    return guarded(os.path.basename(sys.argv[0]), lambda failure: _run(load, words, failure))


def _run(load: Callable[[], Command], words: list[str], failure: Failure) -> int:
    command = load()
    failure.program, failure.as_json = command.prog, command.has_flag("json") and "--json" in words
    failure.is_verbose = bool({"-v", "--verbose", "--debug"} & {*words})
    parser = build_parser(command)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more, on standard error")
    parser.add_argument(
        "--debug", action="store_true", help="as -v, and show the traceback of a mistake"
    )
    parser.add_argument("--version", action="version", version=__version__)
    given = parse_words(parser, [*words_of_environment(command, os.environ), *words])
    failure.is_debug = given.pop("debug", False)
    failure.is_verbose = given.pop("verbose", False) or failure.is_debug
    set_up_logging(verbose=failure.is_verbose, shows_progress=command.shows_progress)
    with warnings.catch_warnings():
        if not (failure.is_verbose or sys.warnoptions):
            warnings.simplefilter("ignore")  # they are for developers
        action, options = bind_options(command, given)
        _log_options(options)
        try:
            return action.run(options)
        except MVectorError as error:
            if command.owners("overrides"):
                error.args = (with_setting(str(error)),)
            raise


# ---- what is told on standard error --------------------------------------------------------------


class _Layout(logging.Formatter):
    """``warning: …``, and other lines as they are."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = as_started(super().format(record))
        if record.levelno < logging.WARNING:
            return line
        colour = RED if record.levelno >= logging.ERROR else YELLOW
        return f"{coloured(f'{record.levelname.lower()}:', colour, sys.stderr)} {line}"


def set_up_logging(*, verbose: bool = False, shows_progress: bool = False) -> None:
    """Log lines on standard error: warnings, and more with ``verbose``.

    With ``shows_progress``, lines have time stamp and level, and those of level INFO are shown. Of
    the processes that ``torchrun`` starts, all but the first tell of nothing but trouble.
    """
    handler = logging.StreamHandler()
    layout = "[%(asctime)s %(levelname)-7s] %(message)s"
    timed = logging.Formatter(layout, "%Y-%m-%d %H:%M:%S")
    handler.setFormatter(timed if shows_progress else _Layout("%(message)s"))
    root = logging.getLogger("mvector")
    root.handlers[:] = [handler]
    level = logging.INFO if shows_progress else logging.WARNING
    wanted = logging.DEBUG if verbose else level
    root.setLevel(wanted if is_main_process() else logging.WARNING)
    root.propagate = False


def is_main_process() -> bool:
    """Whether this is the first of the processes that ``torchrun`` starts, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _log_options(options: Options) -> None:
    """Tell the options that say something, in alphabetical order."""
    for name in sorted(own.name for own in dataclasses.fields(options)):
        value = getattr(options, name)
        if value not in (None, False, ()):
            logger.debug("%s: %s", name, without_passwords(str(value)))
