"""DSPy's language model: a model of the router's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, ServerError, Usage, response_to_events

from optimizer.calls import RouterCalls
from service.domain.arm import Arm
from service.domain.basics import Json


@dataclass(frozen=True, slots=True)
class RouterEngine:
    """One attempt of DSPy to ask a model, in its own form of requests.

    Args:
        kept_usd: dollars that the search must leave for the comparison.
    """

    calls: RouterCalls
    arm: Arm
    kept_usd: Decimal

    def complete(self, request: Request) -> Response:
        """Raises CapReached, and DSPy's ServerError: the model gave no answer."""
        reply = self.calls.ask(self.arm, _body(request), kept_usd=self.kept_usd)
        if not reply.text:
            raise ServerError(f"{self.arm.arm_id}: {reply.problem or 'the answer is empty'}")
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(reply.text),
            finish_reason="stop",
            usage=Usage(),
        )

    def stream(self, request: Request) -> Iterator[Any]:
        yield from response_to_events(self.complete(request))

    def close(self) -> None: ...


def language_model(calls: RouterCalls, arm: Arm, kept_usd: Decimal) -> Any:
    """The arm as a `dspy.LM`, without DSPy's caches and retries."""
    # The prefix keeps DSPy from applying what it knows of a vendor's model: the router does that.
    name = f"router/{arm.arm_id}"
    return dspy.LM(name, engine=RouterEngine(calls, arm, kept_usd), cache=False, num_retries=0)


def _body(request: Request) -> Json:
    messages: list[Json] = []
    if request.system is not None:
        system = request.system
        text = system if isinstance(system, str) else "".join(part.text for part in system)
        messages.append({"role": "system", "content": text})
    messages += [{"role": message.role, "content": message.text or ""} for message in request.messages]
    body: Json = {"messages": messages}
    config = request.config
    values = {"temperature": config.temperature, "max_tokens": config.max_tokens}
    return body | {name: value for name, value in values.items() if value is not None}
