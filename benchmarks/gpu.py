"""Does everything work on this GPU, and how fast is it? One command, at most nine minutes.

  python benchmarks/gpu.py                      on synthetic speech
  python benchmarks/gpu.py --data DIR           on the clips below a folder
  python benchmarks/gpu.py --quick              fewer backbones and losses: three minutes
  python benchmarks/gpu.py --device cpu --quick what of it a CPU can do, in small sizes

Every check runs in a process of its own with a time limit, so that one that fails, crashes or hangs
does not stop the others. The table goes to standard output and to ``--out``. Exit code 1: a check
failed or was not reached; 2: there is no GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import cpu_name
from gpu_checks import Row, Setting
from gpu_runs import CHECKS, Check

from mvector.demo.corpus import write_corpus

NO_GPU = (
    "There is no GPU that PyTorch can use here: nothing was checked; --device cpu runs what a CPU "
    "can do of it."
)
NUM_CLIPS = 64
HEAD = "| check | of | found | limit | |\n|---|---|---|---|---|"


def main() -> int:
    """Check, print and write the table; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with speech, WAV or FLAC (default: synthetic speech)")
    add("--quick", action="store_true", help="fewer backbones and losses")
    add("--device", default="cuda", choices=["cuda", "cpu"], help="(default: %(default)s)")
    add("--only", nargs="+", choices=list(CHECKS), metavar="CHECK", help=", ".join(CHECKS))
    add("--minutes", type=float, default=9.0, help="of all checks (default: %(default)s)")
    add("--out", type=Path, default=Path("gpu.md"), help="the table (default: %(default)s)")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        return 2
    lines = [machine(args.device), f"command: {' '.join(['gpu.py', *sys.argv[1:]])}", "", HEAD]
    print("\n".join(lines), flush=True)
    all_passed = True
    with TemporaryDirectory() as work:
        clips = speech(args.data, Path(work) / "clips")
        setting = Setting(args.device, args.quick, clips, work)
        ends = time.monotonic() + 60 * args.minutes
        for name in args.only or CHECKS:
            for row in outcome(CHECKS[name], setting, ends):
                lines.append(row.text())
                print(lines[-1], flush=True)
                all_passed &= row.passed is not False
    verdict = "All checks passed." if all_passed else "A check failed."
    print(f"\n{verdict}")
    args.out.write_text("\n".join([*lines, "", verdict, ""]), encoding="utf-8")
    return 0 if all_passed else 1


def machine(device: str) -> str:
    """What is checked on, in a line."""
    if device == "cpu":
        return f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    card = torch.cuda.get_device_properties(0)
    return (
        f"{torch.cuda.device_count()} x {card.name}, {card.total_memory / 2**30:.0f} GiB, compute "
        f"capability {card.major}.{card.minor}, torch {torch.__version__}, CUDA "
        f"{torch.version.cuda}, {cpu_name()}"
    )


def speech(data: Path | None, folder: Path) -> tuple[str, ...]:
    """Clips of the user's, or synthetic ones."""
    if data is None:
        shape = {"num_speakers": 16, "clips_per_speaker": 4}
        write_corpus(folder, **shape, duration_s=(3.5, 5.0), progress=False)
        data = folder
    found = sorted(path for kind in ("*.wav", "*.flac") for path in data.rglob(kind))
    if not found:
        raise SystemExit(f"'{data}' holds no WAV or FLAC files; name a folder with speech.")
    return tuple(map(str, found[:: max(len(found) // NUM_CLIPS, 1)][:NUM_CLIPS]))


def outcome(check: Check, setting: Setting, ends: float) -> Iterator[Row]:
    """Rows of a check, from a process of its own, which is killed when its time is over."""
    limit_s = check.limit_s * (1 if setting.device == "cuda" else 5)
    left_s = min(limit_s, ends - time.monotonic())
    if left_s <= 0:
        yield Row(check.name, "all", "not reached: out of time", passed=False)
        return
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(check.name, setting, sender))
    process.start()
    sender.close()
    deadline = time.monotonic() + left_s
    try:
        while receiver.poll(max(deadline - time.monotonic(), 0)):
            row = receiver.recv()
            if row is None:
                return
            yield row
        yield Row(check.name, "all", f"not done after {left_s:.0f} s", passed=False)
    except EOFError:
        process.join()
        code = process.exitcode
        yield Row(check.name, "all", f"its process ended with code {code}", passed=False)
    finally:
        process.kill()
        process.join()


def _run(name: str, setting: Setting, sender: Connection) -> None:
    """In the process of a check: send its rows, and None behind the last one."""
    try:
        for row in CHECKS[name].run(setting):
            sender.send(row)
    except Exception as error:
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        sender.send(Row(name, "all", text.replace("|", "/"), passed=False))
    sender.send(None)


if __name__ == "__main__":
    sys.exit(main())
