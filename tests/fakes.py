"""Fakes of external parts: each has the real interface, and can be made to fail."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from embeddings.encoder import EncoderUnavailable
from service.domain.answer import Answer, Burst, Chunk, Usage
from service.domain.arm import Arm
from service.domain.basics import Json, Vector
from service.domain.embedding import EmbeddingRequest, Embeddings, as_row
from service.domain.key_check import KeyCheck
from service.domain.query import Native
from service.domain.usage import reported
from service.errors import ProviderError
from tests.fakes_arms import FakeArmRegistry, FakeShadowLog
from tests.fakes_memory import FakeMemory
from tests.fakes_store import (
    FakeConversationStates,
    FakeEvidence,
    FakeForgottenDecisions,
    FakeJournal,
    FakeResponseStore,
    FakeStore,
)

__all__ = [
    "ANY",
    "FakeArmRegistry",
    "FakeConversationStates",
    "FakeDatabase",
    "FakeEmbeddingClient",
    "FakeEncoder",
    "FakeEvidence",
    "FakeForgottenDecisions",
    "FakeJournal",
    "FakeMemory",
    "FakeModelClient",
    "FakeModerationClient",
    "FakeResponseStore",
    "FakeShadowLog",
    "FakeStore",
    "FakeTokenizers",
    "FixedClock",
    "Reply",
]

ANY = "*"
USAGE = Usage(prompt_tokens=100, completion_tokens=50)


class FixedClock:
    """A clock that moves only by `advance`."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Sleep on this clock, which takes no time."""
        self.advance(seconds)


class FakeEmbeddingClient:
    """Deployments that give vectors of ones; `errors` are raised first, one by each call."""

    def __init__(self) -> None:
        self.errors: list[ProviderError] = []
        self.called: list[Arm] = []
        self.requests: list[EmbeddingRequest] = []

    async def embed(
        self, arm: Arm, request: EmbeddingRequest, *, n_dimensions: int | None, timeout_s: float
    ) -> Embeddings:
        self.called.append(arm)
        self.requests.append(request)
        if self.errors:
            raise self.errors.pop(0)
        row = as_row([1.0] * (n_dimensions or 3), request.encoding_format)
        return Embeddings((row,) * len(request.inputs), prompt_tokens=10 * len(request.inputs))


class FakeModerationClient:
    """Deployments that flag nothing; `errors` are raised first, one by each call."""

    def __init__(self) -> None:
        self.errors: list[ProviderError] = []
        self.called: list[tuple[Arm, object]] = []

    async def moderate(self, arm: Arm, content: object, *, timeout_s: float) -> Json:
        self.called.append((arm, content))
        if self.errors:
            raise self.errors.pop(0)
        return {"id": "modr-1", "model": arm.model, "results": [{"flagged": False}]}


class FakeTokenizers:
    """Counts words as tokens; only the tokenizers in `at_hand` are available."""

    def __init__(self) -> None:
        self.at_hand = {"o200k_base", "claude"}
        self.asked: list[str] = []

    async def count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        self.asked.append(tokenizer)
        return sum(len(text.split()) for text in texts) if tokenizer in self.at_hand else None


class FakeEncoder:
    """An encoder that places texts near each other if they share words.

    `is_down = True` makes every call fail; `is_stuck = True` makes it wait forever.
    """

    name = "fake"
    dimension = 64

    def __init__(self) -> None:
        self.is_down = False
        self.is_stuck = False
        self.texts: list[str] = []

    def cached(self, text: str) -> None:
        return None

    async def encode(self, text: str) -> Vector:
        self.texts.append(text)
        if self.is_down:
            raise EncoderUnavailable("the encoder is down")
        if self.is_stuck:
            await asyncio.Event().wait()
        vector = np.sum([self._direction(word) for word in text.lower().split() or [""]], axis=0)
        unit: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit

    async def close(self) -> None:
        self.is_down = True

    def _direction(self, word: str) -> Vector:
        seed = int.from_bytes(hashlib.sha256(word.encode(errors="replace")).digest()[:8])
        return np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)


