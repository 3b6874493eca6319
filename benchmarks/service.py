"""``mvector serve`` under load: requests a second, how long they take, and workers that are killed.

    python benchmarks/service.py                               # about four minutes, loopback only
    python benchmarks/service.py --workers 2 --minutes 30      # half an hour of kills
    python benchmarks/service.py --library postgresql://…      # a library in PostgreSQL

Clips are 3 s of synthetic voices, 16-bit wav at 16 kHz. First the bare encoder, in this process and
with nothing else running: clips a second in batches of 16, of samples, and of wav files with their
quality measured, which is what requests need; and the median of one clip by `predict`. Then a
service of its own, asked by 1, 8 and 32 clients of this process, each of which asks again as soon
as it has its answer; what the clients cost is in the figures, as they share the processors. At last
a mixed load of 8 clients, who enrol, recognise, verify and embed, while every --kill_every seconds
a worker is killed with SIGKILL: what was acknowledged has to be there in the end, once. Linux: the
processes are found in /proc.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from common import cpu_name
from service_load import RATE, Client, Load, Server, at_once, clip_of, people_and_clips, request

from mvector.compute.threads import num_threads
from mvector.embedding.listening import Clip
from mvector.recognition.predictor import MVectorPredictor

NUM_VOICES = 24
WARM_UP_S = 2.0
MIXED_CLIENTS = 8


def bare(clips: list[bytes], model: str | None, seconds: float) -> float:
    """Measure the encoder alone; gives its clips a second, of samples."""
    predictor = MVectorPredictor(model, threshold=0.5)
    samples = [(soundfile.read(io.BytesIO(clip), dtype="float32")[0], RATE) for clip in clips]
    encoder, rates = predictor.encoder, {}
    kinds: list[tuple[str, Sequence[Clip], bool]] = [
        ("samples", samples, False),
        ("files, with quality", clips, True),
    ]
    for name, sources, measured in kinds:
        done, cpu, started = -len(clips), 0.0, 0.0
        while done <= 0 or time.perf_counter() < started + seconds:
            encoder.embed_readable(sources, batch_size=16, measured=measured)
            done += len(clips)
            if not done:  # the first round fills caches
                cpu, started = time.process_time(), time.perf_counter()
        rates[name] = done / (time.perf_counter() - started)
        cpu_ms = 1000 * (time.process_time() - cpu) / done
        print(f"bare encoder, batches of 16 {name}: {rates[name]:.1f} clips/s, {cpu_ms:.1f} ms CPU")
    asks: list[tuple[str, Callable[[bytes], object]]] = [
        ("predict", predictor.predict),
        ("embed_measured", encoder.embed_measured),
    ]
    for name, ask in asks:
        times = []
        for k in range(100):
            started = time.perf_counter()
            ask(clips[k % len(clips)])
            times.append(time.perf_counter() - started)
        print(f"{name} of one wav file: median {1000 * statistics.median(times):.1f} ms")
    return rates["samples"]


def load(server: Server, path: str, clips: list[bytes], clients: int, seconds: float) -> Load:
    """Let clients ask for a while; the first seconds do not count."""
    requests = [request("POST", path, clip) for clip in clips]

    def ask(found: Load, until: float, number: int) -> None:
        client, turn = Client(server.address), number
        while time.perf_counter() < until:
            found.ask(client, requests[turn % len(requests)])
            turn += 1
        client.close()

    at_once(clients, partial(ask, Load(), time.perf_counter() + WARM_UP_S))
    found, before = Load(), (server.cpu_s(), time.process_time())
    at_once(clients, partial(ask, found, time.perf_counter() + seconds))
    taken = server.cpu_s() - before[0], time.process_time() - before[1]
    found.cpu_ms = (1000 * taken[0] / len(found.times), 1000 * taken[1] / len(found.times))
    return found


def steady(server: Server, clips: list[bytes], seconds: float, bare_rate: float) -> None:
    """The table of a steady load."""
    heads = ("request", "clients", "requests/s", "of the bare encoder", "p50", "p95", "p99")
    print("\n|", *(f"{head} |" for head in (*heads, "CPU", "clients' CPU", "other")))
    print("|---|---|---|---|---|---|---|---|---|---|")
    for path in ("/v1/embed?quality=false", "/v1/embed", "/v1/identify"):
        for clients in (1, 8, 32):
            found = load(server, path, clips, clients, seconds)
            ms = 1000 * np.percentile(found.times, (50, 95, 99))
            rate = len(found.times) / seconds
            other = len(found.times) - found.statuses.get(200, 0) + found.num_broken
            print(
                f"| {path} | {clients} | {rate:.1f} | {rate / bare_rate:.0%} | "
                f"{ms[0]:.1f} ms | {ms[1]:.1f} ms | {ms[2]:.1f} ms | "
                f"{found.cpu_ms[0]:.1f} ms | {found.cpu_ms[1]:.1f} ms | {other} |",
                flush=True,
            )


def kills(server: Server, clips: list[bytes], minutes: float, every_s: float) -> None:
    """A mixed load while workers are killed; what was acknowledged is counted in the end."""
    acknowledged: list[str] = []
    found = Load()
    until = time.monotonic() + 60 * minutes

    def work(number: int) -> None:
        client, turn = Client(server.address), 0
        while time.monotonic() < until:
            voice, kind = (number + turn) % len(clips), turn % 4
            clip = clips[voice]
            turn += 1
            if kind == 0:
                name = f"Person-{number}-{turn}"
                key = f"{number}-{turn}"
                ask = request("POST", f"/v1/people/{name}/clips", clip, Idempotency_Key=key)
                status = 0
                while status in (0, 503):  # asked again until there is an answer
                    status = found.ask(client, ask)[0]
                    time.sleep(0 if status else 0.1)
                if status == 201:
                    acknowledged.append(name)
                continue
            path = ("", "/v1/identify", f"/v1/verify/Voice-{voice}", "/v1/embed")[kind]
            found.ask(client, request("POST", path, clip))
        client.close()

    clients = threading.Thread(target=at_once, args=(MIXED_CLIENTS, work))
    clients.start()
    started, num_kills, memory = time.monotonic(), 0, []
    while clients.is_alive():
        time.sleep(min(5.0, every_s / 2))
        memory.append(server.memory_mib())
        if time.monotonic() > started + (num_kills + 1) * every_s and time.monotonic() < until:
            os.kill(server.workers()[num_kills % server.num_workers], signal.SIGKILL)
            num_kills += 1
            print(
                f"{time.monotonic() - started:.0f} s: killed a worker; "
                f"{len(acknowledged)} enrolments acknowledged, {len(found.times)} answers",
                flush=True,
            )
    clients.join()
    after = people_and_clips(server.address)
    lost = [name for name in acknowledged if name not in after]
    twice = [name for name in acknowledged if after.get(name, 1) > 1]
    ms = 1000 * np.percentile(found.times, (50, 95, 99))
    print(
        f"\nmixed load, {MIXED_CLIENTS} clients, {minutes:g} minutes, {num_kills} kills: "
        f"{len(found.times) / 60 / minutes:.1f} requests/s, p50 {ms[0]:.0f} ms, "
        f"p95 {ms[1]:.0f} ms, p99 {ms[2]:.0f} ms; "
        f"statuses {found.statuses}, {found.num_broken} without an answer"
    )
    print(
        f"enrolments acknowledged: {len(acknowledged)}, lost: {len(lost)}, enrolled twice: "
        f"{len(twice)}"
    )
    tenth = max(1, len(memory) // 10)
    for name, part in (("first", memory[:tenth]), ("last", memory[-tenth:])):
        mean = [statistics.mean(sample[-1 - k] for sample in part) for k in range(len(part[0]))]
        own = ", ".join(f"{one:.0f}" for one in mean[1:])
        print(
            f"memory in the {name} tenth: workers {own} MiB, the one that starts them {mean[0]:.0f}"
        )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model_path", help="default: the model in the box")
    parser.add_argument("--library", help="default: a folder that is deleted in the end")
    parser.add_argument("--workers", type=int, default=1, help="of the steady load")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each steady load")
    parser.add_argument(
        "--minutes", type=float, default=2.0, help="of the load with kills; 0: none"
    )
    parser.add_argument("--kill_every", type=float, default=60.0, help="seconds")
    args = parser.parse_args()
    print(f"{cpu_name()}, {os.cpu_count()} cores, {num_threads()} threads")
    clips = [clip_of(voice) for voice in range(NUM_VOICES)]
    bare_rate = bare(clips, args.model_path, args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        with Server(Path(folder), args.workers, args.model_path, args.library) as server:
            enrol(server, clips)
            print(f"\nworkers: {args.workers}, memory {server.memory_mib()} MiB")
            steady(server, clips, args.seconds, bare_rate)
        if args.minutes:
            with Server(
                Path(folder), max(2, args.workers), args.model_path, args.library
            ) as server:
                kills(server, clips, args.minutes, args.kill_every)


def enrol(server: Server, clips: list[bytes]) -> None:
    """Enrol everybody once."""
    client = Client(server.address)
    for number, clip in enumerate(clips):
        status, body = client.ask(request("POST", f"/v1/people/Voice-{number}/clips", clip))
        if status != 201:
            raise SystemExit(json.loads(body)["detail"])


if __name__ == "__main__":
    main()
