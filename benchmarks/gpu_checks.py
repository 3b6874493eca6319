"""Checks of ``gpu.py``: what has to hold on a GPU, each of them rows of a table.

Those that compare take the CPU as the reference. Small variants of all backbones (those of the
tests) show whether something works; speed is that of the published configurations.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from step_cases import CONFIGS, FILES
from torch.nn import functional as F

from mvector.audio import read_audio
from mvector.compute.precision import set_matmul_precision
from mvector.config import load_config
from mvector.data.dataset import TrainingBatch
from mvector.data.loader import TrainingData
from mvector.features import build_featurizer
from mvector.features.featurizer import FEATURE_METHODS
from mvector.losses import LOSSES
from mvector.models.speaker_model import SpeakerModel
from mvector.training.learner import Learner
from mvector.training.step import BatchWeight

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from small_learner import (  # type: ignore[import-not-found]  # noqa: E402
    NUM_CLIPS,
    settings_of_loss,
    small_learner,
)
from small_settings import SMALL_BACKBONES, changed_config  # type: ignore[import-not-found]  # noqa: E402

RATE = 16000
NEEDS_GPU = "needs a GPU"
QUICK_BACKBONES = ("EcapaTdnn", "CAMPPlus", "ResNet", "ERes2Net")


@dataclass(frozen=True)
class Setting:
    """Where is checked, how thoroughly, on which clips, and a folder to write to."""

    device: str
    quick: bool
    clips: tuple[str, ...]
    work: str

    @property
    def backbones(self) -> dict[str, dict[str, Any]]:
        """Small variants, by name."""
        if self.quick:
            return {name: SMALL_BACKBONES[name] for name in QUICK_BACKBONES}
        return SMALL_BACKBONES

    def speech(self, lengths: list[int]) -> torch.Tensor:
        """Waveforms of so many samples each, zero-padded."""
        waveforms = torch.zeros(len(lengths), max(lengths))
        for row, length in enumerate(lengths):
            samples = torch.from_numpy(read_audio(self.clips[row % len(self.clips)], RATE))
            repeated = samples.repeat(-(-length // len(samples)))
            waveforms[row, :length] = repeated[:length]
        return waveforms


@dataclass(frozen=True)
class Row:
    """What a check found; ``passed`` is None where it is stated only, or cannot be had here."""

    check: str
    of: str
    found: str
    limit: str = ""
    passed: bool | None = None

    def text(self) -> str:
        """As a row of a table."""
        mark = {True: "✔", False: "✘", None: ""}[self.passed]
        return f"| {self.check} | {self.of} | {self.found} | {self.limit} | {mark} |"


# ---- numbers ----------------------------------------------------------------------------------


def features(setting: Setting) -> Iterator[Row]:
    """Features of a padded batch beside those of the CPU."""
    lengths = torch.tensor([32000, 24000, 16001, 12345])
    waveforms = setting.speech(lengths.tolist())
    for method in FEATURE_METHODS:
        featurizer = build_featurizer({"feature_method": method})
        expected, counts = featurizer(waveforms, lengths)
        set_matmul_precision(torch.device(setting.device), "highest")
        here = featurizer.to(setting.device)
        found = here(waveforms.to(setting.device), lengths.to(setting.device))[0].cpu()
        inside = torch.arange(expected.shape[1]) < counts[:, None]
        error = (found - expected)[inside].norm() / expected[inside].norm()
        yield Row("features", method, f"{error:.1e} of their norm", "1e-4", bool(error <= 1e-4))


def embeddings(setting: Setting) -> Iterator[Row]:
    """Embeddings of a padded batch beside the CPU's: in float32, TF32 and bfloat16."""
    device = torch.device(setting.device)
    lengths = torch.tensor([48000, 40000, 32001, 24000])
    waveforms = setting.speech(lengths.tolist())
    for name, options in setting.backbones.items():
        config = load_config(changed_config({"use_model": name, "model_conf.backbone": options}))
        if setting.device == "cuda" and name in FILES:
            config = load_config(CONFIGS / f"{FILES[name]}.yml")
        torch.manual_seed(0)
        model = SpeakerModel.from_config(config).eval()
        with torch.inference_mode():
            expected = model(waveforms, lengths)
            model.to(device)
            found = {}
            for precision in ("highest", "high", "bfloat16"):
                set_matmul_precision(device, "highest" if precision == "highest" else "high")
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    found[precision] = model(waveforms.to(device), lengths).float().cpu()
        norms = expected.norm(dim=1)
        errors = {k: float(((x - expected).norm(dim=1) / norms).max()) for k, x in found.items()}
        cosine = float(F.cosine_similarity(found["bfloat16"], expected).min())
        text = f"{errors['highest']:.1e}; TF32 {errors['high']:.1e}; bf16 cosine {cosine:.5f}"
        yield Row("embeddings", name, text, "1e-4 in float32", errors["highest"] <= 1e-4)


def learner_of(
    device: str, settings: dict[str, Any], waveforms: torch.Tensor
) -> tuple[Learner, TrainingBatch]:
    """That of :func:`small_learner`, which multiplies exactly."""
    set_matmul_precision(torch.device(device), "highest")
    learner, batch = small_learner(settings, waveforms, device)
    return learner, batch.pin_memory() if device == "cuda" else batch


def step(learner: Learner, batch: TrainingBatch) -> torch.Tensor:
    """Takes a step and gives its loss, on the device."""
    result = learner.learn(batch, weight=BatchWeight(), last=True)
    learner.update("the check")
    return result.loss


