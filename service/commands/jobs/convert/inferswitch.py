"""The JSON configuration of InferSwitch, a gateway that routes by experts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from service.domain.basics import Json
from service.errors import StartupError

EASIEST, HARDEST = 0.0, 5.0  # of its difficulties
TIERS = ("simple", "medium", "complex")
LONGEST_TIMEOUT_S = 3_600.0
SECRET = re.compile(r"[^A-Z0-9]+")

Models = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    @property
    def unknown(self) -> list[str]:
        return sorted(self.model_extra or {})


class Backend(_Part):
    """One place that serves models."""

    base_url: str | None = None
    api_key: str | None = None
    timeout: float | None = None
    models: Models = ()


class Fallback(_Part):
    provider: str | None = None
    model: str | None = None


class Availability(_Part):
    disable_duration_seconds: float | None = None


class Cache(_Part):
    enabled: bool | None = None
    max_size: int | None = None
    ttl_seconds: float | None = None


class InferSwitch(_Part):
    """The whole file; a key that is not listed here is reported."""

    backends: dict[str, Backend] = Field(default_factory=dict)
    model_providers: dict[str, str] = Field(default_factory=dict)
    model_overrides: dict[str, str] = Field(default_factory=dict)
    expert_definitions: dict[str, str] = Field(default_factory=dict)
    expert_models: dict[str, Models] = Field(default_factory=dict)
    expertise_models: dict[str, Models] = Field(default_factory=dict)
    difficulty_models: dict[str, Models] = Field(default_factory=dict)
    force_expert_routing: bool = False
    force_difficulty_routing: bool = False
    fallback: Fallback = Fallback()
    model_availability: Availability = Availability()
    cache: Cache = Cache()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a backend is, and how it is called."""

    provider: str
    base_url: str
    api_key_env: str | None = None
    is_free: bool = False
    timeout_s: float | None = None

    def entry(self, model: str) -> Json:
        """The entry of a model that is served there."""
        optional = {"api_key_env": self.api_key_env, "timeout_s": self.timeout_s}
        given = {name: value for name, value in optional.items() if value is not None}
        price = {"price": "free"} if self.is_free else {}
        return {
            "id": model,
            "provider": self.provider,
            "base_url": self.base_url,
            "model": model,
            **given,
            **price,
        }


