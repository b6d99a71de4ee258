"""A small model that names the expert of a request, with the embedding in its place when it fails."""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import structlog

from service.domain.answer import Answer
from service.domain.arm import Arm
from service.domain.basics import Json, Vector
from service.domain.ports import Clock
from service.domain.query import Query
from service.domain.tags import EXPERT, STAND_IN, Tag
from service.errors import ProviderError
from service.policies.classifiers.asked import asked
from service.policies.classifiers.expert import Expert, ExpertClassifier

log = structlog.get_logger(__name__)

NONE_FITS = "other"
HEAD_CHARS, TAIL_CHARS = 4_000, 2_000  # of a long request: small models have small windows
MAX_CACHED = 1_000
REST = timedelta(seconds=10)  # without a call after a failure
CONFIDENCE = 1.0  # models state none

# The wording that Arch-Router was trained on; other models follow it too.
PROMPT = """You are a helpful assistant designed to find the best suited route.
You are provided with route description within <routes></routes> XML tags:
<routes>
{routes}
</routes>

<conversation>
{conversation}
</conversation>

Your task is to decide which route is best suit with user intent on the conversation in <conversation></conversation> \
XML tags. Follow the instruction:
1. If the latest intent from user is irrelevant or user intent is full filled, response with other route {{"route": "other"}}.
2. You must analyze the route descriptions and find the best match route for user latest intent.
3. You only response the name of the route that best matches the user's request, use the exact name in the <routes></routes>.

Based on your analysis, provide your response in the following JSON formats if you decide to match any route:
{{"route": "route_name"}}
"""  # noqa: E501
_ROUTE = re.compile(r"""["']route["'] {0,9}: {0,9}["']([^"'\n]{1,200})["']""")


class Completes(Protocol):
    """Calls a model. Raises only errors of the ProviderError tree."""

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer: ...


class RoutingModelClassifier:
    """Asks a model which expert a request is for, once for each text.

    Args:
        arm: how to call the model; it is not one of those that answer requests.
        embedding: names the expert while the model is late, down or answers something else.
        clock: the current time.
    """

    name = EXPERT

    def __init__(
        self,
        experts: Mapping[str, Expert],
        model_client: Completes,
        arm: Arm,
        timeout_s: float,
        embedding: ExpertClassifier,
        clock: Clock,
    ) -> None:
        self._names = frozenset(experts)
        self._routes = json.dumps(
            [{"name": name, "description": e.description} for name, e in experts.items()], ensure_ascii=False
        )
        self._model_client = model_client
        self._arm = arm
        self._timeout_s = timeout_s
        self._embedding = embedding
        self._clock = clock
        self._asks_from: datetime | None = None
        self._answers: OrderedDict[bytes, str | None] = OrderedDict()

    async def tag(self, query: Query, context: Vector | None) -> Tag | None:
        text = asked(query)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key in self._answers:
            self._answers.move_to_end(key)
            return self._tag(self._answers[key], Decimal(0))
        if self._asks_from is None or self._clock() >= self._asks_from:
            try:
                expert, cost_usd = await self._ask(text)
            except ProviderError as error:
                self._asks_from = self._clock() + REST
                log.warning("routing_model_failed", model=self._arm.model, error=type(error).__name__)
            except ValueError as error:
                log.warning("routing_model_failed", model=self._arm.model, reason=str(error))
            else:
                self._answers[key] = expert
                if len(self._answers) > MAX_CACHED:
                    self._answers.popitem(last=False)
                return self._tag(expert, cost_usd)
        tag = await self._embedding.tag(query, context)
        return None if tag is None else replace(tag, source=STAND_IN)

    def _tag(self, expert: str | None, cost_usd: Decimal | None) -> Tag | None:
        return None if expert is None else Tag(EXPERT, expert, CONFIDENCE, cost_usd, self._arm.model)

    async def _ask(self, text: str) -> tuple[str | None, Decimal | None]:
        """The expert, and what the answer cost.

        Raises:
            ProviderError: the model did not answer in time.
            ValueError: it answered with something else than an expert.
        """
        answer = await self._model_client.complete(self._arm, self._request(text), timeout_s=self._timeout_s)
        message = answer.body["choices"][0]["message"]
        said = str(message.get("content") or "").strip()
        found = _ROUTE.search(said)
        route = (found.group(1) if found else said).strip()
        if route != NONE_FITS and route not in self._names:
            raise ValueError("it named no expert")
        cost_usd = answer.usage.stated_cost_usd
        if cost_usd is None and self._arm.price is not None:
            cost_usd = Decimal(0)
        return (route if route in self._names else None), cost_usd

    def _request(self, text: str) -> Json:
        is_long = len(text) > HEAD_CHARS + TAIL_CHARS
        shown = f"{text[:HEAD_CHARS]}\n...\n{text[-TAIL_CHARS:]}" if is_long else text
        conversation = json.dumps([{"role": "user", "content": shown}], ensure_ascii=False)
        content = PROMPT.format(routes=self._routes, conversation=conversation)
        return {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 64}
