"""Answers seen before, found again by the request's exact content."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from service.domain.basics import Json
from service.domain.ports import Clock
from service.domain.query import Query

HOW_NOT_WHAT = frozenset({"stream", "stream_options"})  # fields that change how an answer is sent only


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A whole answer, and who gave it."""

    arm_id: str
    body: Json
    expires_at: datetime


class AnswerCache:
    """Keeps the answers used last, in this process; a tenant never gets another's.

    Only answers that ended by themselves are kept: a truncated or filtered one may turn out
    otherwise the next time.

    Args:
        max_size: answers kept.
        ttl_s: how long each may be reused, seconds.
    """

    def __init__(self, max_size: int, ttl_s: float, clock: Clock) -> None:
        self.hits = 0
        self.misses = 0
        self._max_size = max_size
        self._ttl = timedelta(seconds=ttl_s)
        self._clock = clock
        self._answers: OrderedDict[bytes, CachedAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, query: Query) -> CachedAnswer | None:
        """The answer that the same request got before, if it is fresh enough."""
        key = _key(query)
        answer = self._answers.get(key)
        if answer is None or answer.expires_at <= self._clock():
            self._answers.pop(key, None)
            self.misses += 1
            return None
        self._answers.move_to_end(key)
        self.hits += 1
        return answer

    def keep(self, query: Query, arm_id: str, body: Json) -> None:
        """Remember an answer, an OpenAI `chat.completion`."""
        if any(choice.get("finish_reason") not in {"stop", "tool_calls"} for choice in body["choices"]):
            return
        self._answers[_key(query)] = CachedAnswer(arm_id, body, self._clock() + self._ttl)
        if len(self._answers) > self._max_size:
            self._answers.popitem(last=False)

    def clear(self) -> int:
        """Forget everything; returns how many answers there were."""
        n = len(self._answers)
        self._answers.clear()
        return n


def _key(query: Query) -> bytes:
    """Who asks what of which models: which of them a caller allows is part of the question."""
    body = query.body if query.native is None else query.native.body  # which says more than its translation
    asked = {name: value for name, value in body.items() if name not in HOW_NOT_WHAT}
    options = query.options
    allowed = [sorted(names) for names in (options.models or (), options.exclude, options.require_data_use)]
    content = orjson.dumps([query.tenant, query.dialect, asked, allowed], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).digest()