KNOWN_PLACES: Mapping[str, Place] = {
    "anthropic": Place("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "openai": Place("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    "openrouter": Place("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "lm-studio": Place("openai", "http://127.0.0.1:1234/v1", is_free=True),
}
# What the router has no use for, or has by other means.
ELSEWHERE = {
    "mlx_model": "experts are matched by their descriptions, without a model of its own",
    "providers_auth": "logins need a client of your own and are not converted",
    "expertise_definitions": "write them to expert_definitions first",
    "force_expertise_routing": "set force_expert_routing to true",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """The settings of this router, and what has no counterpart in them."""

    settings: Json
    notes: tuple[str, ...]

    def yaml(self, name: str) -> str:
        """The CONFIG_FILE."""
        head = [f"Converted from {name} by `router convert`.", *self.notes]
        comments = "".join(f"# {line}\n" for line in head)
        return f"{comments}\n{yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True)}"


def read_inferswitch(file: Path) -> InferSwitch:
    """The file's content. Raises StartupError, which names the faulty key but never a value."""
    try:
        return InferSwitch.model_validate_json(file.read_bytes())
    except OSError as error:
        raise StartupError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        raise StartupError(f"{file}: {place}: {fault['msg']}") from error


def converted(file: InferSwitch) -> Converted:
    """The same models, experts, tiers and overrides in this router's settings."""
    notes = [*_unknown(file)]
    places = _places(file, notes)
    served = {model: place for model in _models(file) if (place := _place(model, file, places)) is not None}
    notes += [
        f"model {m}: it has no backend in model_providers and is left out"
        for m in _models(file)
        if m not in served
    ]
    policies = _policies(file, served, notes)
    settings: Json = {"models": [place.entry(model) for model, place in served.items()]}
    if file.fallback.model in served:
        settings["default_model"] = file.fallback.model
    if file.model_overrides:
        settings["model_map"] = dict(file.model_overrides)
    if file.force_expert_routing:
        settings["force_expert_routing"] = True
    if policies:
        settings["policies"] = policies
    return Converted({**settings, **_limits(file)}, tuple(notes))


def _unknown(file: InferSwitch) -> Iterator[str]:
    parts: list[tuple[str, _Part]] = [("", file), ("fallback.", file.fallback), ("cache.", file.cache)]
    parts += [(f"backends.{name}.", backend) for name, backend in file.backends.items()]
    parts.append(("model_availability.", file.model_availability))
    for prefix, part in parts:
        for key in part.unknown:
            yield f"{prefix}{key}: {ELSEWHERE.get(key, 'it has no counterpart and is left out')}"


def _places(file: InferSwitch, notes: list[str]) -> dict[str, Place]:
    places = dict(KNOWN_PLACES)
    for name, backend in file.backends.items():
        known = KNOWN_PLACES.get(name)
        if known is None and backend.base_url is None:
            notes.append(f"backends.{name}: it has no base_url and is left out")
            continue
        key = known.api_key_env if known is not None else None
        if backend.api_key and key is None:
            key = f"{SECRET.sub('_', name.upper()).strip('_')}_API_KEY"
        if backend.api_key:
            notes.append(f"backends.{name}.api_key: it is not written; set {key} in the environment")
        places[name] = Place(
            known.provider if known is not None else "openai",
            _base_url(name, backend.base_url) or (known.base_url if known is not None else ""),
            key,
            is_free=name == "lm-studio",
            timeout_s=None if backend.timeout is None else min(backend.timeout, LONGEST_TIMEOUT_S),
        )
    return places


def _base_url(name: str, url: str | None) -> str | None:
    """The URL in this router's form: that of OpenAI's dialect ends with the version."""
    if url is None:
        return None
    url = url.rstrip("/")
    has_version = name == "anthropic" or re.search(r"/v\d+$", url) is not None
    return url if has_version else f"{url}/v1"


def _models(file: InferSwitch) -> list[str]:
    """Every model that the file names, in its order."""
    lists = [*file.expert_models.values(), *file.expertise_models.values(), *file.difficulty_models.values()]
    named = [model for models in lists for model in models]
    named += [*file.model_providers, *(m for m in file.model_overrides.values() if m != "*")]
    named += [model for backend in file.backends.values() for model in backend.models]
    named += [] if file.fallback.model is None else [file.fallback.model]
    return list(dict.fromkeys(named))


def _place(model: str, file: InferSwitch, places: Mapping[str, Place]) -> Place | None:
    name = file.model_providers.get(model)
    if name is None:
        name = next((name for name, backend in file.backends.items() if model in backend.models), None)
    if name is None and model == file.fallback.model:
        name = file.fallback.provider
    if name is None:
        name = "anthropic" if model.startswith("claude") else "openai" if model.startswith("gpt") else None
    return None if name is None else places.get(name)


def _policies(file: InferSwitch, served: Mapping[str, Place], notes: list[str]) -> Json:
    policies: Json = {}
    models_of = {**file.expertise_models, **file.expert_models}
    experts: Json = {}
    for name in dict.fromkeys([*file.expert_definitions, *models_of]):
        if name not in file.expert_definitions:
            notes.append(f"expert {name}: it has no description, so its name is the description")
        models = [model for model in models_of.get(name, ()) if model in served]
        experts[name] = {"description": file.expert_definitions.get(name, f"Requests about: {name}")}
        experts[name] |= {"models": models} if models else {}
        if models and file.fallback.model in served:
            experts[name]["fallback_model"] = file.fallback.model
    if experts:
        policies["experts"] = experts
        notes.append(
            "expert_models: the router learns which model of an expert to ask, so their order does not count"
        )
    if tiers := _tiers(file, served):
        policies |= {"tiers": tiers, "tier_by_difficulty": True}
        notes.append("difficulty_models: the difficulties 0 to 5 became the tiers simple, medium and complex")
    return policies


def _tiers(file: InferSwitch, served: Mapping[str, Place]) -> dict[str, list[str]]:
    """The models by thirds of the difficulties; a tier without any has those of the next one."""
    found: dict[str, list[str]] = {tier: [] for tier in TIERS}
    for written, models in file.difficulty_models.items():
        numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", written)]
        if not numbers:
            continue
        share = (sum(numbers) / len(numbers) - EASIEST) / (HARDEST - EASIEST)
        of_tier = found[TIERS[min(int(share * len(TIERS)), len(TIERS) - 1)]]
        of_tier += [model for model in models if model in served and model not in of_tier]
    filled = [of_tier for of_tier in found.values() if of_tier]
    if not filled:
        return {}
    before, tiers = filled[0], {}
    for tier, of_tier in found.items():
        before = of_tier or before
        tiers[tier] = list(before)
    return tiers


def _limits(file: InferSwitch) -> Json:
    given = {
        "breaker_long_rest_s": file.model_availability.disable_duration_seconds,
        "cache_enabled": file.cache.enabled,
        "cache_max_size": file.cache.max_size,
        "cache_ttl_seconds": file.cache.ttl_seconds,
    }
    return {name: value for name, value in given.items() if value is not None}
