"""Keys from the command line to the clients of vendors: made, shown once, refused, revoked, left nowhere."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import openai
import pytest
from anthropic import Anthropic, AuthenticationError, PermissionDeniedError
from openai import OpenAI

from tests.e2e.running import PATIENCE_S, PLAIN, RunningRouter, eventually

NewRouter = Callable[..., RunningRouter]
HELLO = "Say hello."


def made(router: RunningRouter, *arguments: str) -> str:
    """The key that the command prints."""
    done = router.run("keys", "create", "--name", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n", 1)[0]


def openai_says(router: RunningRouter, key: str) -> str | None:
    client = OpenAI(base_url=f"{router.url}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S)
    answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": HELLO}])
    return answer.choices[0].message.content


def anthropic_says(router: RunningRouter, key: str) -> object:
    client = Anthropic(base_url=router.url, api_key=key, max_retries=0, timeout=PATIENCE_S)
    return client.messages.create(
        model="auto", max_tokens=20, messages=[{"role": "user", "content": HELLO}]
    ).content


def test_keys_open_a_router_on_the_network_to_their_callers_alone(new_router: NewRouter) -> None:
    router = new_router(host="0.0.0.0", log_level="debug", store_texts="true")
    refused = router.run("serve")
    assert refused.returncode == 1
    assert "`router keys create --name NAME`" in refused.stderr

    key, reader = made(router, "app"), made(router, "reader", "--scope", "read")
    router.start()

    assert openai_says(router, key)
    assert anthropic_says(router, key)
    with pytest.raises(openai.AuthenticationError):
        openai_says(router, key[:-1])
    with pytest.raises(AuthenticationError):
        anthropic_says(router, key[:-1])
    with pytest.raises(openai.PermissionDeniedError):
        openai_says(router, reader)
    with pytest.raises(PermissionDeniedError):
        anthropic_says(router, reader)
    keyless = [httpx.get(f"{router.url}{path}", **PLAIN) for path in ("/ready", "/health", "/requests")]
    assert [answer.status_code for answer in keyless] == [200, 200, 401]
    assert set(keyless[1].json()) == {"status"}

    asked = [router.run("ask", HELLO, ROUTER_API_KEY=given) for given in (key, reader)]
    assert [done.returncode for done in asked] == [0, 1]
    assert "has not the scope 'inference'" in asked[1].stderr
    assert router.run("stats", ROUTER_API_KEY=reader).returncode == 0
    assert router.run("stats").returncode == 1

    assert router.run("keys", "revoke", "app").returncode == 0
    eventually(lambda: status(router, key) == 401)
    assert "revoked" in router.run("keys", "list").stdout

    assert router.terminate() == 0
    files = [path for path in router.folder.rglob("*") if path.is_file()]
    assert any("base" in path.parts for path in files)  # the tables of PostgreSQL
    assert [path for path in files if key[3:].encode() in path.read_bytes()] == []


def status(router: RunningRouter, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{router.url}/v1/models", headers=headers, **PLAIN).status_code
