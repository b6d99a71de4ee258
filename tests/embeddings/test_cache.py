import asyncio

import numpy as np
import pytest

from embeddings.cache import CachedEncoder
from embeddings.encoder import EncoderUnavailable, Vector


class SlowEncoder:
    """Encodes a text as (its length, 1) once the gate is open; a text in `failing` fails."""

    name = "slow"
    dimension = 2

    def __init__(self, *, is_open: bool = True) -> None:
        self.encoded: list[str] = []
        self.failing: set[str] = set()
        self.is_closed = False
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()

    def cached(self, text: str) -> None:
        return None

    async def encode(self, text: str) -> Vector:
        self.encoded.append(text)
        await self.gate.wait()
        if text in self.failing:
            raise EncoderUnavailable("down")
        return np.array([len(text), 1], dtype=np.float32)

    async def close(self) -> None:
        self.is_closed = True


async def test_a_text_is_encoded_once() -> None:
    inner = SlowEncoder()
    cached = CachedEncoder(inner, 10)

    vectors = [await cached.encode(text) for text in ("a", "bb", "a")]

    assert [vector.tolist() for vector in vectors] == [[1, 1], [2, 1], [1, 1]]
    assert inner.encoded == ["a", "bb"]
    assert (cached.hits, cached.misses) == (1, 2)
    assert (cached.name, cached.dimension) == ("slow", 2)


async def test_a_vector_that_is_kept_comes_without_a_wait() -> None:
    cached = CachedEncoder(SlowEncoder(), 10)

    before = cached.cached("a")
    vector = await cached.encode("a")

    assert before is None
    assert cached.cached("a") is vector
    assert (cached.hits, cached.misses) == (1, 1)


async def test_the_least_recently_used_text_is_evicted_first() -> None:
    inner = SlowEncoder()
    cached = CachedEncoder(inner, 2)

    for text in ("a", "bb", "a", "ccc", "a", "bb"):
        await cached.encode(text)

    assert inner.encoded == ["a", "bb", "ccc", "bb"]


async def test_tasks_with_the_same_text_at_the_same_time_share_one_encoding() -> None:
    inner = SlowEncoder(is_open=False)
    cached = CachedEncoder(inner, 10)

    tasks = [asyncio.create_task(cached.encode("a")) for _ in range(5)]
    await asyncio.sleep(0)
    inner.gate.set()
    vectors = await asyncio.gather(*tasks)

    assert [vector.tolist() for vector in vectors] == [[1, 1]] * 5
    assert inner.encoded == ["a"]
    assert (cached.hits, cached.misses) == (4, 1)


async def test_cancelling_one_task_does_not_affect_the_others() -> None:
    inner = SlowEncoder(is_open=False)
    cached = CachedEncoder(inner, 10)
    first, second = (asyncio.create_task(cached.encode("a")) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    inner.gate.set()

    assert (await second).tolist() == [1, 1]
    assert first.cancelled()


async def test_failures_reach_every_task_and_are_not_kept() -> None:
    inner = SlowEncoder()
    inner.failing = {"a"}
    cached = CachedEncoder(inner, 10)

    failures = await asyncio.gather(*(cached.encode("a") for _ in range(2)), return_exceptions=True)
    inner.failing.clear()
    vector = await cached.encode("a")

    assert [type(failure) for failure in failures] == [EncoderUnavailable, EncoderUnavailable]
    assert vector.tolist() == [1, 1]
    assert inner.encoded == ["a", "a"]


async def test_shared_vectors_cannot_be_written_to() -> None:
    cached = CachedEncoder(SlowEncoder(), 10)

    vector = await cached.encode("a")

    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 7


async def test_text_that_utf8_cannot_hold_is_cached_too() -> None:
    cached = CachedEncoder(SlowEncoder(), 10)

    await cached.encode("\ud83d")
    await cached.encode("\ud83d")

    assert cached.hits == 1


async def test_closing_closes_the_encoder_within() -> None:
    inner = SlowEncoder()

    await CachedEncoder(inner, 10).close()

    assert inner.is_closed


def test_zero_entries_are_refused() -> None:
    with pytest.raises(ValueError, match="max_entries must be positive, got 0"):
        CachedEncoder(SlowEncoder(), 0)
