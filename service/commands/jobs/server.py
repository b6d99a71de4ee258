"""Run the service: start-up text, one process or several."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypedDict

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from embeddings.encoder import EncoderError
from service.api.connections import IDLE_S, Connections
from service.app import create_app, in_front
from service.arms.catalog import Catalog
from service.arms.configured import ArmList, choose_arms
from service.arms.known_models import known_models
from service.arms.relayed_models import choose_relayed_models
from service.arms.unknown_prices import price_warnings
from service.bootstrap.access import require_callers
from service.bootstrap.open import open_parts
from service.bootstrap.vectors import build_encoder
from service.commands.jobs.price_text import price_text
from service.domain.arm import Arm
from service.domain.hosts import Origin
from service.errors import StartupError
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.environment import Environment
from service.settings.load import config_path, load_settings, process_environment
from service.settings.settings import Settings
from service.settings.unknown_variables import unknown_variables
from service.store.connection.embedded import EmbeddedPostgres
from service.telemetry import MULTIPROCESS_DIR, set_up_logs

log = structlog.get_logger(__name__)

GRACE_S = 10
COLLECT_AFTER = (5_000, 2, 10)  # new objects; collections of these; collections of those


class _Uvicorn(TypedDict):
    http: Any
    ws: Literal["none"]
    host: str
    port: int
    log_level: str
    access_log: bool
    server_header: bool
    timeout_keep_alive: int
    timeout_graceful_shutdown: int


def serve(settings: Settings, environ: Environment, *, workers: int) -> None:
    """Serve until told to stop, by Ctrl-C or SIGTERM.

    Raises:
        StartupError: something is missing or misconfigured, in one line.
    """
    if workers < 1:
        raise StartupError(f"--workers must be at least 1, got {workers}")
    if workers > 1:
        _require_shared_stores(settings)
    choose_arms(settings, environ, known_models(), SIMULATED_ARMS)  # reports faults before anything is built
    choose_relayed_models(settings, environ)
    for unknown in unknown_variables(environ, settings):
        log.warning("variable_unknown", name=unknown.name, did_you_mean=unknown.meant, where=unknown.where)
    with _interrupted_by_signals(), _bound(settings) as listener, _prepared(settings, environ):
        if workers == 1:
            config = uvicorn.Config("", **_uvicorn(settings))
            with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                runner.run(_serve_alone(settings, environ, listener))
            return
        say(banner(settings, *asyncio.run(_try_out(settings, environ)), listener))
        with tempfile.TemporaryDirectory(prefix="llm-router-metrics-") as shared:
            os.environ[MULTIPROCESS_DIR] = shared
            config = uvicorn.Config(
                "service.commands.jobs.server:worker_app", factory=True, workers=workers, **_uvicorn(settings)
            )
            Multiprocess(config, [listener]).run()


async def _serve_alone(settings: Settings, environ: Mapping[str, str], listener: socket.socket) -> None:
    async with open_parts(settings, environ) as parts:
        require_callers(settings, parts.keyring)
        app = in_front(create_app(settings, environ, parts), settings)
        server = uvicorn.Server(uvicorn.Config(app, **_uvicorn(settings)))
        keep_for_good()
        say(banner(settings, parts.arms, parts.catalog, listener))
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal that ended it once more
            await server.serve([listener])


async def _try_out(settings: Settings, environ: Mapping[str, str]) -> tuple[ArmList, Catalog]:
    """Open everything that a worker opens, so that an error is reported once. Returns the workers' arms."""
    async with open_parts(settings, environ) as parts:
        require_callers(settings, parts.keyring)
        return parts.arms, parts.catalog


def worker_app() -> ASGIApp:
    """The application of one of several worker processes, which read the settings themselves."""
    _end_with_the_parent()
    environ = process_environment()
    settings = load_settings(config_path(environ), environ)
    set_up_logs(settings.log_level, settings.log_format, settings.kept_log)
    return in_front(create_app(settings, environ, on_start=keep_for_good), settings)


