from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import uvicorn

from service.arms.breaker import Breaker
from service.arms.catalog import Catalog
from service.arms.configured import ArmList
from service.arms.lifecycle import current_arms
from service.arms.unknown_prices import price_warnings
from service.commands.jobs.server import _uvicorn, banner
from service.domain.arm import FREE, Arm, Price
from service.domain.registration import ArmRegistration, ArmState
from service.settings.settings import Settings
from tests.fakes import FixedClock
from tests.service.world import ARMS

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def registration(arm_id: str, state: ArmState = "active", price: Price | None = None) -> ArmRegistration:
    return ArmRegistration(arm_id, NOW, NOW, state=state, price=price)


def test_the_start_up_text_shows_the_models_as_they_stand_now() -> None:
    known = {
        "small": registration("small", price=Price(Decimal("0.2"), Decimal(0))),
        "medium": registration("medium", "retired"),
        "added": replace(
            registration("added", "draining"), entry={"id": "added", "provider": "simulator", "model": "m"}
        ),
    }
    local = Arm("local", "openai", "llama", price=FREE)
    catalog = Catalog((*ARMS, local), "medium", Breaker(FixedClock()))
    catalog.put(current_arms((*ARMS, local), known), known)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        text = banner(Settings(), ArmList(ARMS), catalog, listener)

    assert [line for line in text.splitlines() if line.startswith("  ")] == [
        "  small  $0.2 in, $0 out per million tokens",
        "  large  $2 in, $8 out per million tokens",
        "  local  free",
        "  added  price UNKNOWN  (draining)",
        "  medium  $0.5 in, $2 out per million tokens  (default, retired)",
        *(f"  WARNING: {warning}" for warning in price_warnings(catalog.unpriced)),
    ]
    assert [arm.arm_id for arm in catalog.unpriced] == ["added"]


def test_idle_connections_are_left_to_clients_and_proxies_to_close() -> None:
    """Else a request may be sent into a connection that is just being closed: httpx keeps them for 5 s,
    as uvicorn does unless told otherwise, aiohttp for 15 s, load balancers commonly for 60 s."""
    config = uvicorn.Config("", **_uvicorn(Settings()))

    assert config.timeout_keep_alive > 60
