"""Several processes of one run: what they tell each other, and what happens when one is lost."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from forked_scripts import finish, forking
from spawned_ranks import free_port, needs_gloo, run_ranks
from torch import nn

from mvector.compute import distributed, exchange
from mvector.compute.distributed import DistributedError, World, lost_process_errors, open_world

ROWS = np.arange(24, dtype=np.float64).reshape(8, 3)
NAMES = np.array(["ann", "bob", "carla", "dieter", "eve", "fay", "gil", "hao"])


class Mixed(nn.Module):
    """Parameters and buffers of several kinds, other ones in every process."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(4, 3, 2, 2, generator=generator)
        self.weight = nn.Parameter(weight.to(memory_format=torch.channels_last))
        self.register_buffer("flags", torch.rand(5, generator=generator) > 0.5)
        self.register_buffer("count", torch.tensor(seed))


def talk(world: World) -> dict[str, Any]:
    rank = world.rank
    term = torch.tensor([1.0, 10.0 * (rank + 1)])
    results: dict[str, Any] = {"world": (world, world.is_main, dist.get_backend())}
    results["sum"] = exchange.all_reduce_sum(term)
    results["term"] = term
    flags = [(False, False), (False, True), (True, False), (True, True)]
    results["any"] = [distributed.any_rank(of_ranks[rank]) for of_ranks in flags]
    results["objects"] = distributed.gather_objects({"rank": rank, "rows": [rank] * rank})
    results["from_main"] = distributed.from_main(f"said by {rank}")
    shares = {"even": world.share(8), "first": slice(0, 3) if rank == 0 else slice(3, 8)}
    shares["none"] = slice(0, 8) if rank == 1 else slice(0, 0)
    results["rows"] = {name: distributed.all_gather_rows(ROWS[own]) for name, own in shares.items()}
    results["names"] = distributed.all_gather_rows(NAMES[world.share(8)])
    results["nothing"] = distributed.all_gather_rows(ROWS[:0])
    with pytest.raises(ValueError, match="different forms"):
        distributed.all_gather_rows(ROWS[:, : 2 + rank])
    module = Mixed(seed=rank)
    exchange.broadcast_module(module)
    results["module"] = {name: value.clone() for name, value in module.state_dict().items()}
    results["gradients"] = norm_and_average(rank)
    if rank == 0:
        time.sleep(0.2)
    results["before"] = time.monotonic()
    distributed.barrier()
    results["after"] = time.monotonic()
    return results


def norm_and_average(rank: int) -> dict[str, torch.Tensor]:
    copies, shards = [torch.tensor([2.0, 4.0])], [torch.tensor([[1.0], [2.0]][rank])]
    averaged = [torch.tensor([1.0 + 2 * rank, 5.0])]
    exchange.average_over_processes(averaged)
    return {"norm": exchange.joint_norm(copies, shards), "averaged": averaged[0]}


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    return run_ranks(talk)


@needs_gloo
def test_every_process_knows_its_place(said: list[dict[str, Any]]) -> None:
    assert said[0]["world"] == (World(0, 2, 0), True, "gloo")
    assert said[1]["world"] == (World(1, 2, 1), False, "gloo")


@needs_gloo
def test_a_sum_leaves_its_terms_alone(said: list[dict[str, Any]]) -> None:
    for rank, results in enumerate(said):
        assert results["sum"].tolist() == [2.0, 30.0]
        assert results["term"].tolist() == [1.0, 10.0 * (rank + 1)]


@needs_gloo
def test_a_flag_of_any_process_is_seen_by_all(said: list[dict[str, Any]]) -> None:
    for results in said:
        assert results["any"] == [False, True, True, True]


@needs_gloo
def test_objects_are_gathered_on_rank_0_and_sent_from_there(said: list[dict[str, Any]]) -> None:
    assert said[0]["objects"] == [{"rank": 0, "rows": []}, {"rank": 1, "rows": [1]}]
    assert said[1]["objects"] == []
    assert [results["from_main"] for results in said] == ["said by 0", "said by 0"]


@needs_gloo
def test_rows_are_joined_in_order_however_many_each_process_has(said: list[dict[str, Any]]) -> None:
    for results in said:
        for joined in results["rows"].values():
            np.testing.assert_array_equal(joined, ROWS, strict=True)
        np.testing.assert_array_equal(results["names"], NAMES, strict=True)
        assert results["nothing"].shape == (0, 3)


@needs_gloo
def test_a_module_becomes_that_of_rank_0(said: list[dict[str, Any]]) -> None:
    for name, value in Mixed(seed=0).state_dict().items():
        for results in said:
            torch.testing.assert_close(results["module"][name], value, rtol=0, atol=0)
    assert not torch.equal(Mixed(seed=1).weight, Mixed(seed=0).weight)


@needs_gloo
def test_the_norm_is_that_of_the_whole_model(said: list[dict[str, Any]]) -> None:
    # the whole gradient is (2, 4 | 1 | 2): its norm is 5
    assert [results["gradients"]["norm"].item() for results in said] == pytest.approx([5.0, 5.0])


@needs_gloo
def test_gradients_can_be_averaged_by_hand(said: list[dict[str, Any]]) -> None:
    assert [results["gradients"]["averaged"].tolist() for results in said] == [[2.0, 5.0]] * 2


