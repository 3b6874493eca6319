"""Names in letters that the usual font does not have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mvector.plotting import canvas


@pytest.fixture
def chinese_font(tmp_path: Path) -> Iterator[str]:
    """A font under one of the known names that has two Chinese letters, installed meanwhile."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from matplotlib import font_manager

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, name = pen.glyph(), "Noto Sans SC"
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "wang", "wei"])
    builder.setupCharacterMap({ord("王"): "wang", ord("伟"): "wei"})
    builder.setupGlyf(dict.fromkeys([".notdef", "wang", "wei"], square))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", "wang", "wei"], (900, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    file = tmp_path / "font.ttf"
    builder.save(file)
    manager = font_manager.fontManager
    before = list(manager.ttflist)
    manager.ttflist[:] = [entry for entry in before if entry.name not in canvas._CHINESE]
    manager.addfont(file)
    yield name
    manager.ttflist[:] = before
    manager._findfont_cached.cache_clear() if hasattr(manager, "_findfont_cached") else None


def test_a_font_that_has_the_letters_is_used_for_them(chinese_font: str) -> None:
    with canvas.drawable(["Ada", "王伟"], "speaker") as (names, sentence):
        import matplotlib

        assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", chinese_font]
    assert names == ["Ada", "王伟"]
    assert sentence == ""


def test_a_name_that_cannot_be_drawn_has_a_number_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canvas, "_installed", lambda names: [])
    with canvas.drawable(["Ada", "王伟", "李娜"], "speaker") as (names, sentence):
        pass
    assert names == ["Ada", "speaker 2", "speaker 3"]
    assert "speaker 2 is 王伟, speaker 3 is 李娜. Install" in sentence


def test_names_fit_and_stay_on_their_line() -> None:
    with canvas.drawable(["a\nb", "x" * 99], "speaker", longest=9) as (names, _):
        assert names == ["a\\nb", "xxxx…xxxx"]
