"""Failures a user can mend.

Every message is one sentence (or a list of them) that names the file or key at fault and the cure.
Scripts print it and leave with exit code 2; library code can catch :class:`MVectorError`.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class MVectorError(Exception):
    """Base of every failure that is the input's fault and not the program's."""


class ConfigError(MVectorError):
    """A configuration that cannot be used; the message lists every mistake found."""


class AudioError(MVectorError):
    """A clip that cannot be decoded, is too short, silent or not finite."""


class DataError(MVectorError):
    """A list or corpus that is missing, empty or malformed."""


class CheckpointError(MVectorError):
    """A model folder or checkpoint that is missing, damaged or does not fit."""


class EvaluationError(MVectorError):
    """Trials or scores that no error rate can be computed from."""


class LibraryError(MVectorError):
    """The speaker library refused an operation."""


class MissingDependencyError(MVectorError):
    """An optional package is needed for this operation; the message says how to install it."""


@contextmanager
def import_errors_as(message: str) -> Iterator[None]:
    """Within the block, a package that is not installed becomes a sentence that says how to.

    Raises:
        MissingDependencyError: with this message.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(message) from error
