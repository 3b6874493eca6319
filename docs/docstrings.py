"""How the site reads docstrings: roles such as ``:class:`` `` become plain code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|meth|func|data|mod|attr|exc):`~?([\w.]+)`")


class PlainRoles(griffe.Extension):
    """Shows the last part of a name; a name of the reference is found by the search."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of what was found."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(
                lambda role: f"`{role[1].removeprefix('mvector.')}`", obj.docstring.value
            )
