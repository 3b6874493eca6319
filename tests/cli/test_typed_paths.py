"""Paths as people type them at a prompt, or as terminals write them for a dropped file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvector.cli.clips import typed_path


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ("my clip.wav", "my clip.wav"),
        ("'my clip.wav'", "my clip.wav"),
        ('"my clip.wav"', "my clip.wav"),
        (r"my\ clip\ \(1\).wav", "my clip (1).wav"),
        (r"'it'\''s me.wav'", "it's me.wav"),
        ("it's me.wav", "it's me.wav"),
        (r"odd\name.wav", r"odd\name.wav"),
        ("call.wav#channel=1", "call.wav#channel=1"),
        ("~/clip.wav", "HOME/clip.wav"),
        ("-", "-"),
    ],
)
def test_the_file_that_is_meant_is_taken(
    answer: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / r"odd\name.wav").touch()
    assert typed_path(answer) == path.replace("HOME", str(tmp_path))
