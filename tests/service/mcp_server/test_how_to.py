"""The configurations of the how-to page, read as the clients read them and tried by the official client."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.service.mcp_server.connected import called
from tests.service.served import serving
from tests.service.world import World
from tests.test_how_to import FOLDER, blocks

PAGE = FOLDER / "connect-mcp-clients.md"
SHOWN_URL = "http://127.0.0.1:8080"
CONFIGURATIONS = list(blocks(PAGE, "json"))


@asynccontextmanager
async def configured(entry: dict[str, Any]) -> AsyncIterator[Client]:
    """A client with an entry of `mcpServers`."""
    if "command" in entry:
        assert entry["command"].endswith("/bin/router")
        arguments = ["-m", "service.cli", *entry["args"]]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)} | entry["env"]
        async with Client(
            StdioServerParameters(command=sys.executable, args=arguments, env=environ)
        ) as client:
            yield client
        return
    async with (
        httpx2.AsyncClient(headers=entry["headers"], trust_env=False, timeout=60) as http,
        Client(streamable_http_client(entry["url"], http_client=http)) as client,
    ):
        yield client


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
async def test_a_configuration_connects_its_client(world: World, configuration: str) -> None:
    async with serving(world) as port:
        read = json.loads(configuration.replace(SHOWN_URL, f"http://127.0.0.1:{port}"))
        [entry] = read["mcpServers"].values()
        async with configured(entry) as client:
            answer = await called(client, "complete", prompt="Hi")

    record = await world.record(answer["request_id"])
    assert record["task"] == entry.get("headers", {}).get("X-Router-Task")


def test_the_command_of_claude_code_adds_what_its_file_has() -> None:
    [command] = [example for example in blocks(PAGE, "sh") if example.startswith("claude mcp add")]
    [entry] = [json.loads(c)["mcpServers"] for c in CONFIGURATIONS if '"type": "http"' in c]
    name, url, header = re.findall(r"--transport http (\S+) (\S+) --header \"(.*)\"", command)[0]

    assert entry == {name: {"type": "http", "url": url, "headers": dict([header.split(": ")])}}
