"""Every feature of every client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.conftest import needs
from tests.clients.features import SEEN
from tests.clients.registry import CLIENTS

MATRIX = [(client.name, feature) for client in CLIENTS.values() for feature in client.features]


@pytest.mark.parametrize(("name", "feature"), MATRIX, ids=lambda value: value)
def test_a_client_sees_what_it_should(name: str, feature: str, request: pytest.FixtureRequest) -> None:
    needs(CLIENTS[name].program.missing())
    seen: Callable[[str], dict[str, Any]] = request.getfixturevalue("seen")

    assert seen(name)[feature] == SEEN[feature]
