"""The limits of tenants and models: the section `limits:` of the YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from service.domain.limit import Limit, Measure, Subject, limits_of
from service.settings.models import FrozenSettings, Name


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


# One amount for each period, or several periods.
Amounts = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class LimitSettings(FrozenSettings):
    """The most that one tenant, model or key may use, in amounts such as `5/day`."""

    usd: Amounts = Field((), description="US dollars for each minute, day or month")
    tokens: Amounts = Field((), description="tokens of prompts and answers together")
    requests: Amounts = Field((), description="requests; of a model: calls")

    @field_validator("usd", "tokens", "requests")
    @classmethod
    def _are_amounts(cls, amounts: tuple[str, ...]) -> tuple[str, ...]:
        limits_of(Subject("tenant", ""), {"usd": amounts})
        return amounts

    @property
    def amounts(self) -> Mapping[Measure, tuple[str, ...]]:
        """The amounts of each measure."""
        return {"usd": self.usd, "tokens": self.tokens, "requests": self.requests}

    def of(self, subject: Subject) -> tuple[Limit, ...]:
        """These limits of a subject."""
        return limits_of(subject, self.amounts)


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


def amounts_of(limits: Sequence[Limit]) -> dict[str, list[str]]:
    """The amounts of limits in the form of the settings, by measure."""
    amounts: dict[str, list[str]] = {}
    for limit in limits:
        amounts.setdefault(limit.measure, []).append(limit.amount)
    return amounts
