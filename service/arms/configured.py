"""Arms from settings: configured models, else those of the provider keys that are set, else simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from service.arms.model_names import is_free_variant
from service.arms.price_table import listed
from service.arms.priors import public_prior
from service.domain.arm import FREE, Arm, Price
from service.errors import StartupError
from service.settings.models import ModelSettings
from service.settings.settings import Settings

OPENROUTER_URL = "https://openrouter.ai/api/v1"
OPENAI_URL = "https://api.openai.com/v1"

# Price of writing to the cache for five minutes, in prices of input. Writing for an hour, at double the
# price of input, is charged the same here.
ANTHROPICS_CACHE_WRITE = Decimal("1.25")


@dataclass(frozen=True, slots=True)
class ArmList:
    """The arms in use, and why other models were left out.

    Args:
        unused: the other models of the configuration, the well-known ones included.
    """

    arms: tuple[Arm, ...]
    left_out: tuple[str, ...] = ()
    unused: tuple[Arm, ...] = ()

    @property
    def is_simulated(self) -> bool:
        return any(arm.provider == "simulator" for arm in self.arms)


def choose_arms(
    settings: Settings,
    environ: Mapping[str, str],
    known: Sequence[Mapping[str, Any]],
    simulated: Sequence[Arm],
) -> ArmList:
    """Choose the arms to use.

    Args:
        environ: variables with the keys of providers.
        known: well-known models, in the shape of `models:` entries.
        simulated: the arms of the simulator, used if nothing else is configured.

    Raises:
        StartupError: LLM_MODELS or DEFAULT_MODEL names an unknown model, or no arm is usable.
    """
    known_arms = [ModelSettings.model_validate(entry) for entry in known]
    if settings.models:
        usable, left_out = _with_keys(settings.models, environ)
    else:
        usable, left_out = _with_keys(known_arms, environ)[0], []
    arms = [arm_of(m) for m in usable]
    if settings.llm_models:
        everything = [*arms, *(arm_of(m) for m in _with_keys(known_arms, environ)[0]), *simulated]
        named = [_by_name(name, everything, environ) for name in settings.llm_models]
        arms = list({arm.arm_id: arm for arm in named}.values())  # a model may be named twice, by an alias
    if not arms and settings.models:
        raise StartupError(f"models: none is usable: {'; '.join(left_out)}")
    if not arms and environ.get("OLLAMA_BASE_URL"):
        raise StartupError("OLLAMA_BASE_URL is set: name its models in LLM_MODELS, as ollama/<name>")
    if settings.public_priors:
        arms = [_with_public_prior(arm) for arm in arms]
    in_use = {arm.arm_id for arm in arms}
    unused = [arm_of(m) for m in (*settings.models, *known_arms) if m.id not in in_use]
    chosen = ArmList(tuple(arms or simulated), tuple(left_out), tuple(unused))
    default_arm_id(settings, chosen.arms)
    return chosen


def default_arm_id(settings: Settings, arms: Sequence[Arm]) -> str:
    """The id of the arm that answers when the router trusts no arm.

    Raises:
        StartupError: DEFAULT_MODEL names none of the arms.
    """
    if settings.default_model is None:
        return arms[0].arm_id
    for arm in arms:
        if settings.default_model == arm.arm_id or settings.default_model in arm.aliases:
            return arm.arm_id
    in_use = ", ".join(arm.arm_id for arm in arms)
    raise StartupError(f"DEFAULT_MODEL: {settings.default_model!r} is not one of the models in use: {in_use}")


def _with_keys(
    models: Sequence[ModelSettings], environ: Mapping[str, str]
) -> tuple[list[ModelSettings], list[str]]:
    missing = [m for m in models if m.api_key_env and not environ.get(m.api_key_env)]
    usable = [m for m in models if m not in missing]
    return usable, [f"{m.id}: {m.api_key_env} is not set" for m in missing]


def _by_name(name: str, candidates: Sequence[Arm], environ: Mapping[str, str]) -> Arm:
    for arm in candidates:
        if name in (arm.arm_id, *arm.aliases):
            return arm
    arm_of_vendor = _from_vendor_name(name, environ)
    if arm_of_vendor is None:
        raise StartupError(
            f"LLM_MODELS: {name!r} is not a configured model, and no provider key is set that can reach it"
        )
    return arm_of_vendor


def _from_vendor_name(name: str, environ: Mapping[str, str]) -> Arm | None:
    """An arm for `vendor/model`, reached by the key of the vendor or of OpenRouter."""
    vendor, _, model = name.partition("/")
    if vendor == "ollama" and (base := environ.get("OLLAMA_BASE_URL")):
        return Arm(name, "openai", model, base_url=f"{base.rstrip('/')}/v1")
    if vendor == "openai" and environ.get("OPENAI_API_KEY"):
        return _listed(Arm(name, "openai", model, base_url=OPENAI_URL, api_key_env="OPENAI_API_KEY"))
    if vendor == "anthropic" and environ.get("ANTHROPIC_API_KEY"):
        return _listed(Arm(name, "anthropic", model, api_key_env="ANTHROPIC_API_KEY"))
    if vendor == "gemini" and environ.get("GEMINI_API_KEY"):
        return _listed(Arm(name, "litellm", name, api_key_env="GEMINI_API_KEY"))
    if model and environ.get("OPENROUTER_API_KEY"):
        return _listed(Arm(name, "openai", name, base_url=OPENROUTER_URL, api_key_env="OPENROUTER_API_KEY"))
    return None


def arm_of(settings: ModelSettings) -> Arm:
    """The arm of a `models:` entry; missing fields come from LiteLLM's price list, if it is installed."""
    arm = Arm(
        arm_id=settings.id,
        provider=settings.provider,
        model=settings.model,
        base_url=settings.base_url,
        api_key_env=settings.api_key_env,
        aliases=settings.aliases,
        context_window=settings.context_window,
        max_output_tokens=settings.max_output_tokens,
        capabilities=frozenset(settings.capabilities or ()),
        data_use=frozenset(settings.data_use),
        extra_fields=frozenset(settings.extra_fields),
        prior_quality=settings.prior_quality,
        prior_mass=settings.prior_mass,
        timeout_s=settings.timeout_s,
        chat_template=settings.chat_template,
        prior_source=None if settings.prior_quality is None else "configured",
    )
    arm = _listed(arm)
    if settings.lacks is not None:
        arm = replace(arm, lacks=frozenset(settings.lacks))
    return priced(arm, arm.price if settings.price is None else settings.price.to_price())


def priced(arm: Arm, price: Price) -> Arm:
    """The arm at that price; a missing price of cache writes is Anthropic's for its models."""
    if price.cache_write is None and arm.provider == "anthropic":
        price = replace(price, cache_write=price.input * ANTHROPICS_CACHE_WRITE)
    return replace(arm, price=price)


def _listed(arm: Arm) -> Arm:
    """The arm with price, limits and lacks from LiteLLM's table; unchanged if it is not listed."""
    found = listed(arm)
    arm = replace(
        arm,
        context_window=arm.context_window or found.context_window,
        max_output_tokens=arm.max_output_tokens or found.max_output_tokens,
        lacks=found.lacks - arm.capabilities,
    )
    price = FREE if is_free_variant(arm.model) else found.price
    return arm if price is None else priced(arm, price)


def _with_public_prior(arm: Arm) -> Arm:
    """The arm with the public prior of its model, unless its own settings give a quality."""
    if arm.prior_quality is not None or (known := public_prior(arm.model)) is None:
        return arm
    return replace(arm, prior_quality=known.quality, prior_source=known.source)
