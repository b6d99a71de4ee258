"""Calls of models through the running router, within a cap of dollars."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import httpx

from service.calibration.answer_text import answer_text, problem_with
from service.calibration.journal import Reply
from service.domain.arm import Arm
from service.domain.basics import Json
from service.meter.worst_price import LIMITS, worst_usd

MAX_ANSWER_TOKENS = 2048  # of answers to requests that give no limit
MAX_TRIES = 3  # of a call that the router or its provider cannot answer now
LONGEST_WAIT_S = 30.0
MAX_FAILURES = 5  # answers in a row that did not come, after which nothing is asked any more
_AGAIN = frozenset({429, 500, 502, 503, 504})


class Stopped(BaseException):
    """The search must end. DSPy counts every Exception as a row that failed, and goes on."""


class CapReached(Stopped):
    """The dollars do not cover another call."""


class CallsFail(Stopped):
    """No router answers, or answers in a row did not come."""


@dataclass(slots=True)
class RouterCalls:
    """Asks models by name through a router that learns nothing from it; may be used by several threads.

    Args:
        http: a client of the router's address.
        max_usd: most dollars of all calls; the worst price of a call is reserved before it starts.
    """

    http: httpx.Client
    max_usd: Decimal
    sleep: Callable[[float], None] = time.sleep
    spent_usd: Decimal = field(default=Decimal(0), init=False)
    n_calls: int = field(default=0, init=False)
    _reserved_usd: Decimal = field(default=Decimal(0), init=False)
    _n_failures: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def ask(self, arm: Arm, body: Json, *, kept_usd: Decimal = Decimal(0)) -> Reply:
        """The arm's answer, or the reason why there is none.

        Args:
            kept_usd: dollars of the cap that this call must leave.

        Raises:
            CapReached: the cap leaves too little for the call at its worst price.
            CallsFail: no router answers, or answers in a row did not come.
        """
        limited = any(body.get(name) is not None for name in LIMITS)
        request = body if limited else {**body, LIMITS[0]: MAX_ANSWER_TOKENS}
        for n_tries in range(1, MAX_TRIES + 1):
            response = self._posted(arm, request, kept_usd)
            if response.status_code not in _AGAIN or n_tries == MAX_TRIES:
                break
            self.sleep(_wait_s(response))
        return self._read(arm, response, limit=None if limited else MAX_ANSWER_TOKENS)

    def _posted(self, arm: Arm, request: Json, kept_usd: Decimal) -> httpx.Response:
        """The response to one call, whose dollars are counted however it ends."""
        reserved_usd = worst_usd(arm, request)
        with self._lock:
            if self.spent_usd + self._reserved_usd + reserved_usd + kept_usd > self.max_usd:
                raise CapReached
            self._reserved_usd += reserved_usd
            self.n_calls += 1
        counted_usd = reserved_usd  # a call without a word about its cost may be billed
        try:
            options = {"learn": False}
            response = self.http.post(
                "/v1/chat/completions", json={**request, "model": arm.arm_id, "router": options}
            )
            if (stated := response.headers.get("X-Router-Cost-Usd")) is not None:
                counted_usd = Decimal(stated)
            return response
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise CallsFail(f"the router at {self.http.base_url} does not answer: {reason}") from error
        finally:
            with self._lock:
                self._reserved_usd -= reserved_usd
                self.spent_usd += counted_usd

    def _read(self, arm: Arm, response: httpx.Response, limit: int | None) -> Reply:
        by = response.headers.get("X-Router-Model", arm.arm_id)
        if response.is_error or by != arm.arm_id:  # a fallback's answer is no test of this model's prompt
            problem = _message(response) if response.is_error else f"{by} answered in its place"
            with self._lock:
                self._n_failures += 1
                if self._n_failures >= MAX_FAILURES:
                    raise CallsFail(f"{MAX_FAILURES} answers in a row failed: {arm.arm_id}: {problem}")
            return Reply(None, None, 0.0, None, problem)
        with self._lock:
            self._n_failures = 0
        choice = response.json()["choices"][0]
        unusable = problem_with(choice["message"], choice.get("finish_reason"), limit)
        text = answer_text(choice["message"]) if unusable is None else None
        return Reply(text, None, 0.0, datetime.now(UTC), unusable)


def _wait_s(response: httpx.Response) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked) if asked.isdecimal() else 1.0, LONGEST_WAIT_S)


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
