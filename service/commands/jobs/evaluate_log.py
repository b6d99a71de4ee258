"""Judge other settings by the log: open the stores, read the log, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from service.arms.configured import choose_arms, default_arm_id
from service.arms.known_models import known_models
from service.arms.lifecycle import current_arms
from service.arms.unknown_prices import with_assumed_prices
from service.bootstrap.existing import open_existing_database
from service.bootstrap.wire import knobs_of
from service.domain.arm import Arm
from service.domain.registration import ArmRegistration
from service.evaluation.candidate import CandidateConfig
from service.evaluation.comparability import arms_apart, settings_apart
from service.evaluation.evaluate import Evaluation, evaluate, reason_against, refused
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.settings import Settings
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.pool import Database
from service.store.log.rounds import rounds


async def evaluate_log(
    running: Settings,
    candidate: Settings,
    environ: Mapping[str, str],
    *,
    tenant: str,
    since: datetime,
    until: datetime,
) -> Evaluation:
    """What the candidate's knobs would have brought, from the log of the running ones.

    Raises:
        StartupError: there is no database, or a model's name means nothing.
        StoreUnavailable: it went away meanwhile.
    """
    reason = reason_against(knobs_of(running), knobs_of(candidate)) or settings_apart(running, candidate)
    if reason is not None:
        return refused(since, until, reason)
    async with AsyncExitStack() as stack:
        database = await open_existing_database(running, stack)
        known = await _registrations(database)
        arms = _arms(candidate, environ, known)
        priced = {arm.arm_id: arm for arm in _arms(running, environ, known)}
        if (reason := arms_apart(priced, arms)) is not None:
            return refused(since, until, reason)
        wanted = _configuration(candidate, arms, priced, known)
        return await evaluate(rounds(database, tenant, since, until), wanted, since, until)


async def configuration_of(
    settings: Settings, environ: Mapping[str, str], database: Database
) -> CandidateConfig:
    """The running configuration as one to evaluate. Raises StartupError, StoreUnavailable."""
    known = await _registrations(database)
    arms = _arms(settings, environ, known)
    return _configuration(settings, arms, {arm.arm_id: arm for arm in arms}, known)


async def _registrations(database: Database) -> Mapping[str, ArmRegistration]:
    arm_registry = PostgresArmRegistry(database)
    await arm_registry.refresh()
    return arm_registry.known


def _configuration(
    settings: Settings,
    arms: Sequence[Arm],
    priced: Mapping[str, Arm],
    known: Mapping[str, ArmRegistration],
) -> CandidateConfig:
    return CandidateConfig(
        knobs=knobs_of(settings),
        arms=tuple(arm for arm in arms if arm.arm_id not in known or known[arm.arm_id].state == "active"),
        default_arm_id=default_arm_id(settings, arms),
        priced=priced,
        newcomers=frozenset(arm_id for arm_id, registration in known.items() if registration.is_newcomer),
        added=frozenset(arm_id for arm_id, registration in known.items() if registration.entry is not None),
        holdout_share=settings.holdout_share,
    )


def _arms(settings: Settings, environ: Mapping[str, str], known: Mapping[str, ArmRegistration]) -> list[Arm]:
    """The arms of the settings, and what was changed of them at runtime."""
    arms = current_arms(choose_arms(settings, environ, known_models(), SIMULATED_ARMS).arms, known)
    return list(with_assumed_prices(arms, arms))
