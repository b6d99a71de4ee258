from __future__ import annotations

from decimal import Decimal

import pytest

from service.arms.price_table import listed
from service.domain.arm import FREE, Arm

OPENROUTER = "https://openrouter.ai/api/v1"

# Popular models at OpenRouter, with dollars per million tokens of input and output.
POPULAR = {
    "openai/gpt-4o": (2.5, 10),
    "openai/gpt-4o-mini": (0.15, 0.6),
    "openai/gpt-4o-2024-05-13": (5, 15),
    "openai/gpt-4.1": (2, 8),
    "openai/gpt-4.1-mini": (0.4, 1.6),
    "openai/gpt-4.1-nano": (0.1, 0.4),
    "openai/o3": (2, 8),
    "openai/o4-mini": (1.1, 4.4),
    "openai/gpt-5": (1.25, 10),
    "openai/gpt-5-mini": (0.25, 2),
    "openai/gpt-3.5-turbo": (0.5, 1.5),
    "openai/gpt-oss-120b": None,
    "openai/gpt-oss-20b": None,
    "anthropic/claude-3-haiku": (0.25, 1.25),
    "anthropic/claude-3.5-haiku": None,
    "anthropic/claude-3.5-sonnet": (3, 15),
    "anthropic/claude-3.7-sonnet": (3, 15),
    "anthropic/claude-sonnet-4": (3, 15),
    "anthropic/claude-sonnet-4.5": (3, 15),
    "anthropic/claude-haiku-4.5": (1, 5),
    "anthropic/claude-opus-4.1": (15, 75),
    "anthropic/claude-opus-4.5": (5, 25),
    "google/gemini-2.0-flash-001": (0.15, 0.6),
    "google/gemini-2.5-flash": (0.3, 2.5),
    "google/gemini-2.5-flash-lite": (0.1, 0.4),
    "google/gemini-2.5-pro": (1.25, 10),
    "google/gemini-3-pro-preview": (2, 12),
    "google/gemma-3-27b-it": None,
    "meta-llama/llama-3.1-8b-instruct": None,
    "meta-llama/llama-3.1-70b-instruct": None,
    "meta-llama/llama-3.3-70b-instruct": None,
    "meta-llama/llama-3.3-70b-instruct:nitro": None,
    "meta-llama/llama-4-maverick": None,
    "meta-llama/llama-4-scout": None,
    "deepseek/deepseek-chat": None,
    "deepseek/deepseek-chat-v3-0324": None,
    "deepseek/deepseek-chat-v3.1": None,
    "deepseek/deepseek-r1": (0.55, 2.19),
    "deepseek/deepseek-r1-0528": None,
    "qwen/qwen3-coder": None,
    "qwen/qwen3-235b-a22b": None,
    "qwen/qwen3-max": None,
    "qwen/qwen-2.5-72b-instruct": None,
    "x-ai/grok-4": (3, 15),
    "x-ai/grok-code-fast-1": None,
    "mistralai/mistral-nemo": None,
    "mistralai/mistral-large": None,
    "moonshotai/kimi-k2": None,
    "moonshotai/kimi-k2-0905": None,
    "z-ai/glm-4.5": (0.6, 2.2),
    "z-ai/glm-4.6": (0.6, 2.2),
    "minimax/minimax-m2": None,
    "amazon/nova-lite-v1": (0.06, 0.24),
    "amazon/nova-pro-v1": (0.8, 3.2),
    "cohere/command-r-plus": None,
}


def openrouter(model: str) -> Arm:
    return Arm(model, "openai", model, base_url=OPENROUTER)


def prices(arm: Arm) -> tuple[Decimal, Decimal] | None:
    price = listed(arm).price
    return None if price is None else (price.input, price.output)


@pytest.mark.parametrize("model", POPULAR)
def test_popular_models_have_a_price(model: str) -> None:
    found = prices(openrouter(model))

    assert found is not None
    assert min(found) > 0
    if (expected := POPULAR[model]) is not None:
        assert found == tuple(Decimal(str(dollars)) for dollars in expected)


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-3.7-sonnet:thinking",
        "openai/gpt-4o:extended",
        "openrouter/auto",
        "some-lab/home-made",
        "my-gpt-4o",
        "deepseek-r1:8b",
        "ft:gpt-4o-mini-2024-07-18:org::abc",
        "openai/text-embedding-3-small",
        "",
    ],
)
def test_what_may_be_another_model_has_no_price(model: str) -> None:
    assert prices(openrouter(model)) is None


def test_a_small_model_does_not_get_the_price_of_the_large_one() -> None:
    assert prices(openrouter("openai/gpt-4o-mini")) != prices(openrouter("openai/gpt-4o"))
    assert prices(openrouter("google/gemini-2.5-flash-lite")) != prices(openrouter("google/gemini-2.5-flash"))


def test_the_arms_own_host_wins() -> None:
    model = "meta-llama/Llama-3.3-70B-Instruct"

    of_host = {
        host: prices(Arm("a", "openai", model, base_url=f"https://{host}/v1"))
        for host in ("api.deepinfra.com", "api.novita.ai", "api.hyperbolic.xyz")
    }

    assert len(set(of_host.values())) == 3
    assert of_host["api.deepinfra.com"] == (Decimal("0.23"), Decimal("0.4"))
    assert prices(Arm("a", "litellm", f"deepinfra/{model}")) == of_host["api.deepinfra.com"]


def test_a_host_is_not_mistaken_for_another_whose_name_ends_alike() -> None:
    model = "meta-llama/Llama-3.3-70B-Instruct"

    other = prices(Arm("a", "openai", model, base_url="https://notapi.deepinfra.com/v1"))

    assert other == prices(Arm("a", "openai", model))


def test_the_exact_entry_wins_over_the_undated_one() -> None:
    dated, undated = openrouter("openai/gpt-4o-2024-05-13"), openrouter("openai/gpt-4o-2031-01-01")

    assert prices(dated) == (Decimal(5), Decimal(15))
    assert prices(undated) == prices(openrouter("openai/gpt-4o")) == (Decimal("2.5"), Decimal(10))


def test_of_several_hosts_the_most_expensive_counts() -> None:
    assert prices(openrouter("deepseek/deepseek-r1-0528")) == (Decimal(3), Decimal(8))


def test_another_hosts_free_price_makes_no_arm_free() -> None:
    # Ollama and Google's own API serve these at no price.
    for own in ("gemini/gemma-3-27b-it", "ollama/codellama"):
        assert listed(Arm("a", "litellm", own)).price == FREE

    elsewhere = listed(openrouter("google/gemma-3-27b-it")).price
    assert elsewhere is not None
    assert not elsewhere.is_free
    assert listed(openrouter("codellama")).price is None


def test_a_price_that_rises_with_the_prompt_counts_at_its_highest() -> None:
    assert prices(Arm("a", "litellm", "dashscope/qwen3-max")) == (Decimal(3), Decimal(15))


def test_limits_of_other_hosts_are_not_the_arms() -> None:
    assert listed(openrouter("anthropic/claude-sonnet-4.5")).context_window == 200_000
    assert listed(openrouter("deepseek/deepseek-r1-0528")).context_window is None
