"""The models for embeddings and moderations: those of the configuration, else OpenAI's if its key is set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from service.arms.configured import require_all, requirements_of
from service.arms.known_models import known_models
from service.arms.price_table import listed_embedding_price
from service.domain.arm import Arm, Price
from service.domain.relayed_model import RelayedModel, RelayedModels
from service.errors import StartupError
from service.settings.relayed_models import EmbeddingModelSettings, RelayedModelSettings
from service.settings.settings import Settings
from service.settings.vendors import VENDORS

OWN_ENCODER = RelayedModel("router-minilm")
WITH_OWN_ENCODER = frozenset({"words", "minilm"})  # backends whose weights are those of MiniLM

Entry = TypeVar("Entry", bound=RelayedModelSettings)


def choose_relayed_models(settings: Settings, environ: Mapping[str, str]) -> RelayedModels:
    """The models that can be called, with their deployments.

    Raises:
        StartupError: entries of one id contradict each other, or a deployment cannot be called.
    """
    embedding = settings.embedding_models or _known(EmbeddingModelSettings, "embedding_models", environ)
    moderation = settings.moderation_models or _known(RelayedModelSettings, "moderation_models", environ)
    left_out = [
        f"{entry.id}: {entry.api_key_env} is not set"
        for entry in (*embedding, *moderation)
        if not _has_key(entry, environ)
    ]
    models = RelayedModels(
        tuple(_with_own_encoder(map(_embedding_model, _by_id(embedding, environ)), settings)),
        tuple(map(_moderation_model, _by_id(moderation, environ))),
        tuple(left_out),
    )
    arms = [arm for model in (*models.embedding, *models.moderation) for arm in model.deployments]
    require_all(requirements_of(arms, settings, environ))
    return models


def _known(kind: type[Entry], key: Any, environ: Mapping[str, str]) -> Sequence[Entry]:
    """OpenAI's models, if they are called at its own address; another server need not have them."""
    openai = VENDORS["openai"]
    if openai.key_in(environ) is None or any(map(environ.get, openai.addresses)):
        return ()
    return [kind.model_validate(entry) for entry in known_models(key)]


def _has_key(entry: RelayedModelSettings, environ: Mapping[str, str]) -> bool:
    return entry.api_key_env is None or bool(environ.get(entry.api_key_env))


def _by_id(entries: Iterable[Entry], environ: Mapping[str, str]) -> Iterable[list[Entry]]:
    """The entries whose key is set, those of one model together."""
    by_id: dict[str, list[Entry]] = {}
    for entry in entries:
        if _has_key(entry, environ):
            by_id.setdefault(entry.id, []).append(entry)
    return by_id.values()


def _embedding_model(entries: Sequence[EmbeddingModelSettings]) -> RelayedModel:
    first = entries[0]
    if len({entry.provider for entry in entries}) > 1:
        raise StartupError(
            f"embedding_models: {first.id} is the router's own encoder and another model at once; "
            "their vectors cannot be compared"
        )
    dimensions = {entry.dimensions for entry in entries if entry.dimensions is not None}
    if len(dimensions) > 1:
        raise StartupError(
            f"embedding_models: entries of {first.id} have different dimensions, {sorted(dimensions)}; "
            "vectors of different models cannot be compared"
        )
    limits = [entry.max_input_tokens for entry in entries if entry.max_input_tokens is not None]
    return RelayedModel(
        first.id,
        tuple(_arm(entry, _price(entry)) for entry in entries if entry.provider != "router"),
        _aliases(entries),
        dimensions=next(iter(dimensions), None),
        max_input_tokens=min(limits, default=None),
    )


def _moderation_model(entries: Sequence[RelayedModelSettings]) -> RelayedModel:
    return RelayedModel(entries[0].id, tuple(_arm(entry, None) for entry in entries), _aliases(entries))


def _aliases(entries: Sequence[RelayedModelSettings]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(alias for entry in entries for alias in entry.aliases))


def _arm(entry: RelayedModelSettings, price: Price | None) -> Arm:
    extra_fields = entry.extra_fields if isinstance(entry, EmbeddingModelSettings) else ()
    return Arm(
        arm_id=entry.id,
        provider="openai",
        model=entry.model or "",
        base_url=entry.base_url,
        api_key_env=entry.api_key_env,
        price=price,
        timeout_s=entry.timeout_s,
        extra_fields=frozenset(extra_fields),
    )


def _price(entry: EmbeddingModelSettings) -> Price | None:
    if entry.price is not None:
        return Price(entry.price.input, Decimal(0))
    return listed_embedding_price(_arm(entry, None))


def _with_own_encoder(models: Iterable[RelayedModel], settings: Settings) -> Iterable[RelayedModel]:
    """The models, with the router's own encoder under its name and any that the configuration gives it."""
    taken: set[str] = set()
    for model in models:
        if not model.deployments and settings.embedding_backend not in WITH_OWN_ENCODER:
            raise StartupError(
                f"embedding_models: {model.model_id}, of provider router, needs EMBEDDING_BACKEND=words or "
                f"minilm, got {settings.embedding_backend}"
            )
        taken.update(model.names)
        yield model
    if settings.embedding_backend in WITH_OWN_ENCODER and OWN_ENCODER.model_id not in taken:
        yield OWN_ENCODER
