"""Clients that send more than the router reads, and see its answer."""

from __future__ import annotations

import asyncio
import gc
import http.client
import io
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from tests.clients.conftest import needs
from tests.e2e.running import PATIENCE_S, PLAIN, RunningRouter

LIMIT = 1_000_000
SIZE = 16_000_000  # more than the buffers of a connection hold
PATH = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
BODY = b"x" * SIZE


@pytest.fixture(scope="module")
def router(workplace: Path, encoder_folder: Path) -> Iterator[RunningRouter]:
    folder = Path(tempfile.mkdtemp(dir=workplace))
    (folder / "data").mkdir()
    (folder / "data" / "encoder").symlink_to(encoder_folder)
    running = RunningRouter(folder, {"DATA_DIR": str(folder / "data"), "MAX_BODY_BYTES": str(LIMIT)})
    running.start()
    yield running
    running.clean_up()


def parts() -> Iterator[bytes]:
    for start in range(0, SIZE, 65_536):
        yield BODY[start : start + 65_536]


async def async_parts() -> AsyncIterator[bytes]:
    for part in parts():
        yield part


def by_httpx(url: str, content: bytes | Iterator[bytes], **headers: str) -> int:
    return httpx.post(url, content=content, headers={**JSON, **headers}, **PLAIN).status_code


def by_requests(url: str, data: bytes | Iterator[bytes], **headers: str) -> int:
    return requests.post(url, data=data, headers={**JSON, **headers}, timeout=PATIENCE_S).status_code


def by_aiohttp(url: str, data: object, *, expect100: bool = False) -> int:
    async def post() -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=data, headers=JSON, expect100=expect100) as response,
        ):
            return response.status

    with warnings.catch_warnings():
        # aiohttp closes its connection with the rest of the body in it, and does not wait.
        warnings.simplefilter("ignore", ResourceWarning)
        status = asyncio.run(post())
        gc.collect()
    return status


def by_http_client(url: str, **headers: str) -> int:
    """Python's own client, which reads nothing before everything is sent."""
    address = httpx.URL(url)
    with closing(http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", address.path, body=BODY, headers={**JSON, **headers})
        return connection.getresponse().status


CLIENTS: dict[str, Callable[[str], int]] = {
    "httpx": lambda url: by_httpx(url, BODY),
    "httpx, chunked": lambda url: by_httpx(url, parts()),
    "httpx, one request a connection": lambda url: by_httpx(url, BODY, Connection="close"),
    "requests": lambda url: by_requests(url, BODY),
    "requests, chunked": lambda url: by_requests(url, parts()),
    "requests, one request a connection": lambda url: by_requests(url, BODY, Connection="close"),
    "aiohttp": lambda url: by_aiohttp(url, io.BytesIO(BODY)),
    "aiohttp, chunked": lambda url: by_aiohttp(url, async_parts()),
    "aiohttp, Expect": lambda url: by_aiohttp(url, io.BytesIO(BODY), expect100=True),
    "http.client": by_http_client,
    "http.client, one request a connection": lambda url: by_http_client(url, Connection="close"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_receives_the_413(router: RunningRouter, client: str) -> None:
    assert CLIENTS[client](router.url + PATH) == 413


@pytest.mark.parametrize("path", ["/nowhere", "/health"])
def test_every_answer_to_a_large_body_is_received(router: RunningRouter, path: str) -> None:
    assert by_http_client(router.url + path, Connection="close") in {404, 405}
    assert by_requests(router.url + path, parts(), Connection="close") in {404, 405}


@pytest.mark.parametrize(
    "options",
    [
        ["-H", "Expect: 100-continue"],
        ["-H", "Expect:"],
        ["-H", "Expect:", "-H", "Transfer-Encoding: chunked"],
        ["-H", "Expect:", "--http1.0"],
    ],
    ids=["Expect", "at once", "chunked", "HTTP/1.0"],
)
def test_curl_receives_the_413(router: RunningRouter, tmp_path: Path, options: list[str]) -> None:
    needs(None if shutil.which("curl") else "there is no curl on this machine")
    (tmp_path / "body").write_bytes(BODY)
    command = ["curl", "-sS", "-w", "%{http_code}", "-o", str(tmp_path / "answer"), *options]
    body = ["-H", "Content-Type: application/json", "--data-binary", f"@{tmp_path / 'body'}"]

    done = subprocess.run([*command, *body, router.url + PATH], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr, done.returncode) == ("413", "", 0)
    assert "request_too_large" in (tmp_path / "answer").read_text()


def test_nodes_fetch_receives_the_413(router: RunningRouter) -> None:
    needs(None if shutil.which("node") else "there is no Node on this machine")
    script = Path(__file__).parent / "programs" / "post.mjs"

    done = subprocess.run(
        ["node", script, router.url + PATH, str(SIZE)], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("413 413\n", "")


@pytest.mark.parametrize(
    "framing", ["Content-Length: 16000000", "Content-Length: 16000000\r\nConnection: close"]
)
def test_the_answer_is_there_before_the_body_and_nothing_breaks_while_the_client_sends(
    router: RunningRouter, framing: str
) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", router.port), timeout=PATIENCE_S) as connection:
        connection.sendall(head.encode())
        early = connection.recv(65_536)
        connection.sendall(BODY)
        rest = b""
        while block := connection.recv(65_536):
            rest += block

    assert early.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in early + rest


def test_a_client_that_expects_to_be_asked_is_not_asked_for_too_much(router: RunningRouter) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    expect = f"Expect: 100-continue\r\nContent-Length: {SIZE}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", router.port), timeout=PATIENCE_S) as connection:
        connection.sendall((head + expect).encode())

        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")
