"""Every fault of a provider, against the real service over HTTP, in each dialect, streamed and not."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import httpx
import orjson
import pytest

from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import ProviderClients
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service import provider_faults
from tests.service.provider_faults import FAULTS, Fault, Moment, Port
from tests.service.providers import scripted
from tests.service.providers.scripted import Upstream, answers, chunk_body, completion, event, streams
from tests.service.served import serving
from tests.service.world import World, opened

FAULTS_PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
HEALTHY, HEALTHY_STREAM = (
    answers(completion("All well.")),
    streams(event(chunk_body("All well.")), event(chunk_body(finish_reason="stop")), b"data: [DONE]\n\n"),
)


class Dialect(Protocol):
    """How a client of the dialect sends a request and reads the answer."""

    path: str
    unavailable: Mapping[
        str, tuple[int, str]
    ]  # by the attempt's error: status and kind when no model answered
    broken_off: str  # kind of the error in the middle of a stream

    def text(self, response: httpx.Response) -> str: ...

    def ends_cleanly(self, response: httpx.Response) -> bool: ...

    def error(self, response: httpx.Response) -> str:
        """The kind of the error, which is the whole answer or its last event."""
        ...


class OpenAI:
    path = "/v1/chat/completions"
    unavailable: Mapping[str, tuple[int, str]] = {
        "ProviderRateLimited": (429, "rate_limit_exceeded"),
        "ProviderOutOfCredit": (429, "insufficient_quota"),
        "ProviderBroken": (503, "no_model_answered"),
        "ProviderTimeout": (503, "no_model_answered"),
        "ProviderRejected": (400, "rejected"),
    }
    broken_off = "upstream_error"

    def text(self, response: httpx.Response) -> str:
        if not is_stream(response):
            return str(response.json()["choices"][0]["message"]["content"])
        choices = [choice for event in events(response) for choice in event.get("choices", [])]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    def ends_cleanly(self, response: httpx.Response) -> bool:
        return not is_stream(response) or response.text.endswith("data: [DONE]\n\n")

    def error(self, response: httpx.Response) -> str:
        body = events(response)[-1] if is_stream(response) else response.json()
        return "rejected" if response.status_code == 400 else str(body["error"]["code"])


class Anthropic:
    path = "/v1/messages"
    unavailable: Mapping[str, tuple[int, str]] = {
        "ProviderRateLimited": (429, "rate_limit_error"),
        "ProviderOutOfCredit": (402, "billing_error"),
        "ProviderBroken": (529, "overloaded_error"),
        "ProviderTimeout": (529, "overloaded_error"),
        "ProviderRejected": (400, "invalid_request_error"),
    }
    broken_off = "api_error"

    def text(self, response: httpx.Response) -> str:
        if is_stream(response):
            return "".join(event.get("delta", {}).get("text", "") for event in events(response))
        return "".join(block["text"] for block in response.json()["content"])

    def ends_cleanly(self, response: httpx.Response) -> bool:
        if not is_stream(response):
            return True
        types = [event["type"] for event in events(response)]
        return (
            types[0] == "message_start" and types.count("message_start") == 1 and types[-1] == "message_stop"
        )

    def error(self, response: httpx.Response) -> str:
        body = events(response)[-1] if is_stream(response) else response.json()
        assert body["type"] == "error"
        return str(body["error"]["type"])


DIALECTS: dict[str, Dialect] = {"openai": OpenAI(), "anthropic": Anthropic()}


def events(response: httpx.Response) -> list[Json]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [orjson.loads(line) for line in lines if line != "[DONE]"]


@dataclass(frozen=True, slots=True)
class Scene:
    """The service with a faulty model and a healthy one."""

    world: World
    http: httpx.AsyncClient
    upstream: Upstream

    async def ask(self, dialect: Dialect, *, stream: bool, model: str = "auto") -> httpx.Response:
        messages = [{"role": "user", "content": "Hi"}]
        body = {"model": model, "stream": stream, "max_tokens": 4_000, "messages": messages}
        return await self.http.post(dialect.path, json=body, headers={"X-Request-ID": "r-1"})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with scripted.serving() as upstream:
        yield upstream


@pytest.fixture
async def scene(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Scene]:
    bad = Arm("bad", "openai", "bad", base_url=upstream.base_url)
    good = Arm("good", "openai", "good", base_url=upstream.base_url)
    # Confidence is never reached, so the default model, the bad one, is always called first.
    async with opened(tmp_path, [bad, good], min_confidence_score=1.0, propensity_floor=0.0) as world:
        model_client = ProviderClients({"openai": OpenAICompatibleClient({}, world.clock)})
        world.parts.completion = replace(world.parts.completion, model_client=model_client)
        async with serving(world) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            yield Scene(world, http, upstream)
        await model_client.close()


@contextmanager
def played(scene: Scene, fault: Fault, moment: Moment) -> Iterator[None]:
    """The bad model has the fault at this moment; the good one answers."""
    script = fault.scripts(moment)
    assert script is not None
    scene.upstream.script = HEALTHY if moment == "whole" else HEALTHY_STREAM
    if not isinstance(script, str):
        scene.upstream.by_model["bad"] = script
        change_bad(scene, timeout_s=patience_s(fault, moment))
        yield
        return
    with no_server(script) as address:
        change_bad(scene, timeout_s=patience_s(fault, moment), base_url=address)
        yield


def patience_s(fault: Fault, moment: Moment) -> float:
    """The timeout of the bad model: short if it must expire, but long enough for a first content."""
    if fault.error != "ProviderTimeout":
        return 60.0
    return 1.5 if moment == "after" else 0.1


def change_bad(scene: Scene, **changes: Any) -> None:
    catalog = scene.world.parts.catalog
    bad, good = catalog.arms
    catalog.put((replace(bad, **changes), good), catalog.registrations)


@contextmanager
def no_server(port: Port) -> Iterator[str]:
    """An address that accepts no connection."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = listening.getsockname()
        queued: list[socket.socket] = []
        if port == "ignores":
            listening.listen(0)
            queued = [socket.socket() for _ in range(3)]  # they fill the queue of the listener
        for connection in queued:
            connection.setblocking(False)
            connection.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for connection in queued:
            connection.close()


