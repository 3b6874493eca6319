"""Names of a package that load on first use, so that importing it costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from mvector.errors import needing_training_packages


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package whose names live in modules of their own.

    Args:
        package: its ``__name__``.
        homes: the module of each name.
    """

    def find(name: str) -> Any:
        if name in homes:
            with needing_training_packages():
                return getattr(import_module(homes[name]), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return find
