from __future__ import annotations

import pytest

from service.domain.model_names import canonical, is_free_variant, undated


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
