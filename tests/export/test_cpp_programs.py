"""The C++ programs of docs/deployment.md: what they print of two clips is what Python says.

Compiled where there is a compiler and what they are made with: the Python package of sherpa-onnx
has its header and libraries; MVECTOR_ONNXRUNTIME names a release of onnxruntime (include and lib).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_model import RATE, speech
from small_settings import ROOT

from mvector.audio import write_wav
from mvector.embedding import SpeakerEncoder
from mvector.export import export_onnx
from mvector.features.front_end import FrontEnd
from mvector.models.speaker_model import SpeakerModel

RELEASE = os.environ.get("MVECTOR_ONNXRUNTIME", "")
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    fbank = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 80}}
    options = {"embd_dim": 16, "channels": 16}
    model = SpeakerModel(FrontEnd(RATE, {**fbank, "normalize_mean": True}), "TDNN", options)
    return SpeakerEncoder(model.eval(), device="cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    for voice, seconds in enumerate((1.5, 2.2)):
        write_wav(folder / f"{voice}.wav", speech(voice, seconds), RATE)
    return [str(folder / f"{voice}.wav") for voice in range(2)]


def printed(program: str, libraries: list[str], made_with: Path, words: list[str]) -> float:
    """What a program prints, which is compiled first."""
    target, lib = str(Path(words[0]).with_name("program")), made_with / "lib"
    source = str(ROOT / "docs" / "cpp" / f"{program}.cc")
    links = [f"-I{made_with / 'include'}", f"-L{lib}", *libraries, f"-Wl,-rpath,{lib}"]
    subprocess.run(["g++", "-std=c++17", "-Wall", source, *links, "-o", target], check=True)
    run = subprocess.run([target, *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return float(run.stdout)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.skipif(not RELEASE, reason="MVECTOR_ONNXRUNTIME names no release of onnxruntime")
def test_onnxruntime_has_the_cosine_of_mvector(
    encoder: SpeakerEncoder, clips: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    export_onnx(encoder.model, file)
    told = printed("onnxruntime_contrast", ["-lonnxruntime"], Path(RELEASE), [str(file), *clips])
    assert told == pytest.approx(cosine(*map(encoder.embed, clips)), abs=1e-3)


@pytest.mark.skipif(find_spec("sherpa_onnx") is None, reason="sherpa-onnx is not installed")
def test_sherpa_onnx_has_the_cosine_of_its_python(
    encoder: SpeakerEncoder, clips: list[str], tmp_path: Path
) -> None:
    import sherpa_onnx
    import soundfile

    file = str(tmp_path / "model.onnx")
    export_onnx(encoder.model, file, target="sherpa-onnx")
    config = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=file, num_threads=1)
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(config)

    def embed(clip: str) -> np.ndarray:
        stream = extractor.create_stream()
        stream.accept_waveform(RATE, soundfile.read(clip, dtype="float32")[0])
        stream.input_finished()
        return np.array(extractor.compute(stream))

    libraries = ["-lsherpa-onnx-c-api", "-lonnxruntime"]
    made_with = Path(sherpa_onnx.__file__).parent
    told = printed("sherpa_onnx_contrast", libraries, made_with, [file, *clips])
    assert told == pytest.approx(cosine(*map(embed, clips)), abs=1e-3)
