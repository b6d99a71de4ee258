"""A cache of the vectors of texts."""

import asyncio
import hashlib
from collections import OrderedDict

from embeddings.encoder import TextEncoder, Vector


class CachedEncoder:
    """Encodes each text once and keeps the `max_entries` most recently used vectors; failures are not kept.

    Tasks that encode the same text at the same time share one encoding; cancelling one of them does not
    affect the others. Vectors are read-only, because they are shared.

    `hits` counts the texts that needed no encoding of their own, `misses` the others.
    """

    def __init__(self, inner: TextEncoder, max_entries: int) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries must be positive, got {max_entries}")
        self.name = inner.name
        self.dimension = inner.dimension
        self.hits = 0
        self.misses = 0
        self._inner = inner
        self._max_entries = max_entries
        self._vectors: OrderedDict[bytes, Vector] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[Vector]] = {}

    def cached(self, text: str) -> Vector | None:
        """The vector of a text that was encoded before or needs no wait; it costs no task either."""
        return self._at_once(_key(text), text)

    async def encode(self, text: str) -> Vector:
        key = _key(text)
        if (vector := self._at_once(key, text)) is not None:
            return vector
        if key in self._running:
            self.hits += 1
        else:
            self.misses += 1
            self._running[key] = asyncio.create_task(self._encode(key, text))
        return await asyncio.shield(self._running[key])

    async def close(self) -> None:
        await self._inner.close()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _at_once(self, key: bytes, text: str) -> Vector | None:
        if (vector := self._vectors.get(key)) is not None:
            self.hits += 1
            self._vectors.move_to_end(key)
        elif (vector := self._inner.cached(text)) is not None:
            self.misses += 1
            vector = self._keep(key, vector)
        return vector

    async def _encode(self, key: bytes, text: str) -> Vector:
        try:
            vector = await self._inner.encode(text)
        finally:
            del self._running[key]
        return self._keep(key, vector)

    def _keep(self, key: bytes, vector: Vector) -> Vector:
        kept = vector.copy()
        kept.flags.writeable = False
        self._vectors[key] = kept
        if len(self._vectors) > self._max_entries:
            self._vectors.popitem(last=False)
        return kept


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
