"""Keys, allowances and micro-batches by themselves."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code

from mvector.service.allowances import Allowance
from mvector.service.keys import KeyFile
from mvector.service.micro_batches import MicroBatches
from mvector.service.work_folder import WorkFolder


def test_a_key_file_holds_hashes_and_finds_keys_by_all_of_their_characters(
    tmp_path: Path,
) -> None:
    file = KeyFile(tmp_path / "keys.json", must_exist=False)
    token = file.add("the app", "enrol")
    secret = token.split("_", 2)[2]
    assert secret not in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    key = KeyFile(file.path).find(token)
    assert key is not None
    assert (key.name, key.may("read"), key.may("enrol"), key.may("admin")) == (
        *("the app", True, True),
        False,
    )
    other = file.add("another", "read")
    wrong = [token[:-1] + ("A" if token[-1] != "A" else "B"), token + "A", "", "mv_", other[:12]]
    assert [file.find(one) for one in [*wrong, "\ud800", token.upper()]] == [None] * 7
    assert [one.name for one in file.all_keys()] == ["the app", "another"]


def test_a_key_that_is_removed_elsewhere_counts_no_more(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json", must_exist=False)
    token = file.add("the app", "read")
    serving = KeyFile(file.path)
    assert serving.find(token)
    file.remove(token.split("_")[1])
    assert serving.find(token) is None
    with raises_code("key-file"):
        file.remove("00000000")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"keys": [{}]}', '{"keys": [5]}', '{"keys": 5}', "[" * 100_000]
)
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with raises_code("key-file"):
        KeyFile(tmp_path / "keys.json")
    with raises_code("key-file"):
        KeyFile(tmp_path / "missing.json")


@pytest.mark.parametrize("hash_", ["é" * 64, "A" * 64, "0" * 63, 5])
def test_a_key_whose_hash_is_none_is_refused(tmp_path: Path, hash_: object) -> None:
    file = KeyFile(tmp_path / "keys.json", must_exist=False)
    token = file.add("the app", "read")
    held = json.loads(file.path.read_text("utf-8"))
    held["keys"][0]["sha256"] = hash_
    file.path.write_text(json.dumps(held), "utf-8")
    with raises_code("key-file"):
        file.find(token)


def test_an_allowance_is_a_window_that_slides(tmp_path: Path) -> None:
    now = 0.0
    shared = WorkFolder(tmp_path, is_own=True)
    allowed = Allowance(shared, "request", 2, 10.0, lambda: now)
    assert Allowance(shared, "try", 1, 10.0, lambda: now).take("a") == 0
    assert [allowed.take("a"), allowed.take("a"), allowed.take("b")] == [0, 0, 0]
    now = 4.0
    assert allowed.take("a") == 6.0
    assert allowed.take("b") == 0
    now = 10.0
    assert allowed.take("a") == 0
    allowed.give_back("b")
    allowed.forget("a")
    assert [allowed.take("a"), allowed.take("a"), allowed.take("a")] == [0, 0, 10.0]
    assert all(Allowance(shared, "any", 0, 10.0).take("a") == 0 for _ in range(5))
    shared.close()


class Inference:
    """Gives the first sample of each clip; a clip of zero cannot be computed."""

    fingerprint = "x"

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.open = threading.Event()

    def evaluation_mode(self) -> AbstractContextManager[None]:
        return nullcontext()

    def begin(self, clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
        self.open.wait(60)
        self.sizes.append(len(clips))
        if any(not clip.any() for clip in clips):
            raise ValueError("zero")
        return lambda: np.stack([clip[:1] for clip in clips])


def test_clips_that_wait_are_computed_together_and_each_gets_its_own() -> None:
    inference, told = Inference(), []
    batches = MicroBatches(inference, 4, 0.05, told.append)
    pairs = [[np.full(3, float(k)), np.full(3, k + 0.5)] for k in range(1, 6)]
    waiting = [batches.begin(pair) for pair in pairs]
    inference.open.set()
    assert [one()[:, 0].tolist() for one in waiting] == [[k, k + 0.5] for k in range(1, 6)]
    assert sum(inference.sizes) == 10
    assert max(inference.sizes) == 4
    assert len(inference.sizes) <= 4
    batches.close()
    assert told == inference.sizes


def test_a_clip_that_comes_alone_is_computed_by_who_asks() -> None:
    inference, told = Inference(), []
    inference.open.set()
    batches = MicroBatches(inference, 4, 0.05, told.append)
    by: list[threading.Thread] = []
    compute = inference.begin

    def begin(clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
        by.append(threading.current_thread())
        return compute(clips)

    inference.begin = begin  # type: ignore[method-assign]
    assert batches.begin([np.ones(3)])()[0, 0] == 1.0
    assert by == [threading.current_thread()]
    batches.begin([np.ones(3), np.ones(3)])()
    assert threading.current_thread() not in by[1:]
    batches.close()
    assert sum(told) == 3


def test_a_failure_is_told_to_those_who_wait_for_it_and_to_nobody_else() -> None:
    inference = Inference()
    inference.open.set()
    batches = MicroBatches(inference, 4, 0.0)
    bad = batches.begin([np.zeros(3), np.zeros(3)])
    with pytest.raises(ValueError, match="zero"):
        bad()
    assert batches.begin([np.ones(3), np.ones(3)])().shape == (2, 1)
    batches.close()
