"""Failures a user can mend.

Every message is one sentence (or a list of them) that names the file or key at fault and the cure.
Scripts print it and leave with exit code 2; library code can catch :class:`MVectorError` and tell
failures apart by their ``code``. ``docs/errors.md`` lists the codes.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# By the names they are imported by: what each is called, and the smallest extra that brings it.
_TRAINING_PACKAGES = {
    "torch": ("PyTorch", "train"),
    "safetensors": ("safetensors", "train"),
    "filelock": ("filelock", "train"),
    "scipy": ("SciPy", "evaluate"),
    "sklearn": ("scikit-learn", "evaluate"),
}
_OF_PYTHON = re.compile(r",? or raise AudioLimits\.\w+")


class MVectorError(Exception):
    """Base of every failure that is the input's fault and not the program's.

    Attributes:
        code: which failure it is, in kebab-case. The sentence may be reworded; this stays. It is
            the one of the class, unless the place that raises the error names a narrower one.
    """

    code = "usage"

    def __init__(self, *args: object, code: str | None = None) -> None:
        super().__init__(*args)
        if code is not None:  # kept in __dict__, which pickles along
            self.code = code


class ConfigError(MVectorError):
    """A configuration that cannot be used; the message lists every mistake found."""

    code = "config"


class AudioError(MVectorError):
    """A clip that cannot be decoded, is too short, silent or not finite."""

    code = "audio"


class ClipTooBadError(AudioError):
    """A clip of too bad a quality to enrol somebody.

    Attributes:
        reasons: what it falls short of, each in a few words.
    """

    code = "audio-too-bad"

    def __init__(self, *args: object, reasons: Sequence[str] = ()) -> None:
        super().__init__(*args)
        self.reasons = tuple(reasons)


class DataError(MVectorError):
    """A list or corpus that is missing, empty or malformed."""

    code = "data"


class CheckpointError(MVectorError):
    """A model folder or checkpoint that is missing, damaged or does not fit."""

    code = "checkpoint"


class EvaluationError(MVectorError):
    """Trials or scores that no error rate can be computed from."""

    code = "evaluation"


class LibraryError(MVectorError):
    """The speaker library refused an operation."""

    code = "library"


class MissingDependencyError(MVectorError):
    """An optional package is needed for this operation; the message says how to install it."""

    code = "missing-dependency"


def without_python(sentence: str) -> str:
    """A sentence without the cure that only callers in Python have."""
    return _OF_PYTHON.sub("", sentence)


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """``1 clip``, ``2 clips``, ``1,000 clips``: ``plural`` is for nouns that take another end."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def shorten_list(names: Sequence[str], most: int = 4) -> str:
    """``a, b and 1,000 more``: the first ``most`` names, and how many others there are."""
    shown, more = ", ".join(names[:most]), len(names) - most
    return f"{shown} and {more:,} more" if more > 0 else shown


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


def training_package_missing(package: str | None) -> MissingDependencyError | None:
    """What to say where an import fails for want of a package of the extra ``train``, or ``None``.

    Comparing and recognising do without them, where the model folder has a model.onnx, and
    evaluating with those of the extra ``evaluate`` alone.
    """
    known = _TRAINING_PACKAGES.get((package or "").partition(".")[0])
    if known is None:
        return None
    name, extra = known
    return MissingDependencyError(
        f"This needs {name}, which is not installed: pip install '.[{extra}]' in the folder of "
        "mvector."
    )


@contextmanager
def needing_training_packages() -> Iterator[None]:
    """Within the block, a missing package of the extra ``train`` becomes a sentence with the cure.

    Raises:
        MissingDependencyError: one is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = training_package_missing(error.name)
        if missing is None:
            raise
        raise missing from error
