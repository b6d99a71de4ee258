"""Arms that LLM_MODELS names as `vendor/model`, or by the model's own name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import orjson

from service.arms.price_table import litellm_folder
from service.domain.arm import Arm
from service.errors import StartupError
from service.settings.vendors import BARE_NAMES, OPENROUTER, VENDORS, Vendor


def arm_named(name: str, environ: Mapping[str, str]) -> Arm:
    """An arm of that name, called with the vendor's own variables, else through OpenRouter.

    Raises:
        StartupError: no vendor is known by that name, or a variable that it needs is not set.
    """
    prefix, model = _split(name)
    vendor = VENDORS.get(prefix) or _like_openai().get(prefix)
    through_openrouter = bool(OPENROUTER.key_in(environ)) and "/" in name and bool(model)
    if vendor is None and through_openrouter:
        return _arm(name, name, OPENROUTER, environ)
    if vendor is None or not model:
        raise StartupError(
            f"LLM_MODELS: {name!r} is not a configured model, and no provider key is set that can reach it"
        )
    missing = vendor.missing_in(environ)
    if missing is None:
        return _arm(name, _providers_name(name, prefix, model, vendor), vendor, environ)
    if vendor.is_on_openrouter and through_openrouter:
        return _arm(name, name, OPENROUTER, environ)
    raise StartupError(f"LLM_MODELS: {name!r} needs {missing}, which is not set")


def _split(name: str) -> tuple[str, str]:
    """The vendor's prefix and the rest; a name without a prefix may show its vendor by its beginning."""
    prefix, has_prefix, model = name.partition("/")
    if has_prefix:
        return prefix, model
    vendors = (vendor for beginning, vendor in BARE_NAMES.items() if name.startswith(beginning))
    return next(vendors, ""), name


def _providers_name(name: str, prefix: str, model: str, vendor: Vendor) -> str:
    if vendor.provider == "litellm":
        return f"{prefix}/{model}"
    if vendor is OPENROUTER and "/" not in model:  # OpenRouter's own: openrouter/auto
        return name
    return model


def _arm(name: str, model: str, vendor: Vendor, environ: Mapping[str, str]) -> Arm:
    try:
        base_url = vendor.address_in(environ)
    except ValueError as error:
        raise StartupError(str(error)) from error
    if base_url == vendor.base_url and vendor.provider == "anthropic":
        base_url = None  # the adapters' own
    return Arm(name, vendor.provider, model, base_url=base_url, api_key_env=vendor.key_in(environ))


@cache
def _like_openai() -> Mapping[str, Vendor]:
    """Further vendors, from LiteLLM's file of those that speak OpenAI's API."""
    folder = litellm_folder()
    file = None if folder is None else folder / "llms" / "openai_like" / "providers.json"
    if file is None or not file.exists():
        return {}
    entries: dict[str, dict[str, str]] = orjson.loads(file.read_bytes())
    return {
        name: Vendor(keys=(entry["api_key_env"],))
        for name, entry in entries.items()
        if "api_key_env" in entry
    }
