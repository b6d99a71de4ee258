import threading
from collections.abc import Sequence

import numpy as np
import pytest

from embeddings.cache import CachedEncoder
from embeddings.encoder import EncoderUnavailable, Vector
from embeddings.inline import InlineEncoder


class Panic(BaseException):
    """Like the exception that a crash in Rust raises in Python."""


class QuickEncoder:
    """Encodes a text as (its length, 1)."""

    name = "quick"
    dimension = 2

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def encode(self, texts: Sequence[str]) -> Vector:
        self.threads.append(threading.current_thread())
        if "panic" in texts:
            raise Panic
        if "poison" in texts:
            raise ValueError("refused: poison")
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


async def test_a_text_is_encoded_at_once_in_the_thread_that_asks() -> None:
    quick = QuickEncoder()

    vector = CachedEncoder(InlineEncoder(quick), 10).cached("four")

    assert vector is not None
    assert vector.tolist() == [4, 1]
    assert quick.threads == [threading.main_thread()]


async def test_a_text_that_is_asked_for_again_is_not_encoded_again() -> None:
    quick = QuickEncoder()
    cached = CachedEncoder(InlineEncoder(quick), 10)

    first, second = await cached.encode("four"), await cached.encode("four")

    assert first is second
    assert len(quick.threads) == 1
    assert (cached.hits, cached.misses) == (1, 1)


@pytest.mark.parametrize(("text", "cause"), [("panic", "Panic"), ("poison", "ValueError")])
async def test_a_failure_names_its_kind_but_quotes_no_text(text: str, cause: str) -> None:
    cached = CachedEncoder(InlineEncoder(QuickEncoder()), 10)

    assert cached.cached(text) is None
    with pytest.raises(EncoderUnavailable) as failure:
        await cached.encode(text)

    assert str(failure.value) == f"quick failed: {cause}"
    assert (await cached.encode("four")).tolist() == [4, 1]
