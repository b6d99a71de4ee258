"""The example configurations set what their purpose asks for, and choose the models they promise."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from service.arms.configured import choose_arms
from service.arms.known_models import known_models
from service.errors import StartupError
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.load import load_settings
from service.settings.settings import Settings

ROOT = Path(__file__).parents[3]
URL = "postgresql://router:secret@db.example.com/router"
OPENAI = {"OPENAI_API_KEY": "sk-test"}
MODEL = {"provider": "openai", "base_url": "http://127.0.0.1:9/v1", "capabilities": []}
FREE = {"id": "mine", "model": "mine", "price": "free", **MODEL}
PAID = {"id": "dear", "model": "dear", "price": {"input": 1, "output": 2}, **MODEL}


def example(name: str, **environ: str) -> Settings:
    return load_settings(ROOT / f"config.{name}.yaml", environ)


def arm_ids(settings: Settings, known: list[object], **environ: str) -> list[str]:
    return [arm.arm_id for arm in choose_arms(settings, environ, known, SIMULATED_ARMS).arms]  # type: ignore[arg-type]


def test_the_developers_file_explores_and_logs_everything_and_stores_no_texts() -> None:
    dev = example("dev")

    assert (dev.exploration_rate, dev.log_level, dev.free_models) == (0.3, "debug", "prefer")
    assert not dev.store_texts
    assert "# store_texts: true\n" in (ROOT / "config.dev.yaml").read_text()  # the one line that does


def test_the_developers_file_uses_free_models_if_there_are_any() -> None:
    dev = example("dev")

    assert arm_ids(dev, [FREE, PAID]) == ["mine"]
    assert arm_ids(dev, [PAID]) == ["dear"]


def test_the_developers_file_starts_without_a_key_and_with_one_of_a_paid_vendor() -> None:
    dev = example("dev")

    assert arm_ids(dev, list(known_models())) == [arm.arm_id for arm in SIMULATED_ARMS]
    assert "gpt-4.1" in arm_ids(dev, list(known_models()), **OPENAI)


def test_the_developers_file_uses_every_model_that_is_named() -> None:
    dev = example("dev", LLM_MODELS="gpt-4.1")

    assert arm_ids(dev, [FREE, *known_models()], **OPENAI) == ["gpt-4.1"]


def test_the_production_file_explores_little_keeps_data_and_requires_tls() -> None:
    prod = example("prod", DATABASE_URL=URL)

    assert prod.exploration_rate <= 0.05
    assert (prod.log_format, prod.enable_persistence, prod.store_texts) == ("json", True, False)
    assert prod.database_url is not None
    assert prod.database_url.get_secret_value() == f"{URL}?sslmode=require"


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_mode_that_is_as_strict_stays(mode: str) -> None:
    prod = example("prod", DATABASE_URL=f"{URL}?sslmode={mode}")

    assert prod.database_url is not None
    assert prod.database_url.get_secret_value() == f"{URL}?sslmode={mode}"


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_a_mode_that_allows_no_tls_stops_the_start_without_showing_the_password(mode: str) -> None:
    with pytest.raises(StartupError, match=r"DATABASE_URL must have sslmode require") as caught:
        example("prod", DATABASE_URL=f"{URL}?sslmode={mode}")

    assert "secret" not in str(caught.value)


def test_tls_can_be_left_to_a_private_network() -> None:
    prod = example("prod", DATABASE_URL=URL, DATABASE_REQUIRE_TLS="false")

    assert prod.database_url is not None
    assert prod.database_url.get_secret_value() == URL


def test_the_cost_file_weighs_cost_at_four_times_the_default_and_uses_only_free_models() -> None:
    cost = example("cost-optimized")

    assert (cost.cost_weight, cost.free_models) == (-0.8, "only")
    assert cost.budget_usd_per_request == Decimal("0.002")
    assert arm_ids(cost, [FREE, PAID]) == ["mine"]
    assert arm_ids(cost, []) == [arm.arm_id for arm in SIMULATED_ARMS]


def test_the_cost_file_stops_the_start_if_every_model_costs() -> None:
    with pytest.raises(StartupError, match=r"FREE_MODELS is only, and none of these models is free: dear"):
        arm_ids(example("cost-optimized"), [PAID])
