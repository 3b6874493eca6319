"""The root scripts as a user runs them: exit codes, one-sentence errors, no traceback."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_settings import ROOT

from mvector.cli import COMMANDS, run_script
from mvector.cli.common import parse_bool

SCRIPTS = {
    "create_data.py": "create_data",
    "train.py": "train",
    "eval.py": "eval",
    "infer_contrast.py": "contrast",
    "infer_recognition.py": "recognition",
}
UPSTREAM_OPTIONS = {
    "train.py": "--configs --augment_conf_path --use_gpu --save_model_path --log_dir "
    "--resume_model --pretrained_model --do_eval",
    "eval.py": "--configs --use_gpu --resume_model --save_image_path --model_path",
    "infer_contrast.py": "--audio_path1 --audio_path2 --configs --model_path --threshold --use_gpu",
    "infer_recognition.py": "--configs --use_gpu --audio_db_path --record_seconds --model_path "
    "--threshold --register --identify --list --remove",
}


@pytest.fixture
def workplace(
    trained_model: Path, small_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a configuration and a model, entered."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained_model, "models/EcapaTdnn_Fbank/best_model")
    Path("config.yml").write_text(yaml.safe_dump(small_config))
    return tmp_path


def clip(voices: Path, speaker: int, number: int = 0) -> str:
    return str(voices / f"speaker_00{speaker}" / f"clip_0{number}.wav")


@pytest.mark.parametrize("script", SCRIPTS)
def test_root_scripts_are_thin(script: str) -> None:
    assert len((ROOT / script).read_text().splitlines()) < 40
    assert f'run_script("{SCRIPTS[script]}")' in (ROOT / script).read_text()
    assert SCRIPTS[script] in COMMANDS


TOOLS = sorted((ROOT / "tools").glob("*.py"))


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.stem)
def test_tools_are_thin(tool: Path) -> None:
    assert tool.stem in COMMANDS
    assert f'run_script("{tool.stem}")' in tool.read_text()
    assert len(tool.read_text().splitlines()) < 15


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_teaches_by_example_and_knows_the_familiar_options(script: str) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True
    )
    assert run.returncode == 0
    assert f"python {script} " in run.stdout
    for option in UPSTREAM_OPTIONS.get(script, "--dataset --path --output").split():
        assert re.search(rf"{option}\b", run.stdout), option


def test_help_is_quick_because_it_does_not_load_torch() -> None:
    code = "import sys; from mvector.cli import COMMANDS, find_command\n"
    code += "from mvector.cli.options import build_parser\n"
    code += "for name in COMMANDS: build_parser(find_command(name)).format_help()\n"
    code += "print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(("text", "value"), [("True", True), ("false", False), ("0", False)])
def test_true_and_false_are_parsed_as_such(text: str, value: bool) -> None:
    assert parse_bool(text) is value


def test_anything_else_than_true_or_false_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert run_script("train", ["--do_eval", "perhaps"]) == 2
    assert "'perhaps' is neither True nor False" in capsys.readouterr().err


def test_a_duration_is_positive(capsys: pytest.CaptureFixture) -> None:
    assert run_script("recognition", ["--record_seconds", "-1"]) == 2
    assert "--record_seconds: '-1' is not a duration above 0" in capsys.readouterr().err


def test_train_then_eval(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree("models")
    assert run_script("train", ["--configs", "config.yml", "--set", "train_conf.max_epoch=1"]) == 0
    err = capsys.readouterr().err
    assert "  train_conf.max_epoch: 1\n" in err
    assert "  train_conf.seed: " not in err  # which is the default's
    assert "All settings: models/EcapaTdnn_Fbank/config.yml\n" in err
    assert Path("models/EcapaTdnn_Fbank/best_model/model.yml").is_file()
    assert Path("models/EcapaTdnn_Fbank/curves.png").is_file()
    assert list(Path("models/EcapaTdnn_Fbank/checkpoints").glob("step_*.pt"))
    assert Path("models/EcapaTdnn_Fbank/metrics.jsonl").is_file()
    assert run_script("eval", ["--save_image_path", "pictures"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"EER [\d.]+ %.*, minDCF\(0\.01\) [\d.]+.*, [\d,]+ trials, \d+ speakers", out)
    assert Path("pictures/EcapaTdnn_Fbank.png").is_file()


def test_contrast_answers_by_exit_code(
    workplace: Path, voices: Path, capsys: pytest.CaptureFixture
) -> None:
    a = clip(voices, 0)
    same = ["--audio_path1", a, "--audio_path2", a, "--threshold", "0.999"]
    assert run_script("contrast", same) == 0
    out = capsys.readouterr().out
    assert re.match(r"✔ same person\n  similarity  1\.0000   threshold ", out)
    other = ["--audio_path1", a, "--audio_path2", clip(voices, 1), "--threshold", "0.999"]
    assert run_script("contrast", other) == 1
    assert "different people\n" in capsys.readouterr().out
    assert run_script("contrast", [*other, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["same"] is False
    assert answer["threshold"] == 0.999


def test_recognition_without_the_menu(
    workplace: Path, voices: Path, capsys: pytest.CaptureFixture
) -> None:
    for words in (["--list"], ["--identify", clip(voices, 0)], ["--export", "f"], ["--reembed"]):
        assert run_script("recognition", words) == 2
        assert "There is no speaker library in 'audio_db'" in capsys.readouterr().err
    assert not Path("audio_db").exists()
    assert run_script("recognition", ["--register", "Ada L.", clip(voices, 0)]) == 0
    assert run_script("recognition", ["--identify", clip(voices, 0)]) == 0
    assert "Ada L. (1.0000, needs " in capsys.readouterr().out
    stranger = ["--identify", clip(voices, 1), "--threshold", "0.999", "--json"]
    assert run_script("recognition", stranger) == 1
    assert json.loads(capsys.readouterr().out)["speaker"] is None
    assert run_script("recognition", ["--list"]) == 0
    assert capsys.readouterr().out == "Ada L.\n"
    assert run_script("recognition", ["--remove", "Ada L."]) == 0
    assert run_script("recognition", ["--remove", "Ada L."]) == 2
    assert run_script("recognition", ["--list"]) == 0
    assert capsys.readouterr().out.endswith("Nobody is enrolled in audio_db\n")


def test_the_menu_registers_recognises_and_survives_mistakes(
    workplace: Path,
    voices: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed = iter(["0", clip(voices, 2), "Grace", "1", clip(voices, 2), "7", "1", "gone.wav", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert run_script("recognition", []) == 0
    captured = capsys.readouterr()
    assert "✔ enrolled Grace (audio_db/Grace/" in captured.out
    assert "Grace (1.0000, needs " in captured.out
    assert "Type 0, 1 or q." in captured.out
    assert "'gone.wav' does not exist" in captured.err
    monkeypatch.setattr("builtins.input", lambda prompt: "q")
    run_script("recognition", [])
    assert "Enrolled: Grace\n" in capsys.readouterr().out


def test_the_microphone_is_recorded_for_as_long_as_asked(
    workplace: Path,
    voices: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mvector import read_audio

    heard = []

    def record(duration_s: float, sample_rate: int, *, on_open: Callable[[], None], **_: object):
        on_open()
        heard.append((duration_s, sample_rate))
        return read_audio(clip(voices, 3))

    monkeypatch.setattr("mvector.audio.microphone.record", record)
    typed = iter(["0", "", "Mic", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert run_script("recognition", ["--record_seconds", "2.5"]) == 0
    assert heard == [(2.5, 16000)]
    said = capsys.readouterr()
    assert "recording…\ndone\n" in said.err
    assert "✔ enrolled Mic (" in said.out


def test_without_pyaudio_the_menu_says_how_to_install_it(
    workplace: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    typed = iter(["1", "", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert run_script("recognition", []) == 0
    assert "pip install pyaudio" in capsys.readouterr().err
    assert not Path("audio_db").exists()  # which registering makes


TRAIN = ["train", "--configs", "config.yml", "--save_model_path", "free"]
MISTAKES = {
    "missing clip": (["contrast", "--audio_path1", "gone.wav", "--audio_path2", "x"], "gone.wav"),
    "no such model": (
        ["contrast", "--audio_path1", "a", "--audio_path2", "b", "--model_path", "nowhere"],
        "nowhere",
    ),
    "no such configuration": (["train", "--configs", "nowhere.yml"], "nowhere.yml"),
    "unknown key": (
        ["train", "--configs", "config.yml", "--set", "train_conf.max_epochs=3"],
        "did you mean 'max_epoch'?",
    ),
    "missing list": (
        [*TRAIN, "--set", "dataset_conf.train_list=gone.txt"],
        "gone.txt",
    ),
    "text as list": (
        [*TRAIN, "--set", "dataset_conf.train_list=config.yml"],
        "config.yml",
    ),
    "bad override": (["train", "--configs", "config.yml", "--set", "max_epoch"], "max_epoch"),
    "output is a file": (
        ["train", "--configs", "config.yml", "--save_model_path", "config.yml"],
        "choose another --save_model_path",
    ),
    "log folder is a file": (
        ["train", "--configs", "config.yml", "--save_model_path", "m", "--log_dir", "config.yml"],
        "choose another --log_dir",
    ),
    "trials missing": (["eval", "--set", "dataset_conf.trials_list=gone.txt"], "gone.txt"),
    "text as clip": (["recognition", "--identify", "config.yml"], "config.yml"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    workplace: Path, voices: Path, capsys: pytest.CaptureFixture, kind: str
) -> None:
    if kind == "text as clip":
        run_script("recognition", ["--register", "Ada", clip(voices, 0)])
    (command, *options), words = MISTAKES[kind]
    assert run_script(command, options) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    last = [line for line in err.splitlines() if line.strip()][-1]
    assert "error: " in last
    assert words in last


def test_debug_shows_the_traceback_of_a_mistake(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run_script("train", ["--configs", "nowhere.yml", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "train.py: error: " in err.splitlines()[-1]


def test_the_mvector_command_knows_all_scripts(capsys: pytest.CaptureFixture) -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import sys; from mvector.cli import main; sys.exit(main())"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0
    for command in COMMANDS:
        assert command in run.stdout
