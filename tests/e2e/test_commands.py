"""The commands that show what a running router knows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.e2e.conftest import NewRouter
from tests.e2e.running import RunningRouter, eventually


class Provider(HTTPServer):
    """A provider that rejects every key."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class RejectsKeys(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(("127.0.0.1", 0), RejectsKeys) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


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


def test_a_question_is_answered_from_the_shell(serve: Serve) -> None:
    router = serve(llm_models="sim-small,sim-large")

    plain = router.run("ask", "What is a bandit?", "--model", "sim-large", "--system", "Be brief.")
    streamed = router.run("ask", "What is a bandit?", "--stream")
    whole = json.loads(router.run("ask", "What is a bandit?", "--json", "--url", router.url).stdout)

    assert "[simulated]" in plain.stdout
    assert plain.stderr.startswith("sim-large, pinned, $")
    assert "[simulated]" in streamed.stdout
    assert whole["choices"][0]["message"]["role"] == "assistant"


def test_a_question_that_cannot_be_asked_is_reported(serve: Serve) -> None:
    router = serve(llm_models="sim-small,sim-large")

    unknown = router.run("ask", "Hello", "--model", "nonesuch")
    nowhere = router.run("ask", "Hello", "--url", "http://127.0.0.1:9")
    empty = router.run("ask", "-")

    assert (unknown.returncode, nowhere.returncode, empty.returncode) == (1, 1, 2)
    assert "nonesuch" in unknown.stderr
    assert "no router answers at http://127.0.0.1:9" in nowhere.stderr
    assert "must have a text" in empty.stderr


def test_a_wrong_admin_key_is_reported(serve: Serve) -> None:
    router = serve(admin_key=ADMIN_KEY)

    refused = router.run("models", ADMIN_KEY="another-key-than-that")

    assert refused.returncode == 1
    assert "or the ADMIN_KEY" in refused.stderr


def test_a_router_serves_on_the_port_of_its_option(new_router: NewRouter) -> None:
    router = new_router(port="9")
    router.arguments = ("--port", str(router.port), "--host", "localhost")

    router.start()

    assert f"http://localhost:{router.port} " in router.stdout


def test_a_wrong_provider_key_shows_in_check_and_in_health(serve: Serve, provider: Provider) -> None:
    names = {"openai_base_url": provider.base_url, "llm_models": "openai/gpt-4o"}
    router = serve(openai_api_key="sk-wrong", **names)

    eventually(lambda: any("rejects the key" in text for text in router.get("/health")["warnings"]))
    checked = router.run("check", "--probe")
    unprobed = router.run("check")

    assert router.get("/backends/status")["models"][0]["key"]["state"] == "rejected"
    assert "key_rejected" in router.stderr
    assert checked.returncode == 1
    assert "error: openai/gpt-4o: the provider rejects the key" in checked.stdout
    assert "key in OPENAI_API_KEY: rejected" in checked.stdout
    assert unprobed.returncode == 0
    assert "sk-wrong" not in checked.stdout + router.stderr
