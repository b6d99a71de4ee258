"""One collection on a Qdrant server, reached over gRPC."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import structlog
from grpc import RpcError, StatusCode  # type: ignore[import-untyped]  # ships no types
from grpc.aio import AioRpcError, UsageError  # type: ignore[import-untyped]
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.models import (
    Distance,
    IntegerIndexParams,
    IntegerIndexType,
    KeywordIndexParams,
    KeywordIndexType,
    VectorParams,
)

from service.errors import MemoryUnavailable, StartupError
from service.memory.points import ARM_ID, DECIDED_AT, TASK, TENANT

log = structlog.get_logger(__name__)

REST_PORT = 6333
GRPC_PORT = 6334
# By default a channel gives a server 20 s to accept a connection, waits up to two minutes before it
# reconnects, and does not detect a server that vanished without closing the connection.
CHANNEL_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 5_000,  # the connect timeout, despite its name
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 2_000,
}
INDEXES: dict[str, KeywordIndexParams | IntegerIndexParams] = {
    TENANT: KeywordIndexParams(type=KeywordIndexType.KEYWORD, is_tenant=True),
    ARM_ID: KeywordIndexParams(type=KeywordIndexType.KEYWORD),
    TASK: KeywordIndexParams(type=KeywordIndexType.KEYWORD),
    DECIDED_AT: IntegerIndexParams(type=IntegerIndexType.INTEGER, lookup=True, range=True),
}

T = TypeVar("T")


class UnfitCollection(MemoryUnavailable):
    """The collection of that name holds vectors of another kind: none can be stored or searched."""


class Collection:
    """A collection whose server may be unavailable at any time. The first call that connects creates it."""

    def __init__(self, client: AsyncQdrantClient, *, name: str, dimension: int, timeout_s: float) -> None:
        self._client = client
        self._name = name
        self._dimension = dimension
        self._timeout_s = timeout_s
        self._is_ready = False
        self._is_closed = False

    async def call(self, request: Callable[[AsyncQdrantClient, str], Awaitable[T]]) -> T:
        """Make one request with the client and the collection's name.

        Raises MemoryUnavailable if it fails, or has no answer within `timeout_s`.
        """
        if self._is_closed:
            raise MemoryUnavailable("the memory is closed")
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._make_ready()
                return await request(self._client, self._name)
        except TimeoutError as error:
            raise MemoryUnavailable(f"Qdrant did not answer within {self._timeout_s} s") from error
        except (RpcError, QdrantException, UsageError) as error:
            raise MemoryUnavailable(f"Qdrant failed: {self._reason(error)}") from error

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._client.close()

    async def _make_ready(self) -> None:
        if self._is_ready:
            return
        if not await self._client.collection_exists(self._name):
            await self._create()
        await self._require_fitting_vectors()
        for field, schema in INDEXES.items():
            await self._client.create_payload_index(self._name, field, schema)
        self._is_ready = True

    async def _create(self) -> None:
        vectors = VectorParams(size=self._dimension, distance=Distance.COSINE)
        try:
            await self._client.create_collection(self._name, vectors_config=vectors)
        except RpcError:
            if not await self._client.collection_exists(
                self._name
            ):  # another replica may have created it first
                raise

    async def _require_fitting_vectors(self) -> None:
        """Raises UnfitCollection. The server would answer every check, and refuse every vector."""
        vectors = (await self._client.get_collection(self._name)).config.params.vectors
        wanted = (self._dimension, Distance.COSINE)
        if not isinstance(vectors, VectorParams) or (vectors.size, vectors.distance) != wanted:
            raise UnfitCollection(
                f"the Qdrant collection {self._name} is not of {self._dimension} numbers compared by cosine; "
                "delete it and run `router rebuild`, which fills a new one"
            )

    def _reason(self, error: Exception) -> str:
        if not isinstance(error, AioRpcError):
            return str(error)
        if error.code() is StatusCode.NOT_FOUND:  # the server lost the collection: create it again
            self._is_ready = False
        return f"{error.code().name}, {error.details()}"


def client_of(url: str, *, api_key: str | None, timeout_s: float, proxy: str | None) -> AsyncQdrantClient:
    """A client that has not connected yet.

    Without a port, or with the REST port, it uses the default gRPC port.
    Without a proxy it is called directly, whatever the environment of the process says.

    Raises StartupError if `url` is not the URL of an HTTP server.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StartupError("QDRANT_URL must look like http://host or https://host:6334")
    options: dict[str, int | str] = {**CHANNEL_OPTIONS, "grpc.enable_http_proxy": int(proxy is not None)}
    if proxy is not None:
        options["grpc.http_proxy"] = proxy
    if api_key and parts.scheme == "http":
        log.warning("memory_key_unencrypted", host=parts.hostname)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # logged above
        return AsyncQdrantClient(
            host=parts.hostname,
            https=parts.scheme == "https",
            grpc_port=GRPC_PORT if parts.port in (None, REST_PORT) else parts.port,
            prefer_grpc=True,
            grpc_options=options,
            api_key=api_key,
            timeout=math.ceil(timeout_s),
            check_compatibility=False,  # the check uses REST, which may not be reachable
        )
