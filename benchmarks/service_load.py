"""A service of its own, clients that cost little, their clips, and what they find.

For benchmarks/service.py and benchmarks/several_servers.py.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import soundfile

from mvector.demo.voices import random_voice, synthesise

RATE, DURATION_S = 16_000, 3.0
_PATIENCE_S = 120.0


def clip_of(voice: int) -> bytes:
    """A clip of a voice that no other number has, as wav."""
    stream = io.BytesIO()
    samples = synthesise(random_voice(voice), DURATION_S, RATE, seed=voice)
    soundfile.write(stream, samples, RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()


class Server:
    """``mvector serve`` on a free port, with a library in a folder, until the block is left."""

    def __init__(self, folder: Path, workers: int, model: str | None, library: str | None) -> None:
        command = [sys.executable, "-m", "mvector", "serve", "--port", "0", "--no_page"]
        command += ["--workers", str(workers), "--requests_per_minute", "0", "--max_waiting", "256"]
        command += ["--audio_db_path", library or str(folder / "library")]
        command += [] if model is None else ["--model_path", model]
        environment = {**os.environ, "MVECTOR_HOME": str(folder / "home")}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        where = urlsplit(self._process.stdout.readline().split()[-1])
        self.address = (str(where.hostname), int(where.port or 0))
        self.num_workers = workers

    def __enter__(self) -> Server:
        Client(self.address).ask(request("GET", "/v1/ready"))
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_PATIENCE_S)

    def workers(self) -> list[int]:
        """Ids of the processes that answer."""
        if self.num_workers == 1:
            return [self._process.pid]
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in _command_of(child)]

    def memory_mib(self) -> list[float]:
        """What each of them holds of the machine's memory, the one that starts them last."""
        pids = {*self.workers()} - {self._process.pid}
        return [_memory_mib(pid) for pid in [*sorted(pids), self._process.pid]]

    def cpu_s(self) -> float:
        """Seconds of processors that they have taken so far."""
        return sum(_cpu_s(pid) for pid in self.workers())


class Client:
    """One connection that is kept, and opened again when it breaks."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, message: bytes) -> tuple[int, bytes]:
        """Status and body of an answer; an OSError where there is none."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, _PATIENCE_S)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(message)
            return self._answer(self._socket)
        except OSError:
            self.close()
            raise

    def _answer(self, connection: socket.socket) -> tuple[int, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += _more(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        (length,) = (int(one.split(b":")[1]) for one in lines if one[:15] == b"content-length:")
        while len(body) < length:
            body += _more(connection)
        if b"connection: close" in lines:
            self.close()
        return int(head.split()[1]), body

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionResetError
    return data


def request(method: str, path: str, clip: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request, made once."""
    given = {"Host": "127.0.0.1", "Content-Length": str(len(clip)), **headers}
    if clip:
        given["Content-Type"] = "audio/wav"
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + clip


@dataclass
class Load:
    """What clients found who asked at the same time.

    Attributes:
        times: seconds of each answer.
        statuses: how often each.
        num_broken: requests without an answer.
        cpu_ms: of processors for each answer, by the service and by the clients.
    """

    times: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    num_broken: int = 0
    cpu_ms: tuple[float, float] = (0.0, 0.0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, client: Client, message: bytes) -> tuple[int, bytes]:
        """Ask, and note how it went; status 0: there was no answer."""
        started = time.perf_counter()
        try:
            status, body = client.ask(message)
        except OSError:
            with self._lock:
                self.num_broken += 1
            return 0, b""
        with self._lock:
            self.times.append(time.perf_counter() - started)
            self.statuses[status] = self.statuses.get(status, 0) + 1
        return status, body


def at_once(clients: int, work: Callable[[int], None]) -> None:
    """Let so many clients work, each told its number, until all are done."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def people_and_clips(address: tuple[str, int]) -> dict[str, int]:
    """How many clips everybody has, by the service itself."""
    client, after, found = Client(address), "", {}
    while after is not None:
        _, body = client.ask(request("GET", f"/v1/people?limit=1000&after={after}"))
        page = json.loads(body)
        found.update({person["name"]: person["num_clips"] for person in page["people"]})
        after = page["next_after"]
    return found


def _command_of(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
