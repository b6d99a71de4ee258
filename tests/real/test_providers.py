"""Real providers, with the keys of the environment: `python -m pytest -m real`.

Not part of any other run. Each test costs well below a cent; without its key it is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import httpx
import pytest

from tests.e2e.conftest import encoder_folder, new_router, serve, workplace
from tests.e2e.running import PLAIN, RunningRouter

__all__ = ["encoder_folder", "new_router", "serve", "workplace"]

pytestmark = pytest.mark.real

Serve = Callable[..., RunningRouter]
# The variable of the key, and a cheap model that it can call; REAL_MODEL_<VENDOR> names another.
PROVIDERS = {
    "openai": ("OPENAI_API_KEY", "openai/gpt-4.1-nano"),
    "anthropic": ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5"),
    "gemini": ("GEMINI_API_KEY", "gemini/gemini-2.5-flash-lite"),
    "openrouter": ("OPENROUTER_API_KEY", "openrouter/openai/gpt-4.1-nano"),
    "groq": ("GROQ_API_KEY", "groq/llama-3.1-8b-instant"),
    "mistral": ("MISTRAL_API_KEY", "mistral/mistral-small-latest"),
    "deepseek": ("DEEPSEEK_API_KEY", "deepseek/deepseek-chat"),
    "ollama": ("OLLAMA_BASE_URL", "ollama/llama3.2"),
}
QUESTION = {"messages": [{"role": "user", "content": "Reply with the single word: pong"}], "max_tokens": 200}


@pytest.fixture(params=PROVIDERS)
def router(request: pytest.FixtureRequest) -> RunningRouter:
    """A router whose only model is one of this provider's."""
    vendor: str = request.param
    variable, model = PROVIDERS[vendor]
    if not (key := os.environ.get(variable)):
        pytest.skip(f"{variable} is not set: {vendor} is not called")
    start: Serve = request.getfixturevalue("serve")
    model = os.environ.get(f"REAL_MODEL_{vendor.upper()}", model)
    return start(llm_models=model, **{variable.lower(): key})


def test_a_real_model_answers_in_openais_dialect(router: RunningRouter) -> None:
    response = httpx.post(f"{router.url}/v1/chat/completions", json=QUESTION, **PLAIN)

    assert response.status_code == 200, response.text
    body = response.json()
    assert "pong" in body["choices"][0]["message"]["content"].lower()
    assert body["usage"]["prompt_tokens"] > 0
    assert "x-router-simulated" not in response.headers


def test_a_real_model_streams(router: RunningRouter) -> None:
    response = httpx.post(f"{router.url}/v1/chat/completions", json={**QUESTION, "stream": True}, **PLAIN)

    assert response.status_code == 200, response.text
    assert response.text.rstrip().endswith("data: [DONE]")


def test_a_real_model_answers_in_anthropics_dialect(router: RunningRouter) -> None:
    response = httpx.post(f"{router.url}/v1/messages", json={**QUESTION, "model": "auto"}, **PLAIN)

    assert response.status_code == 200, response.text
    assert "pong" in "".join(block.get("text", "") for block in response.json()["content"]).lower()
