"""Build the pages as a site (``make docs``): a link that leads nowhere fails, and any warning.

The pages link to each other as files do. So they are gathered as they lie in the repository, with
what else they link to, and mkdocs finds every link.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parent.parent
GATHERED = (
    *("README*.md", "CHANGELOG.md", "LICENSE", "docs/**/*.md", "docs/*.png", "benchmarks/*.md"),
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
    build(load_config(str(ROOT / "mkdocs.yml"), docs_dir=str(pages), site_dir=str(site)))
    return site / "index.html"


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    make_site(ROOT / "build")
