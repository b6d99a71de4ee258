"""The commands that show what a running router knows."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.e2e.conftest import NewRouter
from tests.e2e.running import RunningRouter

Serve = Callable[..., RunningRouter]
ADMIN_KEY = "a-key-for-administrators"


def test_models_and_stats_show_what_was_asked_and_rated(serve: Serve) -> None:
    router = serve(admin_key=ADMIN_KEY, llm_models="sim-small,sim-large")
    assert router.ask("r-1", "hello", model="sim-large").status_code == 200
    assert router.rate("r-1", 0.75).status_code == 202

    models, stats = router.run("models"), router.run("stats", "--days", "1")

    lines = {line.split()[0]: line.split() for line in models.stdout.splitlines()}
    assert lines.keys() == {"model", "sim-small", "sim-large"}
    assert "0.75" in lines["sim-large"]
    assert lines["sim-large"][2] == lines["sim-small"][2] == "active"
    counted = {line.split()[0]: line.split() for line in stats.stdout.splitlines()}
    assert counted["sim-large"][:3] == ["sim-large", "1", "0"]
    assert counted["all"][-1] == "0.75"


def test_models_and_stats_print_json(serve: Serve) -> None:
    router = serve(llm_models="sim-small,sim-large")

    models = json.loads(router.run("models", "--json").stdout)
    stats = json.loads(router.run("stats", "--json").stdout)

    assert [model["id"] for model in models] == ["sim-small", "sim-large"]
    assert stats["total"]["requests"] == 0


def test_a_wrong_admin_key_is_reported(serve: Serve) -> None:
    router = serve(admin_key=ADMIN_KEY)

    refused = router.run("models", ADMIN_KEY="another-key-than-that")

    assert refused.returncode == 1
    assert "needs the ADMIN_KEY" in refused.stderr


def test_a_router_serves_on_the_port_of_its_option(new_router: NewRouter) -> None:
    router = new_router(port="9")
    router.arguments = ("--port", str(router.port), "--host", "localhost")

    router.start()

    assert f"http://localhost:{router.port} " in router.stdout
