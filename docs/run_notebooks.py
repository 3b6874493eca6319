"""Run the notebooks and keep their outputs: ``python docs/run_notebooks.py``, in any environment.

Their cells are plain Python without commands of Jupyter, and are run here as a notebook runs them:
one after the other in one namespace, with what is printed and the value of the last line as output.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

NOTEBOOKS = sorted((Path(__file__).resolve().parent / "notebooks").glob("*.ipynb"))


def run_cells(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Run a notebook in the current folder; gives each code cell and its outputs."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with redirect_stdout(printed):
                value = _run("".join(cell["source"]), namespace)
            outputs = []
            if printed.getvalue():
                text = printed.getvalue().splitlines(keepends=True)
                outputs.append({"output_type": "stream", "name": "stdout", "text": text})
            if value is not None:
                shown = {"output_type": "display_data", "metadata": {}, "data": _shown(value)}
                outputs.append(shown)
            yield cell, outputs


def _run(source: str, namespace: dict[str, Any]) -> object:
    """Run one cell; the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), namespace)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)


def _shown(value: object) -> dict[str, object]:
    if not hasattr(value, "_repr_png_"):
        return {"text/plain": repr(value).splitlines(keepends=True)}
    picture = base64.b64encode(value._repr_png_()).decode()
    return {"image/png": picture, "text/plain": ["<Figure>"]}


def main() -> None:
    """Run all notebooks, each in a new folder, and write their outputs into them."""
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            before = os.getcwd()
            os.chdir(folder)
            try:
                for number, (cell, outputs) in enumerate(run_cells(notebook), 1):
                    cell["outputs"], cell["execution_count"] = outputs, number
            finally:
                os.chdir(before)
        text = json.dumps(notebook, ensure_ascii=False, indent=1)
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
