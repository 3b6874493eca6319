"""Folders that long work goes on in after any crash: append-only files and a journal.

Every so often all files are forced to disk, and then a line of the journal says how far the work
has come. A later run cuts off whatever lies behind that, and goes on from there.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mvector.errors import DataError
from mvector.files import put_in_place, write_errors_as, write_text

JOURNAL_NAME = "journal.jsonl"
JOB_NAME = "job.json"

_CURE = "mend that, and run the same command again to go on"
_DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class ResumableFolder:
    """A folder of unfinished work, held by one process at a time.

    Args:
        path: where it lies; made if there is none.
        job: plain values that must be the same for a run to go on with the work of another.

    Attributes:
        state: how far the work had come when it was last committed; empty at the start.

    Raises:
        DataError: another process holds it, its work was begun as another job, or it is damaged.
        OSError: in all methods, as the file system raises it.
    """

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, _Appender] = {}
        self._journal = _Appender(path / JOURNAL_NAME)
        try:
            self._lock()
            self._check_job(json.loads(json.dumps(job)))  # as it will come back from the file
            self.state = self._read_journal()
        except BaseException:
            self.close()
            raise

    def open(self, name: str, size: int) -> None:
        """Open one of the files to be appended to, cutting off what lies behind ``size`` bytes.

        Raises:
            OSError: the file is shorter than that.
        """
        self._files[name] = _Appender(self.path / name)
        self._files[name].cut(size)

    def append(self, name: str, data: bytes | bytearray | memoryview) -> None:
        """Write at the end of a file."""
        self._files[name].write(data)

    def commit(self, state: Mapping[str, Any]) -> None:
        """Make sure that a crash loses nothing of what was written so far."""
        for file in self._files.values():
            os.fsync(file.descriptor)
        self._journal.write(json.dumps(dict(state)).encode() + b"\n")
        os.fsync(self._journal.descriptor)

    def publish(self, path: Path) -> None:
        """Close the files and give the folder its name, in place of an earlier one."""
        self.close()
        put_in_place(self.path, path)
        for name in (JOURNAL_NAME, JOB_NAME):
            (path / name).unlink()

    @contextmanager
    def write_errors_explained(self) -> Iterator[None]:
        """Within the block, a failure to write says that the work can go on."""
        with write_errors_as(DataError, f"'{self.path}'", _CURE):
            try:
                yield
            except OSError as error:
                if error.errno in _DISK_FULL:
                    raise DataError(
                        f"The disk is full: free some space and run the same command again, which "
                        f"goes on from what is kept in '{self.path}'."
                    ) from error
                raise

    def close(self) -> None:
        """Close all files; what was not committed is left to be cut off by a later run."""
        for file in (self._journal, *self._files.values()):
            file.close()

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # on Windows nobody else can rename or cut an open file anyway
            return
        try:
            fcntl.lockf(self._journal.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(
                f"Another process is writing '{self.path}'; wait for it, or choose another folder."
            ) from error

    def _check_job(self, job: dict[str, Any]) -> None:
        file = self.path / JOB_NAME
        if not file.exists():
            write_text(file, json.dumps(job, indent=1) + "\n")
            return
        try:
            begun = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise self._damaged_error() from error
        changes = ", ".join(describe_changes(begun, job))
        if changes:
            raise DataError(
                f"'{self.path}' holds unfinished work that was begun otherwise ({changes}): go on "
                "with the list and options it was begun with, or delete that folder to start anew.",
                code="packed-other-settings",
            )

    def _read_journal(self) -> dict[str, Any]:
        """The last whole line; what comes behind it was cut off by a crash."""
        # through the descriptor: closing another one of the same file would give up the lock
        with open(self._journal.descriptor, "rb", closefd=False) as stream:
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._journal.cut(len(whole))
        try:
            return dict(json.loads(whole.splitlines()[-1])) if whole else {}
        except (ValueError, TypeError) as error:
            raise self._damaged_error() from error

    def _damaged_error(self) -> DataError:
        return DataError(
            f"The unfinished work in '{self.path}' is damaged; delete that folder to start anew."
        )


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``sample_rate was 16000 and is 8000`` for each value that differs."""
    return [
        f"{key} was {before.get(key, 'not known')!r} and is {now.get(key, 'not known')!r}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]


class _Appender:
    """A file that is written at its end, past all buffers of this process."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self.descriptor = os.open(path, flags, 0o666)

    def cut(self, size: int) -> None:
        if os.fstat(self.descriptor).st_size < size:
            raise OSError(errno.EIO, "a file is shorter than the journal says")
        os.ftruncate(self.descriptor, size)
        os.lseek(self.descriptor, size, os.SEEK_SET)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.write(self.descriptor, view[done:])

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
