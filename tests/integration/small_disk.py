"""A file system that is soon full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

CHUNK = bytes(64 * 1024)


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs of a few megabytes, which a test can fill."""

    path: Path

    def fill(self) -> None:
        """Write until nothing more fits, as another program's log does."""
        with (self.path / "filler").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(CHUNK)
        for n_bytes in (4096, 1):
            with (self.path / "filler").open("ab", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(CHUNK[:n_bytes])

    def free(self) -> None:
        os.unlink(self.path / "filler")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Skipped where the tests may not mount a file system."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=1777", "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)
