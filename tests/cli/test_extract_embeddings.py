"""tools/extract_embeddings.py: files that other programs read, and runs that go on."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open
from small_encoder import small_encoder, write_noise

from mvector.audio import read_audio
from mvector.cli import run_script
from mvector.data import write_list
from mvector.data.packing import pack_corpus
from mvector.embedding import SpeakerEncoder
from mvector.embedding.files import write_embeddings
from mvector.errors import DataError, MissingDependencyError
from mvector.models.folder import save_model_folder

CLIPS = ["a.wav", "目录/b.wav", "c.wav"]
EMBEDDINGS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
LABELS = np.array([4, 0, 4])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model_folder(folder, small_encoder().model)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_noise(tmp_path_factory.mktemp("noise 语料"), 5)


def extract(*args: object) -> int:
    return run_script("extract_embeddings", [*map(str, args), "--use_gpu", "False"])


def test_the_list_is_not_taken_for_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "list.txt").write_text("a.wav\n")
    assert extract(tmp_path / "out.npz", tmp_path / "list.txt") == 2
    assert "list.txt' has none of the suffixes" in capsys.readouterr().err
    (tmp_path / "a.wav").touch()
    assert extract(tmp_path / "a.wav", tmp_path / "out.npz") == 2
    assert "a.wav' is a clip, and a list of clips is needed" in capsys.readouterr().err


def test_npz_holds_arrays(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "e.npz", CLIPS, EMBEDDINGS, LABELS, fingerprint="12ab")
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert arrays["paths"].tolist() == CLIPS
        np.testing.assert_array_equal(arrays["embeddings"], EMBEDDINGS)
        np.testing.assert_array_equal(arrays["labels"], LABELS)
        assert arrays["fingerprint"] == "12ab"


def test_safetensors_hold_tensors_and_paths(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "e.safetensors", CLIPS, EMBEDDINGS, None, fingerprint="12ab")
    with safe_open(tmp_path / "e.safetensors", "np") as tensors:
        assert list(tensors.keys()) == ["embeddings"]
        np.testing.assert_array_equal(tensors.get_tensor("embeddings"), EMBEDDINGS)
        assert json.loads(tensors.metadata()["paths"]) == CLIPS
        assert tensors.metadata()["fingerprint"] == "12ab"


def test_kaldi_finds_each_vector_where_the_index_says(tmp_path: Path) -> None:
    """A float vector of Kaldi's: a zero byte, "BFV ", the size of an int32, and that int32."""
    write_embeddings(tmp_path / "e.ark", CLIPS, EMBEDDINGS, LABELS)
    ark = (tmp_path / "e.ark").read_bytes()
    lines = (tmp_path / "e.scp").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ")[0] for line in lines] == CLIPS
    for line, clip, row in zip(lines, CLIPS, EMBEDDINGS, strict=True):
        file, _, offset = line.split(" ")[1].rpartition(":")
        start = int(offset)
        assert file == str(tmp_path / "e.ark")
        assert ark[:start].endswith(f"{clip} ".encode())
        assert ark[start : start + 6] == b"\0BFV \4"
        assert struct.unpack_from("<i", ark, start + 6) == (5,)
        np.testing.assert_array_equal(np.frombuffer(ark, "<f4", 5, start + 10), row)
    assert len(ark) == sum(len(clip.encode()) + 1 + 10 + 20 for clip in CLIPS)


def test_parquet_holds_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the parquet extra is not installed")
    write_embeddings(tmp_path / "e.parquet", CLIPS, EMBEDDINGS, LABELS, fingerprint="12ab")
    table = parquet.read_table(tmp_path / "e.parquet")
    assert table["path"].to_pylist() == CLIPS
    assert table["label"].to_pylist() == LABELS.tolist()
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), "f4"), EMBEDDINGS)
    assert table.schema.metadata[b"fingerprint"] == b"12ab"


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        write_embeddings(tmp_path / "e.parquet", CLIPS, EMBEDDINGS)


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'my clip\.wav' has a space"):
        write_embeddings(tmp_path / "e.ark", ["my clip.wav"], EMBEDDINGS[:1])
    with pytest.raises(DataError, match=r"e\.txt' has none of the suffixes"):
        write_embeddings(tmp_path / "e.txt", CLIPS, EMBEDDINGS)


