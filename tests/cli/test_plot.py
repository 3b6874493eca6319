"""``mvector plot``: what it writes, and what it leaves out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mvector.cli import run_script
from mvector.embedding.files import write_embeddings


def test_clips_are_drawn_and_a_bad_one_is_left_out(
    workplace: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["clip", "voice_0.wav", "missing.wav", "--model_path", str(folder / "model")]
    assert run_script("plot", words) == 0
    told = capsys.readouterr()
    assert "Left out: 1 clip of 2\n" in told.out
    assert told.out.splitlines()[-1] == "Written:  plot_clip.png"
    assert "Left out: 'missing.wav' does not exist" in told.err
    assert (workplace / "plot_clip.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_written_where_nothing_can_be_read(
    workplace: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    for words in (
        ["clip", "missing.wav", "--model_path", str(folder / "model")],
        ["curves", "missing"],
        ["embeddings", "missing.npz"],
        ["clip", "voice_0.wav", "--out", "a.docx"],
    ):
        assert run_script("plot", words) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(workplace.glob("*.png"))


def test_a_list_with_a_missing_clip(
    workplace: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    lines = [f"voice_{voice}.wav\t{voice}\n" for voice in range(4)]  # there are three
    Path("list.txt").write_text("".join(lines), encoding="utf-8")
    words = ["embeddings", "list.txt", "--model_path", str(folder / "model"), "--method", "pca"]
    assert run_script("plot", [*words, "--out", "map.svg"]) == 0
    told = capsys.readouterr()
    assert "Left out: 1 clip without a usable embedding" in told.out
    assert "voice_3.wav" in told.err
    assert Path("map.svg").read_text(encoding="utf-8").startswith("<?xml")
    Path("list.txt").write_text("voice_0.wav\t0\ngone.wav\t1\n", encoding="utf-8")
    assert run_script("plot", words) == 2
    assert "are of one speaker; a map of voices takes two" in capsys.readouterr().err


def test_embeddings_that_are_there_need_no_model(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    paths = [f"{'ab'[k % 2]}/{k}.wav" for k in range(12)]
    write_embeddings("e.npz", paths, rows)
    words = ["embeddings", "e.npz", "--method", "pca", "--max_clips", "8"]
    assert run_script("plot", words) == 0
    assert "Drawn:    8 of 12 clips, evenly chosen" in capsys.readouterr().out


def test_a_run_without_records_is_left_out(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("one", "two"):
        Path(name).mkdir()
    point = {"step": 1, "train/loss": 1.0}
    Path("one/metrics.jsonl").write_text(json.dumps(point), encoding="utf-8")
    assert run_script("plot", ["curves", "one", "two"]) == 0
    told = capsys.readouterr()
    assert "Left out: 1 run of 2" in told.out
    assert "'two' has no records of a training" in told.err


def test_a_method_that_is_not_installed_is_refused_before_any_work(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    assert run_script("plot", ["embeddings", "no_such_list.txt"]) == 2
    assert "t-SNE needs scikit-learn: pip install scikit-learn, or" in capsys.readouterr().err
