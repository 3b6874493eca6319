"""Several services on one library: all enrol and recognise at once, and each knows all people.

    python benchmarks/several_servers.py --library postgresql://user@host/database

Each of the services (four, each a process of its own) has a client who enrols people of synthetic
voices one after the other. As soon as an enrolment is acknowledged, every other service is asked
who speaks in that clip, again and again, until its best candidate is that person: how long that
took is the time until the enrolment is visible there, the answer's own time included. In the end
each service has to list everybody who was acknowledged, once. Loopback only; without --library the
services share a folder.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from common import cpu_name
from service_load import Client, Server, at_once, clip_of, people_and_clips, request

from mvector.compute.threads import num_threads

PATIENCE_S = 30.0


def seconds_until_known(client: Client, name: str, clip: bytes) -> float:
    """How long until a service takes the clip for that person's; infinite: it never did."""
    started = time.perf_counter()
    while time.perf_counter() - started < PATIENCE_S:
        status, body = client.ask(request("POST", "/v1/identify", clip))
        candidates = json.loads(body)["candidates"] if status == 200 else []
        if candidates and candidates[0]["name"] == name:
            return time.perf_counter() - started
    return float("inf")


def main() -> None:
    """Measure; exit 1: somebody is lost, or was not visible within a second."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", help="default: a folder that is deleted in the end")
    parser.add_argument("--servers", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--people", type=int, default=25, help="of each (default: %(default)s)")
    args = parser.parse_args()
    print(f"{cpu_name()}, {os.cpu_count()} cores, {num_threads()} threads")
    clips = [clip_of(voice) for voice in range(args.servers * args.people)]
    waits: list[float] = []
    acknowledged: set[str] = set()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = [
            stack.enter_context(Server(Path(folder), 1, None, args.library))
            for _ in range(args.servers)
        ]

        def enrol(own: int) -> None:
            clients = [Client(server.address) for server in servers]
            for turn in range(args.people):
                voice = own * args.people + turn
                name = f"Voice-{own}-{turn}"
                ask = request("POST", f"/v1/people/{name}/clips", clips[voice])
                status, body = clients[own].ask(ask)
                if status != 201:
                    raise SystemExit(json.loads(body)["detail"])
                acknowledged.add(name)
                for other, client in enumerate(clients):
                    if other != own:
                        waits.append(seconds_until_known(client, name, clips[voice]))
            for client in clients:
                client.close()

        started = time.perf_counter()
        at_once(args.servers, enrol)
        took = time.perf_counter() - started
        lists = [people_and_clips(server.address) for server in servers]
    lost = sum(len(acknowledged - known.keys()) for known in lists)
    twice = sum(known.get(name, 0) > 1 for known in lists for name in acknowledged)
    ms = 1000 * np.percentile(waits, (50, 95, 100))
    print(
        f"{args.servers} services, {len(acknowledged)} people enrolled and {len(waits)} answers "
        f"of the others in {took:.0f} s; visible there after {ms[0]:.0f} ms (median), "
        f"{ms[1]:.0f} ms (95 %), {ms[2]:.0f} ms at most; lost: {lost}, twice: {twice}"
    )
    all_enrolled = len(acknowledged) == args.servers * args.people
    raise SystemExit(0 if all_enrolled and not lost and not twice and ms[2] <= 1000 else 1)


if __name__ == "__main__":
    main()
