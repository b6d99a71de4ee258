"""A collection of our name on a Qdrant server that holds vectors of another kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from qdrant_client import AsyncQdrantClient
from qdrant_client.models import Distance, VectorParams

from service.errors import MemoryUnavailable, StartupError
from service.memory.collection import Collection, client_of
from service.memory.qdrant import QdrantMemory
from tests.integration.qdrant_server import QdrantServer

NAME = "router_unfit"


@pytest.fixture
async def client(qdrant_server: QdrantServer) -> AsyncIterator[AsyncQdrantClient]:
    client = client_of(qdrant_server.url, api_key=None, timeout_s=10, proxy=None)
    yield client
    for collection in (await client.get_collections()).collections:
        await client.delete_collection(collection.name)
    await client.close()


async def connected(url: str) -> QdrantMemory:
    return await QdrantMemory.connect(
        url, api_key=None, name="router", encoder="unfit", dimension=4, max_points_per_arm=10, timeout_s=10
    )


async def test_a_collection_of_another_dimension_stops_the_start_with_the_remedy(
    qdrant_server: QdrantServer, client: AsyncQdrantClient
) -> None:
    memory = await connected(qdrant_server.url)
    await memory.close()
    [collection] = (await client.get_collections()).collections
    await client.delete_collection(collection.name)
    await client.create_collection(collection.name, VectorParams(size=8, distance=Distance.COSINE))

    with pytest.raises(StartupError, match=f"{collection.name} is not of 4 numbers.*router rebuild"):
        await connected(qdrant_server.url)


@pytest.mark.parametrize("distance", [Distance.COSINE, Distance.EUCLID])
async def test_a_collection_that_appears_later_makes_every_call_fail_until_it_is_gone(
    client: AsyncQdrantClient, distance: Distance
) -> None:
    size = 8 if distance is Distance.COSINE else 4
    await client.create_collection(NAME, VectorParams(size=size, distance=distance))
    collection = Collection(client, name=NAME, dimension=4, timeout_s=10)

    for _ in range(2):
        with pytest.raises(MemoryUnavailable, match="is not of 4 numbers compared by cosine"):
            await collection.call(lambda client, name: client.count(name))
    await client.delete_collection(NAME)

    counted = await collection.call(lambda client, name: client.count(name))
    assert counted.count == 0
