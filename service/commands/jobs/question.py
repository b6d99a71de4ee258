"""Asks a running router one question, over HTTP as any client does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import orjson

from service.commands.jobs.running_router import RunningRouter, no_router
from service.domain.basics import Json
from service.errors import StartupError

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 600.0  # between two pieces of the answer; the router itself gives up earlier


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a model; `auto`: the router chooses."""

    text: str
    model: str = "auto"
    system: str | None = None

    def body(self, *, stream: bool) -> Json:
        """The Chat Completions request."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        messages = [*system, {"role": "user", "content": self.text}]
        return {"model": self.model, "messages": messages, "stream": stream}


@dataclass(frozen=True, slots=True)
class Given:
    """An answer, and what the router says of it in the headers."""

    body: Json
    model: str
    decision: str
    request_id: str
    cost_usd: float | None  # None: nobody knows it


def ask_router(router: RunningRouter, question: Question) -> Given:
    """The whole answer. Raises StartupError if there is none."""
    with _asked(router, question, stream=False) as response:
        body: Json = orjson.loads(response.read())
        headers = response.headers
        cost = headers.get("X-Router-Cost-Usd")
        return Given(
            body,
            headers["X-Router-Model"],
            headers["X-Router-Decision"],
            headers["X-Request-ID"],
            None if cost is None else float(cost),
        )


def stream_router(router: RunningRouter, question: Question) -> Iterator[str]:
    """The texts of the answer as they arrive. Raises StartupError if there is none, or it breaks off."""
    with _asked(router, question, stream=True) as response:
        for line in response.iter_lines():
            data = line.removeprefix("data:").strip()
            if not line.startswith("data:") or data == "[DONE]":
                continue
            event: Json = orjson.loads(data)
            if "error" in event:
                raise StartupError(f"the answer broke off: {event['error']['message']}")
            for choice in event["choices"]:
                yield choice["delta"].get("content") or ""


@contextmanager
def _asked(router: RunningRouter, question: Question, *, stream: bool) -> Iterator[httpx.Response]:
    address = router.address
    timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with (
            httpx.Client(trust_env=False, timeout=timeout, headers=router.headers) as client,
            client.stream(
                "POST", f"{address}/v1/chat/completions", json=question.body(stream=stream)
            ) as response,
        ):
            if response.is_error:
                raise StartupError(f"{address}: {orjson.loads(response.read())['error']['message']}")
            if "X-Router-Model" not in response.headers:
                raise ValueError("its answer is not a router's")
            yield response
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise no_router(address, error) from error
