"""Checks of ``gpu.py`` that run whole commands or take the time, and the list of all checks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import yaml
from gpu_checks import (
    QUICK_BACKBONES,
    ROOT,
    Row,
    Setting,
    amp,
    compiling,
    embeddings,
    features,
    pinning,
    steps,
    train_list,
    waits,
)
from safetensors.torch import load_file
from small_settings import changed_config  # type: ignore[import-not-found]
from step_cases import FILES, Case
from train_step import measure, measure_whole

AIM = 9600  # utterances/s of EcapaTdnn with 512 channels, on a card of the class of an H100
GPU_CASE = Case(dtype="bfloat16", device="cuda", batch_size=128, num_rounds=3)
CPU_CASE = Case(dtype="float32", batch_size=4, crop_s=0.5, num_rounds=2)


@dataclass(frozen=True)
class Check:
    """A check by its name, and the seconds after which it is given up."""

    name: str
    run: Callable[[Setting], Iterator[Row]]
    limit_s: float = 120.0


# ---- commands -------------------------------------------------------------------------------


def processes(setting: Setting) -> Iterator[Row]:
    """torchrun with one card and with two, the classifier split or whole."""
    cards = torch.cuda.device_count() if setting.device == "cuda" else 2
    for number in (1, 2):
        for sharding in (False, True):
            what = f"{number} processes" + (", classifier split" if sharding else "")
            if number > cards:
                yield Row("processes", what, f"there is {cards} card")
                continue
            run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            run += [f"--nproc_per_node={number}", "train.py"]
            out = f"{setting.work}/processes_{number}_{sharding}"
            done = train(setting, run, out, [f"train_conf.classifier_sharding={sharding}"])
            yield Row("processes", what, done or "trained", "", done is None)


def resuming(setting: Setting) -> Iterator[Row]:
    """A training that is stopped after its first epoch and resumed ends as one that was not."""
    weights = []
    for name, stops in (("whole", False), ("resumed", True)):
        out = f"{setting.work}/{name}"
        run = [sys.executable, "train.py"]
        if stops:  # by a schedule that is that of both epochs
            failed = train(setting, run, out, ["train_conf.max_epoch=1"])
            run += ["--resume_model", f"{out}/EcapaTdnn_Fbank"]
        else:
            failed = None
        failed = failed or train(setting, run, out, ["train_conf.max_epoch=2"])
        if failed:
            yield Row("resuming", name, failed, "", passed=False)
            return

        tensors = load_file(f"{out}/EcapaTdnn_Fbank/last_model/model.safetensors")
        floats = (x.flatten() for x in tensors.values() if x.is_floating_point())
        weights.append(torch.cat(list(floats)))
    error = float((weights[0] - weights[1]).norm() / weights[0].norm())
    limit = 5e-2 if setting.device == "cuda" else 0.0  # a GPU adds up in another order each time
    yield Row("resuming", "two epochs", f"weights {error:.1e} apart", f"{limit:g}", error <= limit)


def train(setting: Setting, run: list[str], out: str, settings: list[str]) -> str | None:
    """What a training says that fails, else ``None``."""
    config = changed_config({"dataset_conf.train_list": train_list(setting)})
    del config["dataset_conf"]["enroll_list"], config["dataset_conf"]["trials_list"]
    path = Path(setting.work) / "config.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    use_gpu = str(setting.device == "cuda")
    run = [*run, "--configs", str(path), "--use_gpu", use_gpu, "--do_eval", "False"]
    run += ["--save_model_path", out, "--log_dir", f"{out}/log"]
    for text in settings:
        run += ["--set", text]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else " ".join(done.stderr.split())[-200:]


# ---- speed ----------------------------------------------------------------------------------


def speed(setting: Setting) -> Iterator[Row]:
    """Bare steps of the published configurations, beside the fastest product of matrices."""
    case = GPU_CASE if setting.device == "cuda" else CPU_CASE
    for name in QUICK_BACKBONES if setting.quick else FILES:
        if setting.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        found = measure(replace(case, backbone=name))
        text = (
            f"{found.utterances_per_s:.0f} utterances/s, {found.flop_per_s / 1e12:.3g} of "
            f"{found.peak_flop_per_s / 1e12:.3g} TFLOP/s, "
            f"{100 * found.flop_per_s / found.peak_flop_per_s:.0f} % of the peak"
        )
        if setting.device == "cuda":
            text += f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        yield Row("speed", f"{name}, {case.dtype}, batches of {case.batch_size}", text)


def whole(setting: Setting) -> Iterator[Row]:
    """A training from a packed corpus beside its bare steps."""
    on_gpu = setting.device == "cuda"
    case = replace(GPU_CASE if on_gpu else CPU_CASE, num_rounds=4)
    num_workers = min(12, os.cpu_count() or 1) if on_gpu else 0
    found = measure_whole(case, 120 if on_gpu else 4, num_workers)
    text = (
        f"{found.trained:.0f} utterances/s; bare steps {found.bare:.0f}, with features "
        f"{found.with_features:.0f}; {100 * found.data_wait:.1f} % of the time waiting for data"
    )
    yield Row("whole", f"EcapaTdnn, {case.dtype}, {num_workers} workers", text, f"aim: {AIM}")


CHECKS = {
    check.name: check
    for check in (
        Check("features", features, 60),
        Check("embeddings", embeddings),
        Check("steps", steps),
        Check("amp", amp),
        Check("waits", waits),
        Check("pinning", pinning, 60),
        Check("resuming", resuming),
        Check("processes", processes, 180),
        Check("whole", whole, 180),
        Check("compiling", compiling, 180),
        Check("speed", speed, 240),
    )
}
