"""``mvector demo``: the model in the box, then a training of one's own from end to end."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import mvector
from mvector.cli.common import ANSWER_CODES
from mvector.cli.options import Action, Command, Options, option
from mvector.errors import MVectorError
from mvector.files import write_errors_as
from mvector.shipped import shipped_folder

_DESCRIPTION = """\
A tour in a few minutes: the model in the box, then a training of one's own from end to end.

Each step runs a command, which is printed: copy it to go on from there, in the demo's folder. The
voices are computed, not recorded: what the figures say of real people is nothing.
"""

_EPILOG = """\
example:
  python tools/demo.py            everything goes into the folder demo/
"""

_MARK = ".made-by-mvector-demo"
_SAMPLE_VOICES = ("voice_a", "voice_b", "voice_c")

_NUM_SPEAKERS, _CLIPS_PER_SPEAKER, _NUM_TEST_SPEAKERS = 60, 8, 12
_SETTINGS = {
    "dataset_conf.max_duration": "1.5",
    "dataset_conf.dataLoader.batch_size": "32",
    "dataset_conf.dataLoader.num_workers": "1",
    "model_conf.backbone.channels": "128",
    "optimizer_conf.scheduler_args.warmup_epoch": "1",
    "train_conf.max_epoch": "12",
    "train_conf.log_interval": "6",
    "loss_conf.margin_scheduler_args.final_margin": "0.2",
}


@dataclass(frozen=True, kw_only=True)
class Demo(Options):
    out: str = option("demo", "folder to work in (default: %(default)s)", "DIR")


def run(args: Demo) -> int:
    """Run the tour; returns the exit code."""
    import yaml

    from mvector.demo.corpus import write_corpus

    started = time.monotonic()
    out = Path(args.out).resolve()
    make_folder(out)
    shutil.copytree(shipped_folder("samples"), out / "samples")
    tour = _Tour(out)

    verdicts = tuple(ANSWER_CODES.values())
    tour.say("1/7  the model in the box: comparing sample clips, enrolling, recognising")
    box = {voice: f"samples/{voice}/{{}}.flac" for voice in _SAMPLE_VOICES}
    mine, other, stranger = (box[voice] for voice in _SAMPLE_VOICES)
    box_codes = [
        tour.run("contrast", mine.format(1), mine.format(2), codes=verdicts),
        tour.run("contrast", mine.format(1), other.format(1), codes=verdicts),
    ]
    library = ("--audio_db_path", "audio_db_box")
    for name, clip in zip(_SAMPLE_VOICES[:2], (mine, other), strict=True):
        tour.run("recognition", "--register", name, clip.format(1), *library)
    box_codes += [
        tour.run("recognition", "--identify", clip.format(2), *library, codes=verdicts)
        for clip in (other, stranger)
    ]

    tour.say(f"2/7  {_NUM_SPEAKERS} synthetic voices into {out / 'corpus'}")
    write_corpus(
        out / "corpus",
        num_speakers=_NUM_SPEAKERS,
        clips_per_speaker=_CLIPS_PER_SPEAKER,
        duration_s=(2.0, 4.0),
    )
    tour.say("3/7  lists for training, enrolment and trials")
    corpus = ("--dataset", "folder", "--path", "corpus")
    tour.run("create_data", *corpus, "--test_speakers", str(_NUM_TEST_SPEAKERS))
    tour.say("4/7  training EcapaTdnn")
    settings = [word for key, value in _SETTINGS.items() for word in ("--set", f"{key}={value}")]
    tour.run("train", "--configs", "ecapa_tdnn", *settings)
    tour.say("5/7  evaluation on voices never trained on")
    draws = find_spec("matplotlib") is not None
    picture = out / "log" / "EcapaTdnn_Fbank.png" if draws else "not drawn: pip install matplotlib"
    tour.run("eval", *(["--save_image_path", "log"] if draws else []))

    enrolled, trials = tour.first_clips("enroll_list.txt"), tour.first_clips("trials_list.txt")
    first, second, third, stranger = list(trials)[:4]
    tour.say("6/7  comparing two clips of one voice, then of two")
    model = out / "models" / "EcapaTdnn_Fbank" / "best_model"
    own = ("--model_path", str(model.relative_to(out)))
    compare = ("contrast", *own)
    own_codes = [
        tour.run(*compare, enrolled[first], clip, codes=verdicts)
        for clip in (trials[first], trials[second])
    ]
    tour.say("7/7  enrolling three people, then recognising one of them and a stranger")
    for name in (first, second, third):
        tour.run("recognition", *own, "--register", name, enrolled[name])
    identify = ("recognition", *own, "--identify")
    own_codes += [
        tour.run(*identify, clip, codes=verdicts) for clip in (trials[first], trials[stranger])
    ]

    metrics = yaml.safe_load((model / "model.yml").read_text(encoding="utf-8"))["metrics"]
    print(f"""
