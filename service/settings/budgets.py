"""The limits of tenants and models: the section `limits:` of the YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from service.domain.limit import MEASURES, Limit, Subject
from service.settings.models import FrozenSettings, Name


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


# One amount for each period, or several periods.
Amounts = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class LimitSettings(FrozenSettings):
    """The most that one tenant or model may use, in amounts such as `5/day`."""

    usd: Amounts = Field((), description="US dollars for each minute, day or month")
    tokens: Amounts = Field((), description="tokens of prompts and answers together")
    requests: Amounts = Field((), description="requests; of a model: calls")

    @field_validator("usd", "tokens", "requests")
    @classmethod
    def _are_amounts(cls, amounts: tuple[str, ...]) -> tuple[str, ...]:
        periods = [Limit.parsed(Subject("tenant", ""), "usd", text).period for text in amounts]
        if len(set(periods)) < len(periods):
            raise ValueError(f"must have one amount for each period, got {', '.join(amounts)}")
        return amounts

    def of(self, subject: Subject) -> tuple[Limit, ...]:
        """These limits of a subject."""
        return tuple(
            Limit.parsed(subject, measure, text) for measure in MEASURES for text in getattr(self, measure)
        )


class AllLimitSettings(FrozenSettings):
    """The limits of each tenant and model that has some."""

    tenants: dict[Name, LimitSettings] = Field({}, description="limits of tenants, by name")
    models: dict[Name, LimitSettings] = Field({}, description="limits of models, by id or alias")

    @property
    def of_tenants(self) -> Mapping[str, tuple[Limit, ...]]:
        return {name: limits.of(Subject("tenant", name)) for name, limits in self.tenants.items()}


class BudgetSettings(FrozenSettings):
    """What callers and models may use."""

    limits: AllLimitSettings = Field(
        AllLimitSettings(),
        description="most dollars, tokens and requests of tenants and models in a minute, a day or a month",
    )
