"""A file of lines that survive a crash and are read in order."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import structlog

from service.private_files import private_file, private_folder
from service.store.spool.reserve import reserve

log = structlog.get_logger(__name__)

T = TypeVar("T")
RESERVE_BYTES = 16_000_000  # of the disk, before anything is written
_READ_BYTES = 1_000_000  # about as many are read at once


@dataclass(slots=True)
class _Queued:
    line: bytes
    error: OSError | None = None


class LineFile:
    """Lines appended and synced to disk before `append` returns.

    Each process has a file of its own in the folder, and adopts the lines of processes that have ended.
    One thread accesses the file, in the order of the calls; lines that arrive while it is busy are written
    and synced together. Positions count from the first line since `open`, and keep growing when the file
    is emptied after it was read to its end.

    Space for the next `reserve_bytes` is the file's before they are written, so that lines are also written
    when others have filled the disk.
    """

    def __init__(self, folder: Path, reserve_bytes: int = RESERVE_BYTES) -> None:
        self.end = 0  # position after the last line
        self.reserved = 0  # bytes that fit on a full disk; only the thread sets it
        self._reserve_bytes = reserve_bytes
        self._folder = folder
        self._queued: deque[_Queued] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._file: IO[bytes] | None = None
        self._start = 0  # position of the file's first byte; only the thread sets it

    @property
    def size(self) -> int:
        """Bytes on disk, or queued to be written."""
        return self.end - self._start

    def others_have_lines(self) -> bool:
        """Whether the file of another process in the folder has lines."""
        own = None if self._file is None else Path(self._file.name)
        return any(path != own and path.stat().st_size for path in self._folder.glob("*.jsonl"))

    async def open(self) -> list[bytes]:
        """The lines that earlier processes left; an unfinished last line is removed."""
        lines = await self._in_thread(self._adopt)
        self.end = sum(map(len, lines))
        return lines

    async def close(self) -> None:
        await self._in_thread(self._finish)
        self._thread.shutdown()

    async def append(self, line: bytes) -> None:
        """Write a line; it is on disk when this returns. Raises OSError."""
        queued = _Queued(line)
        self.end += len(line)
        self._queued.append(queued)
        await self._in_thread(self._write_queued)
        if queued.error is not None:
            self.end -= len(line)
            raise queued.error

    async def lines_at(self, position: int, most: int) -> list[bytes]:
        """The lines from a position on: `most`, or fewer if they are long or there are no more."""
        return await self._in_thread(lambda: self._read(position)[:most])

    async def empty_if_read_until(self, position: int) -> None:
        await self._in_thread(lambda: self._truncate(position))

    async def set_aside(self, line: bytes) -> None:
        """Append the line to a file that is never read again."""
        await self._in_thread(lambda: self._reject(line))

    async def set_aside_lines(self) -> list[bytes]:
        """The lines that this process and others have set aside."""
        return await self._in_thread(self._rejected)

    async def drop_set_aside(self, lines: Collection[bytes]) -> None:
        """Delete these lines from those that were set aside."""
        await self._in_thread(lambda: self._rejected(lines))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # --- in the thread ---------------------------------------------------------------------------------

    def _adopt(self) -> list[bytes]:
        private_folder(self._folder)
        files = [file for path in sorted(self._folder.glob("*.jsonl")) if (file := _claim(path))]
        self._file = (
            files.pop(0) if files else _claim(self._folder / f"{os.getpid()}-{os.urandom(4).hex()}.jsonl")
        )
        lines = _whole_lines(self._opened)
        for file in files:
            adopted = _whole_lines(file)
            _append(self._opened, b"".join(adopted))
            lines += adopted
            os.unlink(file.name)
            file.close()
        self._reserve()
        return lines

    @property
    def _opened(self) -> IO[bytes]:
        assert self._file is not None, "call open() first"
        return self._file

    def _finish(self) -> None:
        if self._file is not None:
            self._write_queued()
            self._file.close()

    def _write_queued(self) -> None:
        batch = []
        while self._queued:
            batch.append(self._queued.popleft())
        if not batch:
            return  # an earlier call wrote it
        lines = b"".join(queued.line for queued in batch)
        try:
            _append(self._opened, lines)
        except OSError as error:
            self.reserved = 0
            log.exception("spool_not_written", n_lines=len(batch))
            for queued in batch:
                queued.error = error
        else:
            self.reserved = max(0, self.reserved - len(lines))
            if self.reserved < self._reserve_bytes // 2:
                self._reserve()

    def _reserve(self) -> None:
        if reserve(self._opened, self._reserve_bytes):
            self.reserved = self._reserve_bytes

    def _read(self, position: int) -> list[bytes]:
        self._write_queued()
        self._opened.seek(position - self._start)
        return self._opened.readlines(_READ_BYTES)

    def _truncate(self, position: int) -> None:
        if self._queued or os.fstat(self._opened.fileno()).st_size != position - self._start:
            return  # a line was added meanwhile
        self._opened.truncate(0)
        self._start = position
        self.reserved = 0
        self._reserve()

    def _reject(self, line: bytes) -> None:
        with self._set_aside() as file:
            _append(file, line)

    def _rejected(self, dropped: Collection[bytes] = ()) -> list[bytes]:
        """The lines that were set aside, without the dropped ones, which are deleted."""
        if not (self._folder / "rejected").exists():
            return []
        with self._set_aside() as file:
            file.seek(0)
            lines = file.readlines()
            kept = [line for line in lines if line not in dropped]
            if len(kept) < len(lines):
                _replace(Path(file.name), kept)
        return kept

    @contextmanager
    def _set_aside(self) -> Iterator[IO[bytes]]:
        """The file of lines that were set aside, locked against the processes that share it."""
        path = self._folder / "rejected"
        while True:
            with private_file(path) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _is_at(path, file):
                    yield file
                    return


def _claim(path: Path) -> IO[bytes] | None:
    """The file, locked until closed; None: another process has locked it."""
    file = private_file(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    if not _is_at(path, file):
        file.close()  # adopted and removed between opening and locking
        return None
    return file


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether the open file still has this name: others remove and replace what they have locked."""
    return path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))


def _replace(path: Path, lines: Sequence[bytes]) -> None:
    """Replace a locked file by one with these lines; a crash or a full disk leaves the one or the other."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # of a process that crashed here
    with private_file(new) as file:
        _append(file, b"".join(lines))
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # lines that are appended next are in the new file
    finally:
        os.close(folder)


def _whole_lines(file: IO[bytes]) -> list[bytes]:
    file.seek(0)
    lines = file.readlines()
    if lines and not lines[-1].endswith(b"\n"):
        file.truncate(sum(map(len, lines[:-1])))
        return lines[:-1]
    return lines


def _append(file: IO[bytes], data: bytes) -> None:
    """Write and sync all of the data, or none of it. Raises OSError."""
    size = os.fstat(file.fileno()).st_size
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file.fileno(), rest) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(size)
        raise
