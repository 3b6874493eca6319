"""One model by every engine: PyTorch, onnxruntime with each precision, and sherpa-onnx.

    python benchmarks/engines.py --data DIR --model_path box

The package sherpa-onnx has to be installed. DIR holds lists/dev_*.trials (lines 'label path path');
paths in the lists are relative to DIR. For each list: the equal error rate by each engine, and how
far it is from PyTorch: the largest difference of the cosine of a trial, and the least cosine of the
two embeddings of a clip. Each clip is decoded once. What comes before the waveform (digital
silence, level) is a part of the engines, and sherpa-onnx, which has nothing of it, gets the clip as
it is decoded.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from common import print_machine

from mvector.audio import read_audio
from mvector.embedding import SpeakerEncoder
from mvector.errors import AudioError
from mvector.evaluation import compute_eer
from mvector.export import export_onnx
from mvector.models.engine import Engine
from mvector.models.folder import load_model_folder
from mvector.models.named import model_folder
from mvector.models.onnx_file import ONNX_FILE, OnnxPrecision
from mvector.scoring import read_trials
from mvector.scoring.lda import length_normalise

Embed: TypeAlias = Callable[[np.ndarray, int], np.ndarray]
PRECISIONS: tuple[OnnxPrecision, ...] = ("float32", "float16", "int8")
TORCH: Engine = "torch"
RATE = 16000  # of models for sherpa-onnx


def engines(source: Path, work: Path) -> dict[str, Embed]:
    """What computes an embedding of samples and their rate, by name."""
    found: dict[str, Embed] = {
        TORCH: embed_by(SpeakerEncoder.from_folder(source, "cpu", None, TORCH))
    }
    model = load_model_folder(source)[0]
    for precision in PRECISIONS:
        folder = work / precision
        shutil.copytree(source, folder)
        export_onnx(model, folder / ONNX_FILE, precision=precision)
        found[precision] = embed_by(SpeakerEncoder.from_folder(folder, engine="onnx"))
    for_sherpa = work / "sherpa.onnx"
    export_onnx(model, for_sherpa, target="sherpa-onnx")
    found["sherpa-onnx"] = embed_in_sherpa(for_sherpa)
    return found


def embed_by(encoder: SpeakerEncoder) -> Embed:
    """An engine of mvector."""
    return lambda samples, rate: encoder.embed((samples, rate))


def embed_in_sherpa(file: Path) -> Embed:
    """sherpa-onnx, with one thread."""
    import sherpa_onnx

    print(f"sherpa-onnx {sherpa_onnx.__version__}")
    config = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(file), num_threads=1)
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(config)

    def embed(samples: np.ndarray, rate: int) -> np.ndarray:
        stream = extractor.create_stream()
        stream.accept_waveform(rate, samples)
        stream.input_finished()
        return np.array(extractor.compute(stream), dtype=np.float32)

    return embed


def measure(trials_file: Path, root: Path, by_name: dict[str, Embed]) -> list[str]:
    """The cells of a list's row."""
    trials = read_trials(str(trials_file), str(root))
    found: dict[str, list[np.ndarray]] = {name: [] for name in by_name}
    row_of = np.full(len(trials.test_paths), -1)
    for position, path in enumerate(trials.test_paths):
        samples = read_audio(path, RATE)
        try:
            embeddings = {name: embed(samples, RATE) for name, embed in by_name.items()}
        except AudioError as error:
            print(f"left out: {error}")
            continue
        row_of[position] = len(found[TORCH])
        for name, embedding in embeddings.items():
            found[name].append(embedding)
    enrolled, tested = (row_of[index] for index in trials.indices())
    is_usable = (enrolled >= 0) & (tested >= 0)
    enrolled, tested, labels = (each[is_usable] for each in (enrolled, tested, trials.labels))
    cells = [f"{len(found[TORCH]):,}", f"{len(labels):,}"]
    units = {
        name: length_normalise(np.stack(rows).astype(np.float64)) for name, rows in found.items()
    }
    scores = {
        name: np.einsum("ij,ij->i", rows[enrolled], rows[tested]) for name, rows in units.items()
    }
    for name, own in scores.items():
        eer = f"{100 * compute_eer(own, labels)[0]:.2f} %"
        if name == TORCH:
            cells.append(eer)
            continue
        largest = np.abs(own - scores[TORCH]).max()
        least = np.einsum("ij,ij->i", units[name], units[TORCH]).min()
        cells.append(f"{eer}, {largest:.1e}, {least:.6f}")
    return cells


def main() -> None:
    """A row for each list, printed when it is done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--model_path", default="box", help="model folder (default: %(default)s)")
    parser.add_argument("--lists", nargs="+", help="only these, such as dev_an4")
    args = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as work:
        by_name = engines(model_folder(args.model_path), Path(work))
        print(f"| list | clips | trials | {' | '.join(by_name)} |")
        print("|---" * (3 + len(by_name)) + "|", flush=True)
        for file in sorted((args.data / "lists").glob("dev_*.trials")):
            if args.lists and file.stem not in args.lists:
                continue
            cells = measure(file, args.data, by_name)
            print(f"| {file.stem.removeprefix('dev_')} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
