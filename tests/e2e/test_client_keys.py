"""A caller's own key leaves no trace: it is in no log, no database and no file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.e2e.running import PLAIN, RunningRouter
from tests.keyed_upstream import KeyedUpstream

Serve = Callable[..., RunningRouter]
ALICE, WRONG, BROKE = "sk-alice-0f3c9d1e77", "sk-wrong-9a9a9a9a9a", "sk-broke-1b1b1b1b1b"
ASKED = [{"role": "user", "content": "What is a bandit?"}]


async def test_a_callers_key_is_in_no_log_and_on_no_disk(serve: Serve, workplace: Path) -> None:
    async with KeyedUpstream({ALICE: 200, BROKE: 429}) as upstream:
        gpt = {"id": "gpt", "provider": "openai", "model": "gpt", "base_url": f"{upstream.origin}/v1"}
        claude = {"id": "claude", "provider": "anthropic", "model": "claude", "base_url": upstream.origin}
        models = [model | {"price": "free", "api_key": "client"} for model in (gpt, claude)]
        config = workplace / "client-keys.json"  # JSON is YAML
        config.write_text(json.dumps({"models": models}))
        router = await asyncio.to_thread(
            serve, config_file=str(config), log_level="debug", store_texts="true", cache_enabled="true"
        )
        statuses = [await ask(router, model, key) for key in (ALICE, WRONG, BROKE) for model in models]
        assert await asyncio.to_thread(router.terminate) == 0

    assert statuses == [200, 200, 401, 401, 429, 429]
    assert len(upstream.seen) >= len(statuses)
    files = [path for path in router.folder.rglob("*") if path.is_file()]
    assert any("base" in path.parts for path in files)  # the tables of PostgreSQL
    assert [path for path in files if is_traced(path.read_bytes())] == []


async def ask(router: RunningRouter, model: dict[str, str], key: str) -> int:
    async with httpx.AsyncClient(**PLAIN) as http:
        answer = await http.post(
            f"{router.url}/v1/chat/completions",
            json={"model": model["id"], "messages": ASKED},
            headers={"Authorization": f"Bearer {key}"},
        )
    return answer.status_code


def is_traced(content: bytes) -> bool:
    return any(key.encode() in content for key in (ALICE, WRONG, BROKE))
