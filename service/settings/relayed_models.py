"""The settings of models for embeddings and moderations: entries of the YAML file."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field, field_validator, model_validator

from service.settings.base_urls import base_url
from service.settings.models import FrozenSettings, Name


class InputPriceSettings(FrozenSettings):
    """US dollars per million tokens."""

    input: Decimal = Field(ge=0, le=10_000, description="US dollars per million tokens")


class RelayedModelSettings(FrozenSettings):
    """One deployment of a model that answers no chats; entries with one `id` are deployments of one model."""

    id: Name = Field(description="name of the model in requests; entries with the same id back each other up")
    provider: Literal["openai"] = Field("openai", description="openai: any OpenAI-compatible server")
    base_url: str | None = Field(None, description="base URL of the server")
    model: str | None = Field(None, min_length=1, description="the server's name for the model")
    api_key_env: str | None = Field(None, description="environment variable that holds the server's key")
    aliases: tuple[Name, ...] = Field((), description="other names that a request may use for the model")
    timeout_s: float | None = Field(
        None, gt=0, le=3600, description="longest silence of the server, seconds; absent: no limit of its own"
    )

    @field_validator("base_url")
    @classmethod
    def _in_one_form(cls, url: str | None) -> str | None:
        return None if url is None else base_url(url, "openai")

    @model_validator(mode="after")
    def _openai_needs_a_server(self) -> RelayedModelSettings:
        if self.provider == "openai" and not (self.base_url and self.model):
            raise ValueError("provider openai needs base_url and model")
        return self


class EmbeddingModelSettings(RelayedModelSettings):
    """One deployment of an embedding model."""

    provider: Literal["openai", "router"] = Field(  # type: ignore[assignment]
        "openai", description="openai: any OpenAI-compatible server; router: the router's own encoder"
    )
    price: InputPriceSettings | None = Field(
        None, description="`free`, or US dollars per million tokens; absent: the price in LiteLLM's list"
    )
    dimensions: int | None = Field(
        None, gt=0, description="numbers in a vector; a vector of another length counts as a failure"
    )
    max_input_tokens: int | None = Field(None, gt=0, description="longest input, tokens")
    extra_fields: tuple[Name, ...] = Field(
        (), description="request fields beyond OpenAI's that are passed on to the server"
    )

    @field_validator("price", mode="before")
    @classmethod
    def _free_is_a_price(cls, price: object) -> object:
        return {"input": 0} if price == "free" else price


def names_of(models: tuple[RelayedModelSettings, ...]) -> list[str]:
    """The ids and aliases, those of one model once."""
    of_each: dict[str, set[str]] = {}
    for model in models:
        of_each.setdefault(model.id, {model.id}).update(model.aliases)
    return [name for names in of_each.values() for name in names]
