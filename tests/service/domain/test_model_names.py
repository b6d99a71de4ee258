from __future__ import annotations

import pytest

from service.domain.model_names import (
    canonical,
    is_free_variant,
    is_same_model,
    is_well_known,
    undated,
)


@pytest.mark.parametrize(
    "name",
    [
        "claude-3-5-sonnet",
        "claude-3.5-sonnet",
        "Claude-3.5-Sonnet",
        " claude-3.5-sonnet ",
        "anthropic/claude-3.5-sonnet",
        "openrouter/anthropic/claude-3.5-sonnet",
        "anthropic/claude-3.5-sonnet:free",
        "anthropic/claude-3.5-sonnet:nitro",
        "anthropic/claude-3.5-sonnet:floor",
        "anthropic/claude-3.5-sonnet:online",
        "anthropic/claude-3.5-sonnet:free:online",
        "anthropic/claude-3-5-sonnet-20241022",
        "claude-3-5-sonnet-latest",
        "claude-3-5-sonnet@20240620",
        "claude-3-5-sonnet@latest",
        "vertex_ai/claude-3-5-sonnet@20240620",
        "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "bedrock/eu.anthropic.claude-3-5-sonnet-20240620-v1:0",
        "models/claude-3-5-sonnet-2024-10-22",
    ],
)
def test_every_name_of_one_model_has_the_same_form(name: str) -> None:
    assert undated(canonical(name)) == "claude-3-5-sonnet"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("openai/gpt-4o", "openai/gpt-4o-mini"),
        ("gpt-4o", "gpt-4o-audio-preview"),
        ("gpt-4o", "chatgpt-4o-latest"),
        ("gpt-4", "gpt-4-turbo"),
        ("gpt-4.1", "gpt-4"),
        ("gpt-4.1", "gpt-4-1106-preview"),
        ("gpt-5", "gpt-5-pro"),
        ("o1", "o1-mini"),
        ("o3", "o3-pro"),
        ("claude-3.5-sonnet", "claude-3-sonnet"),
        ("claude-3.5-sonnet", "claude-3.5-haiku"),
        ("claude-sonnet-4", "claude-sonnet-4.5"),
        ("anthropic/claude-3.7-sonnet", "anthropic/claude-3.7-sonnet:thinking"),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
        ("gemini-2.5-flash", "gemini-2.5-flash-image"),
        ("gemini-1.5-pro-001", "gemini-1.5-pro-002"),
        ("deepseek/deepseek-r1", "deepseek-r1:8b"),
        ("deepseek/deepseek-r1", "deepseek/deepseek-r1-distill-llama-70b"),
        ("deepseek/deepseek-r1", "deepseek/deepseek-r1-0528"),
        ("deepseek-chat", "deepseek/deepseek-chat-v3.1"),
        ("qwen/qwen3-235b-a22b", "qwen/qwen3-235b-a22b-thinking-2507"),
        ("qwen/qwen3-235b-a22b", "qwen/qwen3-30b-a3b"),
        ("llama-3.1-8b-instruct", "llama-3.1-70b-instruct"),
        ("llama-3.1-8b-instruct", "llama-3.1-8b"),
        ("moonshotai/kimi-k2", "moonshotai/kimi-k2-0905"),
        ("mistral-large-2407", "mistral-large-2411"),
        ("x-ai/grok-4", "x-ai/grok-4-fast"),
        ("gpt-4o", "ft:gpt-4o-2024-08-06:org::abc"),
        ("gpt-4o", "my-gpt-4o"),
        ("gpt-4o", "openai/gpt-4o:extended"),
    ],
)
def test_names_of_different_models_stay_different(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)
    if not one.endswith("001"):
        assert undated(canonical(one)) != undated(canonical(other))


@pytest.mark.parametrize("name", ["deepseek/deepseek-r1:free", "X/Y:FREE", "x/y:free:online"])
def test_a_free_variant_says_so(name: str) -> None:
    assert is_free_variant(name)


@pytest.mark.parametrize(
    "name", ["free", "free/model", "x/y-free", "x/y:freeze", "x:free/y", "openrouter/free"]
)
def test_the_word_alone_makes_no_variant_free(name: str) -> None:
    assert not is_free_variant(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("claude-haiku-4-5", "claude-haiku-4.5"),
        ("claude-haiku-4-5-latest", "claude-haiku-4-5-20251001"),
        ("anthropic/claude-haiku-4-5", "claude-haiku-4-5@20251001"),
        ("gpt-4.1", "gpt-4.1-2025-04-14"),
        ("openai/gpt-4.1", "openrouter/openai/gpt-4.1"),
        ("models/gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("claude-opus-4-8[1m]", "claude-opus-4-8"),
        ("anthropic/claude-opus-4-8[1m]", "claude-opus-4-8-20260301"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
    ],
)
def test_names_of_one_model_are_recognised_in_both_directions(one: str, other: str) -> None:
    assert is_same_model(one, other)
    assert is_same_model(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4.1-2025-04-14", "gpt-4.1-2026-01-01"),  # two versions of one model
        ("gpt-4.1", "gpt-4.1-mini-2025-04-14"),
        ("claude-haiku-4-5", "claude-haiku-4"),
        ("claude-haiku-4-5", "claude-sonnet-4-5-20250929"),
    ],
)
def test_another_version_is_another_model(one: str, other: str) -> None:
    assert not is_same_model(one, other)
    assert not is_same_model(other, one)


@pytest.mark.parametrize(
    "name",
    [
        *("claude-opus-5-5", "claude-haiku-4-5-20251001", "anthropic/claude-opus-9[1m]", "gpt-5.9-codex"),
        *("chatgpt-4o-latest", "o1", "o3-mini", "o5-pro", "codex-mini-latest", "models/gemini-4-pro", "opus"),
        *("openai/gpt-oss-120b", "qwen3-coder-plus", "deepseek/deepseek-v4", "grok-5", "sonnet"),
        *("bedrock/us.anthropic.claude-sonnet-9-20270101-v1:0", "x-ai/grok-code-fast-1", "GPT-6"),
    ],
)
def test_names_of_well_known_vendors_are_known(name: str) -> None:
    assert is_well_known(name)


@pytest.mark.parametrize(
    "name",
    [
        *("acme-0", "my-model", "small", "o", "o10x", "omega", "gptx", "claudette", "ft:gpt-4o:org::1"),
        *("gpt-image-2", "gemini-embedding-001", "gpt-4o-transcribe", "gpt-4o-mini-tts", "gpt-realtime"),
        *("text-embedding-3-small", "whisper-1", "dall-e-3", "gpt-5\n", "claude-\u00e9", "claude-x y", ""),
    ],
)
def test_other_names_and_models_of_other_kinds_are_not(name: str) -> None:
    assert not is_well_known(name)
