"""The inference scripts: microphone, standard input, several clips, JSON, --watch."""

from __future__ import annotations

import io
import json
import os
import re
import select
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forked_scripts import PATIENCE_S
from small_model import RATE, small_calibration, speech
from small_settings import ROOT

from mvector.audio import write_wav
from mvector.audio.microphone import InputDevice, find_device, recording_fault
from mvector.cli import run_script
from mvector.cli.clips import level_meter
from mvector.errors import AudioError
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.quality import TRIAL_MEASURES
from mvector.models.description import update_model_folder


def recognition(folder: Path, *options: str) -> int:
    return run_script("recognition", ["--model_path", str(folder / "model"), *options])


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_several_clips_are_enrolled_at_once_and_bad_ones_told(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    clips = [str(workplace / f"voice_{k}.wav") for k in (0, 1)]
    assert recognition(folder, "--register", "Ada", *clips, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [entry["registered"] for entry in answer["clips"]] == ["Ada", "Ada"]
    write_wav(workplace / "blip.wav", np.pad(speech(0)[:3000], (0, 2 * RATE)), RATE)
    assert recognition(folder, "--register", "Bob", clips[0], "blip.wav") == 2
    captured = capsys.readouterr()
    assert captured.out.startswith("✔ enrolled Bob (audio_db/Bob/")
    assert "Not enrolled: 'blip.wav' is too bad to be enrolled: only 0." in captured.err
    assert captured.err.endswith("record it again, or insist by --force.\n")
    assert recognition(folder, "--register", "Eve", "blip.wav") == 2
    assert recognition(folder, "--register", "Eve", "blip.wav", "--force") == 0


def test_the_best_candidates_are_listed(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    for k, name in enumerate(("Ada", "Bob", "Cem")):
        recognition(folder, "--register", name, f"voice_{k}.wav")
    capsys.readouterr()
    told = ["--identify", "voice_1.wav", "--top_k", "2", "--threshold", "0.5"]
    assert recognition(folder, *told) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["✔ Bob (1.0000, needs 0.5000)", "   1.0000  Bob"]
    assert [line.split()[-1] for line in lines[1:]] == ["Bob", json_best(folder, capsys)]


def json_best(folder: Path, capsys: pytest.CaptureFixture) -> str:
    recognition(folder, "--identify", "voice_1.wav", "--top_k", "2", "--json")
    return json.loads(capsys.readouterr().out)["candidates"][1]["name"]


def test_a_clip_may_come_by_standard_input(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (workplace / "voice_0.wav").read_bytes()
    give_stdin(monkeypatch, data)
    assert recognition(folder, "--register", "Ada", "-") == 0
    give_stdin(monkeypatch, data)
    assert recognition(folder, "--identify", "-", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["speaker"] == "Ada"
    model = ["--model_path", str(folder / "model")]
    give_stdin(monkeypatch, data)
    clips = ["--audio_path1", "voice_0.wav", "--audio_path2", "-"]
    assert run_script("contrast", [*model, *clips]) == 0
    assert "similarity  1.0000" in capsys.readouterr().out
    give_stdin(monkeypatch, b"")
    assert run_script("contrast", [*model, *clips]) == 2
    assert "standard input is empty" in capsys.readouterr().err
    assert run_script("contrast", [*model, "--audio_path1", "-", "--audio_path2", "-"]) == 2


def test_contrast_asks_for_what_is_missing(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "'voice_0.wav'")
    model = ["--model_path", str(folder / "model")]
    assert run_script("contrast", [*model, "--audio_path1", "voice_0.wav"]) == 0
    assert run_script("contrast", [*model, "--audio_path1", "voice_0.wav", "--json"]) == 2
    assert "--json has no use without two clips" in capsys.readouterr().err
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("asks for the second"))
    assert run_script("contrast", [*model, "nowhere.wav"]) == 2
    assert "'nowhere.wav' does not exist" in capsys.readouterr().err


def test_contrast_tells_the_threshold_that_decided_and_answers_by_it(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    ratio = LikelihoodRatio(TRIAL_MEASURES[:4], (-9.0, 10.0, -1.0, -0.5, 0.02, -0.03))
    knowing = replace(small_calibration(), ratios=(ratio,))
    shutil.copytree(folder / "model", "model")
    update_model_folder("model", calibration=knowing.to_dict(), listening={}, metrics={})
    write_wav(workplace / "short.wav", speech(1)[: RATE // 2 + 100], RATE)
    clips = ["--model_path", "model", "--audio_path1", "voice_0.wav", "--audio_path2"]

    def answers(clip: str, *options: str) -> tuple[int, dict, str]:
        code = run_script("contrast", [*clips, clip, *options, "--json"])
        values = json.loads(capsys.readouterr().out)
        assert run_script("contrast", [*clips, clip, *options]) == code
        return code, values, capsys.readouterr().out

    _, plain, _ = answers("voice_1.wav")
    edge = plain["score"]
    thresholds = (edge, np.nextafter(edge, 2.0), np.nextafter(edge, -2.0), edge + 3e-6)
    options = [[], *(["--threshold", repr(float(value))] for value in thresholds)]
    codes = []
    for clip in ("voice_1.wav", "short.wav"):
        for given in options:
            code, values, out = answers(clip, *given)
            told = re.search(r"  similarity +(\S+)   threshold +(\S+)", out)
            assert told is not None
            is_same, is_unclear = "same person" in out, out.startswith("? cannot tell: ")
            assert is_same == values["same"] == (code == 0)
            assert is_unclear == values["inconclusive"] == (code == 3)
            assert values["answer"] == {0: "same", 1: "different", 3: "cannot tell"}[code]
            assert (is_same or is_unclear) >= (values["score"] >= values["threshold"])
            assert (float(told[1]) >= float(told[2])) == (values["score"] >= values["threshold"])
            assert values["threshold_source"] == (
                "given" if given else "adjusted to the clips' quality"
            )
            assert (values["reason"] is not None) == is_unclear
            codes.append(code)
    assert codes[1:5] == [0, 1, 0, 1]


def test_watching_a_file_tells_turns_as_they_end(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("librosa", reason="finds the speech where no network does")
    turns = [np.r_[speech(0, 3.2, seed=k), np.zeros(2 * RATE, np.float32)] for k in (0, 1)]
    write_wav(workplace / "scene.wav", np.concatenate(turns), RATE)
    assert recognition(folder, "--watch", "scene.wav") == 1  # nobody is enrolled: no library
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(re.fullmatch(r"0:\d\d\.\d - 0:\d\d\.\d  Speaker 1", line) for line in lines)
    recognition(folder, "--register", "Ada", "voice_0.wav", "--force")
    capsys.readouterr()
    assert recognition(folder, "--watch", "scene.wav", "--json", "--threshold", "0.5") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {turn["speaker"] for turn in told} == {turn["name"] for turn in told} == {"Ada"}
    for turn in told:
        assert 0.0 <= turn["start_s"] < turn["end_s"] <= turn["told_s"] - 0.5


def test_watching_a_file_tells_who_is_heard_each_second(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    recognition(folder, "--register", "Ada", "voice_0.wav")
    pause = np.zeros(4 * RATE, dtype=np.float32)
    write_wav(workplace / "scene.wav", np.concatenate([pause, speech(0, 3.2)[: 3 * RATE]]), RATE)
    capsys.readouterr()
    options = ["--watch", "scene.wav", "--json", "--threshold", "0.9", "--hop_seconds", "1"]
    assert recognition(folder, *options) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["time_s"] for answer in answers] == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert [answer["speaker"] for answer in answers[:2]] == [None, None]
    assert answers[-1]["speaker"] == "Ada"
    assert recognition(folder, *options[:2], "--threshold", "1.0", *options[-2:]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "     3.0 s    no speech"
    assert re.fullmatch(
        r" {5}7\.0 s  ✘ nobody enrolled; nearest: Ada \([\d.]+, needs 1\.0+\)", lines[-1]
    )


def test_a_useless_recording_is_made_again(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = np.clip(20 * speech(0, 3.0), -1, 1)
    takes = iter([1e-4 * speech(0, 3.0), loud, speech(0, 3.0)])
    monkeypatch.setattr("mvector.audio.microphone.record", lambda *_, **__: next(takes))
    typed = iter(["0", "", "", "", "Ada", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert recognition(folder) == 0
    said = capsys.readouterr()
    assert "The recording is too quiet, try again." in said.err
    assert "The recording is clipped, try again." in said.err
    assert "✔ enrolled Ada (" in said.out


def test_without_sound_hardware_one_sentence_offers_a_file(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    model = ["--model_path", str(folder / "model")]
    assert recognition(folder, "--register", "Ada", str(workplace / "voice_0.wav")) == 0
    for options in (["--list_devices"], [*model, "--register", "Ada"], [*model, "--watch"]):
        assert run_script("recognition", options) == 2
        (line,) = [x for x in capsys.readouterr().err.splitlines() if "error:" in x]
        assert "A file works without it." in line


def test_devices_are_found_by_number_and_by_name() -> None:
    devices = [InputDevice(0, "hw: USB Audio", False), InputDevice(3, "default", True)]
    assert find_device("3", devices).name == "default"
    assert find_device("usb", devices).index == 0
    with pytest.raises(AudioError, match=r"no input device 'x'; there are: 0: hw: USB Audio; 3: "):
        find_device("x", devices)


def test_the_meter_shows_the_level() -> None:
    alternating = np.tile([1.0, -1.0], 800)
    assert level_meter(np.zeros(1600), RATE).startswith(f"[{'-' * 30}]  -99 dB")
    meter = level_meter(0.1 * alternating, RATE)
    assert meter.startswith("[####################----------]  -20 dB")
    assert "CLIPPED" in level_meter(alternating, RATE)
    assert recording_fault(speech(0), RATE) is None


# ---- the real thing: PyAudio on an ALSA device that plays a file ------------------------------

_ALSA = Path("/usr/share/alsa/alsa.conf")


@pytest.fixture
def microphone(folder: Path, tmp_path: Path) -> dict[str, str]:
    """Environment in which the default input gives the samples of ``voice_0.wav``."""
    pytest.importorskip("pyaudio", reason="PyAudio is not installed")
    if not _ALSA.is_file():
        pytest.skip("ALSA is not installed")
    samples = (speech(0, 3.2) * 32767).astype("<i2")
    samples.tofile(tmp_path / "spoken.raw")
    (tmp_path / "asound.conf").write_text(
        f"""<{_ALSA}>
pcm.!default {{
    type file
    slave.pcm "null"
    file "/dev/null"
    infile "{tmp_path}/spoken.raw"
    format "raw"
    hint {{ show on  description "a file that speaks" }}
}}
"""
    )
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(tmp_path / "asound.conf")}
    code = "from mvector.audio.microphone import input_devices; print(len(input_devices()))"
    probe = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    if probe.returncode:
        pytest.skip("ALSA has no file device here")
    return environment


class Terminal:
    """A script at a pseudo-terminal."""

    def __init__(self, script: str, options: list[str], cwd: Path, env: dict[str, str]) -> None:
        master, slave = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / script), *options],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**env, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        os.close(slave)
        self.master, self.screen = master, ""

    def expect(self, words: str) -> None:
        """Read until the words stand on the screen, behind what was expected before."""
        while words not in self.screen:
            ready, _, _ = select.select([self.master], [], [], PATIENCE_S)
            assert ready, f"no '{words}' in: {self.screen}"
            try:
                self.screen += os.read(self.master, 4096).decode()
            except OSError as error:  # the script has ended
                raise AssertionError(f"no '{words}' in: {self.screen}") from error
        self.screen = self.screen[self.screen.index(words) + len(words) :]

    def type(self, line: str) -> None:
        os.write(self.master, f"{line}\n".encode())

    def leave(self) -> int:
        code = self.process.wait(PATIENCE_S)
        os.close(self.master)
        return code


def test_the_menu_at_a_terminal_hears_the_microphone(
    folder: Path, workplace: Path, microphone: dict[str, str]
) -> None:
    options = ["--model_path", str(folder / "model"), "--threshold", "0.9"]
    menu = Terminal("infer_recognition.py", options, workplace, microphone)
    menu.expect("Choose: 0 register")
    menu.type("0")
    menu.expect("Press Enter to record 3 s")
    menu.type("")
    menu.expect("recording…")
    menu.expect(" dB")
    menu.expect("done")
    menu.expect("Name of the speaker:")
    menu.type("Ada")
    menu.expect("enrolled Ada (")
    menu.expect("Choose:")
    menu.type("1")
    menu.expect("Press Enter")
    menu.type("")
    menu.expect("Ada (1.0000, needs 0.9000)")
    menu.expect("Choose:")
    menu.type("q")
    assert menu.leave() == 0
    (stored,) = (workplace / "audio_db" / "Ada").glob("*.wav")
    spoken = np.fromfile(workplace / "spoken.raw", dtype="<i2")[: 3 * RATE]
    np.testing.assert_array_equal(np.frombuffer(stored.read_bytes()[44:], dtype="<i2"), spoken)


def test_contrast_at_a_terminal_compares_a_file_with_the_microphone(
    folder: Path, workplace: Path, microphone: dict[str, str]
) -> None:
    options = ["--model_path", str(folder / "model"), "--audio_path1", "voice_0.wav"]
    script = Terminal("infer_contrast.py", options, workplace, microphone)
    script.expect("Clip 2. Press Enter to record 3 s")
    script.type("")
    script.expect("same person")
    script.expect("  similarity  ")
    assert script.leave() == 0


def test_devices_are_listed_and_a_recording_enrolled_without_questions(
    folder: Path, workplace: Path, microphone: dict[str, str]
) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "infer_recognition.py"), "--list_devices"],
        env=microphone,
        cwd=workplace,
        capture_output=True,
        text=True,
    )
    assert re.search(r"^\d+: default \(default\)$", run.stdout, re.MULTILINE)
    assert run.stderr == ""  # nothing of what ALSA has to say


def test_no_device_is_one_sentence(workplace: Path) -> None:
    pytest.importorskip("pyaudio", reason="PyAudio is not installed")
    run = subprocess.run(
        [sys.executable, str(ROOT / "infer_recognition.py"), "--list_devices"],
        cwd=workplace,
        capture_output=True,
        text=True,
    )
    if run.returncode == 0:
        pytest.skip("this machine has a microphone")
    assert run.stderr.splitlines() == [
        "infer_recognition.py: error: There is no microphone here; connect one, or give a file "
        "instead."
    ]


# ---- which model answers ------------------------------------------------------------------------


def test_a_model_that_nobody_named_is_told(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    """The one in the box is no news: the manual says so."""
    trained = Path("models/Mine/best_model")
    shutil.copytree(folder / "model", trained)
    clips, threshold = ["voice_0.wav", "voice_1.wav"], ["--threshold", "0.9"]
    here = f"Model: {trained} (trained here; --model_path box takes the one in the box)\n"
    library = f"Model: {trained} (the people were enrolled with it; --reembed takes another)\n"
    own, box = ["--model_path", str(trained)], ["--model_path", "box"]

    def told(command: str, *words: str) -> str:
        assert run_script(command, words) in (0, 1)
        return capsys.readouterr().err

    assert told("contrast", *clips, *threshold) == here
    assert told("contrast", *clips, *threshold, *own) == ""
    assert told("contrast", *clips, *box) == ""
    assert told("recognition", "--register", "Ada", "voice_0.wav") == here
    assert told("recognition", "--identify", "voice_0.wav", *threshold) == library
    assert told("recognition", "--identify", "voice_0.wav", *threshold, *own) == ""
    assert told("recognition", "--list") == ""
    shutil.rmtree("models")
    assert told("contrast", *clips) == ""


def test_objects_have_the_model_that_answered(
    folder: Path, workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    trained = Path("models/Mine/best_model")
    shutil.copytree(folder / "model", trained)
    for command, *words in (
        ("contrast", "voice_0.wav", "voice_1.wav", "--threshold", "0.9"),
        ("recognition", "--register", "Ada", "voice_0.wav"),
        ("recognition", "--identify", "voice_0.wav", "--threshold", "0.9"),
        ("recognition", "--watch", "voice_0.wav", "--threshold", "0.9"),
    ):
        assert run_script(command, [*words, "--json"]) in (0, 1)
        said = capsys.readouterr()
        assert said.err == ""
        for line in said.out.splitlines():
            assert Path(json.loads(line)["model"]).samefile(trained)