@dataclass(frozen=True, slots=True)
class FakeDatabase:
    """A PostgreSQL server to ping, which is down if its store is."""

    store: FakeStore

    async def ping(self) -> None:
        self.store.check()

    def was_away_within(self, seconds: float) -> bool:
        return self.store.was_away


@dataclass(frozen=True, slots=True)
class Reply:
    """The behaviour of a model in one call: it answers with its words, then waits, fails or finishes.

    `message` adds fields to the answer: in a stream, as a chunk after the words.
    """

    words: tuple[str, ...] = ("Hello", " there.")
    error: Exception | None = None
    until: asyncio.Event | None = None  # it waits for this before it fails or finishes
    takes_s: float = 0.0  # until the first word, on the fake clock
    usage: Usage = USAGE
    message: Json | None = None
    finish_reason: str = "stop"


class FakeModelClient:
    """Models that follow a script: one reply for each call, and after the last the default reply."""

    def __init__(self, clock: FixedClock) -> None:
        self.replies: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self.calls: list[tuple[str, Json]] = []
        self.timeouts_s: list[float] = []  # of the calls
        self.natives: list[Native | None] = []  # of the same calls
        self.call_started = asyncio.Event()  # set by the first call
        self.cancelled: list[str] = []  # arms whose calls the router cancelled
        self._clock = clock

    def will(self, arm_id: str, *replies: Reply) -> None:
        """Add to the script of an arm, or of any arm (`ANY`)."""
        self.replies[arm_id].extend(replies)

    @property
    def called(self) -> list[str]:
        return [arm_id for arm_id, _ in self.calls]

    async def complete(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> Answer:
        reply = self._next(arm, body, native, timeout_s)
        try:
            await self._end(reply)
        except asyncio.CancelledError:
            self.cancelled.append(arm.arm_id)
            raise
        message = {"role": "assistant", "content": "".join(reply.words), **(reply.message or {})}
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
        return Answer(_frame("chat.completion", arm, [choice], usage=reported(reply.usage)), reply.usage)

    async def stream(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> AsyncGenerator[Burst, None]:
        reply = self._next(arm, body, native, timeout_s)
        try:
            if reply.words:
                yield [_chunk(arm, {"role": "assistant", "content": ""})]
            for word in reply.words:
                yield [_chunk(arm, {"content": word})]
            if reply.message is not None:
                yield [_chunk(arm, reply.message)]
            await self._end(reply)
            yield [_chunk(arm, {}, reply.finish_reason)]
            usage = _frame("chat.completion.chunk", arm, [], usage=reported(reply.usage))
            yield [Chunk(usage, reply.usage)]
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(arm.arm_id)
            raise

    async def close(self) -> None:
        self.call_started.clear()

    def _next(self, arm: Arm, body: Json, native: Native | None, timeout_s: float) -> Reply:
        self.calls.append((arm.arm_id, body))
        self.natives.append(native)
        self.timeouts_s.append(timeout_s)
        self.call_started.set()
        script = self.replies[arm.arm_id] or self.replies[ANY]
        reply = script.popleft() if script else Reply()
        self._clock.advance(reply.takes_s)
        return reply

    async def _end(self, reply: Reply) -> None:
        if reply.until is not None:
            await reply.until.wait()
        if reply.error is not None:
            raise reply.error


def _chunk(arm: Arm, delta: Json, finish_reason: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return Chunk(_frame("chat.completion.chunk", arm, [choice]))


def _frame(kind: str, arm: Arm, choices: list[Json], **more: object) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": arm.model, "choices": choices} | more


@dataclass
class FakeKeyChecker:
    """A KeyChecker whose providers answer as told; the others cannot be asked."""

    checks: dict[str, KeyCheck] = field(default_factory=dict)  # by arm
    checked: list[str] = field(default_factory=list)

    async def check(self, arm: Arm) -> KeyCheck:
        self.checked.append(arm.arm_id)
        return self.checks.get(arm.arm_id, KeyCheck("unknown", "cannot be asked"))
