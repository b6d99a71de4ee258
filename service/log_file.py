"""A log file that rotates, and that several processes may write."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import sys
from dataclasses import dataclass
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

AUTO = "auto"
NAME = "router.log"
APPLICATION = "llm-router"


@dataclass(frozen=True, slots=True)
class LogFile:
    """Where the log is kept.

    Args:
        place: its path; `auto`: the platform's usual place for logs of the user.
        max_bytes: its size, from which on it is rotated.
        n_older: number of older files that are kept, as `NAME.1` to `NAME.n`.
    """

    place: str
    max_bytes: int
    n_older: int

    @property
    def path(self) -> Path:
        """Where the log is, absolutely."""
        if self.place != AUTO:
            return Path(self.place).expanduser().absolute()
        from platformdirs import user_log_path  # only those who ask for its place need it

        return user_log_path(APPLICATION, appauthor=False) / NAME


class SharedLogFile(RotatingFileHandler):
    """Appends lines, and rotates the file once it is full.

    Lines of several processes do not mix, because each is one write at the end of the file.
    One process rotates, and the others see by the file's number that theirs has moved.
    None waits for another.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, file: LogFile) -> None:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        self._fails = False
        super().__init__(file.path, maxBytes=file.max_bytes, backupCount=file.n_older, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        fails_before, self._fails = self._fails, False
        try:
            self._follow()
            super().emit(record)
        except OSError:
            self.handleError(record)
        if self._fails and not fails_before:
            sys.stderr.write(f"router: LOG_FILE: cannot write {self.baseFilename}\n")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name of the standard library
        """Remember that the file cannot be written: `emit` says so once, and the log goes on elsewhere."""
        self._fails = True

    def doRollover(self) -> None:  # noqa: N802
        """Rotate, unless another process does at this moment, or has just done so."""
        folder = os.open(Path(self.baseFilename).parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._follow():
                super().doRollover()
        except BlockingIOError:
            pass
        finally:
            os.close(folder)

    def _follow(self) -> bool:
        """Open the file of that name again if ours is another one by now; return whether it was."""
        try:
            named = os.stat(self.baseFilename)
        except FileNotFoundError:
            named = None
        ours = os.fstat(self.stream.fileno()) if self.stream else None
        if named is not None and ours is not None and os.path.samestat(named, ours):
            return False
        if self.stream:
            self.stream.close()
            self.stream = None  # as the standard library marks a closed file
        self.stream = self._open()
        return True

    def _open(self) -> TextIOWrapper:
        """Open the file for its owner alone: log lines name models, conversations and addresses."""
        file = open(  # noqa: SIM115  # the handler closes it
            self.baseFilename,
            "a",
            encoding=self.encoding,
            opener=lambda name, flags: os.open(name, flags, 0o600),
        )
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # not a device such as /dev/null
            os.fchmod(file.fileno(), 0o600)
        return file
