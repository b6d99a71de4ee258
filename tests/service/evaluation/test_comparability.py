from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from bandit.knobs import Knobs
from service.domain.arm import Arm, Price
from service.evaluation.comparability import ARM_FIELDS_NOT_IN_LOG, NOT_IN_LOG, arms_apart, settings_apart
from service.settings.settings import Settings
from tests.service.world import ARMS, LARGE, MEDIUM, SMALL

EVALUATED = {
    "models",
    "llm_models",
    "free_models",
    "default_model",
    "price_lists",
    "public_priors",
    "holdout_share",
}
WITHOUT_EFFECT = {
    *("host", "port", "allow_anonymous", "admin_key", "cors_origins", "max_body_bytes", "log_level"),
    *("log_format", "data_dir", "enable_persistence", "database_url", "database_max_connections"),
    *("database_statement_cache_size", "qdrant_url", "qdrant_api_key", "spool_max_bytes", "store_texts"),
    *("response_ttl_s", "database_require_tls", "log_texts"),
    *("embedding_api_key", "embedding_cache_size", "keepalive_after_s", "allowed_hosts", "reused_request_id"),
    *("check_keys", "embedding_models", "moderation_models", "admin_runs_code"),
    *("callbacks", "log_file", "log_file_backups", "log_file_max_bytes", "routing_model_api_key"),
    *("providers_auth", "secret_key", "max_waiting_requests", "max_connections", "spool_reserve_bytes"),
    *("database_connect_timeout_s", "database_busy_timeout_s", "database_statement_timeout_s"),
    *("database_bulk_timeout_s", "retention_days", "qdrant_collection_prefix"),
}
RUNNING = {arm.arm_id: arm for arm in ARMS}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"escalation": True}, "ESCALATION is true in the candidate and false in"),
        ({"required_data_use": ("eu",)}, "REQUIRED_DATA_USE is [eu] in the candidate and [] in"),
        ({"signal_empty_weight": 0}, "SIGNAL_EMPTY_WEIGHT is 0 in the candidate and 0.1 in"),
        ({"embedding_model": "other"}, "EMBEDDING_MODEL is other in the candidate and absent in"),
    ],
)
def test_a_setting_that_is_not_in_the_log_is_named(changes: dict[str, Any], named: str) -> None:
    reason = settings_apart(Settings(), Settings.model_validate(changes))

    assert reason is not None
    assert reason.startswith(named)


def test_settings_that_can_be_evaluated_or_change_nothing_may_differ() -> None:
    other = Settings(cost_weight=-0.5, holdout_share=0.1, store_texts=True, port=1)

    assert settings_apart(Settings(), other) is None


def test_every_setting_is_evaluated_or_refused_or_without_effect() -> None:
    knobs = {field.name for field in fields(Knobs)}
    evaluated = (EVALUATED | knobs) & Settings.model_fields.keys()

    assert sorted([*evaluated, *NOT_IN_LOG, *WITHOUT_EFFECT]) == sorted(Settings.model_fields)


def test_an_arm_with_another_model_or_capability_is_named() -> None:
    bigger = replace(SMALL, context_window=9_000)

    assert arms_apart(RUNNING, [bigger, LARGE]) == (
        "`context_window` of small is 9000 in the candidate and 4000 in the running configuration. "
        "The log does not show what that changes: leave it out of the candidate."
    )


def test_arms_may_be_added_and_removed_and_have_other_prices_and_priors() -> None:
    priced = replace(SMALL, price=Price(Decimal(1), Decimal(1)), prior_quality=0.5, prior_mass=3.0)

    assert arms_apart(RUNNING, [priced, replace(MEDIUM, arm_id="new")]) is None


def test_every_field_of_an_arm_is_evaluated_or_refused_or_without_effect() -> None:
    evaluated = {"arm_id", "price", "assumed_price", "price_version", "prior_quality", "prior_mass"}
    without_effect = {
        *("api_key_env", "auth", "key", "aliases", "chat_template", "prior_source", "price_source"),
        *("variant_of", "deployment"),  # the prompt and the deployments are compared
    }

    assert sorted([*evaluated, *ARM_FIELDS_NOT_IN_LOG, *without_effect]) == sorted(
        f.name for f in fields(Arm)
    )