def _end_with_the_parent() -> None:
    """End this worker when its parent is gone, however it ended: an orphan would hold the address.

    The parent need not do anything: the kernel closes its end of a pipe.
    """
    if (parent := multiprocessing.parent_process()) is None:  # a test calls this
        return

    def end() -> None:
        parent.join()
        log.error("parent_gone", pid=parent.pid)
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=end, name="parent", daemon=True).start()


def keep_for_good() -> None:
    """Spare the garbage collector what was built at the start, which stays until the end.

    A full collection stops the process for as long as it takes to visit every object: 160,000 of the start,
    and many more where LiteLLM is used. The first collection of an object waits until most requests are over
    that were under way when it was made, and most objects gone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def say(text: str) -> None:
    """Print a line for the operator at the start."""
    print(text, flush=True)  # noqa: T201


def banner(settings: Settings, arms: ArmList, catalog: Catalog, listener: socket.socket) -> str:
    """The start-up text: the address, the models with their prices and states, and where data is kept."""
    port = listener.getsockname()[1]
    url = Origin("http", settings.host, port)
    lines = [f"LLM Router on {url}  (API documentation at /docs)"]
    if arms.is_simulated:
        lines.append(
            "Models: SIMULATED, no provider key is set; answers are made up. "
            "Set OPENROUTER_API_KEY, OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, here or in .env."
        )
    lines += [_line_of(arm, catalog) for arm in (*catalog.arms, *catalog.aside)]
    lines += [f"  WARNING: {warning}" for warning in (*arms.notes, *price_warnings(catalog.unpriced))]
    lines += [f"  left out: {reason}" for reason in arms.left_out]
    kept = settings.data_dir.resolve() if settings.enable_persistence else "a temporary folder"
    lines.append(
        f"PostgreSQL: {'server at DATABASE_URL' if settings.database_url else f'embedded, in {kept}'}"
    )
    lines.append(f"Qdrant: {'server at QDRANT_URL' if settings.qdrant_url else f'embedded, in {kept}'}")
    return "\n".join(lines)


def _line_of(arm: Arm, catalog: Catalog) -> str:
    price = price_text(arm.price)
    notes = ["default"] if arm.arm_id == catalog.default_arm_id else []
    notes += [state] if (state := catalog.state(arm)) != "active" else []
    return f"  {arm.arm_id}  {price}" + (f"  ({', '.join(notes)})" if notes else "")


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: an exception, so that everything open is closed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """Bind the address before anything slow is done; clients can connect once the server listens."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise StartupError(
                f"cannot serve on {settings.host}:{settings.port}: {error.strerror}"
            ) from error
        yield listener


@contextmanager
def _prepared(settings: Settings, environ: Mapping[str, str]) -> Iterator[None]:
    """Build the encoder and start the embedded PostgreSQL, with progress, before any worker starts.

    Worker processes attach to the running PostgreSQL; it stops when the last process has left.
    """

    def progress(message: str) -> None:
        say(f"  {message} ...")

    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        build_encoder(settings, environ, progress)
    except OSError as error:
        raise StartupError(f"DATA_DIR: cannot write {settings.data_dir}: {error.strerror}") from error
    except EncoderError as error:
        raise StartupError(f"EMBEDDING_BACKEND {settings.embedding_backend}: {error}") from error
    if settings.database_url is not None or not settings.enable_persistence:
        yield
        return
    postgres = EmbeddedPostgres(settings.data_dir)
    postgres.start(progress)
    try:
        yield
    finally:
        postgres.stop()


def _require_shared_stores(settings: Settings) -> None:
    if settings.qdrant_url is None:
        raise StartupError(
            "--workers above 1 needs QDRANT_URL: the embedded Qdrant engine belongs to a single process"
        )
    if not settings.enable_persistence:
        raise StartupError("--workers above 1 needs ENABLE_PERSISTENCE: workers share the evidence")


def _uvicorn(settings: Settings) -> _Uvicorn:
    return {
        "http": Connections(settings.max_connections).protocol,
        "ws": "none",  # no path has web sockets
        "host": settings.host,
        "port": settings.port,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": IDLE_S,
        "timeout_graceful_shutdown": GRACE_S,
    }