@needs_gloo
def test_nobody_passes_a_barrier_before_the_last_has_come(said: list[dict[str, Any]]) -> None:
    assert min(results["after"] for results in said) >= max(results["before"] for results in said)


def lose_a_peer(world: World, manner: str, noticed: Path) -> str | None:
    if manner == "die in backward":
        network = nn.parallel.DistributedDataParallel(nn.Linear(3, 3))
        loss = network(torch.ones(2, 3)).sum()
    distributed.barrier()
    if world.rank == 1:
        while manner == "hang" and not noticed.exists():
            time.sleep(0.05)
        os._exit(1)
    try:
        if manner == "die in backward":
            with lost_process_errors():
                loss.backward()
        else:
            distributed.any_rank(False)
    except DistributedError as error:
        noticed.touch()
        return str(error)
    return "no error"


@needs_gloo
@pytest.mark.parametrize(
    ("manner", "timeout_s"), [("die", 60.0), ("die in backward", 60.0), ("hang", 4.0)]
)
def test_a_lost_process_ends_the_others_in_one_sentence(
    manner: str, timeout_s: float, tmp_path: Path
) -> None:
    message = run_ranks(lose_a_peer, manner, tmp_path / "noticed", timeout_s=timeout_s)[0]
    assert message.startswith("Process 0 of 2 lost another process of the run (")
    assert message.endswith("--resume_model.")
    assert "\n" not in message
    assert ("Timed out" in message) == (manner == "hang")  # one that dies is not waited for


def outlive_the_world(rank: int, port: str) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    with open_world("cpu"):
        network = nn.parallel.DistributedDataParallel(nn.Linear(3, 3))
        network(torch.ones(2, 3)).sum().backward()
        for _ in range(5):
            exchange.broadcast_module(nn.Linear(50, 50))
    del network


@needs_gloo
def test_a_network_that_is_there_longer_than_its_world_does_not_hang_the_process() -> None:
    for _ in range(4):  # threads that end at the wrong moment do it in half of the attempts
        port = free_port()
        ranks = [forking().Process(target=outlive_the_world, args=(r, port)) for r in range(2)]
        for rank in ranks:
            rank.start()
        assert [finish(rank) for rank in ranks] == [0, 0]


def test_other_errors_are_not_taken_for_a_lost_process() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), lost_process_errors():
        torch.ones(2, 3) @ torch.ones(2, 3)


@pytest.fixture
def no_torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in distributed.TORCHRUN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def set_variables(patch: pytest.MonkeyPatch, **others: str) -> None:
    values = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**values, "MASTER_PORT": "1", **others}.items():
        patch.setenv(name, value)


def test_without_torchrun_there_is_one_process(no_torchrun: pytest.MonkeyPatch) -> None:
    no_torchrun.setenv("WORLD_SIZE", "8")  # some schedulers set it for purposes of their own
    with open_world("cpu") as world:
        assert world == World(0, 1, 0)
        assert world.is_main
        assert not dist.is_initialized()


def test_one_process_has_nothing_to_exchange(no_torchrun: pytest.MonkeyPatch) -> None:
    module = Mixed(seed=3)
    with open_world("cpu"):
        assert exchange.all_reduce_sum(torch.tensor(4.0)).item() == 4.0
        assert [distributed.any_rank(flag) for flag in (False, True)] == [False, True]
        assert distributed.gather_objects("own") == ["own"]
        assert distributed.from_main("own") == "own"
        np.testing.assert_array_equal(distributed.all_gather_rows(ROWS), ROWS)
        exchange.broadcast_module(module)
        distributed.barrier()
    assert module.count.item() == 3


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [0, 1, 6, 100])
def test_shares_make_the_list_and_differ_by_one_at_most(total: int, size: int) -> None:
    items = list(range(total))
    shares = [items[World(rank, size).share(total)] for rank in range(size)]
    assert [item for share in shares for item in share] == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "first"}, "start with torchrun"),
        ({"RANK": "1"}, "Process 1 of 2 cannot join the others at 127.0.0.1:1"),
    ],
)
@needs_gloo
def test_a_world_that_cannot_be_joined_says_why(
    variables: dict[str, str], message: str, no_torchrun: pytest.MonkeyPatch
) -> None:
    set_variables(no_torchrun, **variables)
    with pytest.raises(DistributedError, match=message), open_world("cpu", timeout_s=1.0):
        pass


def test_more_processes_than_gpus_are_refused(no_torchrun: pytest.MonkeyPatch) -> None:
    set_variables(no_torchrun, RANK="2", WORLD_SIZE="4", LOCAL_RANK="2")
    no_torchrun.setattr(torch.cuda, "device_count", lambda: 2)
    message = r"no GPU for process 3 .* --nproc_per_node .* to 2"
    with pytest.raises(DistributedError, match=message), open_world("cuda"):
        pass


@needs_gloo
def test_the_process_group_is_left_at_the_end(no_torchrun: pytest.MonkeyPatch) -> None:
    joined = []

    def fail() -> None:
        joined.append(dist.is_initialized())
        raise KeyError

    set_variables(no_torchrun, WORLD_SIZE="1", MASTER_PORT="0")
    with pytest.raises(KeyError), open_world("cpu"):
        fail()
    assert joined == [True]
    assert not dist.is_initialized()
