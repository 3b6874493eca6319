"""``mvector serve``: comparing, enrolling and recognising over HTTP."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli.common import (
    AuditDaysOption,
    LibraryOptions,
    NoAudioOption,
    ThresholdOption,
    make_predictor,
    parse_count,
    parse_length,
    parse_number,
)
from mvector.cli.failures import EXIT_MISTAKE
from mvector.cli.options import Action, Command, Condition, flag, option, optional
from mvector.cli.running import set_up_logging
from mvector.compute.threads import num_threads
from mvector.errors import MVectorError, import_errors_as
from mvector.home import data_home
from mvector.service.caller import is_loopback
from mvector.service.settings import ServiceSettings

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from mvector.recognition.predictor import MVectorPredictor
    from mvector.service.keys import KeyFile
    from mvector.service.work_folder import WorkFolder

logger = logging.getLogger(__name__)

_EPILOG = """\
examples:
  mvector serve --audio_db_path people                       programs of this machine, no keys
  mvector keys add "the app" --keys keys.json --scope enrol  a key, shown once
  mvector serve --host 0.0.0.0 --keys keys.json              others, behind a proxy with TLS
  curl -F file1=@a.wav -F file2=@b.wav http://127.0.0.1:8000/v1/compare

Each option may come from the environment instead: MVECTOR_PORT=9000, MVECTOR_AUDIO_DB_PATH=people,
MVECTOR_NO_AUDIO=true. docs/service.md tells about the API, keys, TLS and privacy.
"""
_MOST_MESSAGE = 2 << 20  # of a stream, in bytes; its route refuses half of it in words
_RESTART_S = 1.0
_MOST_SAMPLES_PER_S = 16 * 48_000  # of a clip: 8 channels at 384 kHz cost 40 times a telephone's
_USUAL = ServiceSettings()
_GRACE_S = 30  # for what is under way when the service is stopped


@dataclass(frozen=True, kw_only=True)
class Serve(LibraryOptions, ThresholdOption, NoAudioOption, AuditDaysOption):
    host: str = option("127.0.0.1", "address to listen on (default: %(default)s)", "ADDRESS")
    port: int = option(8000, "0: a free one (default: %(default)s)", "N", parse_count)
    keys: str | None = optional(
        "file of mvector keys; without, programs of this machine only are answered", "FILE"
    )
    workers: int = option(
        1,
        "processes, each with the model; one that dies is started again (default: %(default)s)",
        "N",
        parse_number,
    )
    max_body_mib: int = option(
        _USUAL.max_body_bytes >> 20,
        "largest request, in MiB (default: %(default)s)",
        "N",
        parse_number,
    )
    max_clip_seconds: float = option(
        300.0, "longest clip (default: %(default)s)", "SECONDS", parse_length
    )
    max_recording_mib: int = option(
        _USUAL.max_recording_bytes >> 20,
        "largest recording of /v1/diarize, in MiB (default: %(default)s)",
        "N",
        parse_number,
    )
    max_recording_seconds: float = option(
        _USUAL.max_recording_s,
        "longest recording of /v1/diarize (default: %(default)s)",
        "SECONDS",
        parse_length,
    )
    max_jobs: int = option(
        _USUAL.max_jobs,
        "recordings of /v1/diarize that arrive, wait or are worked on (default: %(default)s)",
        "N",
        parse_number,
    )
    max_waiting: int = option(
        _USUAL.max_waiting,
        "requests under way at once; more are told to come again (default: %(default)s)",
        "N",
        parse_number,
    )
    batch_size: int = option(
        _USUAL.batch_size, "clips computed at once (default: %(default)s)", "N", parse_number
    )
    requests_per_minute: int = option(
        _USUAL.requests_per_minute,
        "of a key, or of an address without keys; 0: any number (default: %(default)s)",
        "N",
        parse_count,
    )
    max_tries: int = option(
        _USUAL.max_tries,
        "failed verifications of a person within --tries_seconds; 0: any number "
        "(default: %(default)s)",
        "N",
        parse_count,
    )
    tries_seconds: float = option(
        _USUAL.tries_window_s, "see --max_tries (default: %(default)s)", "SECONDS", parse_length
    )
    no_page: bool = flag("serve programs only, and no page for people at /")

    def conditions(self) -> tuple[Condition, ...]:
        return (
            *super().conditions(),
            ("tries_seconds", self.max_tries > 0, "with --max_tries 0"),
        )


def _serve(args: Serve) -> int:
    # Before numpy is loaded: its products are small, and on busy processors the threads of one of
    # them wait for each other, in loops that cost more than the product.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _require_keys_or_loopback(args)
    with import_errors_as(
        "The service needs packages that are not installed: pip install '.[serve]' in the folder "
        "of mvector."
    ):
        import uvicorn
        from uvicorn.supervisors import Multiprocess

        from mvector.service.work_folder import WorkFolder, new_work_folder
    if args.keys is not None:
        _read_keys(args.keys)
    listening = _listen(args.host, args.port)
    predictor = _predictor(args)
    predictor.library.require_model()
    folder, running = new_work_folder(data_home() / "service")
    _tell(args, predictor, listening)
    with running:  # until the process ends
        if args.workers == 1:
            app = _build(args, predictor, WorkFolder(folder, is_own=True))
            uvicorn.Server(_config(app)).run(sockets=[listening])
            return 0
        predictor.library.close()
        del predictor  # the processes have their own
        _share_the_machine(args.workers, folder)
        worker = _Worker(args, folder, is_verbose=logger.isEnabledFor(logging.INFO))
        config = _config(worker, factory=True, workers=args.workers)
        Multiprocess(config, sockets=[listening]).run()
    shutil.rmtree(folder, ignore_errors=True)
    return 0


@dataclass(frozen=True)
class _Worker:
    """One of several processes, which uvicorn starts, and starts again when it dies."""

    args: Serve
    folder: Path
    is_verbose: bool

    def __call__(self) -> FastAPI:
        from tqdm import tqdm

        from mvector.service.work_folder import WorkFolder

        set_up_logging(verbose=self.is_verbose)
        tqdm.set_lock(threading.RLock())  # its own outlives a killed process, with a warning
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            return _build(self.args, _predictor(self.args), WorkFolder(self.folder))
        except MVectorError as error:  # such as a database that is gone: the next one may have it
            logger.error("%s", error)
            time.sleep(_RESTART_S)
            raise SystemExit(EXIT_MISTAKE) from error


def _end_with_parent() -> None:
    """End this process when the one that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _share_the_machine(workers: int, folder: Path) -> None:
    """Tell processes that are started from now on what is theirs."""
    from mvector.service.metrics import SHARED_FOLDER

    counted = folder / "metrics"
    counted.mkdir()
    os.environ[SHARED_FOLDER] = str(counted)
    os.environ["OMP_NUM_THREADS"] = str(max(1, num_threads() // workers))


def _config(app: FastAPI | _Worker, **more: Any) -> uvicorn.Config:
    import uvicorn

    from mvector.service.connection import PatientProtocol

    return uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,  # paths hold names of people
        server_header=False,
        ws_max_size=_MOST_MESSAGE,
        ws_max_queue=4,  # behind these a client that streams has to wait
        timeout_graceful_shutdown=_GRACE_S,
        **more,
    )


def _predictor(args: Serve) -> MVectorPredictor:
    from mvector.audio import AudioLimits

    limits = AudioLimits(
        max_duration_s=args.max_clip_seconds,
        max_samples_per_s=_MOST_SAMPLES_PER_S,
        max_stream_bytes=args.max_body_mib << 20,
    )
    return make_predictor(args, args.audio_db_path, limits=limits)


def _build(args: Serve, predictor: MVectorPredictor, shared: WorkFolder) -> FastAPI:
    """The app of one process."""
    from mvector.service.app import build_app
    from mvector.service.service import Service

    settings = ServiceSettings(
        max_body_bytes=args.max_body_mib << 20,
        max_recording_bytes=args.max_recording_mib << 20,
        max_recording_s=args.max_recording_seconds,
        max_jobs=args.max_jobs,
        max_waiting=args.max_waiting,
        batch_size=args.batch_size,
        requests_per_minute=args.requests_per_minute,
        max_tries=args.max_tries,
        tries_window_s=args.tries_seconds,
        has_page=not args.no_page,
    )
    keys = None if args.keys is None else _read_keys(args.keys)
    return build_app(Service(predictor, settings, keys, shared))


def _read_keys(path: str) -> KeyFile:
    from mvector.service.keys import KeyFile

    return KeyFile(path)


def _require_keys_or_loopback(args: Serve) -> None:
    """Refuse to answer others without keys, and warn where nobody is asked for one.

    Raises:
        MVectorError: the address is not of this machine alone.
    """
    if args.keys is not None:
        return
    if not is_loopback(args.host):
        raise MVectorError(
            f"Without keys the service answers this machine only, and {args.host} is reached from "
            "others: give --keys FILE (mvector keys add NAME --keys FILE makes one)."
        )
    logger.warning(
        "There are no keys: every program of this machine may enrol, ask and remove people."
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        MVectorError: there can be none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        said = str(getattr(error, "strerror", None) or error)
        reason = said.partition(" (while ")[0].rstrip(".")  # the address is told before it
        raise MVectorError(
            f"Cannot listen on {host}, port {port}: {reason}; choose another --port or --host."
        ) from error
    # Headers and body of an answer are two writes: the second would wait 40 ms for the client to
    # have noted the first. asyncio sees to it, but only for sockets that name their protocol.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listening.detach())


def _tell(args: Serve, predictor: MVectorPredictor, listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"Address:        {address}")
    print(f"Model:          {predictor.model_path}")
    library = predictor.library
    print(f"Library:        {library.name} ({library.num_people():,} enrolled)")
    if not args.no_page:
        print(f"Page:           {address}/")
    print(f"Documentation:  {address}/v1/docs, docs/service.md", flush=True)


COMMAND = Command(
    "mvector serve",
    "Compare, enrol and recognise over HTTP, for other programs.",
    _EPILOG,
    (Action("a service", Serve, _serve),),
    stray="audio_db_path",
    reads_environment=True,
)
