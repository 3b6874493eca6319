"""What the pictures share: a light figure, colours, and letters that can be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from mvector.data.lists import printable
from mvector.errors import import_errors_as, shorten_list

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

#: Okabe & Ito's palette, which colour-blind readers tell apart; without yellow, faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "v", "D", "P", "X", "<")
QUIET = "#C4C4C4"  # of what is behind the rest

_NEEDS_MATPLOTLIB = "Pictures need matplotlib: pip install matplotlib."
_NOTEBOOK_DPI = 70
_LATIN = "DejaVu Sans"  # comes with matplotlib
# Fonts with Chinese letters that systems and distributions bring along.
_CHINESE = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN"),
    *("Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "SimHei"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "SimSun"),
    *("Noto Sans CJK JP", "Arial Unicode MS", "Unifont"),
)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, white and laid out by itself; a notebook shows it as a picture.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with import_errors_as(_NEEDS_MATPLOTLIB):
        from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:  # what notebooks ask for
            stream = BytesIO()
            self.savefig(stream, format="png", dpi=_NOTEBOOK_DPI)
            return stream.getvalue()

    return Picture(figsize=(width, height), layout="constrained", facecolor="white")


def name_legend(
    owner: Axes | Figure, handles: Sequence[Any], names: Sequence[str], **more: Any
) -> Legend:
    """A legend of names as they are: none is hidden by its ``_``, and no ``$`` makes a formula."""
    legend = owner.legend(list(handles), ["x"] * len(handles), frameon=False, **more)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
    return legend


@contextmanager
def drawable(
    names: Sequence[str], kind: str, *, longest: int = 28
) -> Iterator[tuple[list[str], str]]:
    """Within the block, texts are made in fonts that have the letters of the names.

    Args:
        names: what is to be drawn; control characters are escaped and long ones shortened.
        kind: what one of them is, such as ``speaker``.
        longest: letters of a name that are drawn.

    Yields:
        The names to draw, and a sentence for the user, empty where all can be drawn: a name with
        letters that no font here has is drawn as its kind and number.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with import_errors_as(_NEEDS_MATPLOTLIB):
        import matplotlib
    shown = [_shortened(printable(name), longest) for name in names]
    fonts, known = _fonts_for(set("".join(shown)))
    number_of = {
        name: f"{kind} {number}"
        for number, name in enumerate(shown, 1)
        if not known.issuperset(name)
    }
    sentence = ""
    if number_of:
        which = shorten_list([f"{short} is {name}" for name, short in number_of.items()], 50)
        sentence = (
            f"No font here has all letters of the names, so that {which}. Install one, such as "
            "Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk)."
        )
    with matplotlib.rc_context({"font.family": fonts}):
        yield [number_of.get(name, name) for name in shown], sentence


def _shortened(name: str, longest: int) -> str:
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _fonts_for(letters: set[str]) -> tuple[list[str], set[str]]:
    """Fonts for these letters, the first for most of them, and the letters that they have."""
    fonts, known = [_LATIN], letters & _letters_of(_LATIN)
    if known == letters:
        return fonts, known
    for name in _installed(_CHINESE):
        more = letters & _letters_of(name) - known
        if more:
            fonts.append(name)
            known |= more
        if known == letters:
            break
    return fonts, known


def _installed(names: Sequence[str]) -> list[str]:
    """Those of the fonts that are here; matplotlib's own list may be older than the last one."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    here = {entry.name for entry in manager.ttflist}
    if not here.intersection(names):
        for path in {*font_manager.findSystemFonts()} - {entry.fname for entry in manager.ttflist}:
            try:
                manager.addfont(path)
            except (OSError, RuntimeError):  # a broken one, or of a kind that it cannot draw
                continue
        here = {entry.name for entry in manager.ttflist}
    return [name for name in names if name in here]


def _letters_of(font: str) -> set[str]:
    from matplotlib import font_manager

    charmap = font_manager.get_font(font_manager.findfont(font)).get_charmap()
    return set(map(chr, charmap))
