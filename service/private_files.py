"""Files and folders that only their owner may read, whatever the umask is."""

from __future__ import annotations

import os
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
