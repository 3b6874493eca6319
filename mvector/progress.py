"""Progress of long work, on standard error: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

BAR_AFTER_S = 1.0
LINE_EVERY_S = 30.0


def progress_bar(
    items: Iterable[Any] | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    unit_scale: bool = False,
    show: bool = True,
) -> tqdm[Any]:
    """A bar over ``items``, or one to update by hand, that is gone when the work is done.

    Nothing is shown of what is done within a second, or 30 s where standard error is no terminal.

    Args:
        items: what to go through.
        desc: what is done.
        unit: what ``total`` and ``initial`` count, in the singular.
        total: how many there are; ``None`` asks ``items``.
        initial: how many are done already.
        unit_scale: count in thousands and millions.
        show: whether to show anything at all.
    """
    from tqdm import tqdm

    where: dict[str, Any] = {"delay": BAR_AFTER_S}
    if sys.stderr is None:  # a program with windows, which has no console
        show = False
    elif not sys.stderr.isatty():
        where = {
            "file": _Lines(),
            "delay": LINE_EVERY_S,
            "mininterval": LINE_EVERY_S,
            "maxinterval": LINE_EVERY_S,
            "bar_format": "{desc}: {n_fmt} of {total_fmt} {unit}s, {rate_fmt}, {remaining} left",
        }
    return tqdm(
        items,
        desc=desc,
        unit=unit,
        total=total,
        initial=initial,
        unit_scale=unit_scale,
        leave=False,
        disable=not show,
        **where,
    )


class _Lines:
    """Standard error for a bar that shall not be drawn over itself."""

    def write(self, text: str) -> None:
        """Write what is not blank as a line of its own."""
        line = " ".join(text.split())
        if line:
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        """Let out what was written."""
        sys.stderr.flush()
