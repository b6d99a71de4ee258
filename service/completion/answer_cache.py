"""Cached answers, found by the exact content of the request."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from service.domain.basics import Json
from service.domain.conversation import ConversationState
from service.domain.ports import Clock
from service.domain.query import Query

DELIVERY_FIELDS = frozenset({"stream", "stream_options"})  # how an answer is sent, not what it says


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A whole answer, and the arm that gave it."""

    arm_id: str
    body: Json
    expires_at: datetime
    conversation: ConversationState | None = None  # after the answer, if the conversation has no session id


class AnswerCache:
    """The most recently used answers, in this process; each tenant gets its own answers only.

    Only answers that ended by themselves are stored: a truncated or filtered one may be better the
    next time.

    Args:
        max_size: number of stored answers.
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
        """The answer to an earlier request with the same content, until it expires."""
        key = _key(query)
        answer = self._answers.get(key)
        if answer is None or answer.expires_at <= self._clock():
            self._answers.pop(key, None)
            self.misses += 1
            return None
        self._answers.move_to_end(key)
        self.hits += 1
        return answer

    def keep(
        self, query: Query, arm_id: str, body: Json, conversation: ConversationState | None = None
    ) -> None:
        """Store an answer, an OpenAI `chat.completion`."""
        if any(choice.get("finish_reason") not in {"stop", "tool_calls"} for choice in body["choices"]):
            return
        self._answers[_key(query)] = CachedAnswer(arm_id, body, self._clock() + self._ttl, conversation)
        if len(self._answers) > self._max_size:
            self._answers.popitem(last=False)

    def clear(self) -> int:
        """Remove all answers; returns how many there were."""
        n = len(self._answers)
        self._answers.clear()
        return n


def _key(query: Query) -> bytes:
    """Digest of tenant, dialect, body, the models that the client allows, and what headers change of them."""
    body = query.body if query.native is None else query.native.body  # complete, unlike its translation
    fields = {name: value for name, value in body.items() if name not in DELIVERY_FIELDS}
    options = query.options
    allowed = [sorted(names) for names in (options.models or (), options.exclude, options.require_data_use)]
    headers = [query.requested_model, sorted(query.requested_among or ()), query.rule_headers]
    content = orjson.dumps(
        [query.tenant, query.dialect, fields, allowed, headers], option=orjson.OPT_SORT_KEYS
    )
    return hashlib.sha256(content).digest()
