"""The list of models, with their prices, that a provider publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from service.domain.arm import Price

_PER_MILLION = Decimal(1_000_000)
_HIGHEST = Decimal(100_000)  # US dollars per million tokens; more is a mistake


@dataclass(frozen=True, slots=True)
class ListedModel:
    """What a provider says about one of its models."""

    price: Price
    context_window: int | None = None
    max_output_tokens: int | None = None


def read_price_list(document: object) -> dict[str, ListedModel]:
    """The models of a list in OpenRouter's form that have a price, by their names.

    Prices are dollars per token, as text. A price below zero is OpenRouter's for "it varies". Entries in any
    other form are left out.
    """
    entries = document.get("data") if isinstance(document, Mapping) else document
    by_id: dict[str, ListedModel] = {}
    by_slug: dict[str, ListedModel] = {}  # a free variant has the slug of its model
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and (model := _model(entry)) is not None:
            by_id[str(entry.get("id"))] = model
            if "canonical_slug" in entry and not model.price.is_free:
                by_slug[str(entry["canonical_slug"])] = model
    return by_slug | by_id


def _model(entry: Mapping[str, Any]) -> ListedModel | None:
    pricing = _object(entry.get("pricing"))
    prompt, completion = _per_million(pricing.get("prompt")), _per_million(pricing.get("completion"))
    if prompt is None or completion is None:
        return None
    return ListedModel(
        price=Price(
            prompt,
            completion,
            cached_input=_per_million(pricing.get("input_cache_read")),
            cache_write=_per_million(pricing.get("input_cache_write")),
        ),
        context_window=_tokens(entry.get("context_length")),
        max_output_tokens=_tokens(_object(entry.get("top_provider")).get("max_completion_tokens")),
    )


def _per_million(per_token: object) -> Decimal | None:
    """Dollars per million tokens; None if there is no price."""
    if isinstance(per_token, bool) or not isinstance(per_token, str | int | float):
        return None
    try:
        price = Decimal(str(per_token).strip()) * _PER_MILLION
    except (InvalidOperation, ValueError):
        return None
    return price.normalize() if price.is_finite() and 0 <= price <= _HIGHEST else None


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
