"""Exchanges JSON with models' servers, and translates every failure into an error of the router."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial

import aiohttp
import orjson

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.bounded_json import ANSWER, bounded_json
from service.domain.local_faults import local_fault
from service.domain.patience import Patience
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.domain.stated_cost import COST_HEADER, dollars
from service.domain.value import value
from service.errors import LocalFault, ProviderBroken, ProviderError, ProviderTimeout
from service.providers.failures import failure_in
from service.providers.sockets import probed_socket
from service.providers.streams import MAX_ANSWER_BYTES, BodyReader, BytesLeft

CONNECT_TIMEOUT_S = 10.0
PROXY_LOGIN_REQUIRED = 407
DRAIN_S = 0.25  # longest wait for the end of a response after its last event


@value
class Post:
    """One call of an arm's server.

    Args:
        timeout_s: limit of a whole answer, or of each wait for the next event of a stream.
        silence_s: longest time without a single byte; None: no limit beside `timeout_s`.
        secret: the key in the headers, which is masked in errors.
    """

    arm: Arm
    url: str
    headers: Mapping[str, str]
    body: Json
    timeout_s: float
    silence_s: float | None = None
    secret: str | None = None


@value
class Reply:
    """The body of a whole answer, and what its headers say that it cost."""

    body: bytes
    stated_cost_usd: Decimal | None


class HttpClient:
    """One pool of connections.

    Args:
        clock: the current time, to read dates in `Retry-After`.
        proxies: the proxies between this machine and the servers.
    """

    def __init__(self, clock: Clock, proxies: Proxies) -> None:
        self._clock = clock
        self._proxies = proxies
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, post: Post) -> Reply:
        """The whole answer."""
        silence = _silence(post)
        try:
            async with asyncio.timeout(post.timeout_s):
                response = await self._send(post, silence)
                stated = dollars(response.headers.get(COST_HEADER))
                return Reply(await _read(response, post, silence), stated)
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(post, error) from None
        finally:
            silence.end()

    async def document(self, post: Post) -> object:
        """The JSON value at the post's URL, by GET; None if it is not JSON."""
        silence = _silence(post)
        try:
            async with asyncio.timeout(post.timeout_s):
                response = await self._open_session().get(
                    post.url,
                    headers={"User-Agent": "llm-router", **post.headers},
                    allow_redirects=False,
                    proxy=self._proxy_for(post.url),
                )
                body = await _read(response, post, silence)
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(post, error) from None
        finally:
            silence.end()
        if response.status != 200:
            raise self._refused(post, response, body)
        return parsed(body)

    async def events(self, post: Post) -> AsyncGenerator[list[bytes], None]:
        """The data of the server-sent events that came together.

        Bytes that are no event, such as comments, break the silence too. A whole JSON document in place of a
        stream counts as its only event.
        """
        patience, silence, response = Patience(post.timeout_s, partial(_late, post)), _silence(post), None
        try:
            with patience:
                response = await self._send(post, silence)
            patience.renew()
            reader, block, bytes_left = BodyReader(), b" ", BytesLeft(post.arm.model)
            while block:
                with patience, silence:
                    block = await response.content.readany()
                silence.renew()
                events = reader.feed(block)
                bytes_left.take(len(block), is_event=bool(events))
                if events:
                    patience.renew()
                    yield events
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(post, error) from None
        finally:
            patience.end()
            silence.end()
            if response is not None:
                response.release()  # reuses a finished connection; closes any other: the upstream stops

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, post: Post, silence: Patience) -> aiohttp.ClientResponse:
        """The response, if its status is 200."""
        proxy = self._proxy_for(post.url)
        with silence:
            response = await self._open_session().post(
                post.url,
                data=orjson.dumps(post.body),
                headers={"Content-Type": "application/json", "User-Agent": "llm-router", **post.headers},
                allow_redirects=False,
                proxy=proxy,
            )
        silence.renew()
        if response.status == 200:
            return response
        if proxy is not None and response.status == PROXY_LOGIN_REQUIRED:
            response.release()
            raise ProviderBroken(f"the proxy between the router and {post.arm.model} demands a login (407)")
        raise self._refused(post, response, await _read(response, post, silence))

    def _refused(self, post: Post, response: aiohttp.ClientResponse, body: bytes) -> ProviderError:
        return failure_in(
            post.arm,
            body,
            response.status,
            now=self._clock(),
            headers=response.headers,
            secret=post.secret,
        )

    def _proxy_for(self, url: str) -> str | None:
        # Not by aiohttp's own reading of the environment, which would also send the logins of `.netrc`.
        try:
            return self._proxies.proxy_for(url)
        except ValueError as error:
            raise ProviderBroken(str(error)) from error

    def refusal(self, post: Post, answer: object) -> ProviderError:
        """The error for something other than an answer, with status 200: alone, or inside a stream."""
        return failure_in(post.arm, answer, 200, now=self._clock(), secret=post.secret)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The router's own limits bound the number of calls.
                connector=aiohttp.TCPConnector(limit=0, socket_factory=probed_socket),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            )
        return self._session


async def drain(events: AsyncGenerator[list[bytes], None]) -> None:
    """Wait briefly for the end of a stream after its last event, so that its connection can be reused."""
    with suppress(TimeoutError, ProviderError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in events:
                pass


def _silence(post: Post) -> Patience:
    """The patience with a server that sends no bytes, of whatever kind."""
    return Patience(post.silence_s, partial(_silent, post))


def _silent(post: Post) -> ProviderTimeout:
    return ProviderTimeout(f"{post.arm.model} sent nothing for {post.silence_s or 0:g} s", has_begun=True)


def _late(post: Post) -> ProviderTimeout:
    return ProviderTimeout(f"{post.arm.model} gave no answer within {post.timeout_s:g} s", has_begun=True)


def _translated(post: Post, error: aiohttp.ClientError | OSError) -> ProviderError:
    """The router's error for one of aiohttp's.

    Raise it without a cause: aiohttp's errors contain the request's headers, and with them the key.
    """
    model = post.arm.model
    if (missing := local_fault(error)) is not None:
        return LocalFault(f"the router could not call a model: {missing}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ProviderTimeout(f"{model} accepted no connection within {CONNECT_TIMEOUT_S:g} s")
    if isinstance(error, TimeoutError):
        return _late(post)
    if isinstance(error, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError):
        status = f" ({error.status})" if isinstance(error, aiohttp.ClientHttpProxyError) else ""
        return ProviderBroken(f"the proxy between the router and {model} failed{status}")
    message = f"the connection to {model} failed: {type(error).__name__}"
    return ProviderBroken(message, has_begun=not isinstance(error, aiohttp.ClientConnectorError))


async def _read(response: aiohttp.ClientResponse, post: Post, silence: Patience) -> bytes:
    """The whole body; the response is released."""
    blocks: list[bytes] = []
    n_bytes = 0
    try:
        while not response.content.at_eof():
            with silence:
                blocks.append(await response.content.readany())
            silence.renew()
            n_bytes += len(blocks[-1])
            if n_bytes > MAX_ANSWER_BYTES:
                message = f"{post.arm.model} answered more than {MAX_ANSWER_BYTES} bytes"
                raise ProviderBroken(message, has_begun=True)
    finally:
        response.release()
    return b"".join(blocks)


def parsed(data: bytes) -> object:
    """The JSON value; None if the data is not JSON, or is too large or too deep to be passed on."""
    try:
        return bounded_json(data.removeprefix(BOM_UTF8), ANSWER)
    except ValueError:
        return None
