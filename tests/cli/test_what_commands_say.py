"""Commands are silent, answer in short lines, and tell every failure by its exit code."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from small_model import RATE, speech
from small_settings import ROOT

from mvector.audio import write_wav
from mvector.cli import run_script
from mvector.cli.options import Action, Command, Options, flag
from mvector.cli.running import run_command
from mvector.cli.terminal import Mark, coloured, marked
from mvector.errors import AudioError, count_of
from mvector.evaluation import calibrate
from mvector.models.description import update_model_folder


@pytest.fixture
def workplace(folder: Path, workplace: Path) -> Path:
    """It has the model and ``blip.wav``, which is hardly speech, too."""
    os.symlink(folder / "model", "model")
    write_wav(workplace / "blip.wav", np.pad(speech(0)[:3000], (0, 2 * RATE)), RATE)
    return workplace


def said(capsys: pytest.CaptureFixture, command: str, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command with the small model."""
    capsys.readouterr()
    model = () if "--model_path" in words else ("--model_path", "model")
    code = run_script(command, [*words, *model, "--use_gpu", "False"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# ---- answers ------------------------------------------------------------------------------------


def test_two_clips_make_two_lines_and_nothing_else(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    same = said(capsys, "contrast", "voice_0.wav", "voice_0.wav", "--threshold", "0.5")
    assert same == (0, "✔ same person\n  similarity  1.0000   threshold  0.5000\n", "")
    score = json.loads(said(capsys, "contrast", "voice_0.wav", "voice_1.wav", "--json")[1])["score"]
    other = said(capsys, "contrast", "voice_0.wav", "voice_1.wav", "--threshold", "1")
    lines = f"✘ different people\n  similarity {score:7.4f}   threshold  1.0000\n"
    assert other == (1, lines, "")


def test_what_to_mind_has_lines_of_its_own(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    _, out, err = said(capsys, "contrast", "voice_0.wav", "blip.wav")
    _, _, *reasons = out.splitlines()
    assert reasons
    assert all(reason.startswith("  ! second clip: ") for reason in reasons)
    assert err == ""


def test_what_cannot_be_told_is_said_with_the_reason_and_has_an_exit_code(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree("model", "unsure")
    clips = ("contrast", "voice_0.wav", "voice_1.wav", "--model_path", "unsure")
    score = json.loads(said(capsys, *clips, "--json")[1])["score"]
    labels, noise = np.arange(600) < 300, np.random.default_rng(0).normal(size=600)
    scores = score + np.where(labels, 0.0, -4e-5) + 2e-5 * noise
    known = calibrate(scores, labels, description="scores around this one")
    update_model_folder("unsure", calibration=known.to_dict(), listening={}, metrics={})
    code, out, _ = said(capsys, *clips, "--json")
    answer = json.loads(out)
    low, high = answer["inconclusive_band"]
    assert low <= answer["score"] <= high, "the example is no longer one"
    assert (code, answer["answer"], answer["same"]) == (3, "cannot tell", False)
    reason = "the similarity is weak evidence for clips like these"
    assert answer["reason"] == reason
    code, out, _ = said(capsys, *clips)
    told = re.fullmatch(
        rf"\? cannot tell: {reason}\n"
        r"  similarity +([\d.]+)   threshold +([\d.]+)   different below +([\d.]+)\n",
        out,
    )
    assert code == 3
    assert told is not None
    assert [*map(float, told.groups())] == pytest.approx(
        [score, answer["threshold"], low], abs=1e-4
    )
    # a search of one person is the same comparison
    said(capsys, "recognition", "--register", "Ada", "voice_1.wav", "--model_path", "unsure")
    code, out, _ = said(
        capsys, "recognition", "--identify", "voice_0.wav", "gone.wav", "--model_path", "unsure"
    )
    assert (code, out.split(" (")[0]) == (2, f"? voice_0.wav  cannot tell: {reason}; nearest: Ada")
    search = ("recognition", "--identify", "voice_0.wav", "--model_path", "unsure")
    assert said(capsys, *search)[0] == 3
    assert said(capsys, *search, "--purpose", "search")[0] == 0
    never = replace(known, threshold_far_1pct=0.99999, threshold_miss_5pct=-1.0)
    update_model_folder("unsure", calibration=never.to_dict(), listening={}, metrics={})
    watch = ("recognition", "--watch", "voice_2.wav", *search[3:])
    assert said(capsys, *watch)[0] == said(capsys, *watch, "--hop_seconds", "1")[0] == 3


def test_clips_are_recognised_a_line_each_and_a_stranger_with_the_nearest(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    for name, clip in (("Ada", "voice_0.wav"), ("Bob", "voice_1.wav")):
        code, out, err = said(capsys, "recognition", "--register", name, clip)
        (stored,) = Path("audio_db", name).glob("*.wav")
        assert (code, out, err) == (0, f"✔ enrolled {name} ({stored})\n", "")
    known = said(capsys, "recognition", "--identify", "voice_0.wav", "--threshold", "0.9")
    assert known == (0, "✔ Ada (1.0000, needs 0.9000)\n", "")
    stranger = ("recognition", "--identify", "voice_2.wav", "--threshold", "1")
    answer = json.loads(said(capsys, *stranger, "--json")[1])
    (nearest,) = answer["candidates"]
    code, out, err = said(capsys, *stranger)
    told = re.fullmatch(r"✘ nobody enrolled; nearest: (\w+) \((0\.\d+), needs 1\.0+\)\n", out)
    assert told is not None
    assert (told[1], float(told[2])) == (nearest["name"], pytest.approx(nearest["score"], abs=1e-4))
    assert (code, err) == (1, "")

    files = ("voice_1.wav", "voice_2.wav", "gone.wav")
    several = ("recognition", "--identify", *files, "--threshold", "0.99999")
    code, out, err = said(capsys, *several)
    assert code == 2
    bob, unknown = out.splitlines()
    assert bob == "✔ voice_1.wav  Bob (1.0000, needs 1.0000)"
    assert unknown.startswith("✘ voice_2.wav  nobody enrolled; nearest: ")
    assert err == "Not heard: 'gone.wav' does not exist; check the path.\n"
    answers = [json.loads(line) for line in said(capsys, *several, "--json")[1].splitlines()]
    assert [answer["clip"] for answer in answers] == [*files]
    assert answers[0]["speaker"] == "Bob"
    assert answers[2]["error"]["code"] == "audio-not-found"


def test_more_is_told_when_asked_for_and_on_standard_error(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    _, out, err = said(capsys, "contrast", "voice_0.wav", "voice_1.wav", "-v")
    assert len(out.splitlines()) == 2
    assert "None" not in err
    for line in ("record_seconds: 3.0", "model: model", "threshold: calibrated on 600 trials"):
        assert line in err.splitlines()
    assert "probability of the same person: " in err
    assert "ms for two clips" in err


# ---- marks and colours --------------------------------------------------------------------------


class Stream(io.TextIOWrapper):
    """A stream of an encoding, at a terminal or not."""

    def __init__(self, encoding: str, *, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def test_marks_are_ascii_where_the_encoding_has_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, signs in (("utf-8", "✔ ✘ ? !"), ("ascii", "+ x ? !"), ("latin-1", "+ x ? !")):
        monkeypatch.setattr("sys.stdout", Stream(encoding, is_terminal=False))
        assert [marked(mark, "words") for mark in Mark] == [f"{x} words" for x in signs.split()]


def test_colours_are_for_terminals_and_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Stream("utf-8", is_terminal=True)
    assert coloured("✔", 32, terminal) == "\x1b[1;32m✔\x1b[0m"
    assert coloured("✔", 32, Stream("utf-8", is_terminal=False)) == "✔"
    monkeypatch.setenv("NO_COLOR", "")  # as good as not set
    assert coloured("✔", 32, terminal) != "✔"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("✔", 32, terminal) == "✔"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert coloured("✔", 32, terminal) == "✔"


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of Unix")
def test_a_mistake_at_a_terminal_is_red_and_without_colours_plain() -> None:
    def shown(**environment: str) -> str:
        master, slave = os.openpty()
        words = [sys.executable, str(ROOT / "infer_contrast.py"), "--xyzzy"]
        env = {**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment}
        code = subprocess.run(words, stdin=slave, stdout=slave, stderr=slave, env=env).returncode
        assert code == 2
        os.close(slave)
        return os.read(master, 4096).decode()

    sentence = "There is no option --xyzzy; --help lists all.\r\n"
    assert shown() == f"infer_contrast.py: \x1b[1;31merror:\x1b[0m {sentence}"
    assert shown(NO_COLOR="1") == f"infer_contrast.py: error: {sentence}"


def test_a_number_takes_its_plural() -> None:
    assert [count_of(n, "clip") for n in (0, 1, 1200)] == ["0 clips", "1 clip", "1,200 clips"]
    assert count_of(1, "person", "people") == "1 person"
    assert count_of(2, "person", "people") == "2 people"


# ---- failures -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Nothing(Options):
    json: bool = flag("print JSON objects instead of sentences")


def made_of(run: Callable[[], int]) -> Callable[[], Command]:
    command = Command("try.py", "", "", (Action("a try", Nothing, lambda args: run()),))
    return lambda: command


def failing_with(error: BaseException) -> Callable[[], Command]:
    def fail() -> int:
        raise error

    return made_of(fail)


FAILURES = {
    "a mistake": (AudioError("a.wav is silent."), 2, "error: a.wav is silent.", "audio"),
    "a limit that Python can raise": (
        AudioError("a.wav lasts 5 h; cut it, or raise AudioLimits.max_duration_s."),
        2,
        "error: a.wav lasts 5 h; cut it.",
        "audio",
    ),
    "an internal error": (
        ZeroDivisionError("division by zero\nand more"),
        70,
        "internal error (ZeroDivisionError: division by zero): run again with -v for the "
        "traceback, and report it.",
        "internal",
    ),
    "an error without words": (
        AssertionError(),
        70,
        "internal error (AssertionError): run again with -v for the traceback, and report it.",
        "internal",
    ),
    "Ctrl-C": (KeyboardInterrupt(), 130, "stopped by the user.", None),
    "a full disk": (
        OSError(28, "No space left on device", "/mnt/a.txt"),
        2,
        "error: Cannot write '/mnt/a.txt': No space left on device.",
        "output",
    ),
    "a path of five thousand characters": (
        OSError(errno.ENAMETOOLONG, "File name too long", "a" * 5000),
        2,
        f"error: The path '{'a' * 60}…' is too long; give a shorter one.",
        "usage",
    ),
    "a Python without the packages": (
        ModuleNotFoundError("No module named 'soundfile'", name="soundfile"),
        2,
        f"error: soundfile is not installed for this Python ({sys.executable}): activate the "
        "environment (. .venv/bin/activate) or run make.",
        "missing-dependency",
    ),
    "a module of our own that is missing": (
        ModuleNotFoundError("No module named 'mvector.x'", name="mvector.x"),
        70,
        "internal error (ModuleNotFoundError: No module named 'mvector.x'): run again with -v for "
        "the traceback, and report it.",
        "internal",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_every_failure_is_one_sentence_an_object_and_a_code(
    kind: str, capsys: pytest.CaptureFixture
) -> None:
    error, exit_code, sentence, code = FAILURES[kind]
    assert run_command(failing_with(error), []) == exit_code
    assert capsys.readouterr() == ("", f"try.py: {sentence}\n")
    assert run_command(failing_with(error), ["--json"]) == exit_code
    out = capsys.readouterr().out
    if code is None:
        assert out == ""
    else:
        message = sentence.removeprefix("error: ")
        assert json.loads(out) == {"error": {"code": code, "message": message}}


def test_verbose_shows_the_traceback_of_an_internal_error(capsys: pytest.CaptureFixture) -> None:
    assert run_command(failing_with(ZeroDivisionError("by zero")), ["-v"]) == 70
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == "try.py: internal error (ZeroDivisionError: by zero): report it."


def test_a_command_that_cannot_be_imported_is_an_internal_error(
    capsys: pytest.CaptureFixture,
) -> None:
    def load() -> Command:
        raise ImportError("cannot import name 'x'")

    assert run_command(load, []) == 70
    assert "internal error (ImportError: cannot import name 'x')" in capsys.readouterr().err


def test_what_cannot_be_parsed_is_an_object_too(capsys: pytest.CaptureFixture) -> None:
    assert run_command(made_of(lambda: 0), ["--json", "--jsn"]) == 2
    said = capsys.readouterr()
    message = "There is no option --jsn; did you mean --json?"
    assert json.loads(said.out) == {"error": {"code": "option", "message": message}}
    assert said.err == f"try.py: error: {message}\n"


def test_warnings_are_told_and_what_is_for_developers_is_not(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.warnoptions", [])

    def run() -> int:
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.getLogger("mvector.audio").info("for the curious")
        logging.getLogger("mvector.audio").warning("'a.wav' is odd.")
        return 0

    assert run_command(made_of(run), []) == 0
    assert capsys.readouterr() == ("", "warning: 'a.wav' is odd.\n")


def test_importing_configures_no_logging() -> None:
    code = (
        "import logging, mvector.recognition.predictor, mvector.training.trainer\n"
        "own = [x for x in logging.root.manager.loggerDict if x.split('.')[0] == 'mvector']\n"
        "print(len(own) > 10, [x for x in own if logging.getLogger(x).handlers])\n"
        "print(logging.root.handlers)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "True []\n[]\n"


# ---- streams ------------------------------------------------------------------------------------


def in_shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which $PY and $LIST are a command that prints the commands."""
    shell = f"PY='{sys.executable}'; LIST='{ROOT / 'tools' / 'inspect_data.py'}'; {line}"
    return subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_device_is_one_sentence() -> None:
    run = in_shell("$PY $LIST --help > /dev/full; echo $?")
    sentence = "inspect_data.py: error: Cannot write the output: No space left on device.\n"
    assert (run.stdout, run.stderr) == ("2\n", sentence)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
def test_a_reader_that_has_gone_ends_the_command_quietly() -> None:
    run = in_shell("(sleep 0.3; $PY $LIST --help; echo $? >&2) | true")
    assert run.stderr == "141\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
def test_a_signal_ends_a_command_by_the_code_of_the_signal() -> None:
    code = "import time; from mvector.cli.failures import guarded as run"
    code += "; run('waiting', lambda failure: time.sleep(60))"
    run = in_shell(f'$PY -c "{code}" & sleep 1; kill -TERM $!; wait $!; echo $?')
    assert (run.stdout, run.stderr) == ("143\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
def test_closed_streams_are_as_good_as_empty_ones(folder: Path) -> None:
    clip, model = folder / "voice_0.wav", folder / "model"
    compare = f"$PY infer_contrast.py {clip} - --model_path {model}"
    run = in_shell(f"{compare} <&-; echo $?; {compare} < {clip} >&- 2>&-; echo $?")
    assert run.stdout == "2\n0\n"
    assert run.stderr == "infer_contrast.py: error: standard input is empty.\n"
