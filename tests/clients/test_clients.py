"""Every feature of every client: of those of every run, or of those that CLIENTS names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.conftest import needs
from tests.clients.features import SEEN
from tests.clients.registry import CLIENTS, Client


def chosen(names: str) -> list[Client]:
    """The clients of every run (names: empty), all, or those whose names contain one of the names."""
    parts = [part.strip().lower() for part in names.split(",")]
    return [
        client
        for client in CLIENTS.values()
        if names == "all"
        or (client.every_run if not names else any(part in client.name.lower() for part in parts))
    ]


MATRIX = [
    (client.name, feature) for client in chosen(os.environ.get("CLIENTS", "")) for feature in client.features
]


@pytest.mark.parametrize(("name", "feature"), MATRIX, ids=lambda value: value)
def test_a_client_sees_what_it_should(name: str, feature: str, request: pytest.FixtureRequest) -> None:
    needs(CLIENTS[name].program.missing())
    seen: Callable[[str], dict[str, Any]] = request.getfixturevalue("seen")

    assert seen(name)[feature] == SEEN[feature]
