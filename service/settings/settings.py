"""Every setting: one frozen tree, read once from YAML and the environment, validated at start."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from service.domain.basics import AUTO
from service.domain.hosts import parse_host, parse_origin, parse_setting
from service.settings.base_urls import base_url
from service.settings.budgets import BudgetSettings
from service.settings.cache import CacheSettings
from service.settings.feedback import FeedbackSettings
from service.settings.logs import LogSettings
from service.settings.models import ModelSettings, Name
from service.settings.overrides import OverrideSettings
from service.settings.policies import PolicySettings
from service.settings.providers_auth import OAuthSettings, require_logins
from service.settings.relayed_models import EmbeddingModelSettings, RelayedModelSettings, names_of
from service.settings.routing_model import RoutingModelSettings
from service.settings.signals import SignalSettings
from service.settings.storage import StorageSettings
from service.settings.variants import with_variants

# Claude Code lists only models whose names begin with `claude` or `anthropic`.
DEFAULT_ALIASES: dict[str, tuple[str, ...]] = {"claude-router": ("auto",)}


class Settings(
    LogSettings,
    StorageSettings,
    CacheSettings,
    BudgetSettings,
    OverrideSettings,
    RoutingModelSettings,
    FeedbackSettings,
    SignalSettings,
):
    """Every setting. The YAML keys are these names; the environment variables are the same in capitals."""

    # --- listening and logging
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    allow_anonymous: bool = Field(
        False, description="let callers without a key ask models, rate answers and read, from any address"
    )
    admin_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="key that may do everything; absent: without any key, /admin works on loopback only",
    )
    secret_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="secret that keys are digested and logins encrypted with; absent: a file in DATA_DIR",
    )
    admin_runs_code: bool = Field(
        False, description="POST /admin/calibrations may name graders that run code: unit-tests and python:"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="comma-separated list of further names that clients may call the router by; "
        "*.name: every name below it",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="comma-separated list of browser origins that may call the router"
    )
    reused_request_id: Literal["new", "reject"] = Field(
        "new",
        description="an X-Request-ID that was used with another body: decide under a new id, or reject it",
    )
    max_body_bytes: int = Field(
        20_000_000, ge=1_000, le=1_000_000_000, description="largest request body, bytes"
    )

    callbacks: tuple[str, ...] = Field(
        (),
        description="comma-separated list of module:function, called with a report of each request",
    )

    # --- embeddings and memory
    embedding_backend: Literal["words", "minilm", "sentence-transformers", "http"] = Field(
        "words", description="encoder that turns text into a vector"
    )
    embedding_model: str | None = Field(
        None,
        description="folder of MiniLM weights, sentence-transformers model, or model of the endpoint",
    )
    embedding_base_url: str | None = Field(
        None,
        description="base URL of an OpenAI-compatible embeddings endpoint, for EMBEDDING_BACKEND=http",
    )
    embedding_api_key: SecretStr | None = Field(None, description="key of the embeddings endpoint")
    embedding_timeout_s: float = Field(
        1.0, gt=0, le=60, description="longest wait for the vector of a request, seconds"
    )
    memory_timeout_s: float = Field(
        0.5, gt=0, le=60, description="longest wait for similar requests from the memory, seconds"
    )
    embedding_cache_size: int = Field(
        10_000, ge=1, le=10_000_000, description="vectors to cache by the text they were made from"
    )

    # --- models
    models: Annotated[tuple[ModelSettings, ...], BeforeValidator(with_variants)] = Field(
        (), description="the models; absent: the well-known models whose provider key is set"
    )
    providers_auth: dict[Name, OAuthSettings] = Field(
        {}, description="logins at providers by OAuth, by the names that models refer to"
    )
    embedding_models: tuple[EmbeddingModelSettings, ...] = Field(
        (),
        description="the models of /v1/embeddings; absent: OpenAI's if its key is set, and the router's own",
    )
    moderation_models: tuple[RelayedModelSettings, ...] = Field(
        (), description="the models of /v1/moderations; absent: OpenAI's if its key is set"
    )
    free_models: Literal["auto", "any", "prefer", "only"] = Field(
        "auto",
        description="well-known models: auto: free ones with an OpenRouter key alone; any; prefer; only free",
    )
    llm_models: tuple[Name, ...] = Field(
        (), description="comma-separated list of models to use; all others are ignored"
    )
    llm_temperature: float | None = Field(
        None, ge=0, le=2, description="temperature of requests that give none; absent: the model's own"
    )
    llm_max_tokens: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="longest answer to requests that give no limit, tokens; absent: the model's own",
    )
    aliases: dict[Name, tuple[Name, ...]] = Field(
        DEFAULT_ALIASES,
        description="further names in requests, each for `auto`, for a model, or for several to choose among",
    )
    fallbacks: dict[Name, tuple[Name, ...]] = Field(
        {},
        description="models to call when one fails, in their order, by the model that failed or `default`",
    )
    unknown_models: Literal["auto", "reject"] = Field(
        "auto",
        description="names of well-known vendors that no model has: the router chooses, or rejects them",
    )
    default_model: str | None = Field(
        None, description="model that answers when confidence is low; absent: the first model"
    )
    check_keys: bool = Field(
        True, description="ask each provider at the start whether it accepts its key, which costs nothing"
    )
    price_lists: bool = Field(
        True, description="at the start, read the price lists of OpenAI-compatible servers of unpriced models"
    )
    public_priors: bool = Field(
        True, description="start well-known models that have no prior_quality from their published quality"
    )
    required_data_use: tuple[Name, ...] = Field(
        (), description="comma-separated list of data_use promises that a model needs to be used"
    )
    max_waiting_requests: int = Field(
        256,
        ge=0,
        le=1_000_000,
        description="requests that may wait for the router itself, per process, before others get 503; "
        "0: no limit",
    )
    max_connections: int = Field(
        5_000,
        ge=0,
        le=1_000_000,
        description="connections of clients, per process, before others get 503; 0: no limit",
    )
    max_attempts: int = Field(3, ge=1, le=10, description="most model calls for one request")
    request_deadline_s: float = Field(
        600.0,
        gt=0,
        le=3600,
        description="longest wait for an answer, or for the first content of a stream, seconds",
    )
    keepalive_after_s: float = Field(
        25.0,
        gt=0,
        le=3600,
        description="wait for the first content of a stream before keep-alive comments start, seconds",
    )
    breaker_failures: int = Field(
        3, ge=1, le=100, description="consecutive failures that open a model's circuit breaker"
    )
    breaker_rest_s: float = Field(
        30.0, gt=0, le=3600, description="how long the model then cools down, seconds"
    )
    breaker_long_rest_s: float = Field(
        300.0,
        gt=0,
        le=86_400,
        description="cooldown of a model whose account has no credit or that keeps answering 429, seconds",
    )
    refused_feature_s: float = Field(
        3600.0,
        ge=0,
        le=604_800,
        description="how long a model is not asked for a feature that its provider refused, seconds",
    )
    escalation: bool = Field(
        False,
        description="call a stronger model when an answer is empty, refused, cut off or breaks its schema",
    )
    escalation_hold_s: float = Field(
        1.0, ge=0, le=60, description="how long ESCALATION delays a stream to check its answer, seconds"
    )

    # --- choosing a model
    feedback_weight: float = Field(0.6, ge=0, le=10, description="weight of quality in the utility")
    latency_weight: float = Field(0.2, ge=0, le=10, description="weight of speed in the utility")
    cost_weight: float = Field(
        -0.2, ge=-10, le=0, description="weight of cost in the utility, zero or negative"
    )
    exploration_rate: float = Field(
        0.0, ge=0, le=1, description="share of requests that try a model other than the sampled best"
    )
    propensity_floor: float = Field(
        0.0002, ge=0, le=0.1, description="lowest probability of every eligible model"
    )
    similarity_threshold: float = Field(
        0.0, ge=-1, le=1, description="lowest cosine similarity of a neighbour (a similar request)"
    )
    max_similar_requests: int = Field(
        100, ge=0, le=1000, description="most prompts whose outcomes are neighbours of a request"
    )
    min_similar_requests: int = Field(
        5,
        ge=0,
        le=1000,
        description="with fewer prompts than this, decisions use only each model's overall evidence",
    )
    recency_days: float = Field(30.0, gt=0, le=3650, description="greatest age of a neighbour, days")
    min_confidence_score: float = Field(
        0.1,
        ge=0,
        le=1,
        description="the default model answers instead of a model whose expected reward is lower than this",
    )
    holdout_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="share of requests that the default model answers, so that savings can be measured",
    )
    pooled_prior_mass: float = Field(
        0.0,
        ge=0,
        le=100,
        description="ratings that those of other tenants count as at most, in a tenant's prior of a model",
    )
    optimistic_prior: float = Field(
        0.8, gt=0, lt=1, description="expected mean reward of every model, if no model's quality is known"
    )
    exploration_bonus: float = Field(
        0.0, ge=0, le=1, description="bonus of a model with few ratings, in reward"
    )
    min_requests_for_global: int = Field(
        10, ge=0, le=100_000, description="rated answers after which EXPLORATION_BONUS no longer applies"
    )
    budget_usd_per_request: Decimal | None = Field(
        None, gt=0, le=1_000, description="mean cost per request that the router keeps to, US dollars"
    )

    policies: PolicySettings = Field(
        PolicySettings(), description="tags, rules, tiers and experts, which narrow what is chosen from"
    )

    # --- conversations
    session_ttl_s: float = Field(
        3_600.0,
        ge=0,
        le=2_592_000,
        description="seconds after its last request that a conversation keeps its model; 0: no affinity",
    )
    session_switch_margin: float = Field(
        0.05,
        ge=0,
        le=100,
        description="utility another model must gain, beyond the lost prompt cache, to replace the current",
    )

    @field_validator(
        "allowed_hosts", "cors_origins", "callbacks", "llm_models", "required_data_use", mode="before"
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("aliases", mode="before")
    @classmethod
    def _with_default_aliases(cls, value: object) -> object:
        """Each alias with the list of what it stands for; an alias without a value is removed."""
        if not isinstance(value, dict):
            return value
        given = {name: (meant,) if isinstance(meant, str) else meant for name, meant in value.items()}
        return {name: meant for name, meant in (DEFAULT_ALIASES | given).items() if meant is not None}

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        return parse_setting(value)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            f"*.{parse_host(value[2:])}" if value.startswith("*.") else parse_setting(value)
            for value in values
        )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        """The origins as browsers write them."""
        return tuple(value if value == "*" else str(parse_origin(value.rstrip("/"))) for value in values)

    @field_validator("embedding_base_url")
    @classmethod
    def _in_one_form(cls, url: str | None) -> str | None:
        return None if url is None else base_url(url, "openai")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        chat = [name for m in self.models for name in (m.id, *m.aliases)]
        taken = {name for name in chat if chat.count(name) > 1} | (AUTO & set(chat))
        if taken:
            raise ValueError(f"models: ids and aliases must be unique and not `auto`, got {sorted(taken)}")
        for key, models in (
            ("embedding_models", self.embedding_models),
            ("moderation_models", self.moderation_models),
        ):
            names = names_of(models)
            taken = {name for name in names if names.count(name) > 1} | (set(chat) & set(names))
            if taken:
                raise ValueError(f"{key}: ids and aliases must be unique, got {sorted(taken)}")
        return self

    @model_validator(mode="after")
    def _logins_exist(self) -> Settings:
        require_logins(self.models, self.providers_auth)
        return self

    @model_validator(mode="after")
    def _http_embeddings_are_complete(self) -> Settings:
        if self.embedding_backend == "http" and not (self.embedding_base_url and self.embedding_model):
            raise ValueError("embedding_backend http needs embedding_base_url and embedding_model")
        return self
