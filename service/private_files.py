"""Files and folders that only their owner may read, whatever the umask is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

FILE, FOLDER = 0o600, 0o700


def private_file(path: Path) -> IO[bytes]:
    """A file opened for reading and appending, without a buffer; created if it does not exist."""
    file = open(path, "a+b", buffering=0, opener=lambda name, flags: os.open(name, flags, FILE))  # noqa: SIM115
    os.fchmod(file.fileno(), FILE)
    return file


def private_folder(path: Path) -> Path:
    """The folder, created with those above it if it does not exist."""
    path.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    path.chmod(FOLDER)
    return path


def create_privately() -> None:
    """Have this process and those that it starts create everything for their owner alone.

    Engines and servers create files of their own, at any time.
    """
    os.umask(0o777 & ~FOLDER)


def tighten(folder: Path) -> None:
    """Take files and folders that earlier versions left open away from everybody but their owner.

    Links are not followed, and what belongs to another user stays: PostgreSQL, started by root, runs as one.
    That user must still pass through, so root leaves folders passable, but nobody can list them.
    """
    passable = 0o011 if os.geteuid() == 0 else 0
    for parent, folders, files in os.walk(folder):
        _narrow(Path(parent), FOLDER | passable)
        folders[:] = [name for name in folders if _is_own(Path(parent, name))]
        for name in files:
            if _is_own(Path(parent, name)):
                _narrow(Path(parent, name), FOLDER)


def _is_own(path: Path) -> bool:
    try:
        return not path.is_symlink() and path.stat().st_uid == os.geteuid()
    except FileNotFoundError:  # another process has just deleted it
        return False


def _narrow(path: Path, most: int) -> None:
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode & 0o777
        if mode & ~most:
            path.chmod(mode & most)
