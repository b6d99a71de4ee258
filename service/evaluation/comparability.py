"""What two configurations must have in common, so that the log of one can tell of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.domain.arm import Arm
from service.settings.settings import Settings

# They change what is chosen, or what comes of it, by what no decision logs.
NOT_IN_LOG = (
    "memory_points_per_arm",
    "embedding_backend",
    "embedding_model",
    "embedding_base_url",
    "embedding_timeout_s",
    "memory_timeout_s",
    "required_data_use",
    "max_attempts",
    "request_deadline_s",
    "breaker_failures",
    "breaker_rest_s",
    "breaker_long_rest_s",
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
    "reask_window_s",
    "cache_enabled",
    "cache_ttl_seconds",
    "cache_max_size",
)
# What makes an arm another one, or lets it answer other requests.
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
    "timeout_s",
)


def settings_apart(running: Settings, candidate: Settings) -> str | None:
    """Which setting of the candidate the log of the running ones tells nothing of; None: there is none."""
    for name in NOT_IN_LOG:
        here, there = getattr(running, name), getattr(candidate, name)
        if here != there:
            return _apart(name.upper(), here, there)
    return None


def arms_apart(running: Mapping[str, Arm], candidate: Sequence[Arm]) -> str | None:
    """The same of arms of the same id; their prices and priors may differ."""
    for arm in candidate:
        known = running.get(arm.arm_id, arm)
        for name in ARM_FIELDS_NOT_IN_LOG:
            here, there = getattr(known, name), getattr(arm, name)
            if here != there:
                return _apart(f"`{name}` of {arm.arm_id}", here, there)
    return None


def _apart(name: str, here: object, there: object) -> str:
    return (
        f"{name} is {_shown(there)} in the candidate and {_shown(here)} in the running configuration. "
        "The log does not tell what that changes: leave it out of the candidate."
    )


def _shown(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        return f"[{', '.join(sorted(map(str, value)))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "absent" if value is None else str(value)
