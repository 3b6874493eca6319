"""Train the network that hears whether several people speak at once, and write it as ONNX.

  python benchmarks/overlap_network.py --data OUT --file mvector/pretrained/overlap/network.onnx

OUT is what benchmarks/overlap_data.py wrote, of which the last twentieth is kept to watch the
training. The network is a stack of dilated convolutions over log-mel bands, each less its mean over
the 10 s that are heard at once, and gives for every 20 ms the probabilities that nobody, one person
or several speak.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from common import print_machine
from overlap_data import NUM_BINS
from torch import Tensor, nn

from mvector.export.assembly import joined
from mvector.export.front_end_graph import feature_graph
from mvector.export.halving import store_in_half
from mvector.export.tracing import trace
from mvector.features.kaldi import Fbank

FRAMES = 1000  # of features in a chunk
CHANNELS, DILATIONS = 128, (1, 2, 4, 8, 16, 1, 2, 4, 8, 16, 32)
BATCH_SIZE, LEARNING_RATE, WARM_UP, DECAY = 32, 2e-3, 0.05, 0.999
CLASS_WEIGHTS = (1.0, 1.0, 2.0)


class Block(nn.Module):
    """A dilated convolution beside what goes past it."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            CHANNELS, CHANNELS, (1, 3), padding=(0, dilation), dilation=(1, dilation)
        )
        self.norm = nn.BatchNorm2d(CHANNELS)

    def forward(self, frames: Tensor) -> Tensor:
        """``(batch, channels, 1, frames)`` to the same shape."""
        return frames + torch.relu(self.norm(self.convolution(frames)))


class OverlapNetwork(nn.Module):
    """Features ``(batch, frames, bins)`` to logits ``(batch, frames / 2, 3)``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(NUM_BINS, CHANNELS, (1, 5), stride=(1, 2), padding=(0, 2))
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.blocks = nn.Sequential(*map(Block, DILATIONS))
        self.last = nn.Conv2d(CHANNELS, 3, 1)
        # channels side by side in memory: a quarter faster on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        centred = 0.3 * (features - features.mean(dim=1, keepdim=True))
        frames = torch.relu(self.norm(self.first(centred.transpose(1, 2).unsqueeze(2))))
        return self.last(self.blocks(frames)).squeeze(2).transpose(1, 2)


class Probabilities(nn.Module):
    """Features to probabilities of the same shape as the network's logits."""

    def __init__(self, network: OverlapNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return torch.softmax(self.network(features), dim=-1)


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2600, help="of 32 times 10 s")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print_machine()
    torch.manual_seed(args.seed)
    features = np.load(args.data / "features.npy", mmap_mode="r")
    counts = np.minimum(np.load(args.data / "counts.npy"), 2)
    network = train(features, counts, args.steps, np.random.default_rng(args.seed))
    torch.save(network.state_dict(), args.file.with_suffix(".pt"))
    export(network, args.file)


def train(
    features: np.ndarray, counts: np.ndarray, steps: int, rng: np.random.Generator
) -> OverlapNetwork:
    """Mean of the weights of the last steps; the learning rate falls to nothing."""
    kept = len(features) // 20 // FRAMES * FRAMES
    last = len(features) - kept - FRAMES
    network, mean = OverlapNetwork(), OverlapNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-2)
    weights, begun = torch.tensor(CLASS_WEIGHTS), time.monotonic()
    for step in range(steps):
        share = step / steps
        rate = LEARNING_RATE * min(share / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * share))
        optimizer.param_groups[0]["lr"] = max(rate, 1e-6)
        starts = 2 * rng.integers(0, last // 2, BATCH_SIZE)
        batch = np.stack([features[s : s + FRAMES] for s in starts]).astype(np.float32)
        target = np.stack([counts[s // 2 : s // 2 + FRAMES // 2] for s in starts])
        without_bands(batch, rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(torch.from_numpy(batch)).float()
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(target).long().flatten(), weights
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        update(mean, network, min(DECAY, step / (step + 10)))
        if step % 200 == 0 or step == steps - 1:
            told = watch(mean, features, counts, kept)
            print(
                f"{step:5d} {time.monotonic() - begun:5.0f} s {loss.item():.3f} {told}", flush=True
            )
    return mean.eval()


@torch.no_grad()
def update(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """Take the weights of a step into their mean."""
    pairs = zip(mean.state_dict().values(), network.state_dict().values(), strict=True)
    for own, new in pairs:
        if own.is_floating_point():
            own.lerp_(new, 1.0 - decay)


def without_bands(batch: np.ndarray, rng: np.random.Generator) -> None:
    """A band of frequencies of each ``(frames, bins)`` at its mean, as if it were not there."""
    for clip in batch:
        width = int(rng.integers(0, 12))
        first = int(rng.integers(0, NUM_BINS - width))
        clip[:, first : first + width] = clip[:, first : first + width].mean(axis=0)


@torch.no_grad()
def watch(network: OverlapNetwork, features: np.ndarray, counts: np.ndarray, kept: int) -> str:
    """How well what is kept is told."""
    from sklearn.metrics import average_precision_score

    network.eval()
    first = len(features) - kept
    batch = np.array(features[first:], np.float32).reshape(-1, FRAMES, NUM_BINS)
    target = counts[first // 2 :].reshape(-1)
    probabilities = torch.cat(
        [torch.softmax(network(part), -1) for part in torch.from_numpy(batch).split(32)]
    )
    found = probabilities.reshape(-1, 3).numpy()
    overlap = average_precision_score(target == 2, found[:, 2])
    speech = average_precision_score(target > 0, 1.0 - found[:, 0])
    return f"average precision of overlap {overlap:.3f}, of speech {speech:.3f}"


def export(network: OverlapNetwork, file: Path) -> None:
    """Write the network with its features; its weights as float16."""
    import onnx

    fbank = feature_graph(Fbank(num_mel_bins=NUM_BINS))
    features = torch.zeros(1, FRAMES, NUM_BINS)
    graph = trace(Probabilities(network).eval(), features, "features", "probabilities")
    store_in_half(graph)
    sound = trace(fbank.eval(), torch.zeros(1, 160_240), "waveform", "features")
    onnx.save(joined(sound, graph), file)
    print(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
