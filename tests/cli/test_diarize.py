"""``mvector who``: what is written of people who are enrolled on the way."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mvector.cli import run_script
from mvector.diarization import Turn
from mvector.diarization.result import Diarization, Speaker
from mvector.errors import ClipTooBadError

TURNS = (Turn(0.0, 2.0, "Speaker 1"), Turn(2.0, 3.0, "Speaker 2"), Turn(3.0, 4.0, "Speaker 1"))
VOICES = tuple(
    Speaker(label, 3.0, np.eye(2)[k], match="Eve", score=0.1, threshold=0.5)
    for k, label in enumerate(("Speaker 1", "Speaker 2"))
)


class Predictor:
    """Heard two unknown people, and enrols everybody but Bob."""

    def open_library(self, *, create: bool) -> None:
        assert create

    def diarize(self, source: Any, **more: Any) -> Diarization:
        return Diarization("call.wav", 4.0, TURNS, VOICES)

    def voice_of(self, source: Any, found: Diarization, label: str) -> str:
        return label

    def register(self, clip: str, name: str) -> SimpleNamespace:
        if name == "Bob":
            raise ClipTooBadError("Too short.", reasons=())
        return SimpleNamespace(name=name, reasons=())


@pytest.mark.parametrize("option", ["--json", "--audio_db_path"])
def test_who_was_enrolled_by_a_recording_has_the_name_in_what_is_written_of_it(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mvector.cli.diarize.make_predictor", lambda *more: Predictor())
    out, pairs = tmp_path / "turns.json", ["Speaker 1=Ada", "Speaker 2=Bob"]
    options = [option] if option == "--json" else [option, str(tmp_path)]
    arguments = ["call.wav", *options, "--out", str(out), "--register_unknown", *pairs]
    assert run_script("diarize", arguments) == 2  # Bob is refused, and nothing lost for it
    printed = capsys.readouterr().out
    written = json.loads(out.read_text())
    assert [turn["speaker"] for turn in written["turns"]] == ["Ada", "Speaker 2", "Ada"]
    assert [turn["name"] for turn in written["turns"]] == ["Ada", None, "Ada"]
    ada, unknown = written["speakers"]
    assert (ada["label"], ada["name"], ada["match"], ada["score"]) == ("Ada", "Ada", None, None)
    assert (unknown["label"], unknown["name"], unknown["match"]) == ("Speaker 2", None, "Eve")
    if option == "--json":
        result, problem = map(json.loads, printed.splitlines())
        assert (result, problem["error"]["code"]) == (written, "audio-too-bad")
    else:
        *_, enrolled, written_to = printed.splitlines()
        assert enrolled.endswith("enrolled Ada by Speaker 1")
        assert written_to == f"Written: {out}"
