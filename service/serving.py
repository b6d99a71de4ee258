"""Run the service: start-up text, one process or several."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypedDict

import uvicorn
from fastapi import FastAPI

from embeddings.encoder import EncoderError
from service.app import create_app
from service.arms import ArmList, choose_arms, default_arm_id
from service.errors import StartupError
from service.parts import build_encoder
from service.providers.known_models import known_models
from service.providers.simulator import SIMULATED_ARMS
from service.settings import Settings, config_path, load_settings, process_environment
from service.store.embedded import EmbeddedPostgres
from service.telemetry import MULTIPROCESS_DIR, set_up_logs

GRACE_S = 10


class _Uvicorn(TypedDict):
    host: str
    port: int
    log_level: str
    access_log: bool
    server_header: bool
    timeout_graceful_shutdown: int


def serve(settings: Settings, environ: Mapping[str, str], *, workers: int) -> None:
    """Serve until told to stop.

    Raises:
        StartupError: something is missing or misconfigured, in one line.
    """
    set_up_logs(settings.log_level, settings.log_format)
    if workers > 1:
        _require_shared_stores(settings)
    arms = choose_arms(settings, environ, known_models(), SIMULATED_ARMS)
    with _prepared(settings):
        say(banner(settings, arms))
        if workers == 1:
            server = uvicorn.Server(uvicorn.Config(create_app(settings, environ), **_uvicorn(settings)))
            server.run()
            if not server.started:
                raise StartupError(f"cannot serve on {settings.host}:{settings.port}: see above")
            return
        with tempfile.TemporaryDirectory(prefix="llm-router-metrics-") as shared:
            os.environ[MULTIPROCESS_DIR] = shared
            uvicorn.run("service.serving:worker_app", factory=True, workers=workers, **_uvicorn(settings))


def worker_app() -> FastAPI:
    """The application of one of several worker processes, which read the settings anew."""
    environ = process_environment()
    settings = load_settings(config_path(environ), environ)
    set_up_logs(settings.log_level, settings.log_format)
    return create_app(settings, environ)


def say(text: str) -> None:
    """Tell the operator something at the start."""
    print(text, flush=True)  # noqa: T201


def banner(settings: Settings, arms: ArmList) -> str:
    """Where it listens, which models it uses, where data is kept."""
    lines = [f"LLM Router on http://{settings.host}:{settings.port}  (API documentation at /docs)"]
    if arms.is_simulated:
        lines.append(
            "Models: SIMULATED, no provider key is set; answers are made up. "
            "Set OPENROUTER_API_KEY, OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, here or in .env."
        )
    default = default_arm_id(settings, arms.arms)
    for arm in arms.arms:
        price = f"${arm.price.input:f} in, ${arm.price.output:f} out per million tokens"
        lines.append(f"  {arm.arm_id}  {price}{'  (default)' if arm.arm_id == default else ''}")
    lines += [f"  left out: {reason}" for reason in arms.left_out]
    kept = settings.data_dir.resolve() if settings.enable_persistence else "a temporary folder"
    lines.append(
        f"PostgreSQL: {'server at DATABASE_URL' if settings.database_url else f'embedded, in {kept}'}"
    )
    lines.append(f"Qdrant: {settings.qdrant_url or f'embedded, in {kept}'}")
    return "\n".join(lines)


@contextmanager
def _prepared(settings: Settings) -> Iterator[None]:
    """Build what must be built once, showing progress, and keep the embedded PostgreSQL up meanwhile.

    Worker processes attach to what is there already; the server stops when the last one has left.
    """

    def progress(message: str) -> None:
        say(f"  {message} ...")

    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        build_encoder(settings, progress)
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
        raise StartupError("--workers above 1 needs ENABLE_PERSISTENCE: workers share what is learned")


def _uvicorn(settings: Settings) -> _Uvicorn:
    return {
        "host": settings.host,
        "port": settings.port,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": GRACE_S,
    }
