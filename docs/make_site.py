"""Build the pages as a site (``make docs``): a link that leads nowhere fails, and any warning.

The pages link to each other as files do. So they are gathered as they lie in the repository, with
what else they link to, and mkdocs finds every link. Notebooks become pages beside their files.
"""

from __future__ import annotations

import base64
import json
import logging
import shutil
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parent.parent
GATHERED = (
    *("README*.md", "CHANGELOG.md", "LICENSE", "docs/**/*.md", "docs/*.png", "benchmarks/*.md"),
    *("docs/*.css", "docs/Containerfile", "docs/cpp/*.cc", "docs/notebooks/*.ipynb"),
    *("dataset/README.md", "dataset/samples/README.md", "audio_db/README.md", "configs/*.yml"),
    *("mvector/errors.py", "mvector/diarization/*.py"),
)


def make_site(out: Path) -> Path:
    """Write ``out/pages`` and, of it, ``out/site``; returns the first page.

    Raises:
        mkdocs.exceptions.Abort: something was warned of.
    """
    pages, site = out / "pages", out / "site"
    shutil.rmtree(pages, ignore_errors=True)
    for pattern in GATHERED:
        for file in ROOT.glob(pattern):
            target = pages / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    for notebook in pages.glob("docs/notebooks/*.ipynb"):
        write_notebook_page(notebook)
    build(load_config(str(ROOT / "mkdocs.yml"), docs_dir=str(pages), site_dir=str(site)))
    return site / "index.html"


def write_notebook_page(notebook: Path) -> None:
    """Write a notebook with the outputs that it keeps as a page beside it, and its pictures."""
    parts = [f"[The notebook]({notebook.name})"]
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            if "text" in output:
                parts.append("```\n" + "".join(output["text"]).rstrip("\n") + "\n```")
            elif picture := output["data"].get("image/png"):
                name = f"{notebook.stem}_{number}.png"
                notebook.with_name(name).write_bytes(base64.b64decode(picture))
                parts.append(f"![What the cell above shows]({name})")
    text = "\n\n".join([parts[1], parts[0], *parts[2:]]) + "\n"
    notebook.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    make_site(ROOT / "build")
