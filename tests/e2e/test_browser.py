"""What a page in a real browser can do to the router on the same machine."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.clients.conftest import needs
from tests.e2e.browser import chromium, page_server, seen_by_a_page, shown_by
from tests.e2e.running import RunningRouter
from tests.ports import free_port

KEY = "sk-operator"
UNREADABLE = {"blocked", "opaque", "sent true", "sent false"}


@contextmanager
def provider() -> Iterator[tuple[str, list[str]]]:
    """A provider's base URL, and the keys that it was sent."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys.append(self.headers.get("Authorization", ""))
            body = json.dumps({"choices": [{"message": {"role": "assistant", "content": "Hi"}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", keys
        server.shutdown()


def added_model(base_url: str) -> str:
    """A model that sends the operator's key to a server of the page."""
    entry = {
        "id": "added",
        "provider": "openai",
        "model": "x",
        "base_url": base_url,
        "api_key_env": "CORP_KEY",
    }
    return json.dumps(entry)


@pytest.fixture(scope="module")
def router(workplace: Path, encoder_folder: Path) -> Iterator[RunningRouter]:
    """A router with a model that has a key; it knows one page and one name."""
    needs(None if chromium() else "there is no chromium on this machine")
    folder = Path(tempfile.mkdtemp(dir=workplace))
    (folder / "data").mkdir()
    (folder / "data" / "encoder").symlink_to(encoder_folder)
    with provider() as (base_url, _):
        model = {"id": "local", "provider": "openai", "model": "x", "base_url": base_url}
        entry = {**model, "api_key_env": "CORP_KEY", "price": {"input": 1, "output": 1}}
        (folder / "models.json").write_text(json.dumps({"models": [entry]}))
        settings = {
            "DATA_DIR": str(folder / "data"),
            "CONFIG_FILE": str(folder / "models.json"),
            "CORP_KEY": KEY,
            "ALLOWED_HOSTS": "known.example",
            "CORS_ORIGINS": f"http://known.example:{free_port()}",
        }
        running = RunningRouter(folder, settings)
        running.start()
        assert running.ask("answered", "Hi").status_code == 200
        yield running
        running.clean_up()


FEEDBACK = json.dumps({"request_id": "answered", "score": 0.125})


def state(router: RunningRouter) -> object:
    """Everything that a page may try to change."""
    return router.get("/admin/models"), router.get("/requests/answered")["feedback"]


def test_a_page_of_another_origin_reads_and_changes_nothing(router: RunningRouter) -> None:
    before = state(router)

    with provider() as (own_server, keys):
        pages = page_server(router.url, added_model(own_server), FEEDBACK)
        with pages as served:
            seen = seen_by_a_page(served, "evil.example")

    assert {way: text for way, text in seen.items() if text not in UNREADABLE} == {}
    assert state(router) == before
    assert keys == []


def test_a_page_whose_name_is_pointed_to_this_machine_reads_and_changes_nothing(
    router: RunningRouter,
) -> None:
    before = state(router)
    own_origin = f"http://127.evil.example:{router.port}"

    with provider() as (own_server, keys):
        pages = page_server(
            own_origin, added_model(own_server), FEEDBACK, port=router.port, rebound_port=router.port
        )
        with pages as served:
            seen = seen_by_a_page(served, "127.evil.example")

    readable = {way: text for way, text in seen.items() if text not in UNREADABLE}
    assert readable  # the page has the origin of the router, and reads its refusals
    assert [text for text in readable.values() if '"host_not_allowed"' not in text] == []
    assert state(router) == before
    assert keys == []


def test_the_routers_own_page_reads_the_list_of_paths(router: RunningRouter) -> None:
    page = shown_by(f"{router.url}/docs")

    assert "/v1/chat/completions" in page
    assert "Failed to load API definition" not in page


def test_a_page_that_the_operator_allows_reads_and_rates(router: RunningRouter) -> None:
    port = int(router.environ["CORS_ORIGINS"].rpartition(":")[2])

    with page_server(router.url, added_model(router.url), FEEDBACK, port=port) as pages:
        seen = seen_by_a_page(pages, "known.example")

    assert seen["read by fetch"].startswith("200 ")
    assert seen["rate by fetch"].startswith("202 ")
    assert "may go only where the configuration sends it" in seen["add a model by fetch"]
    assert seen["rate by a form"] == "opaque"
    assert seen["read from a sandboxed frame"] == "blocked"
    assert router.get("/requests/answered")["feedback"][-1]["score"] == 0.125


def test_a_name_that_the_operator_lists_is_the_routers(router: RunningRouter) -> None:
    own_origin = f"http://known.example:{router.port}"

    pages = page_server(
        own_origin, added_model(own_origin), FEEDBACK, port=router.port, rebound_port=router.port
    )
    with pages as served:
        seen = seen_by_a_page(served, "known.example")

    assert seen["read by fetch"].startswith("200 ")
    assert "must be application/json, got 'text/plain'" in seen["add a model by a form"]
