"""A map over worker processes: ordered, bounded, and leaving no process behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from small_settings import ROOT

from mvector.data import workers
from mvector.data.workers import map_in_order
from mvector.errors import DataError


def squared_with_pid(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def die_of_thirteen(number: int) -> int:
    if number == 13:
        os._exit(1)
    return number


def refuse_seven(number: int) -> int:
    if number == 7:
        raise DataError("seven is refused")
    return number


def handler_of_interrupts(_: int) -> bool:
    return signal.getsignal(signal.SIGINT) == signal.SIG_IGN


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(num_workers: int) -> None:
    found = list(map_in_order(squared_with_pid, range(50), num_workers))

    assert [square for square, _ in found] == [n * n for n in range(50)]
    pids = {pid for _, pid in found}
    assert len(pids) <= max(num_workers, 1)
    assert (os.getpid() in pids) == (num_workers == 0)


def test_items_are_taken_a_few_ahead_of_the_caller_and_not_all_at_once() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with closing(map_in_order(squared_with_pid, items(), 2)) as results:
        next(results)
        assert len(taken) <= 10


def test_no_more_processes_are_started_than_there_are_items_or_the_system_bears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = map_in_order(squared_with_pid, range(1), 100, num_items=1)
    with closing(found):
        next(found)
        assert len(multiprocessing.active_children()) == 1

    monkeypatch.setattr(workers, "_MAX_WORKERS", 2)
    found = map_in_order(squared_with_pid, range(100), 100)
    with closing(found):
        next(found)
        assert len(multiprocessing.active_children()) <= 2


def test_a_dead_worker_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"A worker process died.* fewer --num_workers"):
        list(map_in_order(die_of_thirteen, range(30), 2))


def test_the_caller_may_deal_with_what_a_dead_worker_left_undone() -> None:
    lost: list[int] = []

    def note(number: int) -> int:
        lost.append(number)
        return -number

    found = list(map_in_order(die_of_thirteen, range(60), 2, when_lost=note))

    assert [abs(number) for number in found] == [*range(60)]
    assert [-number for number in found if number < 0] == lost
    assert 13 in lost
    assert len(lost) < 20


def test_a_failure_of_the_task_reaches_the_caller() -> None:
    with pytest.raises(DataError, match="seven is refused"):
        list(map_in_order(refuse_seven, range(30), 2))


def test_interrupts_are_left_to_the_parent() -> None:
    assert all(map_in_order(handler_of_interrupts, range(4), 2))


def test_a_program_that_fails_does_not_wait_for_the_workers_of_its_loader(
    small_config: dict[str, Any],
) -> None:
    small_config["dataset_conf"]["dataLoader"]["num_workers"] = 2
    code = f"""
from mvector.config import load_config
from mvector.data.loader import TrainingData

def train():
    for batch in TrainingData(load_config({small_config!r})).loader:
        raise RuntimeError("a fault of the program")

train()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 1
    assert run.stderr.endswith("RuntimeError: a fault of the program\n")


# Prints the worker of each of four tasks; the last two never end, or the caller does not go on.
_SCRIPT = """
import os, sys, time
sys.path.insert(0, os.getcwd())
from mvector.data.workers import map_in_order

BUSY = bool(int(sys.argv[1]))

def task(number):
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece
    time.sleep(3600 if BUSY and number >= 2 else 0.2)

if __name__ == "__main__":
    for _ in map_in_order(task, range(4), 2):
        if not BUSY:
            time.sleep(3600)
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks for processes in /proc")
@pytest.mark.parametrize("busy", [True, False])
def test_the_workers_of_a_killed_parent_end(busy: bool, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, script, str(int(busy))], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pids = {int(parent.stdout.readline()) for _ in range(4)}
        assert all(is_alive(pid) for pid in pids)
        os.kill(parent.pid, signal.SIGKILL)
    try:
        patience = time.monotonic() + 300  # not a demand on speed: it ends far sooner
        while any(map(is_alive, pids)) and time.monotonic() < patience:
            time.sleep(0.01)
        assert not any(map(is_alive, pids))
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)
