"""Errors carry stable codes, which docs/errors.md explains."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

from mvector.cli.options import OptionError
from mvector.compute.distributed import DistributedError
from mvector.errors import AudioError, ClipTooBadError, MVectorError
from mvector.service.errors import RequestError
from mvector.speakers.access import DamagedDatabaseError
from mvector.training.stopping import TrainingStopped

ROOT = Path(__file__).parent.parent
CLASSES = {
    found.__name__: found
    for found in [
        MVectorError,
        *MVectorError.__subclasses__(),
        ClipTooBadError,
        DamagedDatabaseError,
        DistributedError,
        OptionError,
        RequestError,
        TrainingStopped,
    ]
}


def codes_in_the_source() -> list[tuple[str, str]]:
    """(code, name of the class) of each class and of each place that names a code."""
    found = [(error.code, name) for name, error in CLASSES.items()]
    for path in (ROOT / "mvector").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            raises_by_itself = ast.unparse(node.func) != "read_errors_as"
            name = ast.unparse(node.func if raises_by_itself else node.args[0])
            if name in CLASSES:
                codes = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                found += [(ast.literal_eval(code), name) for code in codes]
    return found


def documented() -> dict[str, tuple[str, str, str]]:
    """Class, meaning and cure by code."""
    lines = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    assert len({row[0] for row in rows}) == len(rows), "a code has two rows"
    return {code.strip("`"): (name, meaning, cure) for code, name, meaning, cure in rows}


def test_every_code_is_kebab_case_and_belongs_to_one_class() -> None:
    found = codes_in_the_source()
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code, _ in found)
    assert len({code for code, _ in found}) == len(set(found))


def test_every_code_is_documented_and_no_other() -> None:
    rows = documented()
    assert {(code, name) for code, (name, _, _) in rows.items()} == set(codes_in_the_source())
    meanings = [meaning for _, meaning, _ in rows.values()]
    assert len(set(meanings)) == len(meanings)


@pytest.mark.parametrize("error_class", CLASSES.values())
def test_an_error_has_its_class_code_or_its_own_and_keeps_it_when_it_travels(
    error_class: type[MVectorError],
) -> None:
    plain, coded = error_class("a.wav is silent."), error_class("a.wav is silent.")
    coded.code = "audio-silent"
    for error, code in ((plain, error_class.code), (coded, "audio-silent")):
        for arrived in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(arrived) is error_class
            assert (arrived.code, arrived.args) == (code, ("a.wav is silent.",))
            assert str(arrived) == "a.wav is silent."


def test_a_code_is_given_where_the_error_is_raised() -> None:
    assert AudioError("a.wav is silent.", code="audio-silent").code == "audio-silent"
    assert AudioError.code == "audio"
