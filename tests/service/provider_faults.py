"""The faults of a provider, with their effects: tests play them, docs/faults.md lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from service.domain.basics import Json
from tests.service.providers.scripted import (
    Script,
    answers,
    chunk_body,
    completion,
    drop,
    event,
    hang,
    refuses,
    streams,
)

Port = Literal["refuses", "ignores"]  # how a port without a server treats a connection
Moment = Literal["whole", "before", "after"]

ROLE = event(chunk_body(""))
HALF = event(chunk_body("Half an"))
COMMENT = b": processing\n\n"
HTML = b"<html><body>Welcome to the proxy</body></html>"


NAMELESS = {"index": 0, "id": "call_1", "function": {"arguments": '{"a": 1}'}}
NAMELESS_CHOICE = {"index": 0, "delta": {"tool_calls": [NAMELESS]}, "finish_reason": "tool_calls"}


def finished(reason: str, **message: object) -> Json:
    """A whole answer with this finish reason."""
    answer = completion("")
    answer["choices"][0] |= {"finish_reason": reason}
    answer["choices"][0]["message"] |= message
    return answer


def begins(body: bytes, content_type: str, then: Script) -> Script:
    """Send headers and these bytes of a longer answer, then run `then`."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type, "Content-Length": "1000"})
        await response.prepare(request)
        if body:
            await response.write(body)
        return await then(request)

    return script


def plainly(body: bytes, then: Script) -> Script:
    return begins(body, "application/json", then)


def raw(body: bytes, content_type: str) -> Script:
    return answers(body, headers={"Content-Type": content_type})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a provider.

    Args:
        whole: what the upstream does to a request without a stream; None: the fault cannot happen.
        before: what it does to a stream before the first content; None: the fault cannot happen.
        after: what it does to a stream after the first content; None: the fault cannot happen.
        error: the error of the attempt.
        breaker: the effect of one such failure on the circuit breaker.
        is_repeated: whether a model without another is called again.
    """

    name: str
    whole: Script | Port | None
    before: Script | Port | None
    after: Script | None
    error: str
    breaker: str = "counts"
    is_repeated: bool = True

    def scripts(self, moment: Moment) -> Script | Port | None:
        return {"whole": self.whole, "before": self.before, "after": self.after}[moment]


def row(fault: Fault) -> tuple[str, ...]:
    """The row of the fault in docs/faults.md."""
    before = ["another model answers" if script else "n/a" for script in (fault.whole, fault.before)]
    after = "error event, no clean ending" if fault.after else "n/a"
    again = "yes" if fault.is_repeated else "no"
    return (fault.name, f"`{fault.error}`", fault.breaker, *before, after, again)


def status(
    code: int,
    error: str,
    breaker: str = "counts",
    *,
    is_repeated: bool = True,
    headers: dict[str, str] | None = None,
) -> Fault:
    header = " with `Retry-After`" if headers else " without `Retry-After`" if code == 429 else ""
    script = refuses(code, headers=headers)
    return Fault(f"status {code}{header}", script, script, None, error, breaker, is_repeated)


FAULTS = (
    Fault("connection refused", "refuses", "refuses", None, "ProviderBroken"),
    Fault(
        "connection not accepted in time", "ignores", "ignores", None, "ProviderTimeout", is_repeated=False
    ),
    Fault("no answer in time", hang, hang, streams(HALF, then=hang), "ProviderTimeout", is_repeated=False),
    Fault(
        "slow first byte", plainly(b"", hang), streams(then=hang), None, "ProviderTimeout", is_repeated=False
    ),
    Fault(
        "a sign of life, then silence",
        plainly(b"\n", hang),
        streams(COMMENT, then=hang),
        streams(HALF, COMMENT, then=hang),
        "ProviderTimeout",
        is_repeated=False,
    ),
    status(429, "ProviderRateLimited", "cools down as asked", headers={"Retry-After": "7"}),
    Fault(
        "status 429 with a time in the body",
        refuses(429, "Please try again in 7s."),
        refuses(429, "Please try again in 7s."),
        None,
        "ProviderRateLimited",
        "cools down as asked",
    ),
    status(429, "ProviderRateLimited", "cools down"),
    status(402, "ProviderOutOfCredit", "cools down long", is_repeated=False),
    Fault(
        "status 400 without a reason",
        answers(b"", 400),
        answers(b"", 400),
        None,
        "ProviderRejected",
        "nothing",
        is_repeated=False,
    ),
    Fault(
        "status 400 of what only this model cannot do",
        refuses(400, "tools are not supported by this model"),
        refuses(400, "tools are not supported by this model"),
        None,
        "ProviderRejected",
        "nothing",
        is_repeated=False,
    ),
    status(401, "ProviderBroken", is_repeated=False),
    status(404, "ProviderBroken", is_repeated=False),
    status(500, "ProviderBroken"),
    status(503, "ProviderBroken"),
    status(529, "ProviderBroken"),
    Fault(
        "garbage for JSON",
        answers(b"{not json"),
        streams(b"data: {not json\n\n"),
        streams(HALF, b"data: {not json\n\n"),
        "ProviderBroken",
    ),
    Fault("HTML with status 200", raw(HTML, "text/html"), raw(HTML, "text/html"), None, "ProviderBroken"),
    Fault("empty body", answers(b""), streams(), None, "ProviderBroken"),
    Fault(
        "end marker without an answer",
        answers(b"data: [DONE]\n\n"),
        streams(ROLE, b"data: [DONE]\n\n"),
        None,
        "ProviderBroken",
    ),
    Fault(
        "finish reason that says the answer broke off",
        answers(finished("abort")),
        streams(ROLE, event(chunk_body(finish_reason="abort"))),
        streams(HALF, event(chunk_body(finish_reason="abort"))),
        "ProviderBroken",
    ),
    Fault(
        "tool call without a name",
        answers(finished("tool_calls", tool_calls=[NAMELESS])),
        streams(ROLE, event(chunk_body() | {"choices": [NAMELESS_CHOICE]})),
        streams(HALF, event(chunk_body() | {"choices": [NAMELESS_CHOICE]})),
        "ProviderBroken",
    ),
    Fault(
        "connection lost in the middle of a chunk",
        plainly(b'{"choices": [{"mess', drop),
        streams(ROLE, HALF[:20], then=drop),
        streams(HALF, HALF[:20], then=drop),
        "ProviderBroken",
    ),
    Fault(
        "connection lost between chunks",
        plainly(b"", drop),
        streams(ROLE, then=drop),
        streams(HALF, then=drop),
        "ProviderBroken",
    ),
    Fault(
        "end without a finish reason or an end marker",
        answers(HALF),
        streams(ROLE),
        streams(HALF),
        "ProviderBroken",
    ),
    Fault(
        "error in place of an answer or event",
        answers({"error": {"message": "overloaded", "code": 503}}),
        streams(event({"error": {"message": "overloaded", "code": 503}})),
        streams(HALF, event({"error": {"message": "overloaded", "code": 503}})),
        "ProviderBroken",
    ),
    Fault(
        "empty answer",
        answers(completion("")),
        streams(ROLE, event(chunk_body(finish_reason="stop"))),
        None,
        "ProviderFellShort",
        is_repeated=False,
    ),
)
