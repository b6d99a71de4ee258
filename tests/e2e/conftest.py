"""Routers as processes, each on a data directory of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from service.bootstrap.basics import no_progress
from service.bootstrap.vectors import build_encoder
from service.commands.jobs.replay.demo import DEMO_FILE
from service.commands.jobs.replay.outcomes import Outcomes, read_outcomes
from service.settings.settings import Settings
from tests.e2e.running import RunningRouter, eventually, processes_of
from tests.integration.postgres_server import postgres_bin, postgres_server
from tests.integration.qdrant_server import qdrant_binary, qdrant_server

__all__ = ["postgres_bin", "postgres_server", "qdrant_binary", "qdrant_server"]


class NewRouter(Protocol):
    """Makes a router without starting it; settings by their environment names in lower case."""

    def __call__(self, *arguments: str, **environ: str) -> RunningRouter: ...


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """A folder for all routers; at the end no process may be left in it.

    It is not one of pytest's folders: under root, PostgreSQL runs as another user, who cannot open those.
    """
    folder = Path(tempfile.mkdtemp(prefix="router-e2e-"))
    yield folder
    eventually(lambda: processes_of(folder) == [])
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def encoder_folder(workplace: Path) -> Path:
    """MiniLM, built once for all routers that compare meanings."""
    build_encoder(Settings(data_dir=workplace, embedding_backend="minilm"), {}, no_progress)
    return workplace / "encoder"


@pytest.fixture
def new_router(workplace: Path, encoder_folder: Path) -> Iterator[NewRouter]:
    with ExitStack() as stack:

        def make(*arguments: str, **environ: str) -> RunningRouter:
            folder = Path(tempfile.mkdtemp(dir=workplace))
            data_dir = folder / "data"
            data_dir.mkdir()
            (data_dir / "encoder").symlink_to(encoder_folder)
            settings = {name.upper(): value for name, value in environ.items()}
            router = RunningRouter(folder, {"DATA_DIR": str(data_dir), **settings}, arguments)
            stack.callback(router.clean_up)
            return router

        yield make


@pytest.fixture
def serve(new_router: NewRouter) -> Callable[..., RunningRouter]:
    """Start a router."""

    def start(*arguments: str, **environ: str) -> RunningRouter:
        router = new_router(*arguments, **environ)
        router.start()
        return router

    return start


@pytest.fixture(scope="session")
def outcomes() -> Outcomes:
    return read_outcomes(DEMO_FILE)
