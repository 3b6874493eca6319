"""Runs a function in several gloo processes on this machine, as torchrun would start them."""

from __future__ import annotations

import os
import pickle
import random
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
import torch
import torch.distributed as dist
from forked_scripts import PATIENCE_S, forking

from mvector.compute.distributed import open_world

needs_gloo = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason="this build of PyTorch has no torch.distributed with gloo",
)


def run_ranks(worker: Callable[..., Any], *args: Any, timeout_s: float = 90.0) -> list[Any]:
    """What ``worker(world, *args)`` returns in each of two processes; None if it just ended."""
    context, port = forking(), free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    ready = context.Barrier(2)  # the time that imports take is not to count as a missing peer
    processes = [
        context.Process(target=_rank, args=(rank, port, timeout_s, ready, pipe[1], worker, args))
        for rank, pipe in enumerate(pipes)
    ]
    for process, (_, sending) in zip(processes, pipes, strict=True):
        process.start()
        sending.close()
    try:
        return [_received(receiving) for receiving, _ in pipes]
    finally:
        for process in processes:
            process.join(timeout=5)
            process.kill()


def free_port() -> str:
    """A port that nobody listens to, below those that connections are given by themselves."""
    with socket.socket() as free:
        while True:
            port = random.SystemRandom().randrange(20000, 32000)
            with suppress(OSError):
                free.bind(("127.0.0.1", port))
                return str(port)


def _received(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE_S):
        raise TimeoutError("a process gave no result")
    try:
        result = pickle.loads(pipe.recv_bytes())
    except EOFError:
        return None
    if isinstance(result, _Failure):
        pytest.fail(result.text)
    return result


class _Failure:
    def __init__(self, text: str) -> None:
        self.text = text


def _rank(
    rank: int,
    port: str,
    timeout_s: float,
    ready: Barrier,
    pipe: Connection,
    worker: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    ready.wait()
    try:
        with open_world("cpu", timeout_s=timeout_s) as world:
            result = worker(world, *args)
    except Exception:
        result = _Failure(f"in process {rank}:\n{traceback.format_exc()}")
    pipe.send_bytes(pickle.dumps(result))
