"""docs/configuration.md tells of every key what the schema and the comments say of it today."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from small_settings import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "make_configuration.py"))


def rows_of(heading: str) -> dict[str, list[str]]:
    """Type, default and meaning of each key in the first table below a heading."""
    table = PAGE.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", table, re.M)
    return {name: [*cells] for name, *cells in rows}


def test_the_page_is_what_its_program_writes(maker: dict[str, Any]) -> None:
    assert maker["page"]() == PAGE, "run python docs/make_configuration.py and commit the page"


def test_a_key_has_type_bounds_default_and_meaning() -> None:
    assert rows_of("## `train_conf`")["max_epoch"] == [
        "integer, ≥ 1",
        "**required**",
        "passes over the training list.",
    ]
    sampler = rows_of("## `dataset_conf`")["batch_sampler"]
    assert sampler[:2] == ["`random`, `balanced`, `speakers`, `duration`", "`random`"]
    assert rows_of("## `dataset_conf`")["sample_per_id"][2] == "see `batch_sampler`"
    assert rows_of("## `augment_conf.volume`")["prob"][:2] == ["number, ≥ 0.0, ≤ 1.0", "`0.0`"]


def test_options_of_a_backbone_are_told_by_its_docstring() -> None:
    own = rows_of("### EcapaTdnn")
    assert own["res2net_scale"][2] == "number of groups in a Res2 convolution."
    assert rows_of("### ERes2Net")["scale"][2] == "number of groups in a Res2 convolution."
    assert rows_of("### TDNN")["layout"][2] != own["layout"][2]


def test_no_key_is_left_without_a_meaning() -> None:
    assert [
        line for line in PAGE.splitlines() if line.startswith("| `") and line.endswith("|  |")
    ] == []


def test_comments_are_those_above_or_behind_a_key(maker: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(
        "# about all\n\n# what a is:\n# a lot\na:\n  b: 1   # behind\n"
        "  # above\n  c: x\n  d: 2\n\n  e: 3\n"
    )
    assert maker["comments_of"](file) == {
        "a": "what a is: a lot",
        "a.b": "behind",
        "a.c": "above",
        "a.d": "see `c`",
        "a.e": "",
    }
