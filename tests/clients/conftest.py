"""A router as a process, its provider, and the results of each client."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from service.domain.basics import Json
from tests.clients.arms import KEY_VARIABLE, configured, models_of
from tests.clients.registry import CLIENTS
from tests.clients.results import record
from tests.clients.upstream import ScriptedUpstream, scripted_upstream
from tests.e2e.conftest import encoder_folder, workplace
from tests.e2e.running import RunningRouter

__all__ = ["encoder_folder", "workplace"]

StartRouter = Callable[[list[Json]], RunningRouter]


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def start_router(workplace: Path, encoder_folder: Path) -> Iterator[StartRouter]:
    routers: list[RunningRouter] = []

    def start(models: list[Json]) -> RunningRouter:
        folder = Path(tempfile.mkdtemp(dir=workplace))
        (folder / "data").mkdir()
        (folder / "data" / "encoder").symlink_to(encoder_folder)
        config = folder / "clients.json"  # JSON is YAML
        config.write_text(json.dumps({"models": models}))
        # Models that failed in an earlier feature may be worth leaving. Only recognition is tested here.
        stays = {"SESSION_SWITCH_MARGIN": "100"}
        environ = {"DATA_DIR": str(folder / "data"), "CONFIG_FILE": str(config), KEY_VARIABLE: "any", **stays}
        routers.append(RunningRouter(folder, environ))
        routers[-1].start()
        return routers[-1]

    yield start
    for router in routers:
        router.clean_up()


@pytest.fixture(scope="session")
def shared_router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """One router for the clients of every run, with models of its own for each."""
    clients = [client for client in CLIENTS.values() if client.every_run]
    return start_router([model for client in clients for model in configured(client.key, upstream)])


@pytest.fixture(scope="session")
def seen(
    request: pytest.FixtureRequest, start_router: StartRouter, upstream: ScriptedUpstream
) -> Callable[[str], dict[str, Any]]:
    """Runs a client's program once, and returns what it saw."""

    @cache
    def run(name: str) -> dict[str, Any]:
        client = CLIENTS[name]
        if client.every_run:
            router: RunningRouter = request.getfixturevalue("shared_router")
        else:
            router = start_router(configured(client.key, upstream))
        seen = client.run(router.url, models_of(client.key), upstream.url)
        record(client, seen)
        if not client.every_run:
            router.clean_up()
        return seen

    return run


def needs(missing: str | None) -> None:
    """Skip the test if something is missing; fail it on CI."""
    if missing is not None and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing is not None:
        pytest.skip(missing)
