"""What tests of the service share: clips, a client with its service, what failures look like."""

from __future__ import annotations

import io
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from onnx_stand_in import RATE
from small_settings import ROOT

from mvector.service.connection import PatientProtocol
from mvector.service.service import Service

THRESHOLD = 0.95  # the tiny model gives two clips of a voice 0.97, and two voices up to 0.9
Clips = dict[str, bytes]


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The content of a failed answer, which is problem JSON."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["request_id"] == answer.headers["x-request-id"]
    assert told["status"] == status
    assert told["detail"][-1] == "."
    return dict(told)


def enrol(client: TestClient, name: str, *clips: bytes, **more: Any) -> Any:
    return client.post(f"/v1/people/{name}/clips", files=[("file", clip) for clip in clips], **more)


def hand_to_another_model(library: Path) -> None:
    """What a process with another model leaves that took a library over."""
    with sqlite3.connect(library / "voiceprints.db") as database:
        database.execute("UPDATE meta SET value = 'fedcba9876543210' WHERE key = 'model'")
    database.close()


def as_wav(samples: np.ndarray) -> bytes:
    """A clip of float samples."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def served_process(model: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    """``mvector serve`` as a process, with its library and its state below a folder."""
    environment = {
        "MVECTOR_AUDIO_DB_PATH": str(folder / "db"),
        "MVECTOR_MODEL_PATH": str(model),
        "MVECTOR_HOME": str(folder / "home"),
    }
    command = [sys.executable, "-m", "mvector", "serve", "--port", "0", "--threshold", "0.9"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, *options], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True
    )


@contextmanager
def listening(app: FastAPI, **more: Any) -> Iterator[str]:
    """Where an app is reached, by uvicorn in a thread; ``more`` is of its settings."""
    server_socket = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=PatientProtocol, log_config=None, **more))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [server_socket]})
    thread.start()
    host, port = server_socket.getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join()


@dataclass
class Served:
    """A service and a client of it."""

    service: Service
    client: TestClient

    def audit(self) -> list[Any]:
        """What was done, the newest first."""
        return self.service.library.audit_log()


Serving = Callable[..., Served]
