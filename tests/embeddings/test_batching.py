import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from embeddings.batching import BatchingEncoder
from embeddings.encoder import EncoderBusy, EncoderUnavailable, Vector


class Panic(BaseException):
    """Like the exception that a crash in Rust raises in Python."""


class GatedEncoder:
    """Encodes a text as (its length, 1), one batch for each time the gate is released."""

    name = "gated"
    dimension = 2

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[threading.Thread] = set()
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def encode(self, texts: Sequence[str]) -> Vector:
        self.threads.add(threading.current_thread())
        self.batches.append(list(texts))
        self.begun.release()
        self.gate.acquire(timeout=30)
        if "poison" in texts:
            raise RuntimeError("refused: poison")
        if "panic" in texts:
            raise Panic
        if "short" in texts:
            return np.ones((0, 2), dtype=np.float32)
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)

    def open(self) -> None:
        self.gate.release(1000)


@asynccontextmanager
async def batching(
    encoder: GatedEncoder, max_batch: int = 16, max_waiting: int = 256
) -> AsyncIterator[BatchingEncoder]:
    batching = BatchingEncoder(encoder, max_batch=max_batch, max_waiting=max_waiting)
    try:
        yield batching
    finally:
        encoder.open()
        await batching.close()


async def begun(encoder: GatedEncoder) -> None:
    """Wait until the worker is inside a batch."""
    assert await asyncio.to_thread(encoder.begun.acquire, timeout=30)


async def ask(
    encode: Callable[[str], Coroutine[None, None, Vector]], *texts: str
) -> list[asyncio.Task[Vector]]:
    """Start one task for each text and wait until each is in the queue."""
    tasks = [asyncio.create_task(encode(text)) for text in texts]
    await asyncio.sleep(0)
    return tasks


async def test_a_text_alone_is_encoded_without_waiting_for_others() -> None:
    encoder = GatedEncoder()
    encoder.open()

    async with batching(encoder) as batcher:
        vector = await batcher.encode("four")

    assert vector.tolist() == [4, 1]
    assert (batcher.name, batcher.dimension) == ("gated", 2)


async def test_waiting_texts_are_encoded_together_and_each_task_gets_its_vector() -> None:
    encoder = GatedEncoder()

    async with batching(encoder, max_batch=3) as batcher:
        first = await ask(batcher.encode, "a")
        await begun(encoder)
        others = await ask(batcher.encode, "bb", "ccc", "dddd", "eeeee")
        encoder.open()
        vectors = await asyncio.gather(*first, *others)

    assert encoder.batches == [["a"], ["bb", "ccc", "dddd"], ["eeeee"]]
    assert [vector.tolist() for vector in vectors] == [[1, 1], [2, 1], [3, 1], [4, 1], [5, 1]]


async def test_the_event_loop_continues_while_a_batch_is_encoded() -> None:
    encoder = GatedEncoder()

    async with batching(encoder) as batcher:
        tasks = await ask(batcher.encode, "a")
        await begun(encoder)

        assert not tasks[0].done()
    assert threading.main_thread() not in encoder.threads


async def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    encoder = GatedEncoder()

    async with batching(encoder, max_waiting=2) as batcher:
        first = await ask(batcher.encode, "a")
        await begun(encoder)
        waiting = await ask(batcher.encode, "bb", "ccc")
        with pytest.raises(EncoderBusy, match="2 texts already wait"):
            await batcher.encode("dddd")
        encoder.open()
        await asyncio.gather(*first, *waiting)

        assert (await batcher.encode("dddd")).tolist() == [4, 1]


async def test_a_cancelled_text_is_not_encoded_and_the_others_are() -> None:
    encoder = GatedEncoder()

    async with batching(encoder) as batcher:
        running = await ask(batcher.encode, "a")
        await begun(encoder)
        waiting = await ask(batcher.encode, "bb", "ccc")
        running[0].cancel()
        waiting[0].cancel()
        await asyncio.sleep(0)
        encoder.open()

        assert (await waiting[1]).tolist() == [3, 1]
    assert encoder.batches == [["a"], ["ccc"]]
    assert running[0].cancelled()


async def test_a_failure_reaches_every_text_of_the_batch_and_no_other() -> None:
    encoder = GatedEncoder()

    async with batching(encoder) as batcher:
        first = await ask(batcher.encode, "a")
        await begun(encoder)
        failing = await ask(batcher.encode, "poison", "beside")
        encoder.open()
        failures = await asyncio.gather(*failing, return_exceptions=True)

        assert (await first[0]).tolist() == [1, 1]
        assert (await batcher.encode("after")).tolist() == [5, 1]
    assert [type(failure) for failure in failures] == [EncoderUnavailable, EncoderUnavailable]
    assert failures[0] is not failures[1]


async def test_a_failure_names_its_kind_and_cause_but_quotes_no_text() -> None:
    encoder = GatedEncoder()
    encoder.open()

    async with batching(encoder) as batcher:
        with pytest.raises(EncoderUnavailable) as failure:
            await batcher.encode("poison")

    assert str(failure.value) == "gated failed: RuntimeError"
    assert isinstance(failure.value.__cause__, RuntimeError)


async def test_the_thread_outlives_a_crash_in_native_code() -> None:
    encoder = GatedEncoder()
    encoder.open()

    async with batching(encoder) as batcher:
        with pytest.raises(EncoderUnavailable, match="gated failed: Panic"):
            await batcher.encode("panic")

        assert (await batcher.encode("after")).tolist() == [5, 1]


async def test_an_answer_of_the_wrong_size_is_a_failure() -> None:
    encoder = GatedEncoder()
    encoder.open()

    async with batching(encoder) as batcher:
        with pytest.raises(EncoderUnavailable, match=r"gave \(0, 2\) numbers for 1 texts"):
            await batcher.encode("short")


async def test_closing_ends_the_thread_and_fails_waiting_and_later_texts() -> None:
    encoder = GatedEncoder()
    batcher = BatchingEncoder(encoder)
    running = await ask(batcher.encode, "a")
    await begun(encoder)
    waiting = await ask(batcher.encode, "bb")

    closing = asyncio.create_task(batcher.close())
    with pytest.raises(EncoderUnavailable, match="closed"):
        await waiting[0]
    encoder.open()
    await closing

    assert (await running[0]).tolist() == [1, 1]
    assert not any(thread.is_alive() for thread in encoder.threads)
    with pytest.raises(EncoderUnavailable, match="closed"):
        await batcher.encode("ccc")
    await batcher.close()


@pytest.mark.parametrize(("max_batch", "max_waiting"), [(0, 1), (1, 0)])
def test_bounds_are_positive(max_batch: int, max_waiting: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        BatchingEncoder(GatedEncoder(), max_batch=max_batch, max_waiting=max_waiting)