What happened, in {time.monotonic() - started:.0f} s. The voices are SYNTHETIC: the figures say
nothing about real speech; those of the model in the box stand in docs/model_card.md.
The model in the box
{_outcomes(*box_codes)}
The model trained here
  trained on      {_NUM_SPEAKERS - _NUM_TEST_SPEAKERS} voices, tested on {_NUM_TEST_SPEAKERS} others
  error rates     EER {100 * metrics["eer"]:.2f} %, minDCF {metrics["min_dcf"]:.3f}
{_outcomes(*own_codes)}
Where it lies
  model           {model}
  error curves    {picture}
  training curves {model.parent / "metrics.jsonl"}
  lists           {out / "dataset"}
  speaker library {out / "audio_db"}
Next: speech of your own; mvector --help shows the way.""")
    return 0


def _outcomes(same: int, different: int, known: int, unknown: int) -> str:
    """What the exit codes of two comparisons and two recognitions say of a model."""
    return f"""\
  same voice      {_outcome(same, "taken for the same", "wrongly told apart")}
  two voices      {_outcome(different, "wrongly taken for the same", "told apart")}
  enrolled voice  {_outcome(known, "recognised", "not recognised")}
  stranger        {_outcome(unknown, "wrongly recognised", "rejected")}"""


def _outcome(code: int, if_same: str, if_different: str) -> str:
    words = {ANSWER_CODES["same"]: if_same, ANSWER_CODES["different"]: if_different}
    return words.get(code, "cannot tell")


def make_folder(out: Path) -> None:
    """An empty folder for the demo; what an earlier demo left is deleted, and nothing else."""
    if out.is_dir() and not (out / _MARK).is_file() and any(out.iterdir()):
        raise MVectorError(f"'{out}' holds files that no demo wrote; choose another --out.")
    with write_errors_as(MVectorError, f"the folder '{out}'", "choose another --out"):
        if out.exists():
            shutil.rmtree(out)
        out.mkdir(parents=True)
        (out / _MARK).touch()


class _Tour:
    """Runs commands in the demo's folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        package = str(Path(mvector.__file__).parent.parent)  # this one, installed or not
        self.env = {**os.environ, "PYTHONPATH": package}

    def say(self, title: str) -> None:
        """Announce a step."""
        print(f"\n=== {title}", flush=True)

    def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> int:
        """Run a command, showing it; returns its exit code, which is one of ``codes``."""
        print(f"$ mvector {shlex.join(words)}", flush=True)
        command = [sys.executable, "-m", "mvector", *words]
        code = subprocess.run(command, cwd=self.out, env=self.env).returncode
        if code not in codes:
            raise MVectorError(f"The command above ended with exit code {code}; see what it says.")
        return code

    def first_clips(self, name: str) -> dict[str, str]:
        """The first clip of each speaker on a list."""
        from mvector.data import read_list

        clips: dict[str, str] = {}
        for clip in read_list(self.out / "dataset" / name).paths:
            clips.setdefault(Path(clip).parent.name, clip)
        return clips


COMMAND = Command("demo.py", _DESCRIPTION, _EPILOG, (Action("a tour", Demo, run),), stray="out")
