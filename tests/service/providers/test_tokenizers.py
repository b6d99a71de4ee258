from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from service.providers.tokenizers import CHUNK_CHARS, ShippedTokenizers

PATIENT_S = 60.0  # long enough on a busy machine
BIRTHDAY = "お誕生日おめでとう"


@pytest.mark.parametrize(
    ("tokenizer", "text", "n_tokens"),
    [
        # Source: OpenAI Cookbook, How to count tokens with tiktoken.
        ("cl100k_base", "antidisestablishmentarianism", 6),
        ("cl100k_base", "2 + 2 = 4", 7),
        ("cl100k_base", BIRTHDAY, 9),
        ("o200k_base", "antidisestablishmentarianism", 6),
        ("o200k_base", "2 + 2 = 4", 7),
        ("o200k_base", BIRTHDAY, 8),
        # Source: anthropic-tokenizer-typescript, its tests.
        ("claude", "hello world!", 3),
    ],
)
async def test_texts_have_the_published_number_of_tokens(tokenizer: str, text: str, n_tokens: int) -> None:
    assert await ShippedTokenizers(timeout_s=PATIENT_S).count(tokenizer, [text, text]) == 2 * n_tokens


async def test_a_long_text_is_counted_in_parts() -> None:
    tokenizers = ShippedTokenizers(timeout_s=PATIENT_S)
    part = "word " * (CHUNK_CHARS // 5)

    n_tokens = await tokenizers.count("o200k_base", [part])
    assert n_tokens is not None
    assert await tokenizers.count("o200k_base", [part * 4]) == 4 * n_tokens


async def test_text_that_looks_like_a_special_token_is_text() -> None:
    n_tokens = await ShippedTokenizers(timeout_s=PATIENT_S).count("o200k_base", ["<|endoftext|>"])

    assert n_tokens is not None
    assert n_tokens > 1


async def test_a_missing_tokenizer_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "anthropic_tokenizer.json").write_text("{}")
    tokenizers = ShippedTokenizers(tmp_path, timeout_s=PATIENT_S)

    assert await tokenizers.count("o200k_base", ["Hi"]) is None
    assert await tokenizers.count("claude", ["Hi"]) is None


async def test_a_count_that_takes_too_long_is_none() -> None:
    assert await ShippedTokenizers(timeout_s=0).count("o200k_base", ["Hi"]) is None


async def test_a_count_that_nobody_waits_for_ends() -> None:
    tokenizers, may_go, counted = ShippedTokenizers(timeout_s=0.05), threading.Event(), []

    def counter(text: str) -> int:
        counted.append(text)
        may_go.wait(30)
        return 1

    tokenizers._counters["slow"] = counter

    assert await tokenizers.count("slow", ["Hi"] * 1_000) is None
    may_go.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for its threads

    assert len(counted) <= 1
