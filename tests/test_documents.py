"""What the pages say is run, is the same in both languages, and leads somewhere."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from mvector_1 import mvector_state
from pages import blocks_in, reading, without_figures
from small_settings import ROOT, no_pictures

from mvector.compat import SOURCES, export_checkpoint
from mvector.compat.source import Hints
from mvector.demo.corpus import write_corpus
from mvector.models.speaker_model import SpeakerModel


def pages_of(*patterns: str) -> list[str]:
    return sorted(
        p.relative_to(ROOT).as_posix() for pattern in patterns for p in ROOT.glob(pattern)
    )


PAGES = pages_of("*.md", "docs/**/*.md", "dataset/**/README.md")
TRANSLATED = [page for page in PAGES if page.endswith(".zh-CN.md")]
TUTORIAL_PAGES = [page for page in pages_of("docs/tutorials/*.md") if page not in TRANSLATED]
RUN_PAGES = ["README.md", "docs/quick_start.md", "docs/faq.md", *TUTORIAL_PAGES]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_blocks_are_found_with_their_marks() -> None:
    text = "```sh\na  # why\n```\n<!-- not run: slow -->\nwords\n```python\nb\n```\n```\nc\n```\n"
    blocks = blocks_in(text)
    assert [(block.language, block.content, block.mark) for block in blocks] == [
        ("sh", "a  # why\n", ""),
        ("python", "b\n", "not run: slow"),
        ("", "c\n", ""),
    ]
    assert blocks_in("```sh\n# all\na \\\n  --d  # why\n\nb --c '#1'\n```\n")[0].commands() == [
        "a --d",
        "b --c '#1'",
    ]


def test_what_is_shown_is_compared_without_its_figures() -> None:
    assert without_figures("✔ Ada (0.78,  needs 1)") == without_figures("✔ Ada (-0.1, needs 0.41)")
    assert without_figures("✔ Ada (0.78)") != without_figures("✘ Ada (0.78)")


@pytest.mark.parametrize("page", TRANSLATED)
def test_both_languages_show_the_same_blocks(page: str) -> None:
    english = page.replace(".zh-CN", "")
    ours, theirs = (blocks_in(text_of(name)) for name in (page, english))
    assert [(block.language, block.lines(), block.mark) for block in ours] == [
        (block.language, block.lines(), block.mark) for block in theirs
    ]
    assert f"]({Path(english).name})" in text_of(page)
    assert f"]({Path(page).name})" in text_of(english)


def test_every_tutorial_is_there_in_chinese() -> None:
    assert {page.replace(".md", ".zh-CN.md") for page in TUTORIAL_PAGES} <= {*TRANSLATED}


@pytest.mark.parametrize("page", TRANSLATED)
def test_both_languages_have_the_same_headings_figures_and_table_rows(page: str) -> None:
    ours, theirs = text_of(page), text_of(page.replace(".zh-CN", ""))
    for pattern in (r"^#+ ", r"^\|", r"^- "):
        assert len(re.findall(pattern, ours, re.M)) == len(re.findall(pattern, theirs, re.M))
    figures = r"(?<![\w.])\d+\.\d+ %"
    assert re.findall(figures, ours) == re.findall(figures, theirs)


@pytest.mark.parametrize("page", TRANSLATED)
def test_lines_of_chinese_end_where_a_space_does_no_harm(page: str) -> None:
    """Browsers show the end of a line as a space, which is odd between two characters of a word."""
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S)
    assert re.findall(r".*[\u3400-\u9fff]\n *[\u3400-\u9fff].*", prose) == []


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_first_page_is_short(page: str) -> None:
    assert len(text_of(page).splitlines()) < 200


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_first_page_has_the_results_that_were_measured(page: str) -> None:
    rows = re.findall(r"^\|[^|]*\| (\d+ / \d+ \|.*%.*)$", text_of(page), re.M)
    assert len(rows) == 6
    for row in rows:
        assert row in text_of("benchmarks/RESULTS.md")


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


def leave_mvector_1() -> None:
    """What somebody has who comes from mvector 1.x: a model, and people."""
    Path("best_model").mkdir()
    torch.save(mvector_state(bins=64), "best_model/model.pth")
    for name, voice in {"Ada": "voice_a", "Bob": "voice_b"}.items():
        shutil.copytree(f"dataset/samples/{voice}", f"old/audio_db/{name}")


def leave_checkpoint() -> None:
    """A checkpoint of WeSpeaker, of a small network in the place of a ResNet."""
    options = {
        **{"layout": "xvector", "embd_dim": 12, "channels": [8, 8, 8, 8, 10]},
        **{"two_embedding_layers": True, "pooling_eps": 1e-7},
    }
    model = SpeakerModel(SOURCES["wespeaker"].front_end(16, 16000, Hints()), "TDNN", options)
    Path("resnet34").mkdir()
    torch.save(export_checkpoint(model.eval(), "wespeaker"), "resnet34/avg_model.pt")


def leave_tables() -> None:
    """The corpus as a table, and as a folder of Kaldi."""
    clips = sorted(Path("my_corpus").glob("*/*.wav"))
    rows = [f"{clip.resolve()},{clip.parent.name}\n" for clip in clips]
    Path("clips.csv").write_text("path,speaker\n" + "".join(rows), encoding="utf-8")
    folder = Path("data/train")
    folder.mkdir(parents=True)
    for name, column in (("wav.scp", Path.resolve), ("utt2spk", lambda clip: clip.parent.name)):
        lines = [f"{clip.parent.name}-{clip.stem} {column(clip)}\n" for clip in clips]
        (folder / name).write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("page", RUN_PAGES)
def test_what_a_page_shows_is_run(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "dataset" / "samples", "dataset/samples")
    shape = {"num_speakers": 8, "clips_per_speaker": 4, "duration_s": (1.6, 2.0)}
    write_corpus("my_corpus", **shape, progress=False)
    if page.endswith("from_mvector_1.md"):
        leave_mvector_1()
    if page.endswith("published_model.md"):
        leave_checkpoint()
    if page.endswith("faq.md"):
        leave_tables()
    with no_pictures(), reading(lambda: "".join(capsys.readouterr())) as reader:
        for block in blocks_in(text_of(page)):
            reader.do(block)


def test_the_pages_make_a_site_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings")
    make_site = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["make_site"]
    assert "mvector" in make_site(tmp_path).read_text(encoding="utf-8")
    site = tmp_path / "site" / "docs"
    assert {path.relative_to(site) for path in site.rglob("*.html")} == {
        path.relative_to(ROOT / "docs").with_suffix(".html")
        for pattern in ("**/*.md", "notebooks/*.ipynb")
        for path in (ROOT / "docs").glob(pattern)
    }
