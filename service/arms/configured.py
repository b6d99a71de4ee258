"""Arms from settings: configured models, else those of the provider keys that are set, else simulated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from service.arms.addresses import addressed, require_another, require_proxy, with_default_address
from service.arms.deployed import deployed, with_keys
from service.arms.fallback_order import FallbackOrder
from service.arms.free_models import free_models
from service.arms.named_arms import arm_named
from service.arms.overriding import Overriding
from service.arms.price_table import listed
from service.arms.priors import public_prior
from service.arms.requested_names import RequestedNames
from service.domain.arm import CONFIGURED, FREE, Arm, Price, PriceSource
from service.domain.credentials import CLIENT
from service.domain.model_names import is_free_variant
from service.errors import StartupError
from service.providers.fitting_table import table
from service.settings.environment import Environment
from service.settings.faults import Fault, FaultySettings, faults_of
from service.settings.models import ModelSettings
from service.settings.settings import Settings
from service.settings.vendors import OLLAMA_HOST, VENDORS

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
    notes: tuple[str, ...] = ()  # what else the operator is told

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
        StartupError: LLM_MODELS, DEFAULT_MODEL, an alias or a fallback names an unknown model, no arm is
            usable, or the table of what fits them has a fault.
    """
    table()
    well_known = [addressed(ModelSettings.model_validate(entry), environ) for entry in known]
    configured = [with_default_address(model, environ) for model in settings.models]
    if configured:
        usable, left_out = _with_keys(configured, environ)
    else:
        usable, left_out = _with_keys(well_known, environ)[0], []
    arms = [arm_of(m) for m in usable]
    if settings.llm_models:
        everything = [*arms, *(arm_of(m) for m in _with_keys(well_known, environ)[0]), *simulated]
        arms = _named(settings.llm_models, everything, environ)
    if not arms and settings.models:
        raise StartupError(f"models: none is usable: {'; '.join(left_out)}")
    if not arms:
        _require_no_address(settings, environ)
    arms = free_models(arms, settings.free_models, are_named=bool(settings.models or settings.llm_models))
    _require_reachable(arms, settings, environ)
    if settings.public_priors:
        arms = [_with_public_prior(arm) for arm in arms]
    in_use = {arm.arm_id for arm in arms}
    unused = [arm_of(m) for m in (*configured, *well_known) if m.id not in in_use]
    chosen = ArmList(tuple(arms or simulated), tuple(left_out), tuple(unused))
    default_arm_id(settings, chosen.arms)
    RequestedNames.of(settings, chosen.arms, environ)
    Overriding.of(settings, chosen.arms, environ)
    FallbackOrder.of(settings, chosen.arms, environ)
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
    usable, left_out = [], []
    for model in models:
        with_key, without = with_keys(model, environ)
        usable += [] if with_key is None else [with_key]
        left_out += without
    return usable, left_out


def _named(names: Sequence[str], candidates: Sequence[Arm], environ: Mapping[str, str]) -> list[Arm]:
    """The arms of those names. Raises StartupError with a line for every name that none has."""
    by_name = {name: arm for arm in reversed(candidates) for name in (arm.arm_id, *arm.aliases)}
    arms: dict[str, Arm] = {}  # a model may be named twice, by an alias
    faults: list[Fault] = []
    for name in names:
        try:
            arm = by_name.get(name) or _priced_by_vendor(arm_named(name, environ))
            arms[arm.arm_id] = arm
        except StartupError as error:
            faults += [Fault(fault.message, _where(environ)) for fault in faults_of(error)]
    if faults:
        raise FaultySettings(faults)
    return list(arms.values())


def _where(environ: Mapping[str, str]) -> str:
    """The place of the names of models, if it is a line of `.env`."""
    if not isinstance(environ, Environment):
        return ""
    names = [name for name in ("LLM_MODEL", "LLM_MODELS") if environ.is_in_file(name)]
    return environ.where(names[0]) if names else ""


