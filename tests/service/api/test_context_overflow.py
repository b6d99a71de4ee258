"""A prompt that is too long: each client recognises the error by its own rule, and compacts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
import pytest

from service.domain.basics import Json
from service.errors import ProviderBroken, ProviderRejected
from service.providers.wordings import limit_of_model
from tests.fakes import ANY, Reply
from tests.service.world import World, arm, opened

WORDINGS = Path(__file__).parents[1] / "providers" / "wordings.txt"
SAID_BY_VENDORS = [
    line.split(" | ", 2)[2]
    for line in WORDINGS.read_text("utf-8").splitlines()
    if line.startswith("too long")
]
HAIKU = arm("haiku", "1.00", 2_000, provider="anthropic")
OPUS = arm("opus", "5.00", 100_000, provider="anthropic")
LONG = "word " * 4_000  # 5,000 tokens
TINY = arm("tiny", "0.10", 1_000)

Body = dict[str, Json]


def error_in(answer: Json) -> Json:
    error: Json = answer["error"]
    return error


def says(*wordings: str) -> Callable[[Json], bool]:
    """A rule that reads the message only."""
    patterns = [re.compile(wording, re.IGNORECASE) for wording in wordings]
    return lambda answer: any(pattern.search(error_in(answer)["message"]) for pattern in patterns)


def has_code(answer: Json) -> bool:
    return bool(error_in(answer)["code"] == "context_length_exceeded")


# What each client looks for in the error of `/v1/messages`, with the status 400.
IN_MESSAGES: dict[str, Callable[[Json], bool]] = {
    "Claude Code": says(r"^prompt is too long: \d+ tokens > \d+ maximum$"),
    "Claude Code, the numbers": says(r"prompt is too long[^0-9]*(\d+)\s*tokens?\s*>\s*(\d+)"),
    "opencode": says(r"prompt is too long", r"request_too_large"),
    "Cline": says(r"\bprompt\s+is\s+too\s+long\b"),
    "Qwen Code": says(r"\bprompt\s+(?:is\s+)?too long\b"),
    "Qwen Code, the numbers": says(r"(\d[\d,]*)\s*tokens?\s*>\s*(\d[\d,]*)"),
    "LangChain": says("prompt is too long"),
}
# ... and in that of `/v1/chat/completions`.
IN_CHAT: dict[str, Callable[[Json], bool]] = {
    "opencode": lambda answer: has_code(answer) and says(r"maximum context length is \d+ tokens")(answer),
    "Cline": lambda answer: has_code(answer) and says(r"\bmaximum\s*context\b")(answer),
    "LiteLLM and aider": says(r"this model's maximum context length is"),
    "Qwen Code": says(
        r"maximum context length is\s*(\d[\d,]*)\s*tokens?[\s\S]*?(?:resulted in|requested|used)"
        r"\s*(\d[\d,]*)\s*tokens?"
    ),
    "Continue": says("maximum context length", "reduce the length of the messages"),
    "pydantic-ai": lambda answer: has_code(answer) and says("maximum context length")(answer),
    "LangChain": lambda answer: "context_length_exceeded" in str(answer),
    "Codex": has_code,
    "GitHub Copilot CLI": has_code,
}
DIALECTS = {"/v1/messages": IN_MESSAGES, "/v1/chat/completions": IN_CHAT}


async def ask(world: World, path: str, **fields: object) -> httpx.Response:
    body = {"model": "auto", "max_tokens": 10, "messages": [{"role": "user", "content": LONG}], **fields}
    return await world.http.post(path, json=body)


def assert_recognised(response: httpx.Response, path: str, window: int) -> None:
    assert response.status_code == 400, response.text
    answer = response.json()
    for client, recognises in DIALECTS[path].items():
        assert recognises(answer), (client, answer)
    n_tokens, most = numbers(error_in(answer)["message"])
    assert most == window
    assert n_tokens > most


def numbers(message: str) -> tuple[int, int]:
    """The tokens of the prompt and the window, as clients read them."""
    if found := re.match(r"prompt is too long: (\d+) tokens > (\d+) maximum$", message):
        return int(found[1]), int(found[2])
    found = re.match(
        r"This \w+'s maximum (?:context|prompt) length is (\d+)(?: tokens. However, your messages resulted in"
        r"| tokens. However, you requested(?: about)?| but the request contains) (\d+)",
        message,
    )
    assert found is not None, message
    return int(found[2]), int(found[1])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", DIALECTS)
async def test_a_prompt_that_fits_no_model_is_recognised(tmp_path: Path, path: str, stream: bool) -> None:
    async with opened(tmp_path, [HAIKU, TINY]) as world:
        assert_recognised(await ask(world, path, stream=stream), path, 2_000)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("option", [{"exclude": ["opus"]}, {"models": ["haiku"]}, {"max_cost_usd": 0.0001}])
async def test_it_is_recognised_where_an_option_excludes_the_model_with_room(
    tmp_path: Path, path: str, option: Json
) -> None:
    async with opened(tmp_path, [HAIKU, OPUS]) as world:
        assert_recognised(await ask(world, path, router=option), path, 2_000)


@pytest.mark.parametrize("path", DIALECTS)
async def test_it_is_recognised_where_the_model_that_fits_is_not_named(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path, [HAIKU, OPUS]) as world:
        assert_recognised(await ask(world, path, model="haiku"), path, 2_000)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("state", ["retired", "draining"])
async def test_it_is_recognised_where_the_model_with_room_is_out_of_service(
    tmp_path: Path, path: str, state: str
) -> None:
    async with opened(tmp_path, [HAIKU, OPUS]) as world:
        changed = await world.http.patch("/admin/models/opus", json={"state": state})
        assert changed.status_code == 200, changed.text
        assert_recognised(await ask(world, path), path, 2_000)


@pytest.mark.parametrize("path", DIALECTS)
async def test_it_is_recognised_while_the_model_with_room_cools_down(tmp_path: Path, path: str) -> None:
    broken = ProviderBroken("the upstream failed", status=500)
    async with opened(tmp_path, [HAIKU, OPUS], max_attempts=1) as world:
        world.model_client.will("opus", *[Reply(error=broken)] * 10)
        for _ in range(3):
            failed = await ask(world, path)
        assert failed.status_code in {400, 503, 529}
        assert_recognised(await ask(world, path), path, 2_000)
        short = await ask(world, path, messages=[{"role": "user", "content": "Hi"}])

    assert short.headers["X-Router-Model"] == "haiku"


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_failure_that_may_pass_is_no_overflow(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path, [HAIKU, OPUS], max_attempts=1) as world:
        world.model_client.will("opus", Reply(error=ProviderBroken("the upstream failed", status=500)))
        assert (await ask(world, path)).status_code in {503, 529}


async def test_a_prompt_that_is_not_too_long_keeps_its_reason(tmp_path: Path) -> None:
    async with opened(tmp_path, [HAIKU, OPUS]) as world:
        response = await world.ask(router={"require_data_use": ["eu"]})

    assert error_in(response.json())["code"] == "no_eligible_model"


async def test_room_for_the_answer_is_counted_where_the_prompt_alone_would_fit(tmp_path: Path) -> None:
    narrow = arm("narrow", "1.00", 5_100)
    async with opened(tmp_path, [narrow]) as world:
        assert_recognised(await ask(world, "/v1/messages", max_tokens=1_000), "/v1/messages", 5_100)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("sentence", SAID_BY_VENDORS)
async def test_a_vendors_refusal_is_passed_on_in_the_words_of_the_client(
    tmp_path: Path, path: str, sentence: str
) -> None:
    code = limit_of_model(400, frozenset(), sentence)
    refusal = ProviderRejected(sentence, status=400, code=code, another_may_accept=True)
    async with opened(tmp_path, [OPUS]) as world:
        world.model_client.will(ANY, Reply(error=refusal))
        response = await ask(world, path)

    assert response.status_code == 400
    answer = response.json()
    if "max_tokens` exceed context limit" in sentence and path == "/v1/messages":
        assert re.search(
            r"input length and `max_tokens` exceed context limit: (\d+) \+ (\d+) > (\d+)",
            error_in(answer)["message"],
        )  # at which Claude Code asks for a shorter answer
        return
    for client, recognises in DIALECTS[path].items():
        if client == "Qwen Code" and path == "/v1/chat/completions":
            continue  # it reads numbers, which not every vendor gives
        assert recognises(answer), (client, answer)


async def test_the_window_and_the_tokens_are_given_where_the_vendor_leaves_them_out(tmp_path: Path) -> None:
    refusal = ProviderRejected("Prompt 超长", status=400, code="context_length_exceeded")
    async with opened(tmp_path, [OPUS]) as world:
        world.model_client.will(ANY, Reply(error=refusal), Reply(error=refusal))
        assert_recognised(await ask(world, "/v1/messages"), "/v1/messages", 100_000)
        assert_recognised(await ask(world, "/v1/chat/completions"), "/v1/chat/completions", 100_000)


async def test_codex_reads_the_code_in_an_event(tmp_path: Path) -> None:
    async with opened(tmp_path, [HAIKU]) as world:
        body = {"model": "auto", "input": LONG, "stream": True}
        response = await world.http.post("/v1/responses", json=body)

    assert response.status_code == 200
    events = [orjson.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    failed = next(event for event in events if event["type"] == "response.failed")
    assert failed["response"]["error"]["code"] == "context_length_exceeded"
    assert "exceeds the context window" in failed["response"]["error"]["message"]  # LangChain


async def test_gemini_says_it_in_googles_words(tmp_path: Path) -> None:
    async with opened(tmp_path, [HAIKU]) as world:
        body = {"contents": [{"role": "user", "parts": [{"text": LONG}]}]}
        response = await world.http.post("/v1beta/models/auto:generateContent", json=body)

    assert response.status_code == 400
    assert re.fullmatch(
        r"The input token count \(\d+\) exceeds the maximum number of tokens allowed \(2000\)\.",
        response.json()["error"]["message"],
    )
