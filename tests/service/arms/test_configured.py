from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.arms.configured import ArmList, arm_of, choose_arms, default_arm_id
from service.arms.known_models import known_models
from service.arms.priors import public_prior
from service.domain.arm import FREE
from service.errors import StartupError
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.models import ModelSettings
from service.settings.settings import Settings

KEYS = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY"]


def chosen(environ: dict[str, str] | None = None, **settings: Any) -> ArmList:
    return choose_arms(Settings.model_validate(settings), environ or {}, known_models(), SIMULATED_ARMS)


def ids(arms: ArmList) -> list[str]:
    return [arm.arm_id for arm in arms.arms]


def configured(model_id: str, **more: Any) -> dict[str, Any]:
    return {
        "id": model_id,
        "provider": "openai",
        "base_url": "http://127.0.0.1:9/v1",
        "model": "some-model",
        **more,
    }


def test_without_a_key_the_models_are_simulated() -> None:
    arms = chosen()

    assert arms.arms == SIMULATED_ARMS
    assert arms.is_simulated


@pytest.mark.parametrize("key", KEYS)
def test_a_provider_key_brings_that_providers_models_and_no_others(key: str) -> None:
    arms = chosen({key: "sk-1"})

    assert len(arms.arms) >= 2
    assert {arm.api_key_env for arm in arms.arms} == {key}
    assert not arms.is_simulated
    is_free = key == "OPENROUTER_API_KEY"
    assert all((arm.expected_price.input == 0) == is_free and arm.context_window for arm in arms.arms)


def test_several_keys_bring_the_models_of_all() -> None:
    arms = chosen(dict.fromkeys(KEYS, "sk-1"))

    assert {arm.api_key_env for arm in arms.arms} == set(KEYS)


# --- configured models


def test_configured_models_replace_the_known_ones() -> None:
    arms = chosen({"OPENAI_API_KEY": "sk-1"}, models=[configured("mine", aliases=["m"], prior_quality=0.7)])

    assert ids(arms) == ["mine"]
    assert arms.arms[0].aliases == ("m",)
    assert arms.arms[0].prior_quality == 0.7


def test_a_model_without_its_key_is_left_out_with_a_reason() -> None:
    arms = chosen(models=[configured("mine"), configured("theirs", api_key_env="THEIR_KEY")])

    assert ids(arms) == ["mine"]
    assert arms.left_out == ("theirs: THEIR_KEY is not set",)


def test_when_no_configured_model_has_its_key_the_start_fails() -> None:
    with pytest.raises(StartupError, match="models: none is usable: theirs: THEIR_KEY is not set"):
        chosen(models=[configured("theirs", api_key_env="THEIR_KEY")])


def test_a_configured_chat_template_is_used() -> None:
    arms = chosen(models=[configured("a", chat_template="{{ messages }}"), configured("b")])

    assert [arm.chat_template for arm in arms.arms] == ["{{ messages }}", None]


def test_a_configured_price_is_used() -> None:
    price = {"input": 1.5, "output": 2, "cached_input": 0.5}

    arm = chosen(models=[configured("mine", model="gpt-4o-mini", price=price)]).arms[0]

    assert (arm.expected_price.input, arm.expected_price.output, arm.expected_price.cached_input) == (
        Decimal("1.5"),
        Decimal(2),
        Decimal("0.5"),
    )


def test_writing_to_anthropics_cache_costs_a_quarter_more_unless_configured() -> None:
    keys = {"provider": "anthropic", "model": "home-made"}

    default = chosen(models=[configured("a", **keys, price={"input": 4, "output": 20})]).arms[0]
    own_price = chosen(
        models=[configured("a", **keys, price={"input": 4, "output": 20, "cache_write": 8})]
    ).arms[0]
    other = chosen(models=[configured("a", model="home-made", price={"input": 4, "output": 20})]).arms[0]

    assert (default.expected_price.cache_write, own_price.expected_price.cache_write) == (
        Decimal(5),
        Decimal(8),
    )
    assert other.expected_price.cache_write is None


def test_a_missing_price_comes_from_the_shipped_list() -> None:
    arm = chosen(models=[configured("mine", model="openai/gpt-4o-mini")]).arms[0]

    assert arm.expected_price.input == Decimal("0.15")
    assert arm.expected_price.output == Decimal("0.6")
    assert arm.expected_price.cached_input == Decimal("0.075")
    assert arm.expected_price.cache_write is None
    assert chosen(models=[configured("luna", model="gpt-6-luna")]).arms[
        0
    ].expected_price.cache_write == Decimal("0.125")
    assert arm.context_window == 128_000


