"""``tools/plot.py``: pictures of clips, of voices and of trainings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from mvector.audio.vad import VadMethod
from mvector.cli.clips import ChannelOption, open_clip, require_one_standard_input
from mvector.cli.common import (
    ModelOptions,
    named_or_chosen_model,
    parse_length,
    parse_number,
    parse_seconds,
)
from mvector.cli.options import (
    Action,
    Command,
    Condition,
    OptionError,
    Options,
    option,
    optional,
    required,
)
from mvector.errors import DataError, MVectorError, count_of
from mvector.files import check_figure_path, check_file_writable, save_figure, write_errors_as

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from mvector.plotting.voices import Voices

logger = logging.getLogger(__name__)

_MOST_CLIPS = 12  # below each other in one picture
_MOST_RUNS = 14
_MOST_TOLD = 5
_T = TypeVar("_T")

_DESCRIPTION = """\
Draw what is quicker seen than read:

  clip CLIP …          waveform and the features that the model makes of it; what is speech, what
                       digital silence is dropped, and how good the clip is
  embeddings SOURCE    a map of voices, each speaker a colour and a shape, beside histograms of how
                       alike clips of one speaker and of two are. SOURCE is a list
                       'path<TAB>speaker number', a folder <speaker>/<clip>, or an .npz that
                       tools/extract_embeddings.py wrote
  curves RUN …         loss, accuracy, EER and learning rate of runs beside each other, from the
                       metrics.jsonl in their folders

The suffix of --out chooses the format: .png, .svg or .pdf. What cannot be read is left out, counted
and told.
"""

_EPILOG = """\
examples:
  python tools/plot.py clip a.wav b.wav                        plot_clip.png
  python tools/plot.py clip meeting.wav --start 600 --duration 20 --vad silero --out clip.svg
  python tools/plot.py embeddings my_corpus                    a folder for each speaker
  python tools/plot.py embeddings test.npz --method pca --named 30 --out voices.png
  python tools/plot.py curves models/EcapaTdnn_Fbank models/CAMPPlus_Fbank

how to read a map: clips of one speaker should lie together. A clip among those of somebody else has
the wrong label or is a bad recording; a speaker in two places, two microphones. Only the histograms
and the EER measure how well voices are told apart: t-SNE makes groups even where there are none.

