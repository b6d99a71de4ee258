"""The settings of implicit feedback."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from service.settings.models import FrozenSettings


class SignalSettings(FrozenSettings):
    """How much the signals count that a request itself gives about its model; 0 switches one off."""

    signal_provider_error_weight: Decimal = Field(
        Decimal("0.1"), ge=0, le=1, decimal_places=6, description="weight of a failed call"
    )
    signal_refusal_weight: Decimal = Field(
        Decimal("0.05"), ge=0, le=1, decimal_places=6, description="weight of a refused request"
    )
    signal_empty_weight: Decimal = Field(
        Decimal("0.1"), ge=0, le=1, decimal_places=6, description="weight of an empty answer"
    )
    signal_truncated_weight: Decimal = Field(
        Decimal("0.02"), ge=0, le=1, decimal_places=6, description="weight of an answer that is cut off"
    )
    signal_invalid_schema_weight: Decimal = Field(
        Decimal("0.1"),
        ge=0,
        le=1,
        decimal_places=6,
        description="weight of an answer that breaks its JSON schema",
    )
    signal_reask_weight: Decimal = Field(
        Decimal("0.05"), ge=0, le=1, decimal_places=6, description="weight of a question that is asked again"
    )
    signal_complaint_weight: Decimal = Field(
        Decimal("0.05"),
        ge=0,
        le=1,
        decimal_places=6,
        description="weight of an answer that the user's next turn calls wrong",
    )
    reask_window_s: float = Field(
        120.0,
        gt=0,
        le=86_400,
        description="longest time from an answer to the same question that counts as asked again, seconds",
    )
