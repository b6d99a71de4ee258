"""The command `check`: what a start would use, and what is wrong or looks wrong; nothing is started."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.arms.configured import ArmList, choose_arms, default_arm_id
from service.arms.known_models import known_models
from service.arms.provider_prices import may_be_listed
from service.arms.relayed_models import choose_relayed_models
from service.arms.unknown_prices import price_warnings, require_known_prices
from service.bootstrap.providers import KEY_CHECK_TIMEOUT_S
from service.commands.jobs.price_text import price_text
from service.domain.arm import Arm
from service.domain.clock import now
from service.domain.key_check import KeyCheck, KeyState
from service.domain.relayed_model import RelayedModels
from service.errors import StartupError
from service.policies.configured import policies_of
from service.providers.key_checks import HttpKeyChecks
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.base_urls import without_login
from service.settings.environment import Environment
from service.settings.faults import Fault, faults_of
from service.settings.load import config_path, read_settings
from service.settings.settings import Settings
from service.settings.unknown_variables import unknown_variables


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A model that a start would use; its key is not shown."""

    id: str
    provider: str
    model: str
    base_url: str | None
    api_key_env: str | None
    key_name: str | None  # also of a key that is not in the environment
    price: str
    key_state: KeyState | None  # None: not asked
    is_default: bool

    def text(self) -> str:
        key = f"key in {self.key_name}" if self.key_name else "no key"
        key += f": {self.key_state}" if self.key_state else ""
        where = f"{self.provider} at {self.base_url}" if self.base_url else self.provider
        return f"  {self.id}  {self.price}  ({where}, {key}{', default' if self.is_default else ''})"


@dataclass(frozen=True, slots=True)
class Check:
    """What a start would use, and every error that would stop it."""

    config_file: str | None
    env_file: str | None
    models: tuple[CheckedModel, ...]
    left_out: tuple[str, ...]
    stores: Mapping[str, str]
    warnings: tuple[Fault, ...]
    errors: tuple[Fault, ...]

    @property
    def is_sound(self) -> bool:
        return not self.errors

    def text(self) -> str:
        lines = [f"YAML file: {self.config_file or 'none'}", f".env: {self.env_file or 'none'}"]
        lines += [f"{name}: {place}" for name, place in self.stores.items()]
        lines += ["models:", *(model.text() for model in self.models)] if self.models else []
        lines += [f"  left out: {reason}" for reason in self.left_out]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"error: {error}" for error in self.errors]
        return "\n".join([*lines, *(["the settings are sound"] if self.is_sound else [])])


def check(environment: Environment, *, probe: bool = False) -> Check:
    """Read the settings as a start would, and choose the models; no file is written.

    Args:
        probe: ask each provider whether it accepts its key; otherwise nobody is called.
    """
    path = config_path(environment)
    loaded = read_settings(path, environment)
    errors = list(loaded.faults)
    arms, relayed = ArmList(()), RelayedModels()
    if loaded.settings is not None:
        try:
            arms = choose_arms(loaded.settings, environment, known_models(), SIMULATED_ARMS)
            looked_up = _looked_up(arms, loaded.settings)
            unlisted = [arm for arm in arms.arms if arm not in looked_up]
            require_known_prices(unlisted, loaded.settings.budget_usd_per_request)
            policies_of(loaded.settings, arms.arms, environment)
        except StartupError as error:
            errors += faults_of(error)
        try:
            relayed = choose_relayed_models(loaded.settings, environment)
        except StartupError as error:
            errors += faults_of(error)
    keys = asyncio.run(_key_checks(arms.arms, environment)) if probe else {}
    errors += [
        Fault(f"{arm_id}: the provider rejects the key: {key.reason}")
        for arm_id, key in keys.items()
        if key.state == "rejected"
    ]
    return Check(
        config_file=None if path is None else str(path),
        env_file=None if environment.env_file is None else str(environment.env_file.path),
        models=_models(loaded.settings, arms, keys),
        left_out=(*arms.left_out, *relayed.left_out),
        stores={} if loaded.settings is None else _stores(loaded.settings),
        warnings=tuple(_warnings(environment, loaded.settings, arms)),
        errors=tuple(errors),
    )


async def _key_checks(arms: Sequence[Arm], environment: Environment) -> dict[str, KeyCheck]:
    """What the provider of each arm says of its key."""
    checker = HttpKeyChecks(environment, now, timeout_s=KEY_CHECK_TIMEOUT_S)
    try:
        checks = await asyncio.gather(*map(checker.check, arms))
    finally:
        await checker.close()
    return {arm.arm_id: found for arm, found in zip(arms, checks, strict=True)}


def _looked_up(arms: ArmList, settings: Settings) -> list[Arm]:
    """The arms of unknown price that a start would find in the lists of their providers, perhaps."""
    return [a for a in arms.arms if a.price is None and settings.price_lists and may_be_listed(a)]


def _models(
    settings: Settings | None, arms: ArmList, keys: Mapping[str, KeyCheck]
) -> tuple[CheckedModel, ...]:
    if settings is None or not arms.arms:
        return ()
    default = default_arm_id(settings, arms.arms)
    return tuple(_checked(arm, keys.get(arm.arm_id), is_default=arm.arm_id == default) for arm in arms.arms)


def _checked(arm: Arm, key: KeyCheck | None, *, is_default: bool) -> CheckedModel:
    return CheckedModel(
        id=arm.arm_id,
        provider=arm.provider,
        model=arm.model,
        base_url=None if arm.base_url is None else without_login(arm.base_url),
        api_key_env=arm.api_key_env,
        key_name=arm.key_name,
        price=price_text(arm.price),
        key_state=None if key is None else key.state,
        is_default=is_default,
    )


def _stores(settings: Settings) -> dict[str, str]:
    folder = str(Path(settings.data_dir).resolve()) if settings.enable_persistence else "a temporary folder"
    return {
        "PostgreSQL": "server at DATABASE_URL" if settings.database_url else f"embedded, in {folder}",
        "Qdrant": "server at QDRANT_URL" if settings.qdrant_url else f"embedded, in {folder}",
    }


def _warnings(environment: Environment, settings: Settings | None, arms: ArmList) -> Iterator[Fault]:
    yield from (unknown.fault for unknown in unknown_variables(environment, settings))
    looked_up = [] if settings is None else _looked_up(arms, settings)
    yield from map(Fault, price_warnings(a for a in arms.arms if a.price is None and a not in looked_up))
    for arm in looked_up:
        yield Fault(f"the price of {arm.arm_id} is not known here: a start looks it up at its provider")
    if arms.is_simulated:
        yield Fault("no provider key is set: the models are simulated, and their answers are made up")