def steps(setting: Setting) -> Iterator[Row]:
    """Every backbone with every loss, forward and backward, beside the CPU."""
    waveforms = setting.speech([RATE] * NUM_CLIPS)
    for name, options in setting.backbones.items():
        worst = [(0.0, ""), (0.0, "")]
        for loss in LOSSES if not setting.quick or name == "EcapaTdnn" else ("AAMLoss",):
            settings = {"use_model": name, "model_conf.backbone": options, **settings_of_loss(loss)}
            (one, slope), (other, own) = (
                loss_and_gradient(*learner_of(device, settings, waveforms))
                for device in ("cpu", setting.device)
            )
            errors = float(abs(other - one) / one), float((own - slope).norm() / slope.norm())
            worst = [max(a, (b, loss)) for a, b in zip(worst, errors, strict=True)]
        (loss_error, _), (error, where) = worst
        text = f"loss {loss_error:.1e}, gradient {error:.1e} {where}"
        yield Row("steps", name, text, "1e-3, 1e-2", loss_error <= 1e-3 and error <= 1e-2)


def loss_and_gradient(learner: Learner, batch: TrainingBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a batch, on the CPU; the gradient ``(parameters,)`` of backbone and head."""
    loss = learner.learn(batch, weight=BatchWeight(), last=True).loss
    slopes = [p.grad.flatten().cpu() for p in learner.network.parameters() if p.grad is not None]
    return loss.cpu(), torch.cat(slopes)


def amp(setting: Setting) -> Iterator[Row]:
    """Steps in half precision: the loss falls, and gradients stay finite."""
    waveforms = setting.speech([RATE] * NUM_CLIPS)
    dtypes = ("bfloat16", "float16") if setting.device == "cuda" else ("bfloat16",)
    for name, options in setting.backbones.items():
        for dtype in dtypes:
            settings = {"train_conf.enable_amp": True, "train_conf.amp_dtype": dtype}
            model = {"use_model": name, "model_conf.backbone": options, **settings}
            learner, batch = learner_of(setting.device, model, waveforms)
            found = [float(step(learner, batch)) for _ in range(12)]
            bad = int(learner.train_step.num_bad)  # a scale that is too large is lowered by these
            allowed = 6 if dtype == "float16" else 0
            text = f"loss {found[0]:.2f} to {found[-1]:.2f}, {bad} steps left out"
            passed = found[-1] < found[0] and bad <= allowed
            yield Row("amp", f"{name}, {dtype}", text, f"falls, {allowed} left out", passed)


def compiling(setting: Setting) -> Iterator[Row]:
    """Compiled steps have the losses of plain ones."""
    waveforms = setting.speech([RATE] * NUM_CLIPS)
    names = [name for name in ("EcapaTdnn", "ResNet", "CAMPPlus") if name in setting.backbones]
    for name in names[:1] if setting.quick else names:
        found = []
        for use_compile in (False, True):
            settings = {"use_model": name, "train_conf.use_compile": use_compile}
            settings["model_conf.backbone"] = SMALL_BACKBONES[name]
            learner, batch = learner_of(setting.device, settings, waveforms)
            found.append([float(step(learner, batch)) for _ in range(2)])
        error = max(abs(a - b) / abs(a) for a, b in zip(*found, strict=True))
        yield Row("compiling", name, f"loss {error:.1e} from plain", "1e-2", error <= 1e-2)


# ---- what a GPU waits for ---------------------------------------------------------------------


def waits(setting: Setting) -> Iterator[Row]:
    """No step makes the host wait for the GPU: torch raises where one does."""
    if setting.device != "cuda":
        yield Row("waits", "all", NEEDS_GPU)
        return
    waveforms = setting.speech([RATE] * NUM_CLIPS)
    backbones: dict[str, dict[str, Any]] = {
        name: {"use_model": name, "model_conf.backbone": options}
        for name, options in setting.backbones.items()
    }
    losses = {loss: settings_of_loss(loss) for loss in LOSSES}
    for name, settings in {**backbones, **losses}.items():
        for half in (False, True):
            precision = {"train_conf.enable_amp": half, "train_conf.max_grad_norm": 5.0}
            learner, batch = learner_of("cuda", {**settings, **precision}, waveforms)
            step(learner, batch)  # kernels are loaded
            torch.cuda.set_sync_debug_mode("error")
            try:
                step(learner, batch)
                text, passed = "none", True
            except RuntimeError as error:
                text, passed = str(error).splitlines()[0], False
            finally:
                torch.cuda.set_sync_debug_mode("default")
            yield Row("waits", name + (", half precision" if half else ""), text, "none", passed)


def train_list(setting: Setting) -> str:
    """A list of the clips, each of them a few times, as of eight speakers."""
    path = Path(setting.work) / "train.txt"
    lines = [f"{clip}\t{number % 8}" for number, clip in enumerate(setting.clips * 2)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def pinning(setting: Setting) -> Iterator[Row]:
    """A loader's batches lie in pinned memory."""
    if setting.device != "cuda":
        yield Row("pinning", "all", NEEDS_GPU)
        return
    settings: dict[str, Any] = {"dataset_conf.train_list": train_list(setting)}
    for num_workers in (0, 2):
        settings["dataset_conf.dataLoader.num_workers"] = num_workers
        data = TrainingData(load_config(changed_config(settings)), pin_memory=True)
        batch = next(iter(data.loader))
        parts = (batch.inputs, batch.labels, batch.clips, batch.mask_draws)
        pinned = all(part.is_pinned() for part in parts)
        text = "pinned" if pinned else "not pinned"
        yield Row("pinning", f"batch, {num_workers} workers", text, "pinned", pinned)
