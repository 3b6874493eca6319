"""What the tests of corpora share: really encoded clips, and the command run on them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.cli.create_data import COMMAND
from mvector.cli.options import bind_options, build_parser
from mvector.data import read_list

RATE = 16000


def voice(duration_s: float = 0.6, rate: int = RATE) -> np.ndarray:
    """A tone in noise: float32 ``(samples,)``."""
    time_s = np.arange(round(duration_s * rate)) / rate
    noise = np.random.default_rng(0).normal(0.0, 0.01, len(time_s))
    return (0.2 * np.sin(2 * np.pi * 220 * time_s) + noise).astype(np.float32)


def put(path: str | Path, waveform: np.ndarray | None = None, rate: int = RATE) -> Path:
    """Encode a clip in the format of its suffix."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = voice() if waveform is None else waveform
    if path.suffix.lower() == ".m4a":
        _put_m4a(path, waveform, rate)
    else:
        soundfile.write(path, waveform, rate, format=path.suffix[1:].upper())
    return path


def _put_m4a(path: Path, waveform: np.ndarray, rate: int) -> None:
    av = pytest.importorskip("av", reason="PyAV, which encodes and reads m4a, is not installed")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def create(*options: str) -> None:
    """Run the command in this process."""
    decodes = not {"--merge", "--skip_check=True"} & {*options}
    words = [*options, "--num_workers=0"] if decodes else options
    action, chosen = bind_options(COMMAND, vars(build_parser(COMMAND).parse_args(words)))
    assert action.run(chosen) == 0


def by_path(name: str = "dataset/train_list.txt") -> dict[str, int]:
    clips = read_list(name)
    return dict(zip(clips.paths, clips.labels.tolist(), strict=True))


def lines_of(name: str) -> list[str]:
    return Path(name).read_text(encoding="utf-8").splitlines()


@pytest.fixture(autouse=True)
def in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is imported: relative paths start in an empty folder, log records reach caplog."""
    monkeypatch.chdir(tmp_path)
    package_logger = logging.getLogger("mvector")
    monkeypatch.setattr(package_logger, "propagate", True)
    monkeypatch.setattr(package_logger, "handlers", [])
    monkeypatch.setattr(package_logger, "level", logging.INFO)