@pytest.mark.parametrize("form", ["labelled", "paths", "trials"])
def test_a_list_of_any_kind_becomes_one_row_a_clip(
    model: Path, clips: list[str], tmp_path: Path, form: str
) -> None:
    lines = {
        "labelled": [f"{clip}\t{k % 2}" for k, clip in enumerate(clips)],
        "paths": [*clips, clips[0]],
        "trials": [f"1\t{clips[0]}\t{clip}" for clip in clips[1:]],
    }
    (tmp_path / "list.txt").write_text("\r\n".join(lines[form]), encoding="utf-8")
    assert extract(tmp_path / "list.txt", tmp_path / "e.npz", "--model_path", model) == 0
    encoder = SpeakerEncoder.from_folder(model, "cpu")
    with np.load(tmp_path / "e.npz") as arrays:
        assert arrays["paths"].tolist() == clips
        expected = np.stack([encoder.embed(clip) for clip in clips])
        np.testing.assert_allclose(arrays["embeddings"], expected, atol=1e-5)
        assert ("labels" in arrays) == (form == "labelled")
        assert arrays["fingerprint"] == encoder.fingerprint
        if form == "labelled":
            assert arrays["labels"].tolist() == [0, 1, 0, 1, 0]


def test_a_chosen_duration_stands_in_the_file(
    model: Path, clips: list[str], tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("\n".join(clips), encoding="utf-8")
    options = ("--model_path", model, "--max_duration", 0.55)
    assert extract(tmp_path / "list.txt", tmp_path / "e.npz", *options) == 0
    encoder = SpeakerEncoder.from_folder(model, "cpu")
    with np.load(tmp_path / "e.npz") as arrays:
        beginning = encoder.embed(read_audio(clips[0], duration_s=0.55))
        np.testing.assert_allclose(arrays["embeddings"][0], beginning, atol=1e-5)
        assert arrays["fingerprint"] == f"{encoder.fingerprint}-first0.55s"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.npz", "list.txt"]


def test_bad_clips_are_left_out_counted_and_listed(
    model: Path, clips: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text(f"{clips[0]}\t0\ngone.wav\t1\n{clips[1]}\t2\n")
    assert extract(tmp_path / "list.txt", tmp_path / "e.npz", "--model_path", model) == 0
    with np.load(tmp_path / "e.npz") as arrays:
        assert arrays["labels"].tolist() == [0, 2]
    assert "Left out:  1 bad clip" in capsys.readouterr().out
    assert (tmp_path / "e.npz.bad_clips.txt").read_text().startswith("gone.wav\t")


def test_a_packed_corpus_has_the_embeddings_of_the_list_it_was_packed_from(
    model: Path, clips: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "short.wav", np.tile([0.1, -0.1], 2000), 16000)
    entries = [(clip, k % 3) for k, clip in enumerate(clips)]
    entries.insert(2, (str(tmp_path / "short.wav"), 1))
    write_list(tmp_path / "list.txt", entries)
    pack_corpus(tmp_path / "list.txt", tmp_path / "packed", min_duration_s=0.1, num_workers=0)
    for source in ("list.txt", "packed"):
        out = tmp_path / f"{source}.npz"
        assert extract(tmp_path / source, out, "--model_path", model) == 0
        assert "Left out:  1 bad clip" in capsys.readouterr().out
    with np.load(tmp_path / "list.txt.npz") as listed, np.load(tmp_path / "packed.npz") as packed:
        assert packed["paths"].tolist() == clips
        for name in ("paths", "labels", "fingerprint"):
            np.testing.assert_array_equal(packed[name], listed[name])
        np.testing.assert_allclose(packed["embeddings"], listed["embeddings"], atol=1e-5)
    bad = (tmp_path / "packed.npz.bad_clips.txt").read_text()
    assert bad == (tmp_path / "list.txt.npz.bad_clips.txt").read_text()
    assert bad.startswith(f"{tmp_path / 'short.wav'}\t'{tmp_path / 'short.wav'}' is too short")


def test_a_file_that_is_there_is_not_replaced_unasked(
    model: Path, clips: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text(f"{clips[0]}\t0\n")
    (tmp_path / "e.npz").write_bytes(b"mine")
    assert extract(tmp_path / "list.txt", tmp_path / "e.npz", "--model_path", model) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "e.npz").read_bytes() == b"mine"


def test_a_list_without_a_usable_clip_writes_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("gone.wav\t0\n")
    assert extract(tmp_path / "list.txt", tmp_path / "e.npz", "--model_path", model) == 2
    assert "None of the 1 clips" in capsys.readouterr().err
    assert not (tmp_path / "e.npz").exists()
