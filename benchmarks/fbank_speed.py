"""Time the batched Fbank against ``torchaudio.compliance.kaldi.fbank`` called clip by clip.

    python benchmarks/fbank_speed.py --threads 1 --clips 64 --seconds 3

Both take turns, so that whatever else the machine does falls on both; the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics

import torch
import torchaudio
from common import cpu_name, interleaved_times
from torchaudio.compliance import kaldi

from mvector.features import build_featurizer


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=1, help="threads for both")
    parser.add_argument("--clips", type=int, default=64, help="clips in the batch")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each clip")
    parser.add_argument("--bins", type=int, default=80, help="mel bins")
    parser.add_argument("--runs", type=int, default=15, help="timed rounds")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    num_samples = round(args.seconds * 16000)
    waveforms = 0.1 * torch.randn(args.clips, num_samples)
    conf = {"feature_method": "Fbank", "method_args": {"num_mel_bins": args.bins}}
    plain = build_featurizer({**conf, "normalize_mean": False}).eval()
    normalised = build_featurizer(conf).eval()
    lengths = torch.full((args.clips,), num_samples)

    def clip_by_clip() -> list[torch.Tensor]:
        return [kaldi.fbank(clip[None], num_mel_bins=args.bins) for clip in waveforms]

    with torch.no_grad():
        difference = (torch.stack(clip_by_clip()) - plain(waveforms)[0]).abs()
        times = interleaved_times(
            {
                "torchaudio, clip by clip": clip_by_clip,
                "mvector Fbank": lambda: plain(waveforms),
                "mvector Fbank - mean": lambda: normalised(waveforms),
                "mvector Fbank - mean, with lengths": lambda: normalised(waveforms, lengths),
            },
            args.runs,
        )
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{cpu_name()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(
        f"torch {torch.__version__}, torchaudio {torchaudio.__version__}, "
        f"python {platform.python_version()}, {args.threads} thread(s)"
    )
    print(f"{args.clips} clips of {args.seconds:g} s, {args.bins} bins, median of {args.runs} runs")
    baseline = medians["torchaudio, clip by clip"]
    for name, seconds in medians.items():
        speed = args.clips * args.seconds / seconds
        print(
            f"{name:36s}{seconds * 1e3:8.1f} ms {baseline / seconds:6.2f} x "
            f"{speed:8.0f} x real time"
        )
    rms = float(difference.square().mean().sqrt())
    print(f"largest difference {difference.max():.1e}, rms {rms:.1e}")
    if rms > 1e-4:
        raise SystemExit("the features differ: these times compare nothing")


if __name__ == "__main__":
    main()
