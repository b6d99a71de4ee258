"""The settings of one model: an entry of `models:` in the YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from service.dialects.chat_template import compiled
from service.domain.arm import Price
from service.providers.fitting_table import table
from service.settings.base_urls import base_url
from service.settings.prompts import PromptSettings

# Names of models go into headers, so they are visible ASCII.
Name = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
Capability = Literal[
    "tools",
    "tool_choice",
    "parallel_tools",
    "json_schema",
    "vision",
    "audio",
    "files",
    "reasoning",
    "n",
    "logprobs",
    "streaming",
]


class FrozenSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _a_switch_is_no_number(cls, value: object, field: ValidationInfo) -> object:
        """Reject a boolean for a number: `exploration_rate: yes` would become 1."""
        kind = cls.model_fields[str(field.field_name)].annotation
        if isinstance(value, bool) and kind not in (bool, bool | None):
            raise ValueError("must not be true or false")
        return value


class PriceSettings(FrozenSettings):
    """US dollars per million tokens."""

    input: Decimal = Field(ge=0, le=10_000, description="US dollars per million prompt tokens")
    output: Decimal = Field(ge=0, le=10_000, description="US dollars per million completion tokens")
    cached_input: Decimal | None = Field(
        None,
        ge=0,
        le=10_000,
        description="US dollars per million prompt tokens read from the provider's cache",
    )
    cache_write: Decimal | None = Field(
        None,
        ge=0,
        le=10_000,
        description="US dollars per million prompt tokens written to the provider's cache",
    )

    @classmethod
    def of(cls, price: Price) -> PriceSettings:
        return cls(
            input=price.input,
            output=price.output,
            cached_input=price.cached_input,
            cache_write=price.cache_write,
        )

    def to_price(self) -> Price:
        return Price(self.input, self.output, self.cached_input, self.cache_write)


Provider = Literal["openai", "anthropic", "litellm", "simulator"]


class DeploymentSettings(FrozenSettings):
    """One of several places where a model is served; what it leaves out is as in the model's entry."""

    name: Name | None = Field(
        None, description="name in attempts and in /backends/status; absent: host and port of base_url"
    )
    provider: Provider | None = Field(None, description="as the model's provider")
    base_url: str | None = Field(None, description="base URL of this place")
    model: str | None = Field(None, min_length=1, description="what the model is called there")
    api_key_env: str | None = Field(None, description="environment variable that holds its key")
    weight: float = Field(1.0, gt=0, le=1000, description="its part of the calls, in relation to the others'")
    timeout_s: float | None = Field(None, gt=0, le=3600, description="its longest silence, seconds")

    def completed(self, entry: Mapping[str, Any]) -> DeploymentSettings:
        """The deployment with what the model's entry gives to all of them. Raises ValueError."""
        provider = self.provider or entry.get("provider") or "litellm"
        url = self.base_url or entry.get("base_url")
        if url is not None and provider != "simulator":
            url = base_url(url, provider)
        if url is None and provider == "openai":
            raise ValueError("provider openai needs base_url, here or for all deployments")
        model = self.model or entry.get("model")
        host = urlsplit(url).netloc.rpartition("@")[2] if url else ""
        return self.model_copy(
            update={
                "name": self.name or host or model,
                "provider": provider,
                "base_url": url,
                "model": model,
                "api_key_env": self.api_key_env or entry.get("api_key_env"),
                "timeout_s": self.timeout_s or entry.get("timeout_s"),
            }
        )

    @property
    def place(self) -> tuple[str | None, ...]:
        """What distinguishes it from the others."""
        return self.provider, self.base_url, self.model, self.api_key_env


class DefaultsSettings(FrozenSettings):
    """Options of requests that leave them out."""

    temperature: float | None = Field(None, ge=0, le=2, description="in place of LLM_TEMPERATURE")
    max_tokens: int | None = Field(None, ge=1, le=10_000_000, description="in place of LLM_MAX_TOKENS")


_NEEDED = frozenset({"messages", "model", "stream"})  # fields of every request
FREE_PRICE = {"input": 0, "output": 0}  # what `price: free` means


