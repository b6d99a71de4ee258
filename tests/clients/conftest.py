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

from tests.clients.registry import CLIENTS
from tests.clients.upstream import ScriptedUpstream, scripted_upstream
from tests.e2e.conftest import encoder_folder, workplace
from tests.e2e.running import RunningRouter

__all__ = ["encoder_folder", "workplace"]


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def router(workplace: Path, encoder_folder: Path, upstream: ScriptedUpstream) -> Iterator[RunningRouter]:
    """One router for all clients, with two models for each client."""
    folder = Path(tempfile.mkdtemp(dir=workplace))
    (folder / "data").mkdir()
    (folder / "data" / "encoder").symlink_to(encoder_folder)
    models = [_arm(name, upstream.base_url) for client in CLIENTS.values() for name in client.models]
    config = folder / "clients.json"  # JSON is YAML
    config.write_text(json.dumps({"models": models}))
    running = RunningRouter(folder, {"DATA_DIR": str(folder / "data"), "CONFIG_FILE": str(config)})
    running.start()
    yield running
    running.clean_up()


def _arm(name: str, base_url: str) -> dict[str, Any]:
    return {
        "id": name,
        "provider": "openai",
        "base_url": base_url,
        "model": name,
        "price": {"input": 1, "output": 2},
        "capabilities": ["tools", "json_schema"],
    }


@pytest.fixture(scope="session")
def seen(router: RunningRouter) -> Callable[[str], dict[str, Any]]:
    """Runs a client's program once, and returns what it saw."""
    return cache(lambda name: CLIENTS[name].run(router.url))


def needs(missing: str | None) -> None:
    """Skip the test if something is missing; fail it on CI."""
    if missing is not None and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing is not None:
        pytest.skip(missing)
