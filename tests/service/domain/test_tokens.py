from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from service.domain.arm import Arm
from service.domain.tokens import tokenizer_of
from tests.service.world import LARGE, SMALL, World, error_of, opened

GPT = replace(SMALL, arm_id="gpt", model="openai/gpt-4o-mini", aliases=())  # a window of 4,000
WORDS = "a " * 3_900  # as many tokens, and an estimate of 1,950
LETTERS = "abcdefgh" * 2_500  # one token, and an estimate of 5,000


@pytest.mark.parametrize(
    ("model", "tokenizer"),
    [
        ("gpt-4o", "o200k_base"),
        ("openai/gpt-6-luna", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("azure/gpt-4-0613", "cl100k_base"),
        ("claude-opus-5-5", "claude"),
        ("bedrock/eu.anthropic.claude-sonnet-4", "claude"),
        ("gemini/gemini-3.8-flash", None),
        ("llama-4", None),
    ],
)
def test_a_models_name_determines_its_tokenizer(model: str, tokenizer: str | None) -> None:
    assert tokenizer_of(Arm("a", "openai", model)) == tokenizer


async def test_a_prompt_far_below_every_window_is_not_counted(tmp_path: Path) -> None:
    async with opened(tmp_path, [GPT]) as world:
        response = await world.ask("a " * 2_000)

        assert response.status_code == 200
        assert world.tokenizers.asked == []


async def test_a_prompt_near_a_window_is_counted_and_the_count_decides(tmp_path: Path) -> None:
    async with opened(tmp_path, [GPT, LARGE]) as world:
        fits = await world.ask(LETTERS, model="gpt")
        too_long = await world.ask(WORDS + WORDS, model="gpt")
        elsewhere = await world.ask(WORDS + WORDS)

        assert fits.headers["X-Router-Model"] == "gpt"
        assert error_of(too_long)["code"] == "context_length_exceeded"
        assert "prompt of 7804 tokens exceeds its window of 4000" in error_of(too_long)["message"]
        assert elsewhere.headers["X-Router-Model"] == "large"


async def test_the_requested_answer_length_counts_too(tmp_path: Path) -> None:
    async with opened(tmp_path, [GPT]) as world:
        response = await world.ask(WORDS, max_tokens=200)

        assert "prompt of 3904 tokens with an answer of 200" in error_of(response)["message"]


async def test_deciding_without_a_call_counts_tokens_too(tmp_path: Path) -> None:
    async with opened(tmp_path, [GPT, LARGE]) as world:
        body = {"messages": [{"role": "user", "content": WORDS + WORDS}]}

        decided = (await world.http.post("/v1/route", json=body)).json()

        assert decided["rejected"] == [
            {"model": "gpt", "reason": "prompt of 7804 tokens exceeds its window of 4000"}
        ]


async def test_without_its_tokenizer_the_estimate_is_used(tmp_path: Path) -> None:
    async with opened(tmp_path, [GPT]) as world:
        world.tokenizers.at_hand.clear()

        response = await world.ask(LETTERS)

        assert world.tokenizers.asked == ["o200k_base"]
        assert "prompt of about 5" in error_of(response)["message"]


async def test_a_model_without_a_known_tokenizer_is_estimated(world: World) -> None:
    response = await world.ask(LETTERS, model="small")

    assert world.tokenizers.asked == []
    assert error_of(response)["code"] == "context_length_exceeded"


async def test_tokens_are_counted_with_the_named_models_tokenizer(tmp_path: Path) -> None:
    claude = replace(LARGE, arm_id="claude", model="claude-opus-5-5")
    async with opened(tmp_path, [GPT, claude]) as world:
        asked = {"system": "Be brief.", "messages": [{"role": "user", "content": "What is it?"}]}

        named = await world.http.post("/v1/messages/count_tokens", json={"model": "claude", **asked})
        either = await world.http.post("/v1/messages/count_tokens", json={"model": "auto", **asked})

        assert named.headers["X-Router-Token-Count"] == "claude"
        assert named.json() == {"input_tokens": 2 + 3 + 2 * 4}
        assert either.headers["X-Router-Token-Count"] == "estimate"
