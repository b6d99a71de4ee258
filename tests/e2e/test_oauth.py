"""A login by OAuth in a real router: it outlives a restart, and its tokens are in no log and on no disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx

from service.domain.basics import Json
from tests.e2e.running import PLAIN, RunningRouter
from tests.keyed_upstream import TEXT, KeyedUpstream
from tests.oauth_server import CLIENT_SECRET, OAuthServer

Serve = Callable[..., RunningRouter]
VENDOR = {"provider": "vendor"}
ASKED = [{"role": "user", "content": "What is a bandit?"}]


async def test_a_login_outlives_a_restart_and_its_tokens_leave_no_trace(
    serve: Serve, workplace: Path
) -> None:
    async with KeyedUpstream({}) as upstream, OAuthServer(upstream.keys) as server:
        base_url = f"{upstream.origin}/v1"
        large = {"id": "large", "provider": "openai", "model": "large", "base_url": base_url}
        models = [large | {"price": "free", "auth": "vendor"}]
        config = workplace / "oauth.json"  # JSON is YAML
        config.write_text(
            json.dumps({"models": models, "providers_auth": {"vendor": server.settings(base_url)}})
        )
        router = await asyncio.to_thread(
            serve, config_file=str(config), oauth_secret=CLIENT_SECRET, log_level="debug", store_texts="true"
        )
        async with httpx.AsyncClient(base_url=router.url, **PLAIN) as http:
            before = await http.post("/v1/chat/completions", json={"messages": ASKED})
            begun: Json = (await http.post("/oauth/authorize", json=VENDOR)).json()
            assert begun["redirect_url"] == f"{router.url}/oauth/callback"
            await http.get(await server.approve(begun["authorize_url"]))
            first = await http.post("/v1/chat/completions", json={"messages": ASKED})
        await asyncio.to_thread(router.restart)
        async with httpx.AsyncClient(base_url=router.url, **PLAIN) as http:
            second = await http.post("/v1/chat/completions", json={"messages": ASKED})
            upstream.keys.clear()
            third = await http.post("/v1/chat/completions", json={"messages": ASKED})
            server.refresh_tokens.clear()
            upstream.keys.clear()
            await http.post("/v1/chat/completions", json={"messages": ASKED})
            status = (await http.get("/oauth/status")).json()["providers"][0]
        assert await asyncio.to_thread(router.terminate) == 0

    assert (before.status_code, "log in at" in before.text) == (400, True)
    assert [TEXT in answer.text for answer in (first, second, third)] == [True] * 3
    assert server.grants == ["authorization_code", "refresh_token", "refresh_token"]
    assert (status["state"], status["models"]) == ("expired", ["large"])
    files = [path for path in router.folder.rglob("*") if path.is_file()]
    assert any(path.name == "secret.key" for path in files)
    secrets = [*server.issued, CLIENT_SECRET]
    traced = {path for path in files if any(s.encode() in path.read_bytes() for s in secrets)}
    assert traced == set()
