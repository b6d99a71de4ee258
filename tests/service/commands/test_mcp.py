"""`router mcp` over standard input and output, and `router mcp client`, against a served router."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.fakes import ANY, Reply
from tests.ports import free_port
from tests.service.mcp_server.connected import called, refused
from tests.service.served import serving
from tests.service.world import World

ROOT = Path(__file__).parents[3]
ENVIRON = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def piped(folder: Path, *arguments: str, **environ: str) -> AsyncIterator[Client]:
    """A client of `router mcp`; what that writes to standard error is in `folder / "stderr"`."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "service.cli", "mcp", *arguments],
        env=ENVIRON | environ,
        cwd=folder,
    )
    with (folder / "stderr").open("w") as errors:
        async with Client(stdio_client(server, errlog=errors)) as client:
            yield client


async def router(*arguments: str, **environ: str) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.cli", *arguments, env=ENVIRON | environ, stdout=-1, stderr=-1
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_the_tools_work_over_a_pipe_and_only_messages_are_written_to_it(
    world: World, tmp_path: Path
) -> None:
    world.model_client.will(ANY, Reply(("One", " two")))
    seen: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message)

    async with (
        serving(world) as port,
        piped(tmp_path, ROUTER_URL=f"http://127.0.0.1:{port}/", LOG_LEVEL="debug") as client,
    ):
        result = await client.call_tool("complete", {"prompt": "Count"}, progress_callback=note)
        assert result.structured_content is not None
        request_id = result.structured_content["request_id"]
        await world.background.drain(5)
        explained = await called(client, "explain", request_id=request_id)
        fault = await refused(client, "complete", prompt="x", max_tokens=0)

    assert seen == ["One", " two"]
    assert explained["request_id"] == request_id
    assert fault == "max_tokens: Input should be greater than or equal to 1, got 0"


async def test_a_call_cancelled_over_a_pipe_cancels_the_call_of_the_model(
    world: World, tmp_path: Path
) -> None:
    world.model_client.will(ANY, Reply(until=asyncio.Event()))

    async with serving(world) as port, piped(tmp_path, "--url", f"http://127.0.0.1:{port}") as client:
        calling = asyncio.create_task(client.call_tool("complete", {"prompt": "Hi"}))
        await world.model_client.call_started.wait()
        calling.cancel()
        await asyncio.wait({calling})
        while not world.model_client.cancelled:
            await client.list_tools()

    assert len(world.model_client.cancelled) == 1


async def test_without_a_router_the_tools_say_how_to_start_one(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    async with piped(tmp_path, "--url", url, LOG_FILE="router.log") as client:
        fault = await refused(client, "models")

    assert fault.startswith(f"no router answers at {url} ")
    assert fault.endswith("start it with `router serve`")
    (logged,) = (tmp_path / "stderr").read_text().splitlines()
    assert json.loads(logged)["event"] == "no_router"
    assert (tmp_path / "router.log").read_text() == f"{logged}\n"


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_a_tool_is_called_from_the_shell(world: World, transport: str) -> None:
    async with serving(world) as port:
        url = f"http://127.0.0.1:{port}"
        arguments = ("mcp", "client", "complete", "--json", '{"prompt": "Hi"}')
        code, output, _ = await router(*arguments, "--transport", transport, ROUTER_URL=url)

    assert code == 0
    assert json.loads(output)["text"] == "Hello there."


async def test_tools_are_listed_and_faults_are_one_line(world: World) -> None:
    async with serving(world) as port:
        url = f"http://127.0.0.1:{port}"
        _, listed, _ = await router("mcp", "client", "--url", url)
        code, output, errors = await router("mcp", "client", "explain", "--json", "{}", "--url", url)

    assert "feedback(request_id, score, text)" in listed
    assert (code, output, errors) == (1, "", "router: request_id: field is required\n")


@pytest.mark.parametrize("arguments", ["[1]", "{", '"x"'])
async def test_arguments_must_be_an_object(arguments: str) -> None:
    code, _, errors = await router("mcp", "client", "models", "--json", arguments)

    assert code == 2
    assert "--json: must be a JSON object" in errors


async def test_without_a_router_the_client_says_how_to_start_one() -> None:
    code, _, errors = await router("mcp", "client", "--url", f"http://127.0.0.1:{free_port()}")

    assert code == 1
    assert "start it with `router serve`" in errors
