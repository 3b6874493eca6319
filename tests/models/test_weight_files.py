"""A file where a model folder or a run belongs: what it is, and the command that helps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mvector.errors import CheckpointError
from mvector.models.folder import load_model_folder
from mvector.training.checkpoint import load_checkpoint

WEIGHTS = {"conv.weight": torch.zeros(3, 3)}


@pytest.mark.parametrize("name", ["net one.pt", "net.safetensors"])
def test_a_checkpoint_in_place_of_a_model_folder_is_told_to_be_imported(
    name: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    save_file(WEIGHTS, file) if file.suffix == ".safetensors" else torch.save(WEIGHTS, file)
    quoted = f"'{file}'" if " " in name else str(file)
    out = "'models/net one'" if " " in name else "models/net"
    with pytest.raises(CheckpointError) as caught:
        load_model_folder(file)
    assert str(caught.value) == (
        f"'{file}' is a checkpoint and not a model folder; import it first: "
        f"python tools/import_checkpoint.py --path {quoted} --out {out}."
    )
    assert caught.value.code == "model-not-found"


def test_a_file_of_a_model_folder_or_of_a_run_tells_the_folder(tmp_path: Path) -> None:
    (tmp_path / "best_model").mkdir()
    (tmp_path / "best_model" / "model.yml").write_text("format_version: 1")
    with pytest.raises(CheckpointError, match=f"give the folder '{tmp_path}/best_model'"):
        load_model_folder(tmp_path / "best_model" / "model.yml")
    graph = b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x00"
    (tmp_path / "best_model" / "model.onnx").write_bytes(graph)
    with pytest.raises(CheckpointError, match=f"give the folder '{tmp_path}/best_model'"):
        load_model_folder(tmp_path / "best_model" / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(graph)  # of another program
    with pytest.raises(CheckpointError, match="is an ONNX model; choose the PyTorch checkpoint"):
        load_model_folder(tmp_path / "model.onnx")
    (tmp_path / "checkpoints").mkdir()
    torch.save({"step": 3}, tmp_path / "checkpoints" / "step_000000003.pt")
    with pytest.raises(CheckpointError, match=f"such as '{tmp_path}/last_model'"):
        load_model_folder(tmp_path / "checkpoints" / "step_000000003.pt")


def test_another_file_in_place_of_a_model_folder_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "page.pt").write_text("<!doctype html>")
    with pytest.raises(CheckpointError, match=r"page\.pt' is a page of a web site"):
        load_model_folder(tmp_path / "page.pt")


def test_a_foreign_file_in_place_of_a_run_is_told_to_be_imported(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "net.pt")
    save_file(WEIGHTS, tmp_path / "net.safetensors")
    for name in ("net.pt", "net.safetensors"):
        expected = (
            rf"not of a training run of mvector; import it first: .* --path {tmp_path / name} "
            r"--out models/net, and start from that folder with --pretrained_model\."
        )
        with pytest.raises(CheckpointError, match=expected):
            load_checkpoint(tmp_path / name)
    (tmp_path / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="a pointer of Git LFS"):
        load_checkpoint(tmp_path / "lfs.pt")
