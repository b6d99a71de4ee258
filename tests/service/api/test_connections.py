"""What clients may do to a connection: framing, sizes and times, over real sockets."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import orjson
import pytest

from service.api.connections import LEAST_BYTES, Connections, Owes
from service.api.request_headers import MAX_HEAD_BYTES, MAX_HEADERS
from tests.fakes import ANY, Reply
from tests.service.served import serving
from tests.service.world import World

BODY = b'{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SIZE = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
READY = b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE_S = 60.0


class Hand:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Client:
    """A connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """The next status, headers and body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head[1:])
        }
        body = await self.reader.readexactly(int(headers.get(b"content-length", b"0")))
        return int(head[0].split()[1]), headers, body

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await self.reader.read()


class Service:
    """The service on a port, with its connections and their clock."""

    def __init__(self, world: World, most: int = 0) -> None:
        self.world = world
        self.time = Hand()
        self.connections = Connections(most, look_every_s=0.001, time=self.time)
        self.port = 0

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                yield Client(reader, writer)
            finally:
                writer.transport.abort()

    async def until(self, n_open: int) -> None:
        await until(lambda: len(self.connections.open) == n_open)

    async def pass_time(self, seconds: float) -> None:
        """Let the connections be looked at now, and again after the time."""
        await asyncio.sleep(0.02)
        self.time.now += seconds
        await asyncio.sleep(0.02)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110  # sockets tell nobody
            await asyncio.sleep(0.001)


@pytest.fixture
async def service(world: World) -> AsyncIterator[Service]:
    service = Service(world)
    async with serving(world, service.connections) as service.port:
        yield service


# --- framing

FAULTS = {
    "length and coding": HEAD + SIZE + CHUNKED + b"\r\n" + IN_CHUNKS,
    "coding and length": HEAD + CHUNKED + SIZE + b"\r\n" + IN_CHUNKS,
    "two lengths": HEAD + SIZE + SIZE + b"\r\n" + BODY,
    "a list of lengths": HEAD + b"Content-Length: 75, 75\r\n\r\n" + BODY,
    "a length with a sign": HEAD + b"Content-Length: +75\r\n\r\n" + BODY,
    "a length of too many digits": HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + BODY,
    "a space before the colon": HEAD + b"Content-Length : 75\r\n\r\n" + BODY,
    "another coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + IN_CHUNKS,
    "no coding": HEAD + b"Transfer-Encoding: identity\r\n" + SIZE + b"\r\n" + BODY,
    "coding twice": HEAD + CHUNKED + CHUNKED + b"\r\n" + IN_CHUNKS,
    "coding of HTTP/1.0": HEAD.replace(b"/1.1", b"/1.0") + CHUNKED + b"\r\n" + IN_CHUNKS,
    "no size of a chunk": HEAD + CHUNKED + b"\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a negative size of a chunk": HEAD + CHUNKED + b"\r\n-5\r\nabc\r\n0\r\n\r\n",
    "a size of a chunk above 64 bits": HEAD + CHUNKED + b"\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": HEAD + CHUNKED + b"\r\n4b\r\n" + BODY + b"XX0\r\n\r\n",
    "a chunk of bare line feeds": HEAD + CHUNKED + b"\r\n4b\n" + BODY + b"\n0\n\n",
    "a folded header": HEAD + SIZE + b"X: a\r\n b\r\n\r\n" + BODY,
    "bare line feeds": (HEAD + SIZE + b"\r\n").replace(b"\r\n", b"\n") + BODY,
    "a zero byte": HEAD + SIZE + b"X: a\0b\r\n\r\n" + BODY,
    "a header without a colon": HEAD + SIZE + b"X\r\n\r\n" + BODY,
    "a header without a name": HEAD + SIZE + b": x\r\n\r\n" + BODY,
    "a TLS greeting": b"\x16\x03\x01" + b"\0" * 100,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a long path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_request_whose_end_is_ambiguous_gets_one_400_and_calls_no_model(
    service: Service, fault: str
) -> None:
    async with service.client() as client:
        client.send(FAULTS[fault] + READY)  # which a client that smuggles would have answered, too
        status, _, body = await client.answer()

    assert (status, service.world.model_client.called) == (400, [])
    assert orjson.loads(body)["error"]["type"] == "invalid_request_error"


async def test_trailers_are_no_headers(service: Service) -> None:
    async with service.client() as client:
        trailers = b"Host: evil.example\r\nX-Request-ID: theirs\r\nContent-Type: text/plain\r\n\r\n"
        client.send(HEAD + CHUNKED + b"\r\n" + IN_CHUNKS[:-2] + trailers)
        status, headers, _ = await client.answer()

    assert status == 200
    assert headers[b"x-request-id"] != b"theirs"


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_a_request_that_offers_another_protocol_is_answered_over_this_one(
    service: Service, protocol: bytes
) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n"
    async with service.client() as client:
        client.send(READY[:-2] + offer + b"\r\n")
        status, headers, _ = await client.answer()

        assert (status, headers[b"connection"]) == (200, b"close")
        assert await client.rest() == b""


async def test_the_body_of_a_request_that_offers_another_protocol_is_not_read_as_a_request(
    service: Service,
) -> None:
    smuggled = HEAD + SIZE + b"\r\n" + BODY
    async with service.client() as client:
        offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
        client.send(HEAD + offer)
        client.send(smuggled)
        status, _, body = await client.answer()

        assert (status, orjson.loads(body)["error"]["param"]) == (400, "Upgrade")
        assert await client.rest() == b""
    assert service.world.model_client.called == []


# --- sizes


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        (b"X: y\r\n" * MAX_HEADERS, f"at most {MAX_HEADERS} headers"),
        (b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\n", f"at most {MAX_HEAD_BYTES} bytes"),
    ],
    ids=["many", "long"],
)
async def test_too_many_headers_are_rejected_in_the_dialect(
    service: Service, headers: bytes, rule: str
) -> None:
    async with service.client() as client:
        client.send(HEAD.replace(b"/chat/completions", b"/messages") + SIZE + headers + b"\r\n" + BODY)
        status, _, body = await client.answer()

    assert status == 431
    assert orjson.loads(body)["type"] == "error"
    assert rule in orjson.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET /ready HTTP/1.1\r\nHost: localhost\r\nX: ",
        HEAD + CHUNKED + b"\r\n1;",
        HEAD + CHUNKED + b"\r\n" + IN_CHUNKS[:-2] + b"X: ",
    ],
    ids=["path", "header", "extension of a chunk", "trailer"],
)
async def test_what_has_no_end_is_cut_off(service: Service, start: bytes) -> None:
    async with service.client() as client:
        client.send(start)
        client.send(b"y" * 4 * MAX_HEAD_BYTES)
        await service.until(0)
        status, _, _ = await client.answer()

    assert status in {400, 431}
    assert service.world.model_client.called == []


# --- times


@pytest.mark.parametrize(
    "start", [b"GET /", HEAD, READY + b"GET /"], ids=["path", "headers", "of the second request"]
)
async def test_a_head_that_does_not_end_in_time_gets_a_408(service: Service, start: bytes) -> None:
    async with service.client() as client:
        client.send(start)
        if start.startswith(READY):
            await client.answer()
        await service.pass_time(Owes.HEAD.value - 1)
        client.send(b"X")  # which is no reason to wait longer
        await service.pass_time(2)
        status, headers, body = await client.answer()

        assert (status, headers[b"connection"]) == (408, b"close")
        assert "head of a request must arrive within 10 s" in orjson.loads(body)["error"]["message"]
        assert await client.rest() == b""


async def test_a_body_that_comes_byte_by_byte_gets_a_408_in_the_dialect(service: Service) -> None:
    async with service.client() as client:
        client.send(HEAD.replace(b"/chat/completions", b"/messages") + SIZE + b"\r\n")
        for byte in BODY[:5]:
            client.send(bytes([byte]))
            await service.pass_time(Owes.BODY.value / 4)
        status, _, body = await client.answer()

    assert (status, orjson.loads(body)["type"]) == (408, "error")
    assert service.world.model_client.called == []


async def test_a_body_that_comes_slowly_but_steadily_is_waited_for(service: Service) -> None:
    body = BODY.ljust(5 * LEAST_BYTES)
    async with service.client() as client:
        client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), LEAST_BYTES):
            client.send(body[start : start + LEAST_BYTES])
            await service.pass_time(Owes.BODY.value - 1)
        status, _, _ = await client.answer()

    assert status == 200


async def test_the_rest_of_a_refused_body_is_not_waited_for_for_ever(service: Service) -> None:
    async with service.client() as client:
        client.send(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n")
        assert (await client.answer())[0] == 404
        for _ in range(3):
            client.send(b"x")
            await service.pass_time(Owes.BODY.value / 2)

        assert await client.rest() == b""


@pytest.mark.parametrize("first", [b"", READY, READY + b"\r\n"], ids=["new", "used", "blank lines"])
async def test_an_idle_connection_is_closed(service: Service, first: bytes) -> None:
    async with service.client() as client:
        client.send(first)
        if first:
            await client.answer()
        await service.pass_time(Owes.REQUEST.value - 1)
        assert len(service.connections.open) == 1
        await service.pass_time(2)

        assert await client.rest() == b""


async def test_a_model_may_think_for_as_long_as_it_likes(service: Service) -> None:
    answers = asyncio.Event()
    service.world.model_client.will(ANY, Reply(("Fine.",), until=answers))
    async with service.client() as client:
        client.send(HEAD + SIZE + b"\r\n" + BODY)
        await service.pass_time(3_000)
        answers.set()

        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
async def test_a_client_that_reads_nothing_is_cut_off(service: Service, is_stream: bool) -> None:
    service.world.model_client.will(ANY, Reply(("x" * 2_000_000,) * 10))
    body = BODY.replace(b"{", b'{"stream":true,', 1) if is_stream else BODY
    async with service.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await until(lambda: any(c.transport.get_write_buffer_size() for c in service.connections.open))
        await service.pass_time(Owes.READING.value + 1)

        await service.until(0)


# --- numbers


async def test_a_connection_above_the_limit_gets_a_503(world: World) -> None:
    service = Service(world, most=2)
    async with serving(world, service.connections) as service.port:
        async with service.client() as first, service.client() as second:
            await service.until(2)
            async with service.client() as third:
                status, headers, _ = await third.answer()
                assert (status, headers[b"retry-after"]) == (503, b"1")
                assert await third.rest() == b""
            for client in (first, second):
                client.send(READY)
                assert (await client.answer())[0] == 200
        await service.until(0)
        async with service.client() as client:
            client.send(READY)
            assert (await client.answer())[0] == 200


async def test_several_requests_at_once_are_answered_in_their_order(service: Service) -> None:
    async with service.client() as client:
        paths = (b"/ready", b"/nowhere", b"/health")
        client.send(b"".join(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in paths))

        assert [(await client.answer())[0] for _ in paths] == [200, 404, 200]


async def test_a_client_that_leaves_ends_the_call_of_the_first_of_several_requests(service: Service) -> None:
    model = service.world.model_client
    model.will(ANY, Reply(words=(), until=asyncio.Event()))
    async with service.client() as client:
        client.send((HEAD + SIZE + b"\r\n" + BODY) * 2)
        await until(lambda: bool(model.called))
    await until(lambda: bool(model.cancelled))

    assert model.cancelled == model.called


async def test_nothing_is_written_into_an_answer_that_has_begun(service: Service) -> None:
    service.world.model_client.will(ANY, Reply(("Fine.",), until=asyncio.Event()))
    async with service.client() as client:
        client.send(HEAD + SIZE + b"\r\n" + BODY)
        await until(lambda: bool(service.world.model_client.called))
        client.send(b"garbage\r\n\r\n")
        with suppress(ConnectionResetError):
            assert await client.rest() == b""


def test_worker_processes_get_the_limit() -> None:
    assert pickle.loads(pickle.dumps(Connections(7).protocol)).__self__._most == 7