pictures need matplotlib, t-SNE scikit-learn, features PyTorch (without it, a spectrum is drawn).
"""


@dataclass(frozen=True, kw_only=True)
class _ClipOptions(ChannelOption):
    TITLE = "of clip"

    start: float = option(0.0, "begin here (default: %(default)s)", "SECONDS", parse_seconds)
    duration: float = option(
        30.0, "draw so much of each clip (default: %(default)s)", "SECONDS", parse_length
    )
    vad: VadMethod | None = optional(  # noqa: RUF009
        "mark what this detector takes for speech (default: what counts as speech in the clip's "
        "quality, or what a model leaves that drops pauses)",
        choices=("energy", "silero"),
    )


@dataclass(frozen=True, kw_only=True)
class _MapOptions(Options):
    TITLE = "of embeddings"

    method: Literal["tsne", "umap", "pca"] = option(
        "tsne",
        "how embeddings become points (default: %(default)s; umap where umap-learn is installed)",
        choices=("tsne", "umap", "pca"),
    )
    named: int = option(
        20,
        "speakers with a colour and a name; others are grey (default: %(default)s)",
        "N",
        parse_number,
    )
    max_clips: int = option(
        1000, "draw so many clips at most, evenly chosen (default: %(default)s)", "N", parse_number
    )
    data_root: str | None = optional("where relative paths of the list start", "DIR")


@dataclass(frozen=True, kw_only=True)
class Plot(_ClipOptions, _MapOptions, ModelOptions):
    what: Literal["clip", "embeddings", "curves"] = required(
        "clip, embeddings or curves",
        "WHAT",
        positional=True,
        choices=("clip", "embeddings", "curves"),
    )
    sources: Sequence[str] = required(
        "clips (- is standard input), one source of embeddings, or runs",
        "SOURCE",
        positional=True,
        nargs="+",
    )
    out: str | None = optional("the picture to write (default: plot_<WHAT>.png)", "FILE")

    def conditions(self) -> tuple[Condition, ...]:
        with_this = f"with {self.what}"
        is_map = self.what == "embeddings"
        is_list = is_map and not (self.holds_embeddings or Path(self.sources[0]).is_dir())
        return (
            *super().conditions(),
            ("start duration vad channel", self.what == "clip", with_this),
            ("method named max_clips data_root", is_map, with_this),
            ("model_path configs", self.what != "curves", with_this),
            ("use_gpu engine", is_map, with_this),
            (
                "model_path configs use_gpu engine",
                not self.holds_embeddings,
                "with embeddings that are there already",
            ),
            ("data_root", is_list, "without a list of clips"),
        )

    @property
    def holds_embeddings(self) -> bool:
        """Whether the source is a file of embeddings."""
        return self.what == "embeddings" and self.sources[0].lower().endswith(".npz")

    @property
    def picture(self) -> str:
        """The file to write."""
        return self.out or f"plot_{self.what}.png"


def run(args: Plot) -> int:
    """Draw, and say what was drawn and what was left out."""
    from mvector.plotting.canvas import new_figure

    check_figure_path(new_figure(1.0, 1.0), args.picture, DataError)  # before any work
    with write_errors_as(DataError, f"'{args.picture}'", "choose another --out"):
        check_file_writable(Path(args.picture))
    draw = {"clip": _draw_clips, "embeddings": _draw_map, "curves": _draw_curves}[args.what]
    figure, unreadable = draw(args)
    if unreadable:
        logger.warning("%s", unreadable)
    save_figure(figure, args.picture, DataError)
    print(f"Written:  {args.picture}")
    return 0


def _draw_clips(args: Plot) -> tuple[Figure, str]:
    from mvector.models.description import read_front_end
    from mvector.plotting.clip import SPECTRUM, ClipView, clip_figure, look_at_clip

    require_one_standard_input(args.sources)
    _refuse_more_than(_MOST_CLIPS, args.sources, "clip")
    front_end = read_front_end(named_or_chosen_model(args))

    def look(path: str) -> ClipView:
        return look_at_clip(
            open_clip(path, args.channel),
            front_end,
            start_s=args.start,
            duration_s=args.duration,
            vad=args.vad,
        )

    views = _usable(args.sources, look, "clip")
    for view in views:
        print(f"{view.name}: {'; '.join(view.reasons) or 'good'} ({view.report})")
    if any(view.what == SPECTRUM for view in views):
        print("Features need PyTorch, which is not installed: a spectrum is in their place.")
    return clip_figure(views)


def _draw_map(args: Plot) -> tuple[Figure, str]:
    from mvector.plotting.embedding_map import embedding_figure, require_method
    from mvector.plotting.voices import MIN_SPEAKERS, find_voices

    if len(args.sources) > 1:
        raise OptionError(f"embeddings takes one source; {len(args.sources)} were given.")
    require_method(args.method)
    found = find_voices(args.sources[0], data_root=args.data_root)
    voices = found.chosen(args.max_clips)
    if len(voices.paths) < len(found.paths):
        print(
            f"Drawn:    {len(voices.paths):,} of {count_of(len(found.paths), 'clip')}, evenly "
            "chosen; --max_clips takes more"
        )
    if voices.embeddings is None:
        voices, embeddings = _embedded(args, voices)
    else:
        embeddings = voices.embeddings
    if voices.num_left_out:
        print(f"Left out: {count_of(voices.num_left_out, 'clip')} without a usable embedding")
    if len(voices.names) < MIN_SPEAKERS:
        raise DataError(
            f"All clips of '{voices.source}' that can be used are of one speaker; a map of voices "
            "takes two or more."
        )
    clips, speakers = count_of(len(voices.paths), "clip"), count_of(len(voices.names), "speaker")
    return embedding_figure(
        embeddings,
        voices.speaker,
        voices.names,
        method=args.method,
        num_named=args.named,
        title=f"{clips} of {speakers}",
    )


def _embedded(args: Plot, voices: Voices) -> tuple[Voices, np.ndarray]:
    """Those of the clips that can be read, and their embeddings."""
    from mvector.compute.device import requested_device
    from mvector.embedding.encoder import SpeakerEncoder

    folder, device = named_or_chosen_model(args), requested_device(args.use_gpu)
    encoder = SpeakerEncoder.from_folder(folder, device, engine=args.engine)
    table = encoder.embed_readable(voices.paths, progress=True)
    for _, reason in table.failures[:_MOST_TOLD]:
        logger.warning("Left out: %s", reason)
    if not len(table.good):
        raise DataError(
            f"None of the clips of '{voices.source}' can be used: {table.failures[0][1]}"
        )
    return replace(voices.part(table.good), num_left_out=len(table.failures)), table.embeddings


def _draw_curves(args: Plot) -> tuple[Figure, str]:
    from mvector.plotting.curves import curves_figure, read_run

    _refuse_more_than(_MOST_RUNS, args.sources, "run")
    return curves_figure(_usable(args.sources, read_run, "run"))


def _refuse_more_than(most: int, sources: Sequence[str], what: str) -> None:
    if len(sources) > most:
        raise OptionError(
            f"A picture holds {most} {what}s at most; {len(sources)} were given: draw several."
        )


def _usable(sources: Sequence[str], read: Callable[[str], _T], what: str) -> list[_T]:
    """What is read of the sources that can be; the others are told and counted."""
    found, failures = [], []
    for source in sources:
        try:
            found.append(read(source))
        except MVectorError as error:
            failures.append(error)
    if not found:
        raise failures[0]
    for failure in failures:
        logger.warning("Left out: %s", failure)
    if failures:
        print(f"Left out: {count_of(len(failures), what)} of {len(sources)}")
    return found


COMMAND = Command(
    "plot.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("a picture", Plot, run),),
    guesses={"output": "--out FILE", "speakers": "--named N"},
)
