"""Calls through a router that is scripted: what they cost, and when they end."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import httpx
import pytest

from optimizer.calls import MAX_FAILURES, CallsFail, CapReached, RouterCalls
from service.domain.arm import Arm, Price
from service.domain.basics import Json
from tests.service.providers.scripted import completion

ARM = Arm("small", "openai", "m", price=Price(Decimal(0), Decimal(1)), max_output_tokens=1_000_000)
BODY: Json = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1_000_000}  # worth 1 dollar
Script = Callable[[httpx.Request], httpx.Response]


def calls(script: Script, max_usd: str = "10") -> tuple[RouterCalls, list[float]]:
    waits: list[float] = []
    http = httpx.Client(transport=httpx.MockTransport(script), base_url="http://router")
    return RouterCalls(http, Decimal(max_usd), waits.append), waits


def answered(cost: str | None = "0.25", by: str = "small", **more: object) -> httpx.Response:
    headers = {"X-Router-Model": by} | ({} if cost is None else {"X-Router-Cost-Usd": cost})
    return httpx.Response(200, json=completion("Hello", **more), headers=headers)


def test_a_call_names_its_model_and_teaches_the_router_nothing() -> None:
    sent: list[bytes] = []

    def script(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return answered()

    asked, _ = calls(script)

    assert asked.ask(ARM, BODY).text == "Hello"
    assert b'"model":"small"' in sent[0]
    assert b'"router":{"learn":false}' in sent[0]


def test_the_stated_dollars_count_and_unknown_ones_count_at_their_worst() -> None:
    stated, _ = calls(lambda request: answered("0.25"))
    unknown, _ = calls(lambda request: answered(None))

    stated.ask(ARM, BODY)
    unknown.ask(ARM, BODY)

    assert (stated.spent_usd, unknown.spent_usd) == (Decimal("0.25"), Decimal(1))


def test_no_call_starts_whose_worst_price_the_cap_does_not_cover() -> None:
    asked, _ = calls(lambda request: answered("0.25"), max_usd="1.5")

    for _ in range(3):
        asked.ask(ARM, BODY)

    with pytest.raises(CapReached):
        asked.ask(ARM, BODY)
    assert (asked.spent_usd, asked.n_calls) == (Decimal("0.75"), 3)


def test_dollars_that_are_kept_for_later_are_not_spent() -> None:
    asked, _ = calls(lambda request: answered("0.25"), max_usd="1.5")

    with pytest.raises(CapReached):
        asked.ask(ARM, BODY, kept_usd=Decimal("0.6"))
    assert asked.ask(ARM, BODY, kept_usd=Decimal("0.5")).text == "Hello"


def test_a_limited_rate_is_waited_for_as_long_as_the_router_asks() -> None:
    responses = iter([httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(503), answered()])
    asked, waits = calls(lambda request: next(responses))

    assert asked.ask(ARM, BODY).text == "Hello"
    assert waits == [7.0, 1.0]


def test_answers_that_fail_in_a_row_end_the_search() -> None:
    refusal = httpx.Response(402, json={"error": {"message": "no credit"}})
    asked, _ = calls(lambda request: refusal)

    for _ in range(MAX_FAILURES - 1):
        assert asked.ask(ARM, BODY).problem == "no credit"
    with pytest.raises(CallsFail, match="5 answers in a row failed: small: no credit"):
        asked.ask(ARM, BODY)


def test_a_fallbacks_answer_is_none_of_the_model() -> None:
    asked, _ = calls(lambda request: answered(by="large"))

    reply = asked.ask(ARM, BODY)

    assert (reply.text, reply.problem) == (None, "large answered in its place")


def test_a_router_that_is_away_ends_the_search() -> None:
    def script(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    asked, _ = calls(script)

    with pytest.raises(CallsFail, match="the router at http://router does not answer: refused"):
        asked.ask(ARM, BODY)
