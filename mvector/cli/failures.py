"""How commands fail: one sentence on standard error, its exit code, and streams to rely on."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
import traceback
from collections.abc import Callable

from mvector.cli.terminal import RED, coloured, without_passwords
from mvector.errors import (
    MissingDependencyError,
    MVectorError,
    training_package_missing,
    without_python,
)

EXIT_MISTAKE = 2  # what the user can mend
EXIT_INTERNAL = 70  # EX_SOFTWARE of sysexits.h: what the user cannot
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as of other tools whose reader has gone

_NOT_INSTALLED_BY_PIP = {"mvector", *sys.stdlib_module_names}
_DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def guarded(program: str, run: Callable[[Failure], int]) -> int:
    """Run something that returns an exit code; any failure becomes a sentence and its exit code.

    Closed streams are replaced before. What ``run`` is given is told how to tell of a failure.
    """
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no failure
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    failure = Failure(program)
    try:
        try:
            return run(failure)
        finally:
            sys.stdout.flush()
    except MVectorError as error:
        return failure.tell(EXIT_MISTAKE, str(error), error.code, with_traceback=failure.is_debug)
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # which shows ^C
            sys.stderr.write("\n")
        return failure.tell(EXIT_INTERRUPTED, "stopped by the user.")
    except OSError as error:
        if error.errno == errno.EPIPE:
            _discard_output()
            return EXIT_BROKEN_PIPE
        if error.errno == errno.ENAMETOOLONG:
            sentence = f"The path '{str(error.filename)[:60]}…' is too long; give a shorter one."
            return failure.tell(EXIT_MISTAKE, sentence, MVectorError.code)
        if error.errno not in _DISK_FULL:
            return failure.tell_internal(error)
        place = f"'{error.filename}'" if error.filename else "the output"
        sentence = f"Cannot write {place}: {error.strerror}."
        return failure.tell(EXIT_MISTAKE, sentence, "output")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _NOT_INSTALLED_BY_PIP:
            return failure.tell_internal(error)
        if (missing := training_package_missing(error.name)) is not None:
            return failure.tell(EXIT_MISTAKE, str(missing), missing.code)
        sentence = (
            f"{error.name} is not installed for this Python ({sys.executable}): activate the "
            "environment (. .venv/bin/activate) or run make."
        )
        return failure.tell(EXIT_MISTAKE, sentence, MissingDependencyError.code)
    except Exception as error:
        return failure.tell_internal(error)


class Failure:
    """How a command tells why it ends."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.as_json = self.is_verbose = self.is_debug = False

    def tell(
        self,
        exit_code: int,
        sentence: str,
        code: str | None = None,
        *,
        with_traceback: bool = False,
    ) -> int:
        """The sentence on standard error, an object for ``--json``, and the exit code."""
        sentence = without_passwords(without_python(sentence))
        with contextlib.suppress(OSError):  # there may be nobody to tell
            if with_traceback:
                sys.stderr.write(without_passwords(traceback.format_exc()))
            is_mistake = exit_code == EXIT_MISTAKE
            kind = f"{coloured('error:', RED, sys.stderr)} " if is_mistake else ""
            print(f"{self.program}: {kind}{sentence}", file=sys.stderr, flush=True)
        if self.as_json and code is not None:
            answer = {"error": {"code": code, "message": sentence}}
            with contextlib.suppress(OSError):
                print(json.dumps(answer, ensure_ascii=False))
        try:
            sys.stdout.flush()
        except OSError:
            _discard_output()
        return exit_code

    def tell_internal(self, error: Exception) -> int:
        """Of an error that is the program's."""
        what = " ".join([f"{type(error).__name__}:", *str(error).splitlines()[:1]])
        with_traceback = self.is_verbose
        cure = (
            "report it" if with_traceback else "run again with -v for the traceback, and report it"
        )
        sentence = f"internal error ({what.rstrip(': ')}): {cure}."
        return self.tell(EXIT_INTERNAL, sentence, "internal", with_traceback=with_traceback)


# ---- streams -------------------------------------------------------------------------------------


def _replace_closed_streams() -> None:
    """Where a standard stream is closed, the null device takes its place.

    Else the next file that is opened gets its number, and with it what is written there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _discard_output() -> None:
    """Let what is still in the buffer of standard output go, which nobody can be given."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
