from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.arms.configured import choose_arms
from service.arms.key_bindings import KeyBindings
from service.arms.known_models import known_models
from service.domain.arm import Arm
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.settings import Settings

OPENAI = Arm("gpt", "openai", "gpt", base_url="https://api.openai.com/v1", api_key_env="OPENAI_API_KEY")
CLAUDE = Arm("claude", "anthropic", "claude", api_key_env="ANTHROPIC_API_KEY")
GEMINI = Arm("gemini", "litellm", "gemini/flash", api_key_env="GEMINI_API_KEY")
GATEWAY = Arm("g", "litellm", "openai/x", base_url="http://gw.corp:4000", api_key_env="CORP_TOKEN")
LOCAL = Arm("local", "openai", "llama", base_url="http://127.0.0.1:11434/v1")
OWN_KEYS = Arm("groq", "litellm", "groq/llama")
ENDPOINT = Arm("hf", "litellm", "huggingface/https://mine.example/x", api_key_env="HF_TOKEN")
BINDINGS = KeyBindings.of([OPENAI, CLAUDE, GEMINI, GATEWAY, LOCAL, OWN_KEYS, ENDPOINT])


@pytest.mark.parametrize(
    "arm",
    [
        OPENAI,
        replace(OPENAI, model="another", base_url="HTTPS://API.OPENAI.COM.:443/v2/"),
        replace(OPENAI, base_url=None),
        CLAUDE,
        replace(CLAUDE, base_url="https://api.anthropic.com"),
        replace(GEMINI, model="gemini/pro"),
        replace(GATEWAY, model="openai/y", base_url="http://gw.corp:4000/v1"),
        replace(OWN_KEYS, model="groq/other"),
        ENDPOINT,
        Arm("ollama", "openai", "x", base_url="http://any.host:1234/v1"),
        Arm("own", "anthropic", "claude", base_url="http://any.host:1234"),
        Arm("sim", "simulator", "sim-small"),
    ],
    ids=repr,
)
def test_a_model_may_send_a_key_where_the_configuration_sends_it(arm: Arm) -> None:
    assert BINDINGS.problem(arm) is None


@pytest.mark.parametrize(
    ("arm", "field"),
    [
        (replace(OPENAI, base_url="http://api.openai.com/v1"), "base_url"),
        (replace(OPENAI, base_url="https://api.openai.com:8443/v1"), "base_url"),
        (replace(OPENAI, base_url="https://evil.example/v1"), "base_url"),
        (replace(OPENAI, base_url="https://api.openai.com.evil.example"), "base_url"),
        (replace(OPENAI, base_url="https://api.openai.com@evil.example"), "base_url"),
        (replace(OPENAI, base_url="https://evil.example\\@api.openai.com"), "base_url"),
        (replace(OPENAI, base_url="https://evil.example#@api.openai.com"), "base_url"),
        (replace(OPENAI, base_url="http://127.0.0.1:11434/v1"), "base_url"),
        (replace(OPENAI, base_url="https://api.anthropic.com"), "base_url"),
        (replace(CLAUDE, base_url="https://evil.example"), "base_url"),
        (replace(GEMINI, base_url="https://evil.example"), "base_url"),
        (replace(GEMINI, model="openai/gpt"), "model"),
        (replace(GEMINI, model="gemini"), "model"),
        (replace(ENDPOINT, model="huggingface/https://evil.example/x"), "model"),
        (replace(ENDPOINT, model="huggingface/x"), "model"),
        (replace(GATEWAY, base_url="http://evil.example:4000"), "base_url"),
        (replace(GATEWAY, model="gemini/x"), "base_url"),
        (replace(GATEWAY, base_url=None), "model"),
        (replace(LOCAL, api_key_env="HOME"), "api_key_env"),
        (replace(LOCAL, api_key_env="ADMIN_KEY"), "api_key_env"),
        (replace(LOCAL, api_key_env="openai_api_key"), "api_key_env"),
        (replace(LOCAL, api_key_env=""), "api_key_env"),
        (replace(LOCAL, base_url="https://me:secret@host/v1"), "base_url"),
        (Arm("sim", "simulator", "x", api_key_env="HOME"), "api_key_env"),
        (Arm("x", "litellm", "openai/gpt", base_url="https://evil.example"), "api_key_env"),
        (Arm("x", "litellm", "huggingface/https://evil.example"), "api_key_env"),
        (replace(OWN_KEYS, base_url="https://evil.example"), "api_key_env"),
    ],
    ids=repr,
)
def test_a_model_may_send_it_nowhere_else(arm: Arm, field: str) -> None:
    problem = BINDINGS.problem(arm)

    assert problem is not None
    assert problem.field == field
    assert "me:secret" not in problem.message


def test_the_problem_names_the_place_and_the_places_that_are_allowed() -> None:
    problem = BINDINGS.problem(replace(OPENAI, base_url="https://evil.example/v1"))

    assert problem is not None
    assert problem.message == (
        "OPENAI_API_KEY may go only where the configuration sends it (https://api.openai.com), "
        "not to https://evil.example"
    )


def bindings(environ: dict[str, str], **settings: Any) -> KeyBindings:
    chosen = choose_arms(Settings.model_validate(settings), environ, known_models(), SIMULATED_ARMS)
    return KeyBindings.of((*chosen.arms, *chosen.unused))


def test_the_well_known_models_bind_their_keys_to_their_vendors() -> None:
    bound = bindings({})

    assert bound.problem(OPENAI) is bound.problem(CLAUDE) is None
    assert bound.problem(replace(OPENAI, base_url="https://evil.example")) is not None


def test_models_of_the_configuration_bind_their_keys_whether_in_use_or_not() -> None:
    entry = {"provider": "openai", "model": "x", "base_url": "https://gw.corp/v1", "api_key_env": "CORP_KEY"}
    other = {**entry, "base_url": "http://127.0.0.1:1/v1", "api_key_env": None}

    bound = bindings({}, models=[{**entry, "id": "keyless"}, {**other, "id": "usable"}])

    assert bound.problem(Arm("new", "openai", "y", "https://gw.corp/v2", "CORP_KEY")) is None
    assert bound.problem(Arm("new", "openai", "y", "https://evil.example", "CORP_KEY")) is not None
