"""The settings that must be equal for the log of one configuration to evaluate another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.domain.arm import Arm
from service.settings.settings import Settings

# These settings change decisions or their outcomes in ways that no decision logs.
NOT_IN_LOG = (
    "memory_points_per_arm",
    "embedding_backend",
    "embedding_model",
    "embedding_base_url",
    "embedding_timeout_s",
    "memory_timeout_s",
    "required_data_use",
    "aliases",
    "fallbacks",
    "unknown_models",
    "policies",
    "force_model",
    "force_backend",
    "force_expert_routing",
    "model_map",
    "routing_model",
    "routing_model_base_url",
    "routing_model_timeout_s",
    "llm_temperature",
    "llm_max_tokens",
    "max_attempts",
    "request_deadline_s",
    "breaker_failures",
    "breaker_rest_s",
    "breaker_long_rest_s",
    "refused_feature_s",
    "escalation",
    "escalation_hold_s",
    "session_ttl_s",
    "session_switch_margin",
    "signal_provider_error_weight",
    "signal_refusal_weight",
    "signal_empty_weight",
    "signal_truncated_weight",
    "signal_invalid_schema_weight",
    "signal_reask_weight",
    "signal_complaint_weight",
    "reask_window_s",
    "feedback_revision_days",
    "feedback_max_revisions",
    "pooled_prior_mass",
    "limits",
    "cache_enabled",
    "cache_ttl_seconds",
    "cache_max_size",
    "cache_shared",
    "semantic_cache_enabled",
    "semantic_cache_threshold",
    "semantic_cache_max_temperature",
)
# These fields make an arm another model, or change which requests it can answer.
ARM_FIELDS_NOT_IN_LOG = (
    "provider",
    "base_url",
    "model",
    "context_window",
    "max_output_tokens",
    "capabilities",
    "lacks",
    "data_use",
    "extra_fields",
    "set_fields",
    "drop",
    "rename",
    "timeout_s",
    "default_temperature",
    "default_max_tokens",
    "prompt",
    "deployments",
    "takes_client_key",
)


def settings_apart(running: Settings, candidate: Settings) -> str | None:
    """The first setting that differs and is not in the log, as a reason to refuse; None: there is none."""
    for name in NOT_IN_LOG:
        running_value, own_value = getattr(running, name), getattr(candidate, name)
        if running_value != own_value:
            return _apart(name.upper(), running_value, own_value)
    return None


def arms_apart(running: Mapping[str, Arm], candidate: Sequence[Arm]) -> str | None:
    """The first field of an arm that differs and is not in the log; prices and priors may differ."""
    for arm in candidate:
        running_arm = running.get(arm.arm_id, arm)
        for name in ARM_FIELDS_NOT_IN_LOG:
            running_value, own_value = getattr(running_arm, name), getattr(arm, name)
            if running_value != own_value:
                return _apart(f"`{name}` of {arm.arm_id}", running_value, own_value)
    return None


def _apart(name: str, running_value: object, own_value: object) -> str:
    return (
        f"{name} is {_shown(own_value)} in the candidate and {_shown(running_value)} in the running "
        "configuration. The log does not show what that changes: leave it out of the candidate."
    )


def _shown(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        return f"[{', '.join(sorted(map(str, value)))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "absent" if value is None else str(value)
