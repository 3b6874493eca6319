"""Models for sherpa-onnx: what the file tells it, and which models do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from error_codes import raises_code

pytest.importorskip("onnx")

from mvector.export import export_onnx
from mvector.export.checking import open_graph
from mvector.features.front_end import FrontEnd
from mvector.models.speaker_model import SpeakerModel

#: Fbank with the settings that sherpa-onnx has.
ITS_FBANK = {"num_mel_bins": 80, "snip_edges": False, "high_freq": -400.0}


def model(arguments: dict[str, Any], *, method: str = "Fbank", **more: Any) -> SpeakerModel:
    torch.manual_seed(0)
    front_end = FrontEnd(16000, {"feature_method": method, "method_args": arguments}, **more)
    return SpeakerModel(front_end, "TDNN", {"channels": 16, "embd_dim": 8}).eval()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sherpa") / "m.onnx"
    exported = export_onnx(model(ITS_FBANK), path, target="sherpa-onnx")
    assert exported.cosine_in_sherpa is not None
    assert exported.cosine_in_sherpa > 0.999  # the level alone is not its own
    return path


def test_the_file_tells_what_sherpa_onnx_asks_for(file: Path) -> None:
    session = open_graph(file.read_bytes())
    told = session.get_modelmeta().custom_metadata_map
    assert told["framework"] == "wespeaker"
    assert (told["output_dim"], told["sample_rate"]) == ("8", "16000")
    assert (told["normalize_samples"], told["feature_normalize_type"]) == ("1", "global-mean")
    assert told["language"]
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert given.shape[2] == 80
    assert result.shape[1] == 8


def test_sherpa_onnx_itself_gives_the_embeddings_of_the_model(file: Path) -> None:
    sherpa = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed")
    clip = 0.1 * np.random.default_rng(0).standard_normal(24000).astype(np.float32)
    config = sherpa.SpeakerEmbeddingExtractorConfig(model=str(file), num_threads=1)
    extractor = sherpa.SpeakerEmbeddingExtractor(config)
    stream = extractor.create_stream()
    stream.accept_waveform(16000, clip)
    stream.input_finished()
    found = np.array(extractor.compute(stream))
    with torch.inference_mode():
        own = model(ITS_FBANK)(torch.from_numpy(clip)[None]).numpy()[0]
    cosine = found @ own / np.linalg.norm(found) / np.linalg.norm(own)
    assert cosine > 0.999
    manager = sherpa.SpeakerEmbeddingManager(extractor.dim)
    assert manager.add("Ada", found)
    assert manager.search(found, threshold=0.9) == "Ada"


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ({"num_mel_bins": 40}, {}),
        ({"num_mel_bins": 80, "frame_shift": 12.5}, {}),
        ({"num_mel_bins": 80, "use_log_fbank": False}, {}),
        ({"n_mels": 80}, {"method": "MelSpectrogram"}),
    ],
)
def test_a_model_of_other_features_is_refused(
    arguments: dict[str, Any], more: dict[str, Any], tmp_path: Path
) -> None:
    with raises_code("export-unsuitable"):
        export_onnx(model(arguments, **more), tmp_path / "m.onnx", target="sherpa-onnx")
    assert list(tmp_path.iterdir()) == []
