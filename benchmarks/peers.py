"""Our step in turn with that of the same network from torch's own layers, in eager float32.

What ``train_step.py --peer`` does. Each of the three (theirs, ours in float32 and in bfloat16) has
a process of its own, as the measures for speed cannot be taken back; they take their steps one
after the other, so that whatever else the machine does falls on all of them. With
``OMP_NUM_THREADS=1`` processor time is taken, for machines that are busy.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection

import torch
from step_cases import (
    MEASURES,
    Case,
    flop_of_utterance,
    peak_flop_per_s,
    prepare,
    products,
    take_step,
)

AIMS: dict[str, float] = {"EcapaTdnn": 4.0, "CAMPPlus": 2.5, "ResNet": 2.5, "ERes2Net": 2.5}
LARGEST_BATCH = {"ResNet": 16, "ERes2Net": 16}  # three of them have to fit into memory
HEAD = (
    "| | peer, utterances/s | ours, float32 | ratio | share of the peak | ours, bfloat16 | ratio "
    "| share of the peak |\n" + "|---" * 8 + "|"
)


def compare_with_peers(case: Case) -> bool:
    """Print a row for each backbone, then the ratios; whether every aim is reached."""
    print(HEAD)
    ratios = {}
    for name in AIMS:
        batch_size = min(case.batch_size, LARGEST_BATCH.get(name, case.batch_size))
        own = replace(case, backbone=name, batch_size=batch_size)
        cases = {
            "peer": replace(own, is_stock=True, without=tuple(MEASURES)),
            "float32": own,
            "bfloat16": replace(own, dtype="bfloat16"),
        }
        speed, share = turns(cases)
        ratios[name] = speed["bfloat16"] / speed["peer"]
        cells = [f"{speed['peer']:.1f}"]
        for dtype in ("float32", "bfloat16"):
            ratio = speed[dtype] / speed["peer"]
            cells += [f"{speed[dtype]:.1f}", f"{ratio:.2f}", f"{100 * share[dtype]:.0f} %"]
        print(f"| {name}, batches of {batch_size} | {' | '.join(cells)} |", flush=True)
    print()
    for name, ratio in ratios.items():
        verdict = "reached" if ratio >= AIMS[name] else "missed"
        print(f"{name}: {ratio:.2f} times the peer, aim {AIMS[name]:g}: {verdict}")
    return all(ratio >= AIMS[name] for name, ratio in ratios.items())


def turns(cases: dict[str, Case]) -> tuple[dict[str, float], dict[str, float]]:
    """Utterances/s of each case in its fastest step, and its share of the fastest product."""
    best: dict[str, list[float]] = {}
    with ExitStack() as stack:
        others = {name: stack.enter_context(stepping(case)) for name, case in cases.items()}
        flop = {name: other.recv() for name, other in others.items()}
        for number in range(max(case.num_rounds for case in cases.values()) + 2):
            for name, other in others.items():
                other.send(True)
                found = other.recv()
                if number == 1:
                    best[name] = found
                elif number > 1:
                    best[name] = [*map(min, best[name], found)]
    speed = {name: case.batch_size / best[name][0] for name, case in cases.items()}
    share = {}
    for name, case in cases.items():
        share[name] = flop[name] * speed[name] / peak_flop_per_s(case, best[name][1:])
    return speed, share


@contextmanager
def stepping(case: Case) -> Iterator[Connection]:
    """A process that takes a step, and products of matrices, whenever it is sent something."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_take_steps, args=(case, there))
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.join(10)
        process.kill()
        process.join()


def _take_steps(case: Case, other: Connection) -> None:
    """Sends the operations of a step for an utterance, then seconds: step, and each product."""
    learner, batch = prepare(case)
    features, labels = learner.inputs(batch)
    other.send(flop_of_utterance(learner, features, labels))
    step = partial(take_step, learner, features, labels)
    tasks: list[Callable[[], object]] = [step, *products(case)]
    # of one thread, the time of the processor: it tells nothing of what else the machine does
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    while True:
        try:
            other.recv()
        except EOFError:
            return
        marks = [clock()]
        for task in tasks:
            task()
            marks.append(clock())
        other.send([after - before for before, after in pairwise(marks)])