class ModelSettings(FrozenSettings):
    """The settings of one model."""

    id: Name = Field(description="name of the model in requests, answers, logs and metrics")
    provider: Provider = Field(
        description="openai: any OpenAI-compatible server; litellm: any provider LiteLLM supports"
    )
    base_url: str | None = Field(None, description="base URL of the provider")
    model: str = Field(min_length=1, description="the provider's name for the model")
    api_key_env: str | None = Field(None, description="environment variable that holds the provider's key")
    api_key: Literal["client"] | None = Field(
        None, description="`client`: each caller's own key, sent to this provider only"
    )
    auth: Name | None = Field(None, description="entry of `providers_auth` whose token is the key")
    aliases: tuple[Name, ...] = Field((), description="other names that a request may use for the model")
    price: PriceSettings | None = Field(
        None,
        description="`free`, or US dollars per million tokens; absent: the price in LiteLLM's price list",
    )
    context_window: int | None = Field(None, gt=0, description="largest prompt and answer together, tokens")
    capabilities: tuple[Capability, ...] | None = Field(
        None,
        description="tools, json_schema, vision, audio, files, reasoning; absent: no filter",
    )
    lacks: tuple[Capability, ...] | None = Field(
        None, description="capabilities the model does not have; absent: those that LiteLLM's list denies"
    )
    max_output_tokens: int | None = Field(None, gt=0, description="longest answer the model can give, tokens")
    data_use: tuple[Name, ...] = Field(
        (), description="data-use promises of the provider, in the operator's words"
    )
    extra_fields: dict[Name, Any] = Field(
        {},
        description="request fields that the provider accepts, whatever the router knows of it; a field with "
        "a value is set to it in every request",
    )
    drop: tuple[Name, ...] = Field((), description="request fields that are left out")
    rename: dict[Name, Name] = Field({}, description="other names of request fields, by the client's")
    prior_quality: float | None = Field(
        None,
        ge=0,
        le=1,
        description="expected mean reward before any feedback; absent: the published quality, if any",
    )
    prior_mass: float | None = Field(
        None, gt=0, le=1000, description="number of rated answers that prior_quality is worth"
    )
    timeout_s: float | None = Field(
        None,
        gt=0,
        le=3600,
        description="longest silence of the provider, seconds; absent: 60 in a stream, and before a whole "
        "answer what the request's deadline leaves",
    )
    chat_template: str | None = Field(
        None,
        max_length=100_000,
        description="Jinja template of the model's prompts, as in `tokenizer_config.json`",
    )
    variant_of: Name | None = Field(
        None, description="id of another entry, whose fields are this one's too unless it sets them"
    )
    prompt: PromptSettings | None = Field(
        None, description="what is put before its requests: an artifact of `router optimize`"
    )
    tasks: Literal["any"] | None = Field(
        None, description="any: the prompt is for all requests, whatever task the artifact names"
    )
    defaults: DefaultsSettings = Field(
        DefaultsSettings(), description="temperature and max_tokens of requests that leave them out"
    )
    deployments: tuple[DeploymentSettings, ...] = Field(
        (), description="several places where the model is served, among which calls are spread"
    )

    @field_validator("base_url")
    @classmethod
    def _in_one_form(cls, url: str | None, field: ValidationInfo) -> str | None:
        provider = field.data.get("provider", "litellm")
        return url if url is None or provider == "simulator" else base_url(url, provider)

    @field_validator("deployments")
    @classmethod
    def _differ(
        cls, deployments: tuple[DeploymentSettings, ...], entry: ValidationInfo
    ) -> tuple[DeploymentSettings, ...]:
        completed = tuple(deployment.completed(entry.data) for deployment in deployments)
        for i, deployment in enumerate(completed):
            for other in completed[:i]:
                if other.place == deployment.place:
                    raise ValueError(f"must differ in base_url, model or key: {deployment.name} is twice")
                if other.name == deployment.name:
                    raise ValueError(f"need a name each: two are called {deployment.name}")
        return completed

    @property
    def set_fields(self) -> dict[str, Any]:
        """The fields that are set in every request."""
        return {name: value for name, value in self.extra_fields.items() if value is not None}

    @field_validator("extra_fields", mode="before")
    @classmethod
    def _names_need_no_values(cls, fields: object) -> object:
        if isinstance(fields, list | tuple) and all(isinstance(name, str) for name in fields):
            return dict.fromkeys(fields)
        if not isinstance(fields, dict):
            raise ValueError("must be a list of names, or keys and values")
        return fields

    @model_validator(mode="after")
    def _leaves_the_request_to_the_client(self) -> ModelSettings:
        renamed = {*self.rename, *self.rename.values()}
        for key, names in (("extra_fields", self.set_fields), ("drop", self.drop), ("rename", renamed)):
            if taken := sorted(_NEEDED & {*names}):
                raise ValueError(f"{key} must not change {', '.join(taken)}")
        known = {*table().fields}
        if self.provider == "litellm" and (
            unknown := sorted({*self.set_fields, *self.rename.values()} - known)
        ):
            raise ValueError(
                f"LiteLLM passes on fields of Chat Completions only, and not {', '.join(unknown)}"
            )
        return self

    @field_validator("price", mode="before")
    @classmethod
    def _free_is_a_price(cls, price: object) -> object:
        return FREE_PRICE if price == "free" else price

    @field_validator("chat_template")
    @classmethod
    def _is_a_template(cls, source: str | None) -> str | None:
        if source is not None:
            compiled(source)
        return source

    @model_validator(mode="after")
    def _has_one_key(self) -> ModelSettings:
        given = [name for name in ("api_key_env", "api_key", "auth") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        if given in (["api_key"], ["auth"]) and self.provider not in ("openai", "anthropic"):
            raise ValueError(f"{given[0]} needs provider openai or anthropic, got {self.provider}")
        if given in (["api_key"], ["auth"]) and self.deployments:
            raise ValueError(f"{given[0]} and deployments exclude each other: such a key goes to one place")
        return self

    @model_validator(mode="after")
    def _openai_needs_a_base_url(self) -> ModelSettings:
        if self.provider == "openai" and self.base_url is None and not self.deployments:
            raise ValueError("provider openai needs base_url")
        return self