def test_a_configured_window_is_used_with_a_listed_price() -> None:
    arm = chosen(models=[configured("mine", model="gpt-4o-mini", context_window=5_000)]).arms[0]

    assert arm.context_window == 5_000


def test_the_shipped_list_gives_limits_and_lacks_even_with_a_configured_price() -> None:
    price = {"input": 1, "output": 2}

    listed = chosen(models=[configured("mine", model="gpt-4o-mini", price=price)]).arms[0]
    denied = chosen(models=[configured("mine", model="o3-mini")]).arms[0]
    no_lacks = chosen(models=[configured("mine", model="o3-mini", lacks=[])]).arms[0]

    assert (listed.context_window, listed.max_output_tokens) == (128_000, 16_384)
    assert listed.lacks == frozenset()
    assert denied.lacks == {"parallel_tools", "vision"}
    assert no_lacks.lacks == frozenset()


def test_a_model_that_is_not_listed_has_no_known_price_and_no_limit() -> None:
    arm = chosen(models=[configured("mine", model="home-made")]).arms[0]

    assert arm.price is None
    assert arm.context_window is None


# --- LLM_MODELS


def test_named_models_are_picked_from_the_configured_ones_by_id_or_alias() -> None:
    models = [configured("one"), configured("two", aliases=["second"]), configured("three")]

    arms = chosen(models=models, llm_models="second,one")

    assert ids(arms) == ["two", "one"]


def test_a_model_named_twice_is_one_arm() -> None:
    arms = chosen(
        models=[configured("one", aliases=["uno"]), configured("two")], llm_models="one,uno,two,one"
    )

    assert ids(arms) == ["one", "two"]


def test_simulated_models_may_be_named_too() -> None:
    arms = chosen({"OPENAI_API_KEY": "sk-1"}, llm_models="sim-small")

    assert ids(arms) == ["sim-small"]
    assert arms.is_simulated


@pytest.mark.parametrize(
    ("key", "name", "provider", "model", "base_url"),
    [
        ("OPENAI_API_KEY", "openai/gpt-4o-mini", "openai", "gpt-4o-mini", "https://api.openai.com/v1"),
        (
            "OPENROUTER_API_KEY",
            "openai/gpt-4o-mini",
            "openai",
            "openai/gpt-4o-mini",
            "https://openrouter.ai/api/v1",
        ),
        (
            "OPENROUTER_API_KEY",
            "qwen/some-model",
            "openai",
            "qwen/some-model",
            "https://openrouter.ai/api/v1",
        ),
        ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-5-5", "anthropic", "claude-haiku-5-5", None),
        ("GEMINI_API_KEY", "gemini/gemini-3.8-flash", "litellm", "gemini/gemini-3.8-flash", None),
    ],
)
def test_a_vendors_model_is_reached_by_the_key_that_is_set(
    key: str, name: str, provider: str, model: str, base_url: str | None
) -> None:
    arm = chosen({key: "sk-1"}, llm_models=name).arms[0]

    assert (arm.arm_id, arm.provider, arm.model, arm.base_url) == (name, provider, model, base_url)
    assert arm.api_key_env == key


def test_a_vendors_own_key_goes_before_openrouters() -> None:
    keys = {"OPENAI_API_KEY": "sk-1", "OPENROUTER_API_KEY": "sk-2"}

    arm = chosen(keys, llm_models="openai/gpt-4o-mini").arms[0]

    assert arm.api_key_env == "OPENAI_API_KEY"
    assert arm.expected_price.input == Decimal("0.15")


@pytest.mark.parametrize("base", ["http://127.0.0.1:11434", "http://127.0.0.1:11434/"])
def test_ollama_needs_no_key(base: str) -> None:
    arm = chosen({"OLLAMA_BASE_URL": base}, llm_models="ollama/llama3.2:1b").arms[0]

    assert (arm.arm_id, arm.model) == ("ollama/llama3.2:1b", "llama3.2:1b")
    assert (arm.base_url, arm.api_key_env) == ("http://127.0.0.1:11434/v1", None)
    assert arm.price == FREE


def test_ollama_alone_requires_the_names_of_its_models() -> None:
    with pytest.raises(StartupError, match="OLLAMA_BASE_URL is set: name its models in LLM_MODELS"):
        chosen({"OLLAMA_BASE_URL": "http://127.0.0.1:11434"})


