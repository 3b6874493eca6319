"""The notebooks run as they stand, in any folder, and keep outputs of the kind that they give."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_settings import ROOT

run_cells = runpy.run_path(str(ROOT / "docs" / "run_notebooks.py"))["run_cells"]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def kinds(outputs: list[dict[str, Any]]) -> list[str]:
    return [each["output_type"] + "".join(each.get("data", ())) for each in outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_keeps_outputs_of_its_cells(
    path: Path, voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(voices, "my_corpus")  # which the first cell would make
    for cell, outputs in run_cells(read(path)):
        assert kinds(cell["outputs"]) == kinds(outputs), "".join(cell["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_its_links_lead_somewhere(path: Path) -> None:
    assert path.stat().st_size < 300_000
    for cell in read(path)["cells"]:
        if cell["cell_type"] == "markdown":
            for link in re.findall(r"\]\(([^)\s]+)\)", "".join(cell["source"])):
                assert (path.parent / link).exists(), link


def test_a_cell_gives_what_it_prints_and_the_value_of_its_last_line() -> None:
    sources = ["a = 2\nprint(a)", "a + 1", "a = 3"]
    cells = [{"cell_type": "code", "source": [source]} for source in sources]
    (_, printed), (_, value), (_, nothing) = run_cells({"cells": cells})
    assert printed == [{"output_type": "stream", "name": "stdout", "text": ["2\n"]}]
    assert value[0]["data"] == {"text/plain": ["3"]}
    assert nothing == []
