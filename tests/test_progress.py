"""Long work tells how far it is: by a bar on a terminal, by lines elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest

from mvector.progress import progress_bar


class Screen(io.StringIO):
    """Standard error, at a terminal or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Goes through 100 clips, at a pace by a clock of its own; gives what was shown."""

    def go(*, is_terminal: bool, clip_s: float, **options: bool) -> str:
        now = [1000.0]
        screen = Screen(is_terminal=is_terminal)
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", screen)
            patch.setattr("tqdm.std.tqdm.monitor_interval", 0)
            bar = progress_bar(range(100), desc="Checking", unit="clip", **options)
            bar._time = lambda: now[0]
            bar.start_t = bar.last_print_t = now[0]
            for _ in bar:
                now[0] += clip_s
        return screen.getvalue()

    return go


def test_a_file_gets_a_line_every_half_minute(work: Callable[..., str]) -> None:
    lines = work(is_terminal=False, clip_s=1.0).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(r"Checking: \d+ of 100 clips, 1\.0\dclip/s, 0\d:\d\d left", line), line
    assert [int(re.findall(r"\d+", line)[0]) for line in lines] == [30, 60, 90]


def test_what_is_soon_done_is_not_told(work: Callable[..., str]) -> None:
    assert work(is_terminal=False, clip_s=0.29) == ""
    assert work(is_terminal=True, clip_s=0.009) == ""


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(work: Callable[..., str]) -> None:
    shown = work(is_terminal=True, clip_s=0.1)
    assert "Checking:  50%" in shown
    assert "\n" not in shown
    assert shown.endswith("\r")


def test_nothing_is_told_where_nothing_shall_be(work: Callable[..., str]) -> None:
    assert work(is_terminal=True, clip_s=1.0, show=False) == ""
    assert work(is_terminal=False, clip_s=1.0, show=False) == ""


def test_a_program_without_streams_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert [*progress_bar([1, 2], desc="Checking", unit="clip")] == [1, 2]
