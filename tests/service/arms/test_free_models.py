from __future__ import annotations

import pytest

from service.arms.configured import choose_arms
from service.arms.known_models import known_models
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.settings import Settings

OPENROUTER = {"OPENROUTER_API_KEY": "sk-or"}
FREE = ["openrouter-gpt-oss-120b-free", "openrouter-llama-3.3-70b-free", "openrouter-free"]


def arm_ids(environ: dict[str, str], **knobs: object) -> list[str]:
    settings = Settings.model_validate(knobs)
    return [arm.arm_id for arm in choose_arms(settings, environ, known_models(), SIMULATED_ARMS).arms]


def test_an_openrouter_key_alone_brings_its_free_models() -> None:
    assert arm_ids(OPENROUTER) == FREE


@pytest.mark.parametrize("other", ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"])
def test_beside_another_key_the_paid_models_of_both_are_used(other: str) -> None:
    ids = arm_ids({**OPENROUTER, other: "sk-other"})

    assert not {*FREE} & {*ids}
    assert "openrouter-gpt-6-luna" in ids
    assert any(not arm_id.startswith("openrouter-") for arm_id in ids)


def test_the_switch_brings_all_models_of_openrouter() -> None:
    ids = arm_ids(OPENROUTER, free_models="any")

    assert {*FREE, "openrouter-gpt-6-luna"} <= {*ids}


def test_models_that_are_named_are_used_whatever_they_cost() -> None:
    named = ("openrouter-gpt-6-luna", "openrouter-free")

    assert arm_ids(OPENROUTER, llm_models=named) == [*named]
