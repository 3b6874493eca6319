"""Who spoke when as one page of HTML that needs no other file but a long recording."""

from __future__ import annotations

from html import escape
from pathlib import Path

from mvector.diarization.picture import colour_of
from mvector.diarization.result import Diarization, clock
from mvector.errors import count_of
from mvector.evaluation.reports.page_parts import note, section, table_of, tiles, whole_page
from mvector.evaluation.reports.sounds import sound_sources

_TABLE = '<div class="scroll"><table>'
_STYLE = """
.timeline { margin: 1.2rem 0; }
.row { display: grid; grid-template-columns: 9rem 1fr; align-items: center; margin: .3rem 0; }
.row > span { font-size: .9rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lane { position: relative; height: 1.7rem; background: var(--tile); border-radius: .3rem;
        overflow: hidden; }
.lane i { position: absolute; top: 0; bottom: 0; min-width: 2px; cursor: pointer; }
.lane i.now { outline: 2px solid var(--text); outline-offset: -2px; }
.lane b { position: absolute; top: 0; bottom: 0; width: 2px; background: var(--text); left: -9px; }
.player audio { width: 100%; max-width: none; }
.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem;
          margin-right: .5rem; vertical-align: baseline; }
tr[data-start] { cursor: pointer; }
tr.now td { background: var(--tile); font-weight: 600; }
@media (max-width: 40rem) { .row { grid-template-columns: 5.5rem 1fr; } }
"""

# The player moves the line, and marks who speaks; a click on a turn plays it.
_SCRIPT = """
const audio = document.querySelector('audio');
const turns = [...document.querySelectorAll('[data-start]')];
const lines = document.querySelectorAll('.lane b');
const total = Number(document.querySelector('.timeline').dataset.total);
if (audio) {
  audio.addEventListener('timeupdate', () => {
    const now = audio.currentTime;
    lines.forEach(line => { line.style.left = 100 * now / total + '%'; });
    turns.forEach(turn => turn.classList.toggle('now',
      turn.dataset.start <= now && now < turn.dataset.end));
  });
  turns.forEach(turn => turn.addEventListener('click', () => {
    audio.currentTime = turn.dataset.start;
    audio.play();
  }));
}
"""


def diarization_page(found: Diarization, sound: str | None, folder: Path) -> str:
    """The page: times of each person, a timeline, a player that follows, and all turns.

    Args:
        found: who spoke when.
        sound: file of the recording; lies within the page if it is small, and is linked else.
        folder: that the page will lie in.
    """
    source = None if sound is None else sound_sources([sound], folder).get(sound)
    spoken_s = sum(speaker.time_s for speaker in found.speakers)
    speech_s = spoken_s - _together_s(found)
    head = [
        ("People", str(len(found.speakers)), f"in {clock(found.duration_s)}"),
        ("Speech", clock(speech_s), f"{_share(speech_s, found.duration_s)} of the recording"),
        ("Turns", f"{len(found.turns):,}", "of one person without a longer pause"),
    ]
    player = ""
    if source is not None:
        player = (
            f'<div class="player"><audio controls preload="metadata" src="{escape(source)}">'
            "</audio></div>"
        )
    parts = [
        f"<style>{_STYLE}</style>",
        tiles(head),
        section("Who speaks when", _timeline(found), player, *map(note, found.notes)),
        section("People", _people(found, spoken_s)),
        section("Turns", _turns(found)),
        f"<script>{_SCRIPT}</script>",
    ]
    about = [count_of(len(found.speakers), "person", "people")]
    return whole_page(Path(found.recording).name, "Who spoke when", about, parts)


def _timeline(found: Diarization) -> str:
    total = max(found.duration_s, 0.1)
    rows = []
    for number, speaker in enumerate(found.speakers):
        bars = "".join(
            f'<i data-start="{turn.start_s:.2f}" data-end="{turn.end_s:.2f}" style="left:'
            f"{100 * turn.start_s / total:.3f}%;width:{100 * turn.duration_s / total:.3f}%;"
            f'background:{colour_of(number)}" title="{escape(turn.label)}, {clock(turn.start_s)} '
            f'to {clock(turn.end_s)}"></i>'
            for turn in found.turns
            if turn.speaker == speaker.label
        )
        rows.append(
            f'<div class="row"><span>{escape(speaker.label)}</span>'
            f'<div class="lane">{bars}<b></b></div></div>'
        )
    return f'<div class="timeline" data-total="{total:.2f}">' + "\n".join(rows) + "</div>"


def _people(found: Diarization, spoken_s: float) -> str:
    rows = []
    for number, speaker in enumerate(found.speakers):
        near = ""
        if speaker.match is not None and speaker.score is not None:
            near = f"{speaker.match}, {speaker.score:.3f} (needs {speaker.threshold or 0:.3f})"
        cells = [
            _in_colour(number, speaker.label),
            clock(speaker.time_s),
            _share(speaker.time_s, spoken_s),
            escape(near),
        ]
        rows.append(cells)
    return table_of(_TABLE, ("person", "time", "share", "most alike in the library"), rows)


def _turns(found: Diarization) -> str:
    number_of = {speaker.label: number for number, speaker in enumerate(found.speakers)}
    rows = []
    for turn in found.turns:
        cells = [
            _in_colour(number_of.get(turn.speaker, 0), turn.label),
            clock(turn.start_s),
            clock(turn.end_s),
            f"{turn.duration_s:.1f} s",
            "with somebody else" if turn.overlap else "",
        ]
        rows.append(cells)
    tags = [f'<tr data-start="{t.start_s:.2f}" data-end="{t.end_s:.2f}">' for t in found.turns]
    return table_of(_TABLE, ("person", "from", "to", "length", ""), rows, tags)


def _in_colour(number: int, label: str) -> str:
    return f'<span class="swatch" style="background:{colour_of(number)}"></span>{escape(label)}'


def _together_s(found: Diarization) -> float:
    """How much is said while somebody else speaks, in seconds."""
    turns, alone = found.turns, found.exclusive().turns
    return sum(turn.duration_s for turn in turns) - sum(turn.duration_s for turn in alone)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f}\u00a0%" if whole > 0 else "0\u00a0%"