@pytest.mark.parametrize("name", ["model-0", "nobody/gpt-4o-mini", "/", "openrouter/", "ollama/"])
def test_a_model_that_no_key_reaches_is_rejected_by_name(name: str) -> None:
    with pytest.raises(StartupError, match=rf"LLM_MODELS: '{name}' is not a configured model"):
        chosen(llm_models=name)


def test_every_model_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(StartupError) as stopped:
        chosen({"OPENAI_API_KEY": "sk-1"}, llm_models="groq/a,openai/b,nobody/c,ollama/d")

    assert str(stopped.value).split("\n  ") == [
        "3 errors in the settings:",
        "LLM_MODELS: 'groq/a' needs GROQ_API_KEY, which is not set",
        "LLM_MODELS: 'nobody/c' is not a configured model, and no provider key is set that can reach it",
        "LLM_MODELS: 'ollama/d' needs OLLAMA_BASE_URL, which is not set",
    ]


@pytest.mark.parametrize("key", ["sk-1\u200b", "sk 1", "sk-1\nX: y", "“sk-1”"])
def test_a_key_that_no_header_can_hold_stops_the_start(key: str) -> None:
    with pytest.raises(StartupError, match="OPENAI_API_KEY must be visible ASCII") as stopped:
        chosen({"OPENAI_API_KEY": key})

    assert "sk" not in str(stopped.value)


# --- DEFAULT_MODEL


def test_the_first_arm_is_the_default() -> None:
    settings = Settings.model_validate({})

    assert default_arm_id(settings, SIMULATED_ARMS) == SIMULATED_ARMS[0].arm_id


def test_the_default_may_be_named_by_its_alias() -> None:
    models = [configured("one"), configured("two", aliases=["second"])]
    settings = Settings.model_validate({"models": models, "default_model": "second"})

    arms = choose_arms(settings, {}, [], [])

    assert default_arm_id(settings, arms.arms) == "two"


def test_an_unknown_default_stops_the_start_and_lists_the_models() -> None:
    with pytest.raises(
        StartupError, match=r"DEFAULT_MODEL: 'acme-0' is not one of the models in use: one, two"
    ):
        chosen(models=[configured("one"), configured("two")], default_model="acme-0")


# --- public priors


def prior(**more: Any) -> tuple[float | None, float | None, str | None]:
    [arm] = chosen(models=[configured("a", **more)]).arms
    return arm.prior_quality, arm.prior_mass, arm.prior_source


def test_a_well_known_model_starts_from_its_public_quality() -> None:
    known = public_prior("openai/gpt-4o")
    assert known is not None

    assert prior(model="openai/gpt-4o") == (known.quality, None, known.source)


def test_a_configured_prior_wins() -> None:
    assert prior(model="gpt-4o", prior_quality=0.3) == (0.3, None, "configured")
    assert prior(model="gpt-4o", prior_quality=0.3, prior_mass=7) == (0.3, 7.0, "configured")


def test_a_configured_mass_applies_to_the_public_quality() -> None:
    known = public_prior("gpt-4o")
    assert known is not None

    assert prior(model="gpt-4o", prior_mass=7) == (known.quality, 7.0, known.source)


def test_a_model_that_is_not_well_known_has_no_prior() -> None:
    assert prior() == (None, None, None)


def test_public_priors_can_be_switched_off() -> None:
    arms = chosen(models=[configured("a", model="gpt-4o")], public_priors=False).arms

    assert [(arm.prior_quality, arm.prior_source) for arm in arms] == [(None, None)]


def test_extra_fields_with_values_are_accepted_and_set() -> None:
    fields = {"extra_fields": {"top_k": None, "min_p": 0.1}, "drop": ["seed"], "rename": {"user": "end_user"}}

    arm = arm_of(ModelSettings.model_validate(configured("a", **fields)))

    assert arm.extra_fields == {"top_k", "min_p"}
    assert arm.set_fields == {"min_p": 0.1}
    assert arm.drop == {"seed"}
    assert arm.rename == {"user": "end_user"}


def test_extra_fields_without_values_are_accepted_and_not_set() -> None:
    arm = arm_of(ModelSettings.model_validate(configured("a", extra_fields=["top_k"])))

    assert arm.extra_fields == {"top_k"}
    assert arm.set_fields == {}
