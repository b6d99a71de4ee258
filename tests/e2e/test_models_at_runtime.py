"""Models that are added, re-priced and retired at runtime, as every replica and the next start see them."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from service.domain.basics import Json
from tests.e2e.running import PLAIN, RunningRouter, eventually
from tests.integration.postgres_server import PostgresServer

Serve = Callable[..., RunningRouter]
KEY = "a key of the operator"
HEADERS = {"Authorization": f"Bearer {KEY}"}
NEW = {
    "id": "sim-new",
    "provider": "simulator",
    "model": "sim-small",
    "price": {"input": 1, "output": 4},
}


def test_every_replica_follows_within_a_second(serve: Serve, postgres_server: PostgresServer) -> None:
    stores = {"database_url": postgres_server.dsn, "admin_key": KEY}
    one, other = serve(**stores), serve(**stores)

    assert admin(one, "POST", "", NEW).status_code == 201
    within_a_second(lambda: "sim-new" in candidates(other))
    assert other.ask("a", "Hi", model="sim-new").headers["x-router-model"] == "sim-new"

    billed = shown(one)["evidence"]["mean_cost_usd"]
    expected = candidates(other)["sim-new"]  # the replica that answered knows its answer at once
    assert admin(other, "PATCH", "/sim-new", {"price": {"input": 10, "output": 40}}).status_code == 200
    within_a_second(lambda: abs(candidates(one)["sim-new"] - 10 * expected) < 1e-9)
    assert abs(shown(one)["evidence"]["mean_cost_usd"] - 10 * billed) < 1e-12

    assert admin(one, "DELETE", "/sim-new").status_code == 200
    within_a_second(lambda: other.ask("gone", "Hi", model="sim-new").status_code == 404)
    assert other.rate("a", 0.5).json()["status"] == "applied"
    assert shown(one)["evidence"]["n_rated"] == 1


def test_a_restart_keeps_changes_made_at_runtime(serve: Serve) -> None:
    router = serve(admin_key=KEY)
    admin(router, "POST", "", {**NEW, "shadow": {"share": 1, "usd_per_day": 1}})
    admin(router, "PATCH", "/sim-large", {"state": "draining", "price": {"input": 9, "output": 9}})
    router.ask("a", "Hi")
    eventually(lambda: router.get("/requests/a")["shadow"])

    router.restart()

    known = listed(router)
    assert (known["sim-new"]["state"], known["sim-new"]["shadow"]["calls"]) == ("shadow", 1)
    assert (known["sim-large"]["state"], known["sim-large"]["price"]["input"]) == ("draining", 9)
    assert not {"sim-new", "sim-large"} & candidates(router).keys()
    assert router.terminate() == 0
    assert "evidence: 0 differences found" in router.run("rebuild", "--check").stdout


def within_a_second(condition: Callable[[], object]) -> None:
    eventually(condition, within_s=1.0)


def admin(router: RunningRouter, method: str, path: str, body: Json | None = None) -> httpx.Response:
    url = f"{router.url}/admin/models{path}"
    return httpx.request(method, url, json=body, headers=HEADERS, **PLAIN)


def listed(router: RunningRouter) -> dict[str, Json]:
    return {model["id"]: model for model in admin(router, "GET", "").json()["data"]}


def shown(router: RunningRouter) -> Json:
    return listed(router)["sim-new"]


def candidates(router: RunningRouter) -> dict[str, float]:
    """The expected dollars of each arm."""
    return {c["model"]: c["expected_cost_usd"] for c in router.route("Hi")["candidates"]}
