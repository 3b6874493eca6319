"""A service in this process: a tiny model that needs no torch, clips of synthetic voices."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from onnx_stand_in import RATE, stand_in_folder
from served import THRESHOLD, Served, Serving, as_wav

from mvector.audio import AudioLimits
from mvector.demo.voices import random_voice, synthesise
from mvector.recognition.predictor import MVectorPredictor
from mvector.service.app import build_app
from mvector.service.keys import KeyFile
from mvector.service.service import Service
from mvector.service.settings import ServiceSettings
from mvector.service.work_folder import WorkFolder


@pytest.fixture(scope="session")
def clips() -> dict[str, bytes]:
    """``a1``, ``a2``, ``b1``, ``b2``: two clips of two voices each; ``blip`` is too short to enrol,
    ``silence`` holds none, ``text`` is no audio."""
    made = {
        f"{name}{take + 1}": as_wav(
            synthesise(random_voice(voice), 2.0, RATE, seed=take).astype(np.float32)
        )
        for voice, name in enumerate("ab")
        for take in range(2)
    }
    quiet = np.zeros(2 * RATE, np.float32)
    quiet[:1600] = soundfile.read(io.BytesIO(made["a1"]), dtype="float32")[0][8000:9600]
    return {
        **made,
        "blip": as_wav(quiet + 1e-5 * np.random.default_rng(0).normal(size=len(quiet))),
        "silence": as_wav(np.zeros(RATE, np.float32)),
        "text": b"This is no audio at all." * 10,
    }


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in_folder(tmp_path_factory.mktemp("service") / "model")


@pytest.fixture
def serving(model: Path, tmp_path: Path) -> Iterator[Serving]:
    """Starts services, each with a library of its own, by settings."""
    clients: list[TestClient] = []

    def start(
        keys: KeyFile | None = None, shared: WorkFolder | None = None, **settings: Any
    ) -> Served:
        predictor = MVectorPredictor(
            model,
            threshold=THRESHOLD,
            audio_db_path=tmp_path / f"library {len(clients)}",
            limits=AudioLimits(max_duration_s=20.0),
        )
        service = Service(predictor, ServiceSettings(**settings), keys, shared)
        client = TestClient(
            build_app(service), base_url="http://localhost", raise_server_exceptions=False
        )
        client.__enter__()
        clients.append(client)
        return Served(service, client)

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def served(serving: Serving) -> Served:
    return serving()


@pytest.fixture
def client(served: Served) -> TestClient:
    return served.client
