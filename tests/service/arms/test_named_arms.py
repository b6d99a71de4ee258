from __future__ import annotations

import pytest

from service.arms.named_arms import arm_named
from service.errors import StartupError
from service.settings.vendors import VENDORS


@pytest.mark.parametrize("prefix", VENDORS)
def test_every_vendor_is_reached_by_its_variables(prefix: str) -> None:
    vendor = VENDORS[prefix]
    needed = [*vendor.keys[:1], *(group[0] for group in vendor.needs), *vendor.addresses[:1]]
    environ = {name: "http://127.0.0.1:9" if name in vendor.addresses else "value" for name in needed}

    arm = arm_named(f"{prefix}/some-model", environ)

    assert (arm.arm_id, arm.provider) == (f"{prefix}/some-model", vendor.provider)
    assert arm.api_key_env == (vendor.keys[0] if vendor.keys else None)
    if vendor.provider == "litellm":
        assert arm.model == f"{prefix}/some-model"


@pytest.mark.parametrize("prefix", VENDORS)
def test_a_missing_variable_is_named(prefix: str) -> None:
    with pytest.raises(StartupError, match=f"LLM_MODELS: '{prefix}/m' needs [A-Z]") as stopped:
        arm_named(f"{prefix}/m", {})

    named = set(str(stopped.value).replace(",", " ").split()) & VENDORS[prefix].variables
    assert named


@pytest.mark.parametrize(
    ("name", "environ", "reached"),
    [
        ("groq/llama-3.3", {"GROQ_API_KEY": "k"}, ("litellm", "groq/llama-3.3", None, "GROQ_API_KEY")),
        ("gemini/flash", {"GOOGLE_API_KEY": "k"}, ("litellm", "gemini/flash", None, "GOOGLE_API_KEY")),
        (
            "gemini/flash",
            {"GOOGLE_API_KEY": "k", "GEMINI_API_KEY": "k"},
            ("litellm", "gemini/flash", None, "GEMINI_API_KEY"),
        ),
        (
            "together_ai/a/b",
            {"TOGETHER_API_KEY": "k"},
            ("litellm", "together_ai/a/b", None, "TOGETHER_API_KEY"),
        ),
        ("poe/x", {"POE_API_KEY": "k"}, ("litellm", "poe/x", None, "POE_API_KEY")),
        (
            "lm_studio/qwen",
            {"LM_STUDIO_BASE_URL": "http://127.0.0.1:1234"},
            ("openai", "qwen", "http://127.0.0.1:1234/v1", None),
        ),
        (
            "openai/own",
            {"OPENAI_BASE_URL": "http://vllm:8000/v1/"},
            ("openai", "own", "http://vllm:8000/v1", None),
        ),
        (
            "openai/own",
            {"OPENAI_API_BASE": "http://vllm:8000", "OPENAI_API_KEY": "k"},
            ("openai", "own", "http://vllm:8000/v1", "OPENAI_API_KEY"),
        ),
        (
            "anthropic/claude",
            {"ANTHROPIC_BASE_URL": "https://gateway/v1", "ANTHROPIC_API_KEY": "k"},
            ("anthropic", "claude", "https://gateway", "ANTHROPIC_API_KEY"),
        ),
        (
            "openrouter/openai/gpt-4o",
            {"OPENROUTER_API_KEY": "k"},
            ("openai", "openai/gpt-4o", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        ),
        (
            "openrouter/auto",
            {"OPENROUTER_API_KEY": "k"},
            ("openai", "openrouter/auto", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        ),
        (
            "cohere/command",
            {"OPENROUTER_API_KEY": "k", "OPENROUTER_BASE_URL": "https://mirror/api/v1"},
            ("openai", "cohere/command", "https://mirror/api/v1", "OPENROUTER_API_KEY"),
        ),
        (
            "gpt-4o-mini",
            {"OPENAI_API_KEY": "k"},
            ("openai", "gpt-4o-mini", "https://api.openai.com/v1", "OPENAI_API_KEY"),
        ),
        ("claude-9", {"ANTHROPIC_API_KEY": "k"}, ("anthropic", "claude-9", None, "ANTHROPIC_API_KEY")),
        ("gemini-9", {"GEMINI_API_KEY": "k"}, ("litellm", "gemini/gemini-9", None, "GEMINI_API_KEY")),
    ],
)
def test_a_name_is_reached_by_what_is_set(
    name: str, environ: dict[str, str], reached: tuple[str, str, str | None, str | None]
) -> None:
    arm = arm_named(name, environ)

    assert (arm.provider, arm.model, arm.base_url, arm.api_key_env) == reached


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234/v1"),
        (":1234", "http://127.0.0.1:1234/v1"),
        ("gpu-box", "http://gpu-box:11434/v1"),
        ("gpu-box:80", "http://gpu-box/v1"),
        ("[::]:1234", "http://127.0.0.1:1234/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
        ("https://gpu-box", "https://gpu-box/v1"),
        ("http://0.0.0.0:11434/", "http://127.0.0.1:11434/v1"),
    ],
)
def test_the_address_of_ollamas_own_server_is_read(written: str, called: str) -> None:
    assert arm_named("ollama/m", {"OLLAMA_HOST": written}).base_url == called


def test_another_hosts_vendor_is_not_looked_for_at_openrouter() -> None:
    with pytest.raises(StartupError, match="'groq/m' needs GROQ_API_KEY"):
        arm_named("groq/m", {"OPENROUTER_API_KEY": "k"})


def test_a_cloud_names_every_variable_that_is_missing() -> None:
    with pytest.raises(StartupError, match="needs AZURE_API_BASE, AZURE_API_VERSION, which is not set"):
        arm_named("azure/m", {"AZURE_API_KEY": "k"})


def test_a_variable_with_no_base_url_is_named() -> None:
    with pytest.raises(StartupError, match="OLLAMA_BASE_URL must have no query"):
        arm_named("ollama/m", {"OLLAMA_BASE_URL": "http://host?x=1"})
