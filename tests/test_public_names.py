"""docs/reference.md: every name that programs use is there, and says what it is."""

from __future__ import annotations

import inspect
import re
from functools import cached_property
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
from small_settings import ROOT

import mvector
import mvector.recognition
import mvector.speakers
from mvector.errors import MVectorError

NAMES = re.findall(
    r"^::: ([\w.]+)$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), re.M
)


def found(name: str) -> Any:
    """What a dotted name stands for, whether it loads on first use or not."""
    module, _, last = name.rpartition(".")
    return getattr(locate(module), last)


def test_what_the_package_offers_is_in_the_reference() -> None:
    of = {found(name) for name in NAMES}
    for package in (mvector, mvector.speakers):
        for name in package.__all__:
            assert name.startswith("__") or getattr(package, name) in of, name
    assert len(of) == len(NAMES)


def test_every_error_that_can_be_caught_is_in_the_reference() -> None:
    errors = {error for error in vars(mvector.errors).values() if inspect.isclass(error)}
    assert {e for e in errors if issubclass(e, MVectorError)} <= {found(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_says_what_it_is(name: str) -> None:
    of = found(name)
    assert own_docstring(of), name
    for member, value in vars(of).items() if inspect.isclass(of) else ():
        told = isinstance(value, (property, cached_property, classmethod, staticmethod))
        if not member.startswith("_") and (told or inspect.isfunction(value)):
            assert own_docstring(value), f"{name}.{member}"


def own_docstring(of: Any) -> str:
    """What is written there, and not what a dataclass or a base says."""
    text = of.__dict__.get("__doc__") if inspect.isclass(of) else of.__doc__
    return "" if text is None or re.match(r"\w+\([\w\s:=,.'\[\]|]*\)$", text) else text


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_what_pages_import_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module, names in re.findall(r"\bfrom (mvector[\w.]*)\s+import ([\w, ]+)", text):
        for name in names.split(", "):
            assert hasattr(locate(module), name.strip()), f"{page.name}: {module}.{name}"
