"""What LiteLLM's table of models says about an arm: its price, its limits, and what it cannot do.

The table lists a model once for each host that serves it, under names of many forms and at several prices.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from service.domain.arm import Arm, Price
from service.domain.model_hosts import host_of
from service.domain.model_names import canonical, undated

# LiteLLM's names of capabilities. Only its "no" is used: a missing entry says nothing.
_CAPABILITIES = {
    "supports_function_calling": "tools",
    "supports_tool_choice": "tool_choice",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_response_schema": "json_schema",
    "supports_vision": "vision",
    "supports_audio_input": "audio",
    "supports_pdf_input": "files",
    "supports_reasoning": "reasoning",
}
_PRICE_KEYS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
_ANSWERING = {"chat", "responses", "completion"}  # modes; models of the others answer no chat

# Hosts that serve models of their own: their price is the one that gateways pass on.
_MAKERS = {
    "ai21",
    "amazon_nova",
    "anthropic",
    "cohere",
    "cohere_chat",
    "dashscope",
    "deepseek",
    "gemini",
    "meta_llama",
    "minimax",
    "mistral",
    "moonshot",
    "openai",
    "vertex_ai-language-models",
    "xai",
    "zai",
}
_GATEWAYS = {"openrouter", "vercel_ai_gateway"}  # charge what the maker charges


@dataclass(frozen=True, slots=True)
class Listed:
    """What the table says about a model; None: nothing."""

    price: Price | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    lacks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    host: str
    fields: Mapping[str, Any]

    @property
    def price(self) -> Price | None:
        """The price per million tokens; of prices that rise with the prompt's length, the highest."""
        tiers = self.fields.get("tiered_pricing")
        fields = {**self.fields, **tiers[-1]} if tiers else self.fields
        per_million = {
            name: Decimal(str(fields[key])) * 1_000_000
            for name, key in _PRICE_KEYS.items()
            if fields.get(key) is not None
        }
        if "input" not in per_million:
            return None
        return Price(
            input=per_million["input"],
            output=per_million.get("output", Decimal(0)),
            cached_input=per_million.get("cached_input"),
            cache_write=per_million.get("cache_write"),
        )

    def is_of(self, host: str | None) -> bool:
        """Whether the entry is of that host; LiteLLM tells some hosts' kinds of models apart."""
        return host is not None and (
            self.host == host or self.host in {f"{host}_chat", f"{host}_converse", f"{host}-language-models"}
        )


def listed(arm: Arm) -> Listed:
    """What the table says about the arm's model, under the best of the names that mean the same model.

    The exact name wins, then the same version, then the undated model. Among equals the arm's own host wins,
    then the model's maker, then a gateway that passes on the maker's price, then the most expensive other
    host. Another host's limits may not be the arm's, and its price of zero makes no arm free.
    """
    host = host_of(arm)
    if (entry := _best(arm.model, host)) is None:
        return Listed()
    if not (entry.is_of(host) or entry.host in _MAKERS or entry.key == arm.model):
        return Listed(price=entry.price)
    return Listed(
        price=entry.price,
        context_window=_tokens(entry.fields.get("max_input_tokens")),
        max_output_tokens=_tokens(entry.fields.get("max_output_tokens")),
        lacks=frozenset(name for key, name in _CAPABILITIES.items() if entry.fields.get(key) is False),
    )


def listed_embedding_price(arm: Arm) -> Price | None:
    """The price of an embedding model that the table lists under exactly its name; None: it does not."""
    for key in (f"{host_of(arm)}/{arm.model}", arm.model):
        fields = _table().get(key, {})
        if fields.get("mode") == "embedding":
            return _Entry(key, str(fields.get("litellm_provider")), fields).price
    return None


def _best(model: str, host: str | None) -> _Entry | None:
    own_key = f"{host}/{model}"
    name = canonical(model)

    def rank(entry: _Entry) -> tuple[object, ...]:
        entry_name = canonical(entry.key)
        price = entry.price
        return (
            price is None,
            entry.key != own_key,
            entry.key != model,
            entry_name != name,
            entry_name != undated(name),
            not entry.is_of(host),
            entry.host not in _MAKERS,
            entry.host not in _GATEWAYS,
            (0, 0) if price is None else (-price.input - price.output, -price.output),
            entry.key,
        )

    by_name = _entries()
    same = {entry.key: entry for n in (name, undated(name)) for entry in by_name.get(n, ())}
    usable = [entry for entry in same.values() if _is_usable(entry, host)]
    return min(usable, key=rank, default=None)


def _is_usable(entry: _Entry, host: str | None) -> bool:
    if entry.is_of(host):
        return True
    return entry.price is not None and not entry.price.is_free


@cache
def _entries() -> Mapping[str, list[_Entry]]:
    """The entries of models that answer chats, by canonical name, and dated ones by their undated name."""
    by_name = defaultdict(list)
    for entry in _read():
        name = canonical(entry.key)
        for each in {name, undated(name)}:
            by_name[each].append(entry)
    return dict(by_name)


def _read() -> Iterator[_Entry]:
    for key, fields in _table().items():
        if fields.get("mode") in _ANSWERING:
            yield _Entry(key, str(fields.get("litellm_provider")), fields)


def _tokens(listed: object) -> int | None:
    """A limit in tokens; the table has text in some places."""
    return listed if isinstance(listed, int) and listed > 0 else None


@cache
def _table() -> Mapping[str, Any]:
    """LiteLLM's table, read as a file because importing the library takes seconds."""
    folder = litellm_folder()
    if folder is None:
        return {}
    table: Mapping[str, Any] = orjson.loads(
        (folder / "model_prices_and_context_window_backup.json").read_bytes()
    )
    return table


def litellm_folder() -> Path | None:
    """Where LiteLLM is installed; None: it is not."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