def is_stream(response: httpx.Response) -> bool:
    return response.headers["content-type"].startswith("text/event-stream")


def cases(*moments: Moment) -> list[object]:
    return [
        pytest.param(fault, moment, id=f"{fault.name}, {moment}")
        for fault in FAULTS
        for moment in moments
        if fault.scripts(moment) is not None
    ]


def state_of_bad(scene: Scene) -> str:
    """The effect on the circuit breaker, in the words of the table."""
    bad = scene.world.parts.catalog.find("bad")
    state = scene.world.parts.catalog.breaker.state_of(bad)
    match state.condition, scene.world.parts.catalog.breaker.reopens_in_s(bad):
        case "closed", _:
            return "counts" if state.n_failures == 1 else "nothing"
        case "open", 7.0:
            return "cools down as asked"
        case "open", 30.0:
            return "cools down"
        case "open", 300.0:
            return "cools down long"
    return f"{state}"


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize(("fault", "moment"), cases("whole", "before"))
async def test_before_the_first_content_another_model_answers(
    scene: Scene, dialect: Dialect, fault: Fault, moment: Moment
) -> None:
    with played(scene, fault, moment):
        response = await scene.ask(dialect, stream=moment == "before")

    assert response.status_code == 200
    assert is_stream(response) == (moment == "before")
    assert dialect.text(response) == "All well."
    assert dialect.ends_cleanly(response)
    assert (response.headers["X-Router-Decision"], response.headers["X-Router-Model"]) == ("fallback", "good")
    record = await scene.world.record("r-1")
    assert [(a["model"], a["status"], a["error_type"]) for a in record["attempts"]] == [
        ("bad", "failed", fault.error),
        ("good", "ok", None),
    ]
    assert [a["propensity"] for a in record["attempts"]] == [1.0, 1.0]
    assert state_of_bad(scene) == fault.breaker


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize(("fault", "moment"), cases("whole", "before"))
async def test_without_another_model_a_failure_has_an_http_status(
    scene: Scene, dialect: Dialect, fault: Fault, moment: Moment
) -> None:
    with played(scene, fault, moment):
        response = await scene.ask(dialect, stream=moment == "before", model="bad")

    record = await scene.world.record("r-1")
    if fault.error == "ProviderFellShort":  # an empty answer is better than none
        assert (response.status_code, dialect.text(response)) == (200, "")
        assert dialect.ends_cleanly(response)
        assert record["outcome"]["status"] == record["attempts"][0]["status"] == "ok"
    else:
        assert (response.status_code, dialect.error(response)) == dialect.unavailable[fault.error]
        may_pass = fault.error not in {"ProviderOutOfCredit", "ProviderRejected"}
        assert ("Retry-After" in response.headers) == may_pass
        assert record["outcome"]["status"] == record["attempts"][0]["status"] == "failed"
    assert len(record["attempts"]) == (3 if fault.is_repeated else 1)
    assert {attempt["model"] for attempt in record["attempts"]} == {"bad"}
    assert state_of_bad(scene) == fault.breaker


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize(("fault", "moment"), cases("after"))
async def test_after_the_first_content_the_stream_ends_with_an_error_and_no_other_model(
    scene: Scene, dialect: Dialect, fault: Fault, moment: Moment
) -> None:
    with played(scene, fault, moment):
        response = await scene.ask(dialect, stream=True)

    assert response.status_code == 200
    assert dialect.text(response) == "Half an"
    assert dialect.error(response) == dialect.broken_off
    assert not dialect.ends_cleanly(response)
    record = await scene.world.record("r-1")
    [attempt] = record["attempts"]
    assert (attempt["model"], attempt["status"], attempt["error_type"]) == ("bad", "failed", fault.error)
    assert attempt["usage"]["completion_tokens"] > 0
    assert record["outcome"]["status"] == "failed"
    assert state_of_bad(scene) == fault.breaker


@pytest.mark.parametrize("stream", [False, True])
async def test_a_rejected_request_does_not_count_against_the_model(scene: Scene, stream: bool) -> None:
    scene.upstream.script = scripted.refuses(400, "temperature is too high", param="temperature")

    response = await scene.ask(DIALECTS["openai"], stream=stream)

    assert response.status_code == 400
    assert state_of_bad(scene) == "nothing"


def test_the_faults_page_has_this_table() -> None:
    table = FAULTS_PAGE.read_text("utf-8").split("| fault | attempt's error |")[1].split("\n\n")[0]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in table.splitlines()
        if line.startswith("| ")
    ]

    assert rows == [provider_faults.row(fault) for fault in FAULTS]
