"""What tests of the inference scripts share: a small model, and clips of three voices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_model import RATE, small_model, speech

from mvector.audio import write_wav


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model``, and ``voice_0.wav`` to ``voice_2.wav``; not to be changed."""
    folder = tmp_path_factory.mktemp("scripts")
    small_model(folder / "model")
    for voice in range(3):
        write_wav(folder / f"voice_{voice}.wav", speech(voice, 3.2), RATE)
    return folder


@pytest.fixture
def workplace(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the clips, entered."""
    monkeypatch.chdir(tmp_path)
    for file in folder.glob("*.wav"):
        os.link(file, tmp_path / file.name)
    return tmp_path
