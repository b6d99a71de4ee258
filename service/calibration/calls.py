"""The calls of a calibration: journaled, within the cap, a few at a time for each provider."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import count
from urllib.parse import urlsplit

import numpy as np
import orjson

from service.calibration.answer_text import answer_text, first_message, problem_with
from service.calibration.cap import SpendingCap
from service.calibration.journal import CallJournal, Reply
from service.completion.backoff import wait_before_retry_s
from service.conversations.portability import safe_history
from service.domain.answer import Answer
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock, ModelClient
from service.domain.usage import cost_of, cost_usd
from service.errors import ProviderError, ProviderRateLimited, ProviderRejected
from service.meter.worst_price import LIMITS, worst_usd

MAX_LIMITED_TRIES = 8  # calls of an arm for one answer if its provider limits the rate: for over a minute
MAX_TRIES = 3  # if it fails otherwise
LONGEST_WAIT_S = 120.0  # that a provider may ask for between two of them
MAX_FAILURES = 5  # answers in a row that did not come, after which an arm is not asked any more
MAX_ANSWER_TOKENS = 8192  # of answers to prompts without a limit, unless the operator says otherwise


@dataclass(slots=True)
class PaidCalls:
    """Asks arms, and pays for no answer twice.

    Args:
        cap: never exceeded: the worst price of a call is reserved before it starts.
        max_answer_tokens: limit of answers to requests that give none.
        concurrency: calls at the same time to one provider.
        timeout_s: longest time of one call.
        default_temperature: that `model_client` fills into requests without one.
    """

    model_client: ModelClient
    journal: CallJournal
    cap: SpendingCap
    clock: Clock
    rng: np.random.Generator
    max_answer_tokens: int
    concurrency: int
    timeout_s: float
    default_temperature: float | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    is_capped: bool = field(default=False, init=False)  # the cap has kept a call from being made
    _failed: dict[str, Reply] = field(default_factory=dict, init=False)
    _n_failures: Counter[str] = field(default_factory=Counter, init=False)  # in a row, by arm
    _locks: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock), init=False
    )
    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict, init=False)

    async def ask(self, arm: Arm, body: Json) -> Reply:
        """The arm's answer: of this run, of an earlier one, or the reason why there is none."""
        request, key = self.request(body), self.key(arm, body)
        async with self._locks[key]:
            known = self.journal.replies.get(key) or self._failed.get(key)
            if known is not None:
                return known
            async with self._slot(arm):
                reply = await self._answered(arm, request, key, is_limited=request is not body)
            if reply.answered_at is None:
                self._failed[key] = reply
            return reply

    def request(self, body: Json) -> Json:
        """The request with a limit of its answer, and so a worst price; the same object if it has one."""
        if any(body.get(name) is not None for name in LIMITS):
            return body
        return {**body, LIMITS[0]: self.max_answer_tokens}

    def key(self, arm: Arm, body: Json) -> str:
        """The key of a call in the journal: the same request to the same arm with the same settings."""
        model = [arm.arm_id, arm.provider, arm.model, arm.base_url]
        model += [] if arm.prompt is None else [arm.prompt.name]
        fields = [sorted(arm.extra_fields), sorted(arm.drop), dict(arm.rename), dict(arm.set_fields)]
        content = [model, fields, self.default_temperature, self.request(body)]
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]

    def worst_usd(self, arm: Arm, body: Json) -> Decimal:
        """What the call costs at worst."""
        return worst_usd(arm, self.request(body))

    def _slot(self, arm: Arm) -> asyncio.Semaphore:
        return self._slots.setdefault(provider_of(arm), asyncio.Semaphore(self.concurrency))

    async def _answered(self, arm: Arm, request: Json, key: str, *, is_limited: bool) -> Reply:
        """Call the arm until it answers, or until another call would fail as well."""
        for n_failures in count(1):
            if self._n_failures[arm.arm_id] >= MAX_FAILURES:
                return _unasked(f"not asked: {MAX_FAILURES} answers of the model failed in a row")
            reserved_usd = self.worst_usd(arm, request)
            if not await self.cap.reserve(reserved_usd):
                self.is_capped = True
                return _unasked("not asked: the cap leaves too little for the answer at its worst price")
            try:
                reply = await self._called(arm, request, key, reserved_usd, is_limited)
            except ProviderError as error:
                wait_s = self._wait_s(error, n_failures)
                if wait_s is None:
                    self._n_failures[arm.arm_id] += not isinstance(error, ProviderRejected)
                    return _unasked(str(error))
                await self.sleep(wait_s)
            else:
                self._n_failures[arm.arm_id] = 0
                return reply
        raise AssertionError

    def _wait_s(self, error: ProviderError, n_failures: int) -> float | None:
        """Seconds until the arm is called again; None: it is not."""
        most = MAX_LIMITED_TRIES if isinstance(error, ProviderRateLimited) else MAX_TRIES
        if n_failures >= most:
            return None
        return wait_before_retry_s(error, n_failures, self.rng, longest_s=LONGEST_WAIT_S)

    async def _called(
        self, arm: Arm, request: Json, key: str, reserved_usd: Decimal, is_limited: bool
    ) -> Reply:
        """The result of one call, whose dollars are settled and journaled however it ends."""
        self.journal.started(key, reserved_usd)
        started_at, counted_usd = self.clock(), reserved_usd
        reply = Reply(None, None, 0.0, None, "interrupted")
        try:
            body = safe_history(request, arm, len(request["messages"]))
            answer = await self.model_client.complete(arm, body, timeout_s=self.timeout_s)
            counted_usd = counted(answer, arm)
            limit = request[LIMITS[0]] if is_limited else None
            reply = _reply(answer, arm, started_at, self.clock(), limit)
        except ProviderError as error:
            counted_usd = reserved_usd if error.has_begun else Decimal(0)  # it may be billed
            reply = Reply(None, None, 0.0, None, str(error))
            raise
        finally:
            self.journal.ended(key, reply, counted_usd)
            await self.cap.settle(reserved_usd, counted_usd)
        await self.journal.sync()
        return reply


def provider_of(arm: Arm) -> str:
    """What stands for the provider whose limits the arm's calls count against: its server, or its name."""
    if arm.base_url is not None:
        return urlsplit(arm.base_url).netloc
    return arm.model.partition("/")[0] if arm.provider == "litellm" else arm.provider


def counted(answer: Answer, arm: Arm) -> Decimal:
    """The dollars of an answer for the cap: at the assumed price if nobody knows them."""
    known = cost_of(answer.usage, arm.price).usd
    return cost_usd(answer.usage, arm.expected_price) if known is None else known


def _reply(answer: Answer, arm: Arm, started_at: datetime, now: datetime, limit: int | None) -> Reply:
    message, finish_reason = first_message(answer)
    problem = problem_with(message, finish_reason, limit)
    return Reply(
        text=answer_text(message) if problem is None else None,
        cost_usd=cost_of(answer.usage, arm.price).usd,
        latency_s=max(0.0, (now - started_at).total_seconds()),
        answered_at=now,
        problem=problem,
    )


def _unasked(problem: str) -> Reply:
    return Reply(None, None, 0.0, None, problem)
