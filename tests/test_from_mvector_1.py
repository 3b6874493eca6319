"""docs/tutorials/from_mvector_1.md: what its tables say of options, keys and calls of 1.x holds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from mvector_1 import FILE_1_1, LOG_1_0
from small_settings import ROOT

from mvector import MVectorPredictor, MVectorTrainer, load_config
from mvector.cli import ALIASES, find_command
from mvector.config import config_to_dict
from mvector.config.legacy_keys import ONLY_OFF, RENAMED, SWITCHES, translate_keys

TEXT = (ROOT / "docs" / "tutorials" / "from_mvector_1.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of the table under a heading."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


OPTIONS = table("Commands, option by option")
KEYS = table("YAML, key by key")
CALLS = table("Python, call by call")


def key_in(cell: str) -> str | None:
    found = re.match(r"`([\w.]+)`", cell)
    return found.group(1) if found else None


def leaves(section: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in section.items():
        dotted = f"{prefix}{key}"
        yield from leaves(value, f"{dotted}.") if isinstance(value, dict) else [dotted]


def has(section: Any, dotted: str) -> bool:
    for key in dotted.split("."):
        if not isinstance(section, dict) or key not in section:
            return False
        section = section[key]
    return True


@pytest.mark.parametrize(("script", "option", "here"), OPTIONS, ids=lambda cell: cell[:20])
def test_an_option_is_there_unless_it_is_said_to_be_gone(
    script: str, option: str, here: str
) -> None:
    name = script.strip("`").removesuffix(".py")
    command = find_command(ALIASES.get(name, name))
    accepted = {
        flag
        for action in command.actions
        for own in action.fields().values()
        for flag in own.metadata.get("flags", [f"--{own.name}"])
    }
    named = re.findall(r"--\w+", f"{option} {here}")
    if here.startswith("gone"):
        assert not {option.strip("`")} & accepted
    else:
        assert {*named} <= accepted


@pytest.mark.parametrize(("old", "newer", "here"), KEYS, ids=lambda cell: cell[:50])
def test_a_key_becomes_the_one_that_is_told(old: str, newer: str, here: str) -> None:
    ours = key_in(here)
    for theirs in filter(None, map(key_in, (old, newer))):
        raw: Any = True
        for key in reversed(theirs.split(".")):
            raw = {key: raw}
        _, mistakes = translate_keys(raw)
        assert mistakes == [] if ours else len(mistakes) == 1
        assert not ours or has(raw, ours)
    if ours:
        assert has(config_to_dict(load_config(yaml.safe_load(LOG_1_0))), ours)


def test_every_key_of_1_x_is_in_the_table() -> None:
    for column, text in enumerate((LOG_1_0, FILE_1_1)):
        named = {key_in(row[column]) for row in KEYS}
        for key in leaves(yaml.safe_load(text)):
            parents = {key.rsplit(".", depth)[0] for depth in range(3)}
            assert parents & named, key
    named = {key_in(cell) for row in KEYS for cell in row[:2]}
    # spellings within arguments are those of losses and schedulers
    moved = {key for key in {**RENAMED, **SWITCHES, **ONLY_OFF} if "args." not in key}
    assert moved - {"train_conf.allow_tf32"} <= named  # which is of earlier files of this project


@pytest.mark.parametrize(("call", "here"), CALLS, ids=lambda cell: cell[:50])
def test_a_call_takes_the_arguments_of_1_x(call: str, here: str) -> None:
    found = re.fullmatch(r"`(\w+)(?:\.(\w+))?\(([\w, ]*)\)`", call)
    assert found
    of = {"MVectorPredictor": MVectorPredictor, "MVectorTrainer": MVectorTrainer}[found[1]]
    parameters = inspect.signature(getattr(of, found[2]) if found[2] else of).parameters
    assert {*filter(None, found[3].split(", "))} <= {*parameters}


def test_every_old_method_is_told() -> None:
    assert {call.strip("`").partition("(")[0].partition(".")[2] for call, _ in CALLS} == {
        *("", "train", "evaluate", "predict", "predict_batch", "contrast", "register"),
        *("recognition", "get_users", "remove_user"),
    }
