"""What the pages say is run, is the same in both languages, and leads somewhere.

``<!-- not run: reason -->`` above a code block says why a test does not run it.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from small_settings import ROOT, no_pictures

from mvector.cli import main
from mvector.cli.common import ANSWER_CODES
from mvector.demo.corpus import write_corpus

RUN_PAGES = ["README.md", "docs/quick_start.md"]
TRANSLATED = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (ROOT, ROOT / "docs")
    for path in folder.glob("*.zh-CN.md")
)
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "dataset/**/README.md")
    for path in ROOT.glob(pattern)
)
# What a page says as it is takes minutes; these settings make a training of seconds.
SMALL = """
    dataset_conf.max_duration=1.0 dataset_conf.dataLoader.batch_size=8
    dataset_conf.dataLoader.num_workers=0 preprocess_conf.method_args.num_mel_bins=40
    model_conf.backbone.channels=32 model_conf.backbone.embd_dim=32 train_conf.max_epoch=1
    optimizer_conf.scheduler_args.warmup_epoch=0
"""
ADDED = {"train": [word for setting in SMALL.split() for word in ("--set", setting)]}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_in(text: str) -> list[tuple[str, str, bool]]:
    """Language, content and whether it is to be run, of each fenced block."""
    found = re.findall(r"(<!-- not run: \S.*?-->)|^```(\w*)\n(.*?)^```", text, re.M | re.S)
    blocks, marked = [], False
    for mark, language, content in found:
        if not mark:
            blocks.append((language, content, not marked))
        marked = bool(mark)
    return blocks


def without_comments(content: str) -> list[str]:
    """The lines, without what is said behind two spaces and ``#`` in a language of people."""
    lines = [re.sub(r"(^|\s+)# .*", "", line) for line in content.splitlines()]
    return [line for line in lines if line]


def test_blocks_are_found_with_their_marks() -> None:
    text = "```sh\na  # why\n```\n<!-- not run: slow -->\nwords\n```python\nb\n```\n```\nc\n```\n"
    assert blocks_in(text) == [
        ("sh", "a  # why\n", True),
        ("python", "b\n", False),
        ("", "c\n", True),
    ]
    assert without_comments("# all\na  # why\n\nb --c '#1'\n") == ["a", "b --c '#1'"]


@pytest.mark.parametrize("page", TRANSLATED)
def test_both_languages_show_the_same_blocks(page: str) -> None:
    english = page.replace(".zh-CN", "")
    ours, theirs = (blocks_in(text_of(name)) for name in (page, english))
    assert [(kind, without_comments(content), run) for kind, content, run in ours] == [
        (kind, without_comments(content), run) for kind, content, run in theirs
    ]
    assert f"]({Path(english).name})" in text_of(page)
    assert f"]({Path(page).name})" in text_of(english)


@pytest.mark.parametrize("page", TRANSLATED)
def test_both_languages_have_the_same_headings_figures_and_table_rows(page: str) -> None:
    ours, theirs = text_of(page), text_of(page.replace(".zh-CN", ""))
    for pattern in (r"^#+ ", r"^\|", r"^- "):
        assert len(re.findall(pattern, ours, re.M)) == len(re.findall(pattern, theirs, re.M))
    figures = r"(?<![\w.])\d+\.\d+ %"
    assert re.findall(figures, ours) == re.findall(figures, theirs)


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_first_page_is_short(page: str) -> None:
    assert len(text_of(page).splitlines()) < 200


def anchors_of(path: Path) -> set[str]:
    """The names by which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_what_is_there(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def run_line(line: str) -> None:
    """One line of a shell block, which has to be a command of ``mvector``."""
    program, *words = shlex.split(line, comments=True)
    assert program == "mvector", f"{line}: mark the block as not run, and say why"
    answers = {*ANSWER_CODES.values()} if {"contrast", "--identify"} & {*words} else {0}
    assert main([*words, *ADDED.get(words[0], [])]) in answers, line


@pytest.mark.parametrize("page", RUN_PAGES)
def test_what_a_page_shows_is_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "dataset" / "samples", "dataset/samples")
    shape = {"num_speakers": 8, "clips_per_speaker": 4, "duration_s": (1.6, 2.0)}
    write_corpus("my_corpus", **shape, progress=False)
    with no_pictures():
        for language, content, to_run in blocks_in(text_of(page)):
            if language == "python" and to_run:
                exec(compile(content, page, "exec"), {})
            elif language == "sh" and to_run:
                for line in without_comments(content):
                    run_line(line)


def test_the_pages_make_a_site_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    make_site = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["make_site"]
    assert "mvector" in make_site(tmp_path).read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "site" / "docs").glob("*.html")} == {
        path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")
    }