def _require_reachable(arms: Sequence[Arm], settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises StartupError with a line for everything that would keep requests from the models."""
    secrets = [
        partial(_require_client_secret, name, entry.client_secret_env, environ)
        for name, entry in settings.providers_auth.items()
    ]
    encoder = partial(require_another, settings.embedding_base_url, "EMBEDDING_BASE_URL", settings, environ)
    require_all([encoder, *secrets, *requirements_of(arms, settings, environ)])


def requirements_of(
    arms: Sequence[Arm], settings: Settings, environ: Mapping[str, str]
) -> list[Callable[[], None]]:
    """What must hold before these arms can be called; each raises StartupError."""
    arms = [endpoint for arm in arms for endpoint in arm.endpoints]
    return [
        *(
            partial(require_another, a.base_url, f"the base URL of {a.arm_id}", settings, environ)
            for a in arms
        ),
        *(partial(_require_sendable, arm.api_key_env, environ) for arm in arms),
        *(partial(require_proxy, arm, environ) for arm in arms),
    ]


def require_all(requirements: Sequence[Callable[[], None]]) -> None:
    """Raises StartupError with a line for every requirement that does not hold."""
    faults: list[Fault] = []
    for require in requirements:
        try:
            require()
        except StartupError as error:
            faults += faults_of(error)
    if faults:
        raise FaultySettings([*dict.fromkeys(faults)])


def _require_client_secret(name: str, variable: str | None, environ: Mapping[str, str]) -> None:
    """Stop a start without the secret of a client for logins."""
    if variable is not None and not environ.get(variable):
        raise StartupError(f"providers_auth.{name}.client_secret_env: {variable} is not set")


def _require_sendable(variable: str | None, environ: Mapping[str, str]) -> None:
    """Stop a start with a key that no HTTP header can hold."""
    if variable and not re.fullmatch("[!-~]+", environ[variable]):
        raise StartupError(f"{variable} must be visible ASCII characters without spaces")


def _require_no_address(settings: Settings, environ: Mapping[str, str]) -> None:
    """Stop a start that would simulate models although a variable gives the address of some."""
    for prefix, vendor in VENDORS.items():
        for variable in vendor.addresses:
            if vendor.provider == "litellm" or not environ.get(variable) or variable == OLLAMA_HOST:
                continue
            require_another(vendor.address_in(environ), variable, settings, environ)
            key = "" if vendor.is_own_server else f", or set {vendor.keys[0]}"
            raise StartupError(f"{variable} is set: name its models in LLM_MODELS, as {prefix}/<name>{key}")


def arm_of(settings: ModelSettings) -> Arm:
    """The arm of a `models:` entry; missing fields come from LiteLLM's price list, if it is installed."""
    prompt = settings.prompt
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
        drop=frozenset(settings.drop),
        rename=settings.rename,
        set_fields=settings.set_fields,
        prior_quality=settings.prior_quality,
        prior_mass=settings.prior_mass,
        timeout_s=settings.timeout_s,
        chat_template=settings.chat_template,
        prior_source=None if settings.prior_quality is None else CONFIGURED,
        prompt=None if prompt is None else prompt.to_prompt(any_task=settings.tasks == "any"),
        variant_of=settings.variant_of,
        default_temperature=settings.defaults.temperature,
        default_max_tokens=settings.defaults.max_tokens,
        auth=settings.auth,
        takes_client_key=settings.api_key == CLIENT,
    )
    arm = _listed(deployed(arm, settings.deployments))
    if settings.lacks is not None:
        arm = replace(arm, lacks=frozenset(settings.lacks))
    return arm if settings.price is None else priced(arm, settings.price.to_price(), "configured")


def priced(arm: Arm, price: Price, source: PriceSource) -> Arm:
    """The arm at that price; a missing price of cache writes is Anthropic's for its models."""
    if price.cache_write is None and arm.provider == "anthropic":
        price = replace(price, cache_write=price.input * ANTHROPICS_CACHE_WRITE)
    return replace(arm, price=price, price_source=source)


def _priced_by_vendor(arm: Arm) -> Arm:
    """The arm with its listed price; models on servers of one's own cost nothing."""
    vendor = VENDORS.get(arm.arm_id.partition("/")[0])
    is_own_server = vendor is not None and vendor.is_own_server
    return priced(arm, FREE, "name") if is_own_server else _listed(arm)


def _listed(arm: Arm) -> Arm:
    """The arm with price, limits and lacks from LiteLLM's table; unchanged if it is not listed."""
    found = listed(arm)
    arm = replace(
        arm,
        context_window=arm.context_window or found.context_window,
        max_output_tokens=arm.max_output_tokens or found.max_output_tokens,
        lacks=found.lacks - arm.capabilities,
    )
    if is_free_variant(arm.model):
        return priced(arm, FREE, "name")
    return arm if found.price is None else priced(arm, found.price, "table")


def _with_public_prior(arm: Arm) -> Arm:
    """The arm with the public prior of its model, unless its own settings give a quality."""
    if arm.prior_quality is not None or (known := public_prior(arm.model)) is None:
        return arm
    return replace(arm, prior_quality=known.quality, prior_source=known.source)
